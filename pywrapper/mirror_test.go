//go:build unix

package pywrapper

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestShownFrames(t *testing.T) {
	for frame, want := range map[string]string{
		`{"id":1,"method":"ping"}` + "\n":                     `{"id":1,"method":"ping"}`,
		`{"fetched":{"id":1,"seq":2,"data":"c2VjcmV0"}}`:      `{"fetched":{"id":1,"seq":2,"data":"(not shown)"}}`,
		`{"message":"asked https://u:p@h.example/m?sig=abc"}`: `{"message":"asked https://(not shown)@h.example/m?(not shown)"}`,
		`{"message":"https://u:p@ss@h.example/m, a@b"}`:       `{"message":"https://(not shown)@h.example/m, a@b"}`,
		`{"message":"sent Bearer abc.def-1 there"}`:           `{"message":"sent Bearer (not shown) there"}`,
		`{"x":{"api_Token": "a\"b","n":1}}`:                   `{"x":{"api_Token": "(not shown)","n":1}}`,
		`{"Authorization":"Basic dXNlcjpw"}`:                  `{"Authorization":"(not shown)"}`,
		"{\"text\":\"\xff broken\"}":                          `{"text":" broken"}`,
	} {
		require.Equal(t, want, shown([]byte(frame)))
	}
	for _, start := range []string{`{"data":"`, `{"password":"`, `{"m":"https://`, `{"m":"https://h/?`, `{"m":"Bearer `} {
		got := shown([]byte(start + strings.Repeat("s3cret", maxMirrored)))
		require.NotContains(t, got, "s3cret", "also where the end is cut off")
	}
	require.LessOrEqual(t, len(shown([]byte(strings.Repeat("x", 1<<20)))), maxMirrored+len("…"))
}

func TestFramesAreMirroredWhereWanted(t *testing.T) {
	for _, level := range []slog.Level{LevelFrames, slog.LevelDebug} {
		log := &logBuffer{}
		h := start(t, "well", func(s *Supervisor) {
			s.frames = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: level}))
		})
		_, err := h.Call(t.Context(), Call{Method: "fetch", Params: "root", TraceParent: "00-1-2-01",
			Fetch: func(context.Context, protocol.Fetch) protocol.Fetched {
				return protocol.Fetched{Data: []byte("the file")}
			}})
		require.NoError(t, err)
		if level > LevelFrames {
			require.Empty(t, log.String())
			continue
		}
		for _, part := range []string{"hello", `\"traceparent\":\"00-1-2-01\"`, `\"event\":\"fetch\"`, "(not shown)", `\"ok\":true`} {
			require.Contains(t, log.String(), part)
		}
		require.NotContains(t, log.String(), "import os", "the script is no frame")
	}
}

// A start is told of once, whoever waits for it; the values of a caller's context
// go along, its end does not.
func TestStartsAreToldOf(t *testing.T) {
	type key struct{}
	type told struct {
		restart bool
		hello   *protocol.Hello
		err     error
	}
	var all []told
	h := start(t, "well", func(s *Supervisor) {
		s.o.OnStart = func(ctx context.Context, restart bool) func(*protocol.Hello, error) {
			require.Equal(t, "value", ctx.Value(key{}))
			require.Nil(t, ctx.Done())
			return func(hello *protocol.Hello, err error) { all = append(all, told{restart, hello, err}) }
		}
	})
	ctx := context.WithValue(t.Context(), key{}, "value")
	_, err := h.Call(ctx, Call{Method: "echo", Params: "x"})
	require.NoError(t, err)
	_, err = h.Call(ctx, Call{Method: "die", Params: json.RawMessage(`"3"`)})
	require.Error(t, err)
	require.NoError(t, h.Close(t.Context()))
	require.Len(t, all, 2, "the request was asked once more of a fresh worker")
	require.False(t, all[0].restart)
	require.True(t, all[1].restart)
	for _, one := range all {
		require.NoError(t, one.err)
		require.Equal(t, "7", one.hello.TUF)
	}
}

func TestStartsThatFailAreToldOf(t *testing.T) {
	var failed error
	h := start(t, "exit 3", func(s *Supervisor) {
		s.o.OnStart = func(context.Context, bool) func(*protocol.Hello, error) {
			return func(hello *protocol.Hello, err error) {
				require.Nil(t, hello)
				failed = err
			}
		}
	})
	require.Error(t, h.Start(t.Context()))
	require.Equal(t, protocol.CodeWorkerUnavailable, asError(t, failed).Code)
}

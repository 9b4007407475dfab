//go:build unix

package pywrapper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestBadStarts(t *testing.T) {
	tests := []struct {
		script string
		code   protocol.Code
		says   string
		exit   int
	}{
		{"version", protocol.CodeWorkerUnavailable, "speaks version 1", -1},
		{"silence", protocol.CodeWorkerUnavailable, "did not say hello within", -1},
		{"half", protocol.CodeWorkerUnavailable, "did not say hello within", -1},
		{"garbage", protocol.CodeProtocol, "Traceback", -1},
		{"early", protocol.CodeProtocol, "greeting has to come first", -1},
		{"fatal missing_dependency", protocol.CodeMissingDependency, "install it with this command", 56},
		{"fatal rollback", protocol.CodeProtocol, "rollback", 11},
		{"exit 0", protocol.CodeWorkerUnavailable, "cannot import anything", 0},
		{"exit 1", protocol.CodeWorkerUnavailable, "exit status 1", 1},
	}
	for _, tt := range tests {
		t.Run(tt.script, func(t *testing.T) {
			h := start(t, tt.script, func(s *Supervisor) {
				if tt.script == "silence" || tt.script == "half" {
					s.o.StartTimeout = 100 * time.Millisecond
				}
				s.o.MinBackoff = time.Hour
				s.o.MaxBackoff = time.Hour
			})
			e := h.fails(t, "echo", "x")
			require.Equal(t, tt.code, e.Code, e)
			require.Contains(t, e.Error()+e.Stderr, tt.says)
			if tt.exit >= 0 && tt.code != protocol.CodeProtocol {
				require.Equal(t, tt.exit, e.ExitCode)
			}
			require.Same(t, e, h.fails(t, "echo", "x"), "not started again before its time")
			require.Equal(t, 1, h.Status().Starts)
			require.Equal(t, StateStopped, h.Status().State)
			require.ErrorIs(t, h.Status().LastError, e)
		})
	}
}

func TestMissingInterpreter(t *testing.T) {
	h := start(t, "well", func(s *Supervisor) { s.o.Python = filepath.Join(t.TempDir(), "python9") })
	e := h.fails(t, "echo", "x")
	require.Equal(t, protocol.CodeWorkerUnavailable, e.Code)
	require.ErrorIs(t, e, os.ErrNotExist)
	require.ErrorContains(t, e, "python9")
}

func TestEveryExitCode(t *testing.T) {
	h := start(t, "well")
	codes := []int{0, 1, 2, 130}
	for _, i := range protocol.Codes {
		codes = append(codes, i.Exit)
	}
	for _, n := range codes {
		e := h.fails(t, "die", fmt.Sprint(n))
		require.Equal(t, protocol.CodeEngineCrash, e.Code)
		require.Equal(t, n, e.ExitCode)
		require.Contains(t, e.Stderr, "about to die")
		require.False(t, e.Replied)
	}
	require.Equal(t, 2*len(codes), h.Status().Starts, "every request was tried twice")
}

func TestKilledBySignal(t *testing.T) {
	h := start(t, "well")
	e := h.fails(t, "abort", nil)
	require.Equal(t, protocol.CodeEngineCrash, e.Code)
	require.Equal(t, "killed", e.Signal)
}

func TestDeathInMidRequestIsRetriedOnce(t *testing.T) {
	h := start(t, "well")
	marker := filepath.Join(t.TempDir(), "marker")
	require.NoError(t, os.WriteFile(marker, nil, 0o600))
	_, err := h.call(t, "die-once", marker)
	require.NoError(t, err)
	require.Equal(t, 2, h.Status().Starts)
	require.Zero(t, h.failures, "success resets the backoff")

	e := h.fails(t, "half-and-die", nil)
	require.Equal(t, protocol.CodeEngineCrash, e.Code)
	require.Equal(t, 0, e.ExitCode)
	got, err := h.call(t, "answer-and-die", "last words")
	require.NoError(t, err)
	require.JSONEq(t, `"last words"`, got)
}

func TestViolations(t *testing.T) {
	fetchOf := func(seq int) string {
		return fmt.Sprintf(`{"id":%%d,"event":"fetch","fetch":{"seq":%d,"role":"root"}}`, seq)
	}
	tests := map[string]struct{ method, arg string }{
		"stray print":          {"print", "hello from a library"},
		"empty line":           {"print", ""},
		"an array":             {"print", "[1]"},
		"two values":           {"print", "{} {}"},
		"NaN":                  {"raw", `{"id":%d,"ok":true,"result":NaN}`},
		"a name twice":         {"raw", `{"id":%d,"ok":false,"ok":true}`},
		"a name in upper case": {"raw", `{"ID":%d,"OK":true}`},
		"a second hello":       {"print", hello},
		"a late fatal":         {"print", `{"fatal":{"code":"internal"}}`},
		"nothing in it":        {"raw", `{"id":%d}`},
		"both":                 {"raw", `{"id":%d,"ok":true,"event":"fetch","fetch":{"seq":1,"role":"x"}}`},
		"no code":              {"raw", `{"id":%d,"ok":false,"error":{}}`},
		"no error":             {"raw", `{"id":%d,"ok":false}`},
		"ok with error":        {"raw", `{"id":%d,"ok":true,"error":{"code":"expired"}}`},
		"unknown id":           {"print", `{"id":4711,"ok":true}`},
		"negative id":          {"print", `{"id":-1,"ok":true}`},
		"unknown event":        {"raw", `{"id":%d,"event":"dance"}`},
		"event of no request":  {"print", `{"id":77,"event":"fetch","fetch":{"seq":1,"role":"root"}}`},
		"fetch without a file": {"raw", `{"id":%d,"event":"fetch"}`},
		"fetch of nothing":     {"raw", `{"id":%d,"event":"fetch","fetch":{"seq":1}}`},
		"negative length":      {"raw", `{"id":%d,"event":"fetch","fetch":{"seq":1,"role":"x","length":-1}}`},
		"fetch out of order":   {"raw", fetchOf(2)},
		"fetch uninvited":      {"raw", fetchOf(1)},
		"a line too long":      {"big", "70000"},
		"endless line":         {"big", "9000000"},
		"output closed":        {"close-out", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := start(t, "well", func(s *Supervisor) { s.maxLine = 64 << 10 })
			other := make(chan error, 1)
			require.NoError(t, h.Start(t.Context()))
			go func() {
				_, err := h.Call(t.Context(), Call{Method: "long"})
				other <- err
			}()
			eventually(t, func() bool { return len(h.slots) == 1 && opened(h.w) == 1 }, "the other request is open")
			e := h.fails(t, tt.method, tt.arg)
			require.Equal(t, protocol.CodeProtocol, e.Code, e)
			require.Equal(t, protocol.CodeProtocol, asError(t, <-other).Code)
			require.Equal(t, 1, h.Status().Starts, "not retried")
			_, err := h.call(t, "echo", "works again")
			require.NoError(t, err)
		})
	}
}

func TestFramesAreUTF8(t *testing.T) {
	_, err := decode([]byte("{\"id\":1,\"ok\":true,\"result\":\"\xff\"}"))
	require.ErrorContains(t, err, "UTF-8")
}

func opened(w *worker) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.requests)
}

func TestDuplicateReply(t *testing.T) {
	h := start(t, "well")
	require.NoError(t, h.Start(t.Context()))
	w := h.w
	got, err := h.call(t, "twice", nil)
	require.NoError(t, err)
	require.Equal(t, "1", got)
	<-w.dead
	require.Equal(t, protocol.CodeProtocol, w.cause.Code)
}

func TestFetchTwiceAtATime(t *testing.T) {
	h := start(t, "well")
	asked := `{"id":%[1]d,"event":"fetch","fetch":{"seq":1,"role":"a"}}` + "\n" + `{"id":%[1]d,"event":"fetch","fetch":{"seq":2,"role":"b"}}`
	_, err := h.Call(t.Context(), Call{Method: "raw", Params: asked, Fetch: func(ctx context.Context, _ protocol.Fetch) protocol.Fetched {
		<-ctx.Done()
		return protocol.Fetched{Error: &protocol.Error{Code: protocol.CodeCancelled}}
	}})
	require.Equal(t, protocol.CodeProtocol, asError(t, err).Code)
}

func TestSilenceAfterHalfALine(t *testing.T) {
	h := start(t, "well", func(s *Supervisor) { s.slack = 0 })
	_, err := h.Call(t.Context(), Call{Method: "half-reply", Timeout: 100 * time.Millisecond})
	require.Equal(t, protocol.CodeEngineTimeout, asError(t, err).Code)
}

func TestWorkerThatStopsReading(t *testing.T) {
	h := start(t, "well", func(s *Supervisor) { s.cancelGrace, s.slack = 10*time.Millisecond, 0 })
	require.NoError(t, h.Start(t.Context()))
	w := h.w
	ctx, cancel := context.WithCancel(t.Context())
	go func() { _, _ = h.Call(ctx, Call{Method: "deaf"}) }()
	eventually(t, func() bool { return opened(w) == 1 }, "it is deaf now")
	// More than a pipe holds.
	_, err := h.Call(t.Context(), Call{Method: "echo", Params: strings.Repeat("x", 1<<20), Timeout: 100 * time.Millisecond})
	require.Equal(t, protocol.CodeEngineTimeout, asError(t, err).Code)
	cancel()
	<-w.dead
}

func TestStderrFlood(t *testing.T) {
	h := start(t, "well")
	got, err := h.call(t, "flood", nil)
	require.NoError(t, err)
	require.JSONEq(t, `"flooded"`, got)
	w := h.w
	require.NoError(t, h.Close(t.Context()))
	require.LessOrEqual(t, len(w.log.text()), tailSize)
	require.Less(t, len(h.log.String()), 4<<20)
	require.Contains(t, h.log.String(), "were dropped")
}

func TestStderrLevels(t *testing.T) {
	h := start(t, "well")
	for _, line := range []string{
		`{"level":"WARNING","logger":"tuf.api","message":"odd keyid"}`,
		`{"level":"ERROR","logger":"tuf","message":"worse"}`,
		`{"level":"DEBUG","logger":"tuf","message":"chatter"}`,
		`{"level":"info","logger":"worker","message":"traced","trace_id":"0af7","span_id":"b7ad"}`,
		"not JSON at all",
	} {
		_, err := h.call(t, "log", line)
		require.NoError(t, err)
	}
	require.NoError(t, h.Close(t.Context()))
	log := h.log.String()
	require.Contains(t, log, `level=WARN msg="odd keyid" component=tuf:worker logger=tuf.api`)
	require.Contains(t, log, `level=ERROR msg=worse`)
	require.Contains(t, log, `level=DEBUG msg=chatter`)
	require.Contains(t, log, `msg=traced component=tuf:worker logger=worker trace_id=0af7 span_id=b7ad`)
	require.Contains(t, log, `level=INFO msg="not JSON at all"`)
}

func TestGrandchildDiesToo(t *testing.T) {
	for _, end := range []string{"close", "crash", "violation"} {
		t.Run(end, func(t *testing.T) {
			h := start(t, "well")
			fifo := filepath.Join(t.TempDir(), "fifo")
			require.NoError(t, syscall.Mkfifo(fifo, 0o600))
			r, err := os.OpenFile(fifo, os.O_RDONLY|syscall.O_NONBLOCK, 0)
			require.NoError(t, err)
			t.Cleanup(func() { _ = r.Close() })
			_, err = h.call(t, "grandchild", fifo)
			require.NoError(t, err)
			switch end {
			case "close":
				require.NoError(t, h.Close(t.Context()))
			case "crash":
				h.fails(t, "die", "3")
			case "violation":
				h.fails(t, "print", "oops")
			}
			_, err = io.ReadAll(r) // ends when nobody holds the pipe any more
			require.NoError(t, err)
			require.NoError(t, r.Close())
		})
	}
}

func TestErrorsOnTheWire(t *testing.T) {
	h := start(t, "well")
	e := h.fails(t, "error", string(protocol.CodeRollback))
	require.True(t, e.Replied)
	require.Equal(t, protocol.CodeRollback, e.Code)
	require.Equal(t, "timestamp", e.Role)
	require.JSONEq(t, `{"x":1}`, string(e.Detail))
	require.Equal(t, protocol.CodeEngineCrash, h.fails(t, "error", string(protocol.CodeEngineCrash)).Code)
	require.Equal(t, 1, h.Status().Starts, "what a worker says of itself is no crash")
	require.Nil(t, errors.Unwrap(e))
}

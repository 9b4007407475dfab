//go:build unix

package pywrapper

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestCallAndStatus(t *testing.T) {
	h := start(t, "well")
	require.Equal(t, StateStopped, h.Status().State)
	require.NoError(t, h.Start(t.Context()))
	st := h.Status()
	require.Equal(t, StateReady, st.State)
	require.Equal(t, "7", st.Hello.TUF)
	require.Positive(t, st.PID)
	require.Positive(t, st.RSS)

	got, err := h.call(t, "echo", "hi\u2028there")
	require.NoError(t, err)
	require.JSONEq(t, `"hi\u2028there"`, got)
	require.Equal(t, 1, h.Status().Starts)
	require.Zero(t, h.Status().Restarts)

	require.NoError(t, h.Close(t.Context()))
	require.Equal(t, StateClosed, h.Status().State)
	e := h.fails(t, "echo", "x")
	require.ErrorIs(t, e, ErrClosed)
	require.Equal(t, protocol.CodeWorkerUnavailable, e.Code)
}

func TestChildSeesOnlyWhatItNeeds(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://proxy")
	t.Setenv("PYTHONPATH", "/evil")
	t.Setenv("SECRET_TOKEN", "hunter2")
	h := start(t, "env", func(s *Supervisor) { s.o.MemoryLimit = 12345 })
	raw, err := h.call(t, "env", nil)
	require.NoError(t, err)
	var got struct {
		Env, Args []string
		Dir       string
	}
	require.NoError(t, json.Unmarshal([]byte(raw), &got))
	names := map[string]string{}
	for _, kv := range got.Env {
		k, v, _ := strings.Cut(kv, "=")
		names[k] = v
	}
	for _, gone := range []string{"HTTPS_PROXY", "PYTHONPATH", "SECRET_TOKEN", "HOME", "TMPDIR"} {
		require.NotContains(t, names, gone)
	}
	require.Equal(t, []string{"-I", "-c", bootstrap, "3", "worker", "12345", "debug"}, got.Args)
	require.Equal(t, "/", got.Dir)
}

// The script may be longer than a pipe holds.
func TestLongScript(t *testing.T) {
	h := start(t, "well "+strings.Repeat("x", 1<<20))
	_, err := h.call(t, "echo", "x")
	require.NoError(t, err)
}

func TestScriptThatNobodyReads(t *testing.T) {
	deaf := filepath.Join(t.TempDir(), "deaf")
	require.NoError(t, os.WriteFile(deaf, []byte("#!/bin/sh\nexec sleep 600\n"), 0o700))
	h := start(t, strings.Repeat("x", 1<<20), func(s *Supervisor) {
		s.o.Python, s.o.StartTimeout = deaf, 100*time.Millisecond
	})
	require.Equal(t, protocol.CodeWorkerUnavailable, h.fails(t, "echo", "x").Code)
}

func TestConcurrentCallers(t *testing.T) {
	h := start(t, "well")
	ctx, cancel := context.WithCancel(t.Context())
	long := make(chan error, 1)
	go func() {
		_, err := h.Call(ctx, Call{Method: "long"})
		long <- err
	}()
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			raw, err := h.Call(t.Context(), Call{Method: "echo", Params: fmt.Sprint(i)})
			if err != nil || string(raw) != fmt.Sprintf("%q", fmt.Sprint(i)) {
				t.Errorf("call %d: %s, %v", i, raw, err)
			}
		})
	}
	wg.Wait()
	_, err := h.call(t, protocol.MethodPing, "")
	require.NoError(t, err)
	cancel()
	e := asError(t, <-long)
	require.ErrorIs(t, e, context.Canceled)
	require.Equal(t, protocol.CodeCancelled, e.Code)
	_, err = h.call(t, protocol.MethodPing, "")
	require.NoError(t, err)
	require.Equal(t, 1, h.Status().Starts, "a polite worker survives a cancellation")
}

func TestMoreCallersThanSlots(t *testing.T) {
	h := start(t, "well")
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range maxCalls + 3 {
		wg.Go(func() { _, _ = h.Call(ctx, Call{Method: "long"}) })
	}
	eventually(t, func() bool { return len(h.slots) == maxCalls }, "all slots are taken")
	short, stop := context.WithCancel(t.Context())
	stop()
	_, err := h.Call(short, Call{Method: "echo"})
	require.ErrorIs(t, err, context.Canceled)
	cancel()
	wg.Wait()
	_, err = h.call(t, "echo", "")
	require.NoError(t, err)
	require.Equal(t, 1, h.Status().Starts)
}

func TestFetch(t *testing.T) {
	h := start(t, "well")
	var mu sync.Mutex
	var seen []protocol.Fetch
	fetch := func(_ context.Context, f protocol.Fetch) protocol.Fetched {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, f)
		if f.Role == "missing" {
			return protocol.Fetched{Data: []byte("never sent"), Error: &protocol.Error{Code: protocol.CodeHTTPStatus, Class: protocol.ClassTransport}}
		}
		return protocol.Fetched{ID: 4711, Seq: 4711, Data: []byte("bytes of " + f.Role)}
	}
	raw, err := h.Call(t.Context(), Call{Method: "fetch", Params: "a b", Fetch: fetch})
	require.NoError(t, err)
	require.JSONEq(t, `["bytes of a","bytes of b"]`, string(raw))
	require.Equal(t, []protocol.Fetch{{Seq: 1, Role: "a", Version: 3, Length: 9}, {Seq: 2, Role: "b", Version: 3, Length: 9}}, seen)

	_, err = h.Call(t.Context(), Call{Method: "fetch", Params: "missing", Fetch: fetch})
	e := asError(t, err)
	require.Equal(t, protocol.CodeHTTPStatus, e.Code)
	require.True(t, e.Replied)

	var wg sync.WaitGroup
	for range maxCalls {
		wg.Go(func() {
			raw, err := h.Call(t.Context(), Call{Method: "fetch", Params: "x y z", Fetch: fetch})
			if err != nil || !strings.Contains(string(raw), "bytes of z") {
				t.Error(string(raw), err)
			}
		})
	}
	wg.Wait()
}

func TestFetchedTooBigForAFrame(t *testing.T) {
	h := start(t, "well", func(s *Supervisor) { s.maxLine = 1 << 10 })
	_, err := h.Call(t.Context(), Call{Method: "fetch", Params: "a", Fetch: func(context.Context, protocol.Fetch) protocol.Fetched {
		return protocol.Fetched{Data: make([]byte, 2<<10)}
	}})
	require.Equal(t, protocol.CodeUnrepresentable, asError(t, err).Code)
	require.Equal(t, protocol.CodeUnrepresentable, h.fails(t, "echo", strings.Repeat("x", 2<<10)).Code)
	_, err = h.call(t, "echo", "small")
	require.NoError(t, err)
}

// However its answer is put together, a fetch is answered as JSON has it.
func TestFetchedFrames(t *testing.T) {
	for _, f := range []protocol.Fetched{
		{ID: 1, Seq: 2},
		{ID: 1, Seq: 2, Same: true},
		{ID: 1, Seq: 2, Data: []byte{0}},
		{ID: 1<<53 - 1, Seq: 2, Data: bytes.Repeat([]byte{0xff, '"', '\n'}, 1000)},
		{ID: 1, Seq: 2, Error: &protocol.Error{Code: "x", Message: "}}<\n"}},
	} {
		want, err := json.Marshal(protocol.FetchedFrame{Fetched: f})
		require.NoError(t, err)
		want = append(want, '\n')
		got, err := encodeFetched(f, len(want))
		require.NoError(t, err)
		require.Equal(t, string(want), string(got))
		_, err = encodeFetched(f, len(want)-1)
		require.ErrorIs(t, err, errLineTooLong)
	}
	got, err := encodeFetched(protocol.Fetched{ID: 1, Seq: 2, Data: []byte("not beside an error"), Error: &protocol.Error{}}, 1<<10)
	require.NoError(t, err)
	require.NotContains(t, string(got), "data")
}

// A large file and a large reply leave nothing behind in the host.
func TestLargeFramesAreNotHeld(t *testing.T) {
	h := start(t, "well")
	_, err := h.call(t, "echo", "x")
	require.NoError(t, err)
	before := heap()
	const size = 32 << 20
	_, err = h.Call(t.Context(), Call{Method: "fetch", Params: "a", Fetch: func(context.Context, protocol.Fetch) protocol.Fetched {
		return protocol.Fetched{Data: bytes.Repeat([]byte("x"), size)}
	}})
	require.NoError(t, err)
	_, err = h.call(t, "echo", strings.Repeat("x", size))
	require.NoError(t, err)
	require.Less(t, heap(), before+1<<20)
}

// heap returns the bytes of live objects.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // pools are emptied by the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestTransportTimeIsNotTheWorkers(t *testing.T) {
	h := start(t, "well", func(s *Supervisor) { s.slack = 0 })
	_, err := h.Call(t.Context(), Call{Method: "fetch", Params: "slow", Timeout: 2 * time.Second,
		Fetch: func(context.Context, protocol.Fetch) protocol.Fetched {
			time.Sleep(2200 * time.Millisecond) // longer than the worker may take
			return protocol.Fetched{Data: []byte("x")}
		}})
	require.NoError(t, err)
}

func TestCancelEndsFetch(t *testing.T) {
	h := start(t, "well", func(s *Supervisor) { s.cancelGrace = time.Millisecond })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	_, err := h.Call(ctx, Call{Method: "fetch", Params: "a", Fetch: func(ctx context.Context, _ protocol.Fetch) protocol.Fetched {
		cancel()
		<-ctx.Done()
		close(ended)
		return protocol.Fetched{Error: &protocol.Error{Code: protocol.CodeCancelled, Class: protocol.ClassCancelled}}
	}})
	require.ErrorIs(t, err, context.Canceled)
	select {
	case <-ended:
	default:
		t.Fatal("the call returned before its Fetch")
	}
}

func TestCancelledWorkerThatGoesOnIsKilled(t *testing.T) {
	h := start(t, "well", func(s *Supervisor) { s.cancelGrace = 10 * time.Millisecond })
	require.NoError(t, h.Start(t.Context()))
	w := h.w
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := h.Call(ctx, Call{Method: "hang"})
	e := asError(t, err)
	require.Equal(t, protocol.CodeTimeout, e.Code)
	require.ErrorIs(t, e, context.DeadlineExceeded)
	<-w.dead
	_, err = h.call(t, "echo", "again")
	require.NoError(t, err)
	require.Equal(t, 1, h.Status().Restarts)
}

func TestEngineTimeoutSparesTheOthers(t *testing.T) {
	h := start(t, "well", func(s *Supervisor) { s.slack = 0 })
	require.NoError(t, h.Start(t.Context()))
	other := make(chan error, 1)
	marker := filepath.Join(t.TempDir(), "not-there")
	go func() {
		// Asks a question that is answered only when its first worker is gone.
		_, err := h.Call(t.Context(), Call{Method: "fetch", Params: "a", Fetch: func(ctx context.Context, _ protocol.Fetch) protocol.Fetched {
			if _, err := os.Stat(marker); err != nil {
				_ = os.WriteFile(marker, nil, 0o600)
				<-ctx.Done()
			}
			return protocol.Fetched{Data: []byte("x")}
		}})
		other <- err
	}()
	eventually(t, func() bool { _, err := os.Stat(marker); return err == nil }, "the other call is on its way")
	_, err := h.Call(t.Context(), Call{Method: "hang", Timeout: 50 * time.Millisecond})
	require.Equal(t, protocol.CodeEngineTimeout, asError(t, err).Code)
	require.NoError(t, <-other, "its Fetch ended with the worker, and a fresh one was asked")
}

func TestBackoffHonoursContextAndIsReset(t *testing.T) {
	h := start(t, "well", func(s *Supervisor) { s.o.MinBackoff, s.o.MaxBackoff = time.Hour, time.Hour })
	require.NoError(t, h.Start(t.Context()))
	w := h.w
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := h.Call(ctx, Call{Method: "die", Params: "1"}) // its second try waits for an hour
		done <- err
	}()
	<-w.dead
	eventually(t, func() bool { return h.Status().State == StateBackingOff }, "backing off")
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	require.Equal(t, 1, h.failures)
	h.succeeded()
	require.Zero(t, h.failures)
}

func TestCloseFailsCallsInFlight(t *testing.T) {
	h := start(t, "well")
	require.NoError(t, h.Start(t.Context()))
	done := make(chan error, 1)
	go func() {
		_, err := h.Call(t.Context(), Call{Method: "long"})
		done <- err
	}()
	eventually(t, func() bool { return len(h.slots) == 1 }, "the call is on its way")
	require.NoError(t, h.Close(t.Context()))
	require.ErrorIs(t, <-done, ErrClosed)
}

func TestCloseWhileStarting(t *testing.T) {
	h := start(t, "silence")
	done := make(chan error, 1)
	go func() { done <- h.Start(t.Context()) }()
	eventually(t, func() bool { return h.Status().State == StateStarting && h.Status().PID > 0 }, "starting")
	require.NoError(t, h.Close(t.Context()))
	require.ErrorIs(t, <-done, ErrClosed)
}

func TestStubbornWorkerIsKilled(t *testing.T) {
	for _, hurry := range []bool{false, true} {
		h := start(t, "stubborn", func(s *Supervisor) { s.o.StopTimeout = 100 * time.Millisecond })
		require.NoError(t, h.Start(t.Context()))
		w := h.w
		deaf, stop := context.WithCancel(t.Context())
		defer stop()
		go func() { _, _ = h.Call(deaf, Call{Method: "deaf"}) }() // so it will not see the shutdown either
		eventually(t, func() bool { return len(h.slots) == 1 }, "the call is on its way")
		ctx, cancel := context.WithCancel(t.Context())
		if hurry {
			h.o.StopTimeout = time.Hour
			cancel()
		}
		require.NoError(t, h.Close(ctx))
		cancel()
		require.Equal(t, syscall.SIGKILL.String(), signalName(w.state))
	}
}

package transport

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLateIsCalledWhileTheAnswerIsOut(t *testing.T) {
	late := make(chan struct{})
	url, _ := serve(t, func(http.ResponseWriter, *http.Request) { <-late })
	_, err := newClient(t, quick()).Get(context.Background(), Request{URL: url, Limit: 9, Late: func() { close(late) }})
	require.NoError(t, err)
}

// TestLateness plays the moments of a request on a clock of its own.
func TestLateness(t *testing.T) {
	const tick = time.Millisecond
	for name, tt := range map[string]struct {
		measured time.Duration
		request  func(trace *httptrace.ClientTrace, end func())
		// want is when late is called; 0 means never.
		want time.Duration
	}{
		"at once": {0, func(trace *httptrace.ClientTrace, end func()) {
			trace.ConnectStart("", "")
			trace.ConnectDone("", "", nil)
			time.Sleep(patience - tick)
			trace.GotFirstResponseByte()
			time.Sleep(patience) // The body takes its time.
			end()
		}, 0},
		"failed at once": {0, func(_ *httptrace.ClientTrace, end func()) { end() }, 0},
		"a slow server": {0, func(trace *httptrace.ClientTrace, end func()) {
			time.Sleep(3 * patience)
			trace.GotFirstResponseByte()
			end()
		}, patience},
		"a slow server that a connection has to be made to": {0, func(trace *httptrace.ClientTrace, end func()) {
			trace.ConnectStart("", "")
			time.Sleep(tick)
			trace.ConnectDone("", "", nil)
			time.Sleep(3 * patience)
			end()
		}, tick + patience},
		"a long way": {0, func(trace *httptrace.ClientTrace, end func()) {
			trace.ConnectStart("", "")
			time.Sleep(4 * farAway)
			trace.ConnectDone("", "", errors.New("refused"))
			end()
		}, farAway},
		"a way known to be long": {farAway, func(_ *httptrace.ClientTrace, end func()) {
			time.Sleep(tick)
			end()
		}, 1},
		"a way known to be short": {farAway - 1, func(_ *httptrace.ClientTrace, end func()) {
			time.Sleep(patience - tick)
			end()
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var measured, called atomic.Int64
				measured.Store(int64(tt.measured))
				begin := time.Now()
				ctx, end := watched(t.Context(), &measured, func() {
					require.True(t, called.CompareAndSwap(0, max(1, int64(time.Since(begin)))), "called twice")
				})
				tt.request(httptrace.ContextClientTrace(ctx), end)
				time.Sleep(10 * patience)
				synctest.Wait()
				require.Equal(t, tt.want, time.Duration(called.Load()))
			})
		})
	}
}

func TestTheWayIsMeasured(t *testing.T) {
	url, _ := serve(t, func(http.ResponseWriter, *http.Request) {})
	c := newClient(t, quick())
	_, err := c.Get(context.Background(), Request{URL: url, Limit: 9, Late: func() {}})
	require.NoError(t, err)
	require.Positive(t, c.roundTrip.Load())
}

func TestGetIfChanged(t *testing.T) {
	current := `"one"`
	var header http.Header
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		header = r.Header.Clone()
		w.Header().Set("ETag", current)
		if current != "" && r.Header.Get("If-None-Match") == current {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, "body of "+current)
	})
	c := newClient(t, quick())
	ask := func(etag string) (string, string) {
		raw, got, err := c.GetIfChanged(context.Background(), Request{URL: url, Limit: 999, ETag: etag})
		require.NoError(t, err)
		return string(raw), got
	}
	raw, etag := ask("")
	require.Equal(t, `body of "one"`, raw)
	require.Equal(t, current, etag)
	require.NotContains(t, header, "If-None-Match")

	raw, etag = ask(etag)
	require.Empty(t, raw)
	require.Equal(t, current, etag)

	current = `"two"`
	raw, etag = ask(etag)
	require.Equal(t, `body of "two"`, raw)
	require.Equal(t, current, etag)

	whole, err := c.Get(context.Background(), Request{URL: url, Limit: 99, ETag: current})
	require.NoError(t, err)
	require.Equal(t, `body of "two"`, string(whole), "Get gives the whole file")

	for _, unfit := range []string{strings.Repeat("x", maxETag+1), "\"\xff\"", ""} {
		current = unfit
		_, etag = ask("")
		require.Empty(t, etag)
	}
}

// TestNotModifiedWithoutACopy is an answer that makes no sense.
func TestNotModifiedWithoutACopy(t *testing.T) {
	url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) })
	_, e := get(t, newClient(t, quick()), url)
	require.Equal(t, http.StatusNotModified, e.Status)
}

// TestARetryAsksForTheCopyOfTheCaller, not for the half that an attempt gave.
func TestARetryAsksForTheCopyOfTheCaller(t *testing.T) {
	var asked []string
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("If-None-Match"))
		w.Header().Set("ETag", `"new"`)
		if len(asked) == 1 {
			w.Header().Set("Content-Length", "8")
			fmt.Fprint(w, "half")
			return
		}
		fmt.Fprint(w, "all of it")
	})
	raw, etag, err := newClient(t, quick()).GetIfChanged(context.Background(), Request{URL: url, Limit: 99, ETag: `"old"`})
	require.NoError(t, err)
	require.Equal(t, "all of it", string(raw))
	require.Equal(t, `"new"`, etag)
	require.Equal(t, []string{`"old"`, `"old"`}, asked)
}

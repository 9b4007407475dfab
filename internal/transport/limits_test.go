package transport

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// once is a rate at which one request may be made, and no second one in this test.
const once = 1e-6

// requireBusy requires the error of a request that our own limits stopped.
func requireBusy(t *testing.T, err error) {
	t.Helper()
	e := tuferr.As(err)
	require.NotNil(t, e, "%v", err)
	require.Equal(t, protocol.CodeBusy, e.Code, "%v", e)
	require.Equal(t, protocol.ClassTransport, e.Class())
	require.Contains(t, e.Hint, "later")
}

// requireIdle requires that nobody holds a slot or waits.
func requireIdle(t *testing.T, c *Client) {
	t.Helper()
	require.Empty(t, c.limits.slots)
	require.Empty(t, c.limits.ahead)
	require.Zero(t, c.limits.waiting.Load())
	require.Zero(t, c.limits.queued.Load())
}

// hold lets a client stream a file, and keeps it in the middle of the body until
// release is called.
func hold(t *testing.T, c *Client) (release func()) {
	url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "body") })
	var all sync.WaitGroup
	sink := &stuckSink{began: make(chan struct{}), goOn: make(chan struct{})}
	all.Go(func() {
		_, err := c.Stream(context.Background(), Request{URL: url, Limit: 9}, sink)
		require.NoError(t, err)
	})
	<-sink.began
	release = sync.OnceFunc(func() {
		close(sink.goOn)
		all.Wait()
	})
	t.Cleanup(release)
	return release
}

// stuckSink stops in the middle of a file.
type stuckSink struct {
	memory
	began, goOn chan struct{}
}

func (s *stuckSink) Write(p []byte) (int, error) {
	close(s.began)
	<-s.goOn
	return len(p), nil
}

// TestARequestHoldsItsSlotUntilItsBodyIsRead: one more waits, and one more than
// may wait is busy at once.
func TestARequestHoldsItsSlotUntilItsBodyIsRead(t *testing.T) {
	o := quick()
	o.MaxRequests, o.MaxWaiting = 1, 1
	c := newClient(t, o)
	release := hold(t, c)
	url, count := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "later") })
	var all sync.WaitGroup
	all.Go(func() {
		b, e := get(t, c, url)
		require.Nil(t, e)
		require.Equal(t, "later", string(b))
	})
	require.Eventually(t, func() bool { return c.limits.queued.Load() == 1 }, time.Minute, time.Millisecond)
	_, err := c.Get(context.Background(), Request{URL: url, Limit: 9})
	requireBusy(t, err)
	require.Contains(t, err.Error(), "1 requests wait already")
	require.Zero(t, count.Load())
	release()
	all.Wait()
	require.EqualValues(t, 1, count.Load())
	requireIdle(t, c)
}

// TestWaitingEndsWithTheContext: who gives up is told so; when our own deadline
// passes in the queue, the repository is not to blame.
func TestWaitingEndsWithTheContext(t *testing.T) {
	o := quick()
	o.MaxRequests, o.TotalTimeout = 1, 20*time.Millisecond
	c := newClient(t, o)
	release := hold(t, c)
	url, count := serve(t, func(http.ResponseWriter, *http.Request) {})
	_, err := c.Get(context.Background(), Request{URL: url})
	requireBusy(t, err)

	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		_, err := c.Stream(ctx, Request{URL: url}, &memory{})
		require.Equal(t, protocol.CodeCancelled, tuferr.CodeOf(err))
		require.ErrorIs(t, err, context.Canceled)
	})
	require.Eventually(t, func() bool { return c.limits.queued.Load() == 1 }, time.Minute, time.Millisecond)
	cancel()
	all.Wait()
	ctx, cancel = context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err = c.Stream(ctx, Request{URL: url}, &memory{})
	require.Equal(t, protocol.CodeTimeout, tuferr.CodeOf(err))
	require.Zero(t, count.Load())
	release()
	requireIdle(t, c)
}

// TestAllRequestsCount for the rate: retries and redirects too. Whose turn cannot
// come in time is told so at once.
func TestAllRequestsCount(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"retry": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			url, count := serve(t, answer)
			o := quick()
			o.RequestsPerSecond = once
			c := newClient(t, o)
			for range 3 {
				_, err := c.Get(context.Background(), Request{URL: url, Limit: 9})
				requireBusy(t, err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
			defer cancel()
			_, err := c.Stream(ctx, Request{URL: url, Limit: 9}, &memory{})
			requireBusy(t, err)
			require.EqualValues(t, 1, count.Load())
			requireIdle(t, c)
		})
	}
}

// TestTheQueueForTheRateIsForeseen also for those who have no slot yet.
func TestTheQueueForTheRateIsForeseen(t *testing.T) {
	c := newClient(t, Options{RequestsPerSecond: once, MaxRequests: 1})
	hold(t, c)
	_, err := c.Get(context.Background(), Request{URL: "http://127.0.0.1:1/"})
	requireBusy(t, err)
}

// TestSlotsComeBack however a request ends.
func TestSlotsComeBack(t *testing.T) {
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, "/away", http.StatusFound)
		case "/refused":
			http.Redirect(w, r, "ftp://x/", http.StatusFound)
		case "/broken":
			panic(http.ErrAbortHandler)
		case "/half":
			w.Header().Set("Content-Length", "8")
			fmt.Fprint(w, "half")
		case "/coded":
			w.Header().Set("Content-Encoding", "br")
			fmt.Fprint(w, "half")
		default:
			fmt.Fprint(w, strings.Repeat("x", 1<<20))
		}
	})
	o := quick()
	o.MaxRequests = 1
	c := newClient(t, o)
	for _, path := range []string{"/away", "/refused", "/broken", "/half", "/coded", "/long"} {
		_, err := c.Get(context.Background(), Request{URL: url + path, Limit: 9})
		require.NotNil(t, tuferr.As(err), path)
		require.NotEqual(t, protocol.CodeBusy, tuferr.CodeOf(err), path)
		requireIdle(t, c)
	}
	require.Panics(t, func() {
		_, _ = c.Stream(context.Background(), Request{URL: url, Limit: 1 << 20}, &stuckSink{})
	})
	requireIdle(t, c)
}

// TestRequestsArePaced on a clock of the test's own.
func TestRequestsArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits(Options{RequestsPerSecond: 2, MaxRequests: 9, MaxWaiting: 3})
		begin := time.Now()
		for i := range 6 {
			e := &errand{caller: t.Context(), timed: t.Context()}
			require.Nil(t, l.enter(e))
			l.leave(e)
			require.Equal(t, time.Duration(max(0, i-1))*time.Second/2, time.Since(begin))
		}
		var all sync.WaitGroup
		var refused atomic.Int32
		for range 9 {
			all.Go(func() {
				e := &errand{caller: t.Context(), timed: t.Context()}
				if l.enter(e) != nil {
					refused.Add(1)
					return
				}
				l.leave(e)
			})
		}
		all.Wait()
		require.EqualValues(t, 6, refused.Load(), "three may wait")
		require.Equal(t, 7*time.Second/2, time.Since(begin), "and who did not wait has taken nothing")
		require.Zero(t, l.waiting.Load())

		ctx, cancel := context.WithTimeout(t.Context(), time.Second/4)
		defer cancel()
		before := time.Now()
		f := l.enter(&errand{caller: ctx, timed: ctx})
		require.Equal(t, protocol.CodeBusy, f.code)
		require.Zero(t, time.Since(before), "at once")
		gone, stop := context.WithCancel(t.Context())
		time.AfterFunc(time.Second/4, stop)
		f = l.enter(&errand{caller: gone, timed: gone})
		require.Equal(t, protocol.CodeCancelled, f.code)
		require.Equal(t, time.Second/4, time.Since(before))
		require.Empty(t, l.slots)
	})
}

// TestBodiesArePaced together, and MinRate is not held against our own waiting.
func TestBodiesArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, err := Options{BytesPerSecond: 10, MinRate: 1 << 20, MinRateWindow: time.Second}.withDefaults()
		require.NoError(t, err)
		l := newLimits(o)
		begin := time.Now()
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				x := &exchange{limits: l, errand: &errand{caller: t.Context(), timed: t.Context()}}
				x.ctx, x.cancel = context.WithCancelCause(t.Context())
				defer x.cancel(nil)
				x.resp = &http.Response{Body: io.NopCloser(strings.NewReader(strings.Repeat("x", 50)))}
				b, err := io.ReadAll(newWatch(x, o.MinRate, o.MinRateWindow))
				require.NoError(t, err)
				require.Len(t, b, 50)
				require.NoError(t, context.Cause(x.ctx))
				require.Positive(t, x.errand.waited)
			})
		}
		all.Wait()
		require.Equal(t, 9*time.Second, time.Since(begin).Round(time.Second/10))
	})
}

// TestABodyThatCannotComeInTime is not waited for.
func TestABodyThatCannotComeInTime(t *testing.T) {
	for name, announced := range map[string]bool{"announced": true, "not announced": false} {
		t.Run(name, func(t *testing.T) {
			url, count := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if !announced {
					w.(http.Flusher).Flush()
				}
				fmt.Fprint(w, strings.Repeat("x", 1000))
			})
			o := quick()
			o.BytesPerSecond = 1
			c := newClient(t, o)
			for range 100 {
				c.limits.spend(1)
			}
			_, err := c.Get(context.Background(), Request{URL: url, Limit: 1000})
			requireBusy(t, err)
			require.EqualValues(t, 1, count.Load(), "it does not come faster the next time")
			requireIdle(t, c)
		})
	}
}

// TestBodiesNobodyWantsCount: what is thrown away has come all the same.
func TestBodiesNobodyWantsCount(t *testing.T) {
	url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, strings.Repeat("x", 99), http.StatusNotFound)
	})
	c := newClient(t, Options{BytesPerSecond: 1000})
	refused(t, c, url, protocol.CodeHTTPStatus)
	require.Less(t, c.limits.bytes.Tokens(), 1000.0)
}

// TestBlame: a deadline that passed because of our own queue is not the
// repository's fault.
func TestBlame(t *testing.T) {
	silent := &failure{code: protocol.CodeUnreachable, err: errTotal}
	require.Equal(t, protocol.CodeBusy, (&errand{waited: 31 * time.Second}).blame(silent, time.Minute).code)
	require.Same(t, silent, (&errand{waited: 29 * time.Second}).blame(silent, time.Minute))
	other := &failure{code: protocol.CodeHTTPStatus}
	require.Same(t, other, (&errand{waited: time.Minute}).blame(other, time.Minute))
}

// TestGuesses take what is spare and never wait.
func TestGuesses(t *testing.T) {
	url, count := serve(t, func(http.ResponseWriter, *http.Request) {})
	guess := func(c *Client) error {
		_, err := c.Get(context.Background(), Request{URL: url, Guess: true})
		requireIdle(t, c)
		return err
	}
	require.NoError(t, guess(newClient(t, quick())))
	for _, o := range []Options{{MaxRequests: 1}, {RequestsPerSecond: 1}, {BytesPerSecond: 1}} {
		c := newClient(t, o)
		if o.BytesPerSecond == 1 {
			c.limits.spend(1)
		}
		requireBusy(t, guess(c))
	}
	require.EqualValues(t, 1, count.Load())

	l := newLimits(Options{MaxRequests: 4, RequestsPerSecond: 100})
	e := &errand{caller: context.Background(), timed: context.Background(), guess: true}
	for range 3 {
		require.Nil(t, l.enter(e))
	}
	require.Equal(t, protocol.CodeBusy, l.enter(e).code, "one slot is for what is asked in earnest")
	for range 3 {
		l.leave(e)
	}
	require.Empty(t, l.slots)
	for l.enter(e) == nil {
		l.leave(e)
	}
	require.GreaterOrEqual(t, l.requests.Tokens(), 50.0)
	require.Zero(t, e.waited)
}

// TestLimitsOfAnySize are taken as they are.
func TestLimitsOfAnySize(t *testing.T) {
	url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "x") })
	for _, o := range []Options{
		{RequestsPerSecond: math.MaxFloat64, MaxRequests: math.MaxInt, MaxWaiting: math.MaxInt, BytesPerSecond: math.MaxInt64},
		{RequestsPerSecond: math.SmallestNonzeroFloat64, MaxRequests: 1, MaxWaiting: 1, BytesPerSecond: 1},
	} {
		b, e := get(t, newClient(t, o), url)
		require.Nil(t, e)
		require.Equal(t, "x", string(b))
	}
}

package webserver

import (
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// observer remembers what it is told.
type observer struct {
	mu  sync.Mutex
	all []Request
}

func (o *observer) observe(r Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, r)
}

// next waits for what it is told beyond the first n.
func (o *observer) next(t *testing.T, n int) Request {
	t.Helper()
	require.Eventually(t, func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return len(o.all) > n
	}, time.Minute, time.Millisecond)
	return o.all[n]
}

// TestObserver: it is told of answers, of what is beyond a limit, and of connections.
func TestObserver(t *testing.T) {
	var o observer
	h, waiting, released := blocking()
	s := start(t, Config{MaxConnections: 16, Rate: 1, Observe: o.observe}, h, nil)
	client := newClient(t, &http.Transport{})
	var work sync.WaitGroup
	for range 2 {
		work.Go(func() { get(t, client, s.url+"/a?secret") })
		<-waiting
	}
	get(t, client, s.url+"/b")
	r := o.next(t, 0)
	require.Equal(t, []any{"/b", 429, LimitClient}, []any{r.Path, r.Status, r.Limit})
	require.Positive(t, r.Took)
	close(released)
	work.Wait()
	r = o.next(t, 1)
	r.Took = 0
	require.Equal(t, Request{Path: "/a", Status: 200, Bytes: 4}, r)
	o.next(t, 2)
	require.Contains(t, exchange(t, s.addr, "GET /c HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"), "413")
	require.Equal(t, LimitBody, o.next(t, 3).Limit)

	s.room <- struct{}{}
	for len(s.room) < cap(s.room) {
		s.room <- struct{}{}
	}
	resp, _ := get(t, client, s.url+"/d")
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.Equal(t, LimitRequests, o.next(t, 4).Limit)
	for {
		if resp, _ := get(t, client, s.url+"/e"); resp.StatusCode == http.StatusTooManyRequests {
			break
		}
	}
	require.Eventually(t, func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.all[len(o.all)-1].Limit == LimitRate
	}, time.Minute, time.Millisecond)
}

func TestObserverOfConnections(t *testing.T) {
	told := make(chan struct{}, 1)
	l, accepted, _ := accepting(t, 3, newShare(3), func() { told <- struct{}{} })
	dial(t, l)
	first := <-accepted
	defer first.Close()
	refused := dial(t, l)
	_, err := refused.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	<-told
}

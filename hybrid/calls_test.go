package hybrid

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCallsEnd(t *testing.T) {
	c := newCalls()
	<-newCalls().end()
	require.True(t, c.enter())
	done := make(chan struct{})
	c.work(func() { <-done })
	idle := c.end()
	require.Equal(t, idle, c.end(), "may be called again")
	require.False(t, c.enter())
	c.leave()
	select {
	case <-idle:
		t.Fatal("there is still work in flight")
	default:
	}
	close(done)
	<-idle
	require.False(t, c.enter())
}

func TestCallsUnderLoad(t *testing.T) {
	c := newCalls()
	var inside atomic.Int64
	var all sync.WaitGroup
	started := make(chan struct{}, 8)
	for range cap(started) {
		all.Go(func() {
			for n := 0; c.enter(); n++ {
				inside.Add(1)
				if n == 100 {
					started <- struct{}{}
				}
				inside.Add(-1)
				c.leave()
			}
		})
	}
	for range cap(started) {
		<-started
	}
	<-c.end()
	require.Zero(t, inside.Load())
	all.Wait()
}

package hybrid

import (
	"math"
	"sync"
	"sync/atomic"
)

// calls counts the calls in flight and refuses new ones after the end, without
// a lock: calls that run side by side do not wait for each other.
type calls struct {
	// n is the number of calls in flight, plus ended once no more may begin.
	n    atomic.Int64
	once sync.Once
	idle chan struct{}
}

const ended = math.MaxInt64 / 2

func newCalls() *calls { return &calls{idle: make(chan struct{})} }

// enter begins a call, which leave ends; it returns false after end.
func (c *calls) enter() bool {
	if c.n.Add(1) < ended {
		return true
	}
	c.leave()
	return false
}

func (c *calls) leave() {
	if c.n.Add(-1) == ended {
		c.once.Do(func() { close(c.idle) })
	}
}

// work runs f in the background as part of a call in flight.
func (c *calls) work(f func()) {
	c.n.Add(1)
	go func() {
		defer c.leave()
		f()
	}()
}

// end refuses calls from now on. The channel is closed when none is in flight.
func (c *calls) end() <-chan struct{} {
	c.n.Add(1) // Not to be the last one before it is known that this is the end.
	for n := c.n.Load(); n < ended && !c.n.CompareAndSwap(n, n+ended); n = c.n.Load() {
	}
	c.leave()
	return c.idle
}

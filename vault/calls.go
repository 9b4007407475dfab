package vault

import (
	"context"
	"sync"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// calls are the calls of a vault in flight. What they tell of is not delivered any
// more once its events have ended, so these end last.
type calls struct {
	// ctx ends with the vault.
	ctx    context.Context
	cancel context.CancelFunc

	mu    sync.Mutex
	n     int
	ended bool
	// idle is closed when ended and n is 0.
	idle chan struct{}
}

func newCalls() *calls {
	c := &calls{idle: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// begin counts a call until leave is called. Its context ends with the vault, too.
// The error is of class usage, and leave does nothing, after end.
func (c *calls) begin(ctx context.Context) (_ context.Context, leave func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return ctx, func() {}, tuferr.New(protocol.CodeUsage, "the vault has been shut down")
	}
	c.n++
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.ctx, cancel)
	return ctx, func() {
		stop()
		cancel()
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.n--; c.ended && c.n == 0 {
			close(c.idle)
		}
	}, nil
}

// end cancels calls and refuses new ones. The channel is closed when none is in
// flight.
func (c *calls) end() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.ended = true
		c.cancel()
		if c.n == 0 {
			close(c.idle)
		}
	}
	return c.idle
}

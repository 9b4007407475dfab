package hybrid

import (
	"context"
	"sync"

	"github.com/ragnos-labs/vault-tuf/internal/engine"
)

// flight lets callers that ask at the same time share one refresh. It runs
// under the client's context and ends early only when no caller waits for it
// any more: one that gives up does not take it from the others.
type flight struct {
	mu  sync.Mutex
	now *refreshing
}

type refreshing struct {
	done    chan struct{}
	cancel  context.CancelFunc
	waiters int
	s       *session
	err     error
}

// do returns the result of the refresh under way, or of a new one made by run,
// which calls counts until it has ended. The caller must be counted, too.
func (f *flight) do(ctx, base context.Context, calls *calls, run func(context.Context) (*session, error)) (*session, error) {
	f.mu.Lock()
	r := f.now
	if r == nil {
		r = &refreshing{done: make(chan struct{})}
		var runCtx context.Context
		runCtx, r.cancel = context.WithCancel(base)
		f.now = r
		calls.work(func() { f.fly(runCtx, r, run) })
	}
	r.waiters++
	f.mu.Unlock()
	defer f.leave(r)
	select {
	case <-r.done:
		return r.s, r.err
	case <-ctx.Done():
		return nil, engine.Cancelled(ctx)
	}
}

func (f *flight) fly(ctx context.Context, r *refreshing, run func(context.Context) (*session, error)) {
	defer r.cancel()
	r.s, r.err = run(ctx)
	f.mu.Lock()
	if f.now == r {
		f.now = nil
	}
	f.mu.Unlock()
	close(r.done)
}

// leave takes one waiter from a refresh; the last one to go cancels it.
func (f *flight) leave(r *refreshing) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.waiters--; r.waiters == 0 {
		r.cancel()
		if f.now == r {
			f.now = nil // Nobody may join what has been cancelled.
		}
	}
}

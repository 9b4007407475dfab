package repository

import (
	"context"
	"time"
)

// retryResign is how long [Repository.KeepFresh] waits after an error, for others
// who change the repository, and the longest it sleeps: a clock that jumps is
// noticed that soon, and somebody who is asked for a passphrase and does not answer.
const retryResign = time.Minute

// Resign signs timestamp anew when half of its lifetime is over, and snapshot
// too when half of its own is. It returns when the next signature is due.
//
// It needs the keys of those two roles only, blocks until done or ctx ends, and
// is safe beside publishing processes.
func (r *Repository) Resign(ctx context.Context) (time.Time, error) {
	due, _, err := r.resign(ctx, 0)
	return due, during("re-sign", err)
}

// resign also says whether anything was signed. With patience it fails where others
// have the lock for longer.
func (r *Repository) resign(ctx context.Context, patience time.Duration) (next time.Time, signed bool, err error) {
	// Most often nothing is due: then nobody is kept from publishing.
	s, err := r.load(ctx)
	if err != nil && !r.unfinished() {
		return time.Time{}, false, err
	}
	if err == nil && !r.unfinished() && s.now.Before(s.due(roleTimestamp)) && s.now.Before(s.due(roleSnapshot)) {
		return earlier(s.due(roleTimestamp), s.due(roleSnapshot)), false, nil
	}
	if patience > 0 {
		if err := r.awaitTurn(ctx, patience); err != nil {
			return time.Time{}, false, err
		}
	}
	if _, err := r.change(ctx, func(c *change) error {
		c.renew[roleSnapshot] = !c.now.Before(c.due(roleSnapshot))
		c.renew[roleTimestamp] = !c.now.Before(c.due(roleTimestamp))
		signed = c.renew[roleSnapshot] || c.renew[roleTimestamp]
		return nil
	}); err != nil {
		return time.Time{}, false, err
	}
	if s, err = r.load(ctx); err != nil {
		return time.Time{}, signed, err
	}
	return earlier(s.due(roleTimestamp), s.due(roleSnapshot)), signed, nil
}

// awaitTurn waits until nobody has the lock.
func (r *Repository) awaitTurn(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	release, err := lock(ctx, r.dir)
	if err == nil {
		release()
	}
	return err
}

// due is the middle of the lifetime of timestamp or snapshot.
func (s *state) due(role string) time.Time {
	doc := s.timestamp
	if role == roleSnapshot {
		doc = s.snapshot
	}
	return doc.Expires.Add(-s.config.Lifetimes.of(role) / 2)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// KeepFresh re-signs timestamp and snapshot whenever they are due, until ctx
// ends. It hands every error to report, and nil once it is over, and goes on: the
// repository stays usable until the metadata expires. Each signed is called after
// signatures.
func (r *Repository) KeepFresh(ctx context.Context, report func(error), signed ...func()) {
	r.keepFresh(ctx, retryResign, report, signed...)
}

func (r *Repository) keepFresh(ctx context.Context, retry time.Duration, report func(error), signed ...func()) {
	failing := false
	for ctx.Err() == nil {
		began := time.Now()
		due, renewed, err := r.resign(ctx, retry)
		if renewed {
			for _, f := range signed {
				f()
			}
		}
		if ctx.Err() != nil {
			return
		}
		wait := retry
		if err != nil {
			report(during("re-sign", err))
			wait -= time.Since(began) // Who has waited for others goes on waiting.
		} else {
			if failing {
				report(nil)
			}
			wait = min(wait, max(due.Sub(r.clock()), 10*time.Millisecond))
		}
		failing = err != nil
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
}

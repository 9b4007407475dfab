package repository

import (
	"context"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// retryResign is how long [Repository.KeepFresh] waits after an error, and the
// longest it sleeps: a clock that jumps is noticed that soon.
const retryResign = time.Minute

// Resign signs timestamp anew when half of its lifetime is over, and snapshot
// too when half of its own is. It returns when the next signature is due.
//
// It needs the keys of those two roles only, blocks until done or ctx ends, and
// is safe beside publishing processes.
func (r *Repository) Resign(ctx context.Context) (time.Time, error) {
	due, err := r.resign(ctx)
	return due, during("re-sign", err)
}

func (r *Repository) resign(ctx context.Context) (time.Time, error) {
	release, err := lock(ctx, r.dir)
	if err != nil {
		return time.Time{}, err
	}
	defer release()
	s, err := r.loadOnline()
	if err != nil {
		return time.Time{}, err
	}
	snapshotDue := r.due(metadata.SNAPSHOT, s.snapshot.Signed.Expires)
	timestampDue := r.due(metadata.TIMESTAMP, s.timestamp.Signed.Expires)
	roles := []string{metadata.TIMESTAMP}
	switch {
	case !s.now.Before(snapshotDue):
		roles = append(roles, metadata.SNAPSHOT)
	case s.now.Before(timestampDue):
		return earlier(snapshotDue, timestampDue), nil
	}
	signers, err := r.signersFor(roles...)
	if err != nil {
		return time.Time{}, err
	}
	if err := sweep(r.metadataPath("")); err != nil {
		return time.Time{}, err
	}
	if err := r.commit(s, signers); err != nil {
		return time.Time{}, err
	}
	return earlier(r.due(metadata.SNAPSHOT, s.snapshot.Signed.Expires),
		r.due(metadata.TIMESTAMP, s.timestamp.Signed.Expires)), nil
}

// due is the middle of the lifetime that ends at expires.
func (r *Repository) due(role string, expires time.Time) time.Time {
	return expires.Add(-r.lifetimes.of(role) / 2)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// KeepFresh re-signs timestamp and snapshot whenever they are due, until ctx
// ends. It hands every error to report and goes on: the repository stays
// usable until the metadata expires.
func (r *Repository) KeepFresh(ctx context.Context, report func(error)) {
	for ctx.Err() == nil {
		wait := retryResign
		due, err := r.Resign(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			report(err)
		default:
			wait = min(wait, max(due.Sub(r.clock()), 10*time.Millisecond))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
}

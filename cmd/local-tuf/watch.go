package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/repository"
)

const (
	// watchEvery is how often a server looks at its repository by itself.
	watchEvery = 10 * time.Minute
	// remindEvery is how often it says again what it has said.
	remindEvery = 24 * time.Hour
	// resignMemory is how long the latest failure to sign counts, unless it is heard
	// before that signing works: it is tried again each minute.
	resignMemory = 150 * time.Second
)

// watch tells the operator in time: of roles that people must sign soon, of
// metadata that has expired or cannot be used, of signatures that the server
// cannot make. Its methods are safe for concurrent use.
type watch struct {
	log *slog.Logger

	mu sync.Mutex
	// status, problems and said are what was logged last of the repository.
	status   repository.Health
	problems int
	said     time.Time
	// failure is the latest failure to sign anew; complaint is the one that was
	// logged last.
	failure, complaint     error
	failureAt, complaintAt time.Time
}

func newWatch(log *slog.Logger) *watch { return &watch{log: log, status: repository.Healthy} }

// run looks at the repository until ctx ends: at what health checks are told, and
// where that is the worst, at the reason.
func (w *watch) run(ctx context.Context, health func() repository.Status, status func(context.Context) (repository.Status, error)) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		st := health()
		var err error
		if st.Status == repository.Down {
			_, err = status(ctx)
		}
		if ctx.Err() == nil {
			w.look(st, err, time.Now())
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look logs what has changed, and once a day what has not.
func (w *watch) look(st repository.Status, err error, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	// The words may count days; their number does not.
	same := st.Status == w.status && len(st.Problems) == w.problems
	if same && (st.Status == repository.Healthy || now.Sub(w.said) < remindEvery) {
		return
	}
	w.status, w.problems, w.said = st.Status, len(st.Problems), now
	switch {
	case st.Status == repository.Healthy:
		w.log.Info("the repository is in order again")
	case err != nil:
		w.log.Error("the repository cannot be used", "error", err.Error())
	default:
		w.log.Warn("the repository needs attention", "status", st.Status, "problems", st.Problems)
	}
}

// notSigned takes note that timestamp or snapshot could not be signed anew.
func (w *watch) notSigned(err error, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	still := now.Sub(w.failureAt) < resignMemory
	w.failure, w.failureAt = err, now
	if still && err.Error() == w.complaint.Error() && now.Sub(w.complaintAt) < remindEvery {
		return
	}
	w.complaint, w.complaintAt = err, now
	w.log.Error("cannot sign anew; tried again each minute", "error", err.Error())
}

// signing takes note that they are signed anew again, by whomever.
func (w *watch) signing() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failure, w.failureAt = nil, time.Time{}
}

// amend adds to the answer of a health check what only the server knows.
func (w *watch) amend(st *repository.Status) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failure == nil || time.Since(w.failureAt) > resignMemory {
		return
	}
	if st.Status == repository.Healthy {
		st.Status = repository.Degraded
	}
	// The error itself names local files.
	why, _ := tuferr.CodeOf(w.failure).Lookup()
	st.Problems = append(st.Problems, "timestamp and snapshot cannot be signed anew: "+why.Meaning)
}

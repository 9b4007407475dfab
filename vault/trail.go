package vault

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/audit"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

const (
	// maxUnwritten is how many events wait for an audit log that cannot be written;
	// beyond it the oldest are only counted.
	maxUnwritten = 1024
	// settleTime bounds what the end of a call waits for the audit log.
	settleTime = 5 * time.Second
)

// entry is what the audit log keeps of an event: no text, which may hold what is
// this user's business, and no local path.
type entry struct {
	Code       EventCode       `json:"code"`
	Severity   hybrid.Severity `json:"severity"`
	Repository string          `json:"repository,omitempty"`
	Target     string          `json:"target,omitempty"`
	Evidence   Evidence        `json:"evidence,omitzero"`
	// Count is how many events before this one could not be written.
	Count int `json:"count,omitempty"`
}

// bound shortens texts, which strangers may have chosen, until the whole fits into a
// line: one that does not would keep all that come after it out of the log.
func (x *entry) bound() {
	all := []reflect.Value{reflect.ValueOf(&x.Repository).Elem(), reflect.ValueOf(&x.Target).Elem()}
	for _, f := range reflect.ValueOf(&x.Evidence).Elem().Fields() {
		if f.Kind() == reflect.String {
			all = append(all, f)
		}
	}
	for _, most := range []int{4 << 10, 512} {
		sum := 0
		for _, text := range all {
			sum += text.Len()
		}
		if 6*sum < audit.MaxEvent-1024 { // What is escaped is up to six times as long.
			return
		}
		for _, text := range all {
			if text.Len() > most {
				text.SetString(strings.ToValidUTF8(text.String()[:most], "") + "…")
			}
		}
	}
}

// trail writes the events of a vault to its audit log, in order. What could not be
// written is tried again with what comes next. The nil trail writes nothing.
type trail struct {
	dir string
	now func() time.Time
	// lost is told when the log cannot be written.
	lost func(error)
	// turn is held by whoever writes; log is nil until somebody has.
	turn chan struct{}
	log  *audit.Log

	mu      sync.Mutex
	waiting []any
	// skipped counts what was dropped, added and written what there was. gone is the
	// number of the last event that was dropped and will not be written.
	skipped, added, written, gone int
	// broken says that the log could not be written when that was last tried.
	broken bool
}

func newTrail(dir string, now func() time.Time, lost func(error)) *trail {
	if dir == "" {
		return nil
	}
	return &trail{dir: dir, now: now, lost: lost, turn: make(chan struct{}, 1)}
}

// add queues an event.
func (t *trail) add(e Event) {
	if t == nil {
		return
	}
	x := entry{Code: e.Code, Severity: e.Severity, Repository: e.Repository, Target: e.Target, Evidence: e.Evidence}
	x.Evidence.Path, x.Evidence.URL = "", publicURL(x.Evidence.URL)
	x.bound()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.added++
	if t.waiting = append(t.waiting, x); len(t.waiting) > maxUnwritten {
		t.waiting, t.skipped = t.waiting[1:], t.skipped+1
	}
}

// flush returns when everything that was added before is on the disk. Callers at the
// same time share the wait.
func (t *trail) flush(ctx context.Context) error {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	upTo := t.added
	t.mu.Unlock()
	if t.has(upTo) {
		return nil
	}
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		t.mu.Lock()
		t.broken = true // Who has the turn may never come back: let a status look.
		t.mu.Unlock()
		return tuferr.Cancelled(ctx)
	}
	if t.has(upTo) {
		return nil // Whoever had the turn before has; what came since is for those who wait for it.
	}
	events, last := t.take()
	err := t.write(ctx, events)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.broken = err != nil; t.broken {
		return err
	}
	t.written = last
	since := min(t.added-last, len(t.waiting))
	t.skipped = t.added - last - since // What was dropped meanwhile and is written is not lost.
	t.waiting = slices.Clone(t.waiting[len(t.waiting)-since:])
	return nil
}

// mark is the number of the last event that was added.
func (t *trail) mark() int {
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.added
}

// keep is flush, and an error if what was added behind the mark had to be dropped
// before it could be written.
func (t *trail) keep(ctx context.Context, mark int) error {
	if err := t.flush(ctx); t == nil || err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone > mark {
		return tuferr.New(protocol.CodeLocalIO, "more than %d events waited for it, and this one was dropped", maxUnwritten)
	}
	return nil
}

// failed says whether the log could not be written when that was last tried.
func (t *trail) failed() bool {
	if t == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.broken
}

// has says whether so many events are on the disk, or were dropped and counted there.
func (t *trail) has(upTo int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.written >= upTo
}

// take returns what waits, and the number of the last of it.
func (t *trail) take() (events []any, last int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.skipped > 0 {
		t.gone = t.added - len(t.waiting)
		events = append(events, entry{Code: EventAudit, Severity: hybrid.SeverityCritical, Count: t.skipped})
	}
	return append(events, t.waiting...), t.added
}

func (t *trail) write(ctx context.Context, events []any) error {
	if t.log == nil {
		var err error
		if t.log, err = audit.OpenContext(ctx, t.dir, audit.Options{Now: t.now, OnCheckpointError: t.lost}); err != nil {
			return err
		}
	}
	return t.log.Append(ctx, events...)
}

// close writes what waits, signs a checkpoint and ends the log. If ctx has ended, calls
// may still be in flight, and the log stays open for what they tell of.
func (t *trail) close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	err := t.flush(ctx)
	if ctx.Err() != nil {
		return tuferr.Cancelled(ctx)
	}
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return tuferr.Cancelled(ctx)
	}
	if t.log == nil {
		return err
	}
	if cerr := t.log.Close(ctx); cerr != nil && err == nil {
		t.lost(cerr) // A process that writes a few lines signs nowhere else.
		return cerr
	}
	return err
}

// unaudited is the error of an installation that could not be put on record.
func unaudited(err error) error {
	e := tuferr.As(err)
	if e == nil {
		e = tuferr.New(protocol.CodeLocalIO, "%w", err)
	}
	copied := *e
	copied.Msg = "the audit log cannot be written, and nothing is installed without it: " + e.Msg
	return &copied
}

// auditLost raises the event of an audit log that cannot be written. It does not go
// there.
func (v *Vault) auditLost(err error) {
	e := Event{Code: EventAudit, Severity: hybrid.SeverityCritical, Message: scrub(fmt.Sprintf("the audit log cannot be written: %v", err))}
	e.rest(err)
	v.raise(e)
}

// settle puts on record what a call has told of, whatever became of it.
func (v *Vault) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	if err := v.trail.flush(ctx); err != nil {
		v.auditLost(err)
	}
}

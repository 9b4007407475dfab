package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/verify"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// clockLag is by how much the clock on disk may lag behind what has happened; it
// is never ahead. The package documentation says what that costs.
const clockLag = time.Minute

// clock is the content of the clock file.
type clock struct {
	Floor       time.Time `json:"floor"`
	LastRefresh time.Time `json:"last_refresh"`
	// At are the versions that were verified when the floor was set.
	At Floors `json:"at"`
}

func (c clock) equal(o clock) bool {
	return c.Floor.Equal(o.Floor) && c.LastRefresh.Equal(o.LastRefresh)
}

// worth reports whether the clock is so far ahead of what the disk holds that it
// must be written.
func (c clock) worth(disk clock) bool {
	return c.Floor.Sub(disk.Floor) >= clockLag || c.LastRefresh.Sub(disk.LastRefresh) >= clockLag
}

// ahead is how far the clock is ahead of the disk in this process. It holds for
// what the disk held then: a clock that another process has written takes its
// place, as that may have been lowered.
type ahead struct {
	mu        sync.Mutex
	disk, now clock
}

func (a *ahead) of(disk clock) clock {
	return a.advance(disk, func(c clock) clock { return c })
}

// advance replaces the clock by what f makes of it.
func (a *ahead) advance(disk clock, f func(clock) clock) clock {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.disk.equal(disk) {
		a.disk, a.now = disk, disk
	}
	a.now = f(a.now)
	return a.now
}

// loadClock reads the clock file. A damaged one cannot be rebuilt.
func (x *session) loadClock() (c clock, err error) {
	c, x.sights[x.clockPath()], err = recall(x.Store, x.clockPath(), maxRecord, unseal[clock])
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return clock{}, nil
	case errors.Is(err, errDamaged):
		x.event(Event{Code: EventClockLost, Severity: Warning, Path: x.clockPath(),
			Message: "the clock floor and the time of the last refresh are lost"})
		return clock{}, x.quarantine(x.clockPath(), "", err.Error())
	}
	return c, err
}

// advance records a fully verified refresh. The floor stays below the earliest
// expiry of what was verified, whatever start says; without targets, whose
// expiry is then unknown, it stays where it is.
func (c clock) advance(start time.Time, root, timestamp, snapshot, targets *admission.Doc) clock {
	start = start.UTC().Round(0)
	if start.After(c.LastRefresh) {
		c.LastRefresh = start
	}
	if targets == nil {
		return c
	}
	floor := start
	for _, d := range []*admission.Doc{root, timestamp, snapshot, targets} {
		if d.Expires.Before(floor) {
			floor = d.Expires
		}
	}
	if floor.After(c.Floor) {
		c.Floor, c.At = floor, Floors{
			Root: root.Version, Timestamp: timestamp.Version, Snapshot: snapshot.Version,
			Roles: map[string]int64{targetsFile: targets.Version},
		}
	}
	return c
}

// Touch records a verified refresh that found the repository as v has it, with
// the top-level targets that were verified, at the given update start time. It returns v with the clock floor and the time of the
// refresh that hold then. Both go to the disk only when that lags behind by
// [clockLag]; otherwise nothing is written and no lock is taken. Whoever calls it
// has found that v stands. Errors as [Store.Commit], when something is written.
func (s *Store) Touch(ctx context.Context, v *View, start time.Time, targets *admission.Doc) (*View, error) {
	if v.Timestamp == nil || v.Snapshot == nil {
		return nil, tuferr.New(protocol.CodeInternal, "a refresh without timestamp or snapshot")
	}
	disk := v.state.clock
	now := s.ahead.advance(disk, func(c clock) clock {
		return c.advance(start, v.Root, v.Timestamp, v.Snapshot, targets)
	})
	if now.worth(disk) {
		out := &engine.Outcome{Timestamp: v.Timestamp, Snapshot: v.Snapshot}
		if targets != nil {
			out.Targets = []engine.Verified{{Role: "targets", Delegator: "root", Doc: targets}}
		}
		return s.Commit(ctx, v, out, CommitInfo{Start: start, Complete: true})
	}
	touched := *v
	touched.ClockFloor, touched.LastRefresh = now.Floor, now.LastRefresh
	return &touched, nil
}

// DisproveClock lowers the clock floor to now if doc proves it wrong, and says
// whether it did. The proof is metadata of a top-level role that is signed as
// the store's root (for root metadata: as the chain) demands, newer than what
// was verified when the floor was set, not expired now, and expired at the
// floor: nobody signs what has expired already. An attacker gains nothing by it:
// with the clock set back, the older metadata in the store would do as well.
//
// Call it when metadata is refused as expired and now is before the clock floor;
// if it returns true, start again. Errors as [Store.View].
func (s *Store) DisproveClock(ctx context.Context, now time.Time, role string, doc *admission.Doc) (bool, error) {
	lowered := false
	err := s.locked(ctx, func(x *session) error {
		st, err := x.load()
		if err != nil {
			return err
		}
		st.clock = x.ahead.of(st.clock)
		if !st.disproves(now, role, doc) {
			return nil
		}
		was := st.clock.Floor
		st.clock = clock{Floor: now.UTC().Round(0), At: st.clock.At}
		x.event(Event{Code: EventClockLowered, Severity: Warning, Role: role, Received: doc.Version,
			Message: fmt.Sprintf("the clock was wrong: lowered the clock floor from %s to %s, as newer metadata expires at %s",
				was.Format(time.RFC3339), now.UTC().Format(time.RFC3339), doc.Expires.Format(time.RFC3339))})
		lowered = true
		return x.seal(x.clockPath(), st.clock)
	})
	return lowered && err == nil, err
}

func (st *state) disproves(now time.Time, role string, doc *admission.Doc) bool {
	if !now.Before(st.clock.Floor) || !now.Before(doc.Expires) || doc.Expires.After(st.clock.Floor) {
		return false
	}
	at := st.clock.At.After(st.chain...)
	switch admission.Kind(role) {
	case admission.KindRoot:
		return doc.SHA256 == st.root().SHA256 && doc.Version > st.clock.At.Root
	case admission.KindTimestamp:
		return doc.Version > at.Timestamp && verify.Signed(st.root(), role, doc) == nil
	case admission.KindSnapshot:
		return doc.Version > at.Snapshot && verify.Signed(st.root(), role, doc) == nil
	case admission.KindTargets:
		return doc.Version > at.Roles[targetsFile] && verify.Signed(st.root(), role, doc) == nil
	}
	return false
}

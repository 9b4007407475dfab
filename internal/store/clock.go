package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/verify"
)

// clock is the content of the clock file.
type clock struct {
	Floor       time.Time `json:"floor"`
	LastRefresh time.Time `json:"last_refresh"`
	// At are the versions that were verified when the floor was set.
	At Floors `json:"at"`
}

// loadClock reads the clock file. A damaged one cannot be rebuilt.
func (x *session) loadClock() (c clock, err error) {
	raw, _, err := readBounded(x.clockPath(), maxRecord)
	if err == nil {
		err = unseal(raw, &c)
	}
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
// expiry of what was verified, whatever start says.
func (c clock) advance(start time.Time, root *admission.Doc, out *engine.Outcome) clock {
	start = start.UTC().Round(0)
	docs := []*admission.Doc{root, out.Timestamp, out.Snapshot}
	at := Floors{Root: root.Version, Timestamp: out.Timestamp.Version, Snapshot: out.Snapshot.Version}
	if targets := out.Find("targets", "root"); targets != nil {
		docs = append(docs, targets)
		at.Roles = map[string]int64{targetsFile: targets.Version}
	}
	floor := start
	for _, d := range docs {
		if d.Expires.Before(floor) {
			floor = d.Expires
		}
	}
	if floor.After(c.Floor) {
		c.Floor, c.At = floor, at
	}
	if start.After(c.LastRefresh) {
		c.LastRefresh = start
	}
	return c
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

package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
)

// View is what the store trusted at one moment. It is immutable and safe for
// concurrent use; later commits do not change it.
type View struct {
	// Anchor is the pinned root, Root the newest that follows from it. When the
	// history is damaged Root is older than Floors.Root: what a refresh ends with
	// must then pass Floors.CheckRoot.
	Anchor, Root *admission.Doc
	// Timestamp and Snapshot are admitted, not verified against Root; nil if
	// there is none.
	Timestamp, Snapshot *admission.Doc
	// Floors are the versions below which nothing may be accepted.
	Floors Floors
	// ClockFloor is the latest start time of a fully verified refresh,
	// LastRefresh that of the last one; zero if there was none.
	ClockFloor, LastRefresh time.Time

	store *Store
	state *state
}

// View reads what the store trusts now, verifies the root history from the
// anchor, and heals what is damaged. It holds the lock for a short time; files
// that did not change since they were last read are not parsed again.
//
// Errors: no_root before the first Pin, root_conflict if root.json was changed,
// locked if ctx ends first, and local_io, disk_full or permissions.
func (s *Store) View(ctx context.Context) (*View, error) {
	var v *View
	err := s.locked(ctx, func(x *session) error {
		st, err := x.load()
		if err == nil {
			v = s.view(st)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

// view returns the view of a state, which nobody changes from now on.
func (s *Store) view(st *state) *View {
	c := s.ahead.of(st.clock)
	return &View{
		Anchor: st.anchor, Root: st.root(), Timestamp: st.timestamp, Snapshot: st.snapshot,
		Floors: st.record.Floors, ClockFloor: c.Floor, LastRefresh: c.LastRefresh,
		store: s, state: st,
	}
}

// Stands reports whether the store still is what the view shows, as far as a
// look at its files from outside can tell: nobody has written since the view
// was taken, or returned by Commit. It needs no lock, reads no file and takes
// microseconds. In doubt it is false, as it is for files written so shortly
// before that their times cannot tell one change from the next: then take
// another view. It does not look at the files of targets roles.
func (v *View) Stands() bool { return stand(v.state.sights) }

// Role returns the stored metadata of a targets role, admitted but not verified,
// or nil if there is none that can be read. It may be newer than the view, if
// another process has committed since. An unchanged file is parsed once.
func (v *View) Role(name string) *admission.Doc {
	if admission.KindOf(name) != admission.KindTargets {
		return nil
	}
	// A name that the floors do not know may share its file with one they do,
	// where the file system ignores case.
	if _, listed := v.Floors.Roles[name+metaSuffix]; !listed && !isTopLevel(name) {
		return nil
	}
	path := v.store.public(v.state.names.of(name))
	doc, err := v.store.read(path, admission.KindTargets)
	if err == nil {
		return doc
	}
	if errors.Is(err, errDamaged) {
		v.store.mu.Lock()
		v.store.suspects[path] = name
		v.store.mu.Unlock()
	}
	return nil
}

// Start returns the update start time to use at the given time of the clock: not
// before the clock floor (5.1).
func (v *View) Start(now time.Time) time.Time {
	if now.Before(v.ClockFloor) {
		return v.ClockFloor
	}
	return now
}

// ID identifies the trusted root, timestamp and snapshot: two views with the
// same ID lead to the same answers.
func (v *View) ID() string {
	h := sha256.New()
	for _, d := range []*admission.Doc{v.Anchor, v.Root, v.Timestamp, v.Snapshot} {
		if d == nil {
			d = &admission.Doc{}
		}
		fmt.Fprintf(h, "%s\n", d.SHA256)
	}
	return hex.EncodeToString(h.Sum(nil))
}

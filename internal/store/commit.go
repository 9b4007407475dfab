package store

import (
	"context"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/verify"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// CommitInfo says what kind of operation is committed.
type CommitInfo struct {
	// Start is the operation's update start time (5.1). Zero leaves the clock
	// floor and the time of the last refresh alone.
	Start time.Time
	// Complete says that everything up to the top-level targets was verified.
	Complete bool
}

// Commit makes what was verified from view v the trusted state. It holds the
// lock while it writes, never while anybody waits for a network. It checks all
// versions against the floors once more: what comes before the first one that
// is too low is kept, and the error is the verdict rollback.
//
// The error is contention, and nothing is written, if another process has
// committed something else since the view was taken: take a new view and start
// again. That it has committed the same does no harm. Other errors: locked,
// local_io, disk_full, permissions; after those the store holds a prefix of
// what was to be written, and the next call works. Documents are not changed.
//
// The view it returns is the one that a call of View would, nil beside an error.
func (s *Store) Commit(ctx context.Context, v *View, out *engine.Outcome, info CommitInfo) (*View, error) {
	var after *View
	err := s.locked(ctx, func(x *session) error {
		st, err := x.load()
		if err != nil {
			return err
		}
		p, err := x.plan(st, v, out, info)
		if err != nil {
			return err
		}
		if p.refused != nil {
			p.refused = x.rollback(p.refused)
		}
		if err := x.apply(p); err != nil {
			return err
		}
		if p.refused != nil {
			return p.refused
		}
		if len(p.history) > 0 {
			// The history may go on behind what was written.
			if st, err = x.load(); err != nil {
				return err
			}
		}
		x.settle(st)
		after = s.view(st)
		return nil
	})
	return after, err
}

// plan decides what to write and makes st what holds then. Its error means that
// nothing may be written.
func (x *session) plan(st *state, v *View, out *engine.Outcome, info CommitInfo) (*plan, error) {
	final, err := follow(v.Root, out.Roots)
	if err != nil {
		return nil, err
	}
	if info.Complete && (out.Timestamp == nil || out.Snapshot == nil) {
		return nil, tuferr.New(protocol.CodeInternal, "a complete refresh without timestamp or snapshot")
	}
	p := &plan{}
	chain := st.chain[:len(st.chain):len(st.chain)]
	for _, root := range out.Roots {
		if root.Version > st.root().Version {
			chain = append(chain, root)
			p.history = append(p.history, rootFile(x.historyPath(root.Version), root))
		}
	}
	if rotated(st.record.Floors, chain) {
		p.rotatedBy, st.timestamp, st.snapshot, st.covered = final, nil, nil, nil
	}
	if err := contended(st, v, out, final); err != nil {
		return nil, err
	}
	floors := st.record.Floors.After(chain...)
	var files []file
	files, floors, p.refused = x.accept(st, floors, final, out, info)

	r := record{Anchor: st.anchor.SHA256, AnchorVersion: st.anchor.Version, Floors: floors}
	if !r.equal(st.record) {
		data, err := seal(r)
		if err != nil {
			return nil, err
		}
		p.records = append(p.records, file{path: x.floorsPath(), data: data, value: r})
	}
	st.chain, st.record = chain, r
	if root := chain[len(chain)-1]; len(p.history) > 0 && !x.newerExport(root) {
		p.exports = append(p.exports, rootFile(x.public("root.json"), root))
	}
	p.exports = append(p.exports, files...)
	now := x.ahead.of(st.clock)
	if p.refused == nil && info.Complete && !info.Start.IsZero() {
		now = x.ahead.advance(st.clock, func(c clock) clock {
			return c.advance(info.Start, final, out.Timestamp, out.Snapshot, out.Find("targets", "root"))
		})
	}
	if now.equal(st.clock) || p.empty() && !now.worth(st.clock) {
		return p, nil
	}
	data, err := seal(now)
	if err != nil {
		return nil, err
	}
	p.records = append(p.records, file{path: x.clockPath(), data: data, value: now})
	st.clock = now
	return p, nil
}

// follow checks that roots continue from trusted (5.3.4, 5.3.5).
func follow(trusted *admission.Doc, roots []*admission.Doc) (*admission.Doc, error) {
	for _, next := range roots {
		if err := verify.RootStep(trusted, next); err != nil {
			return nil, err
		}
		trusted = next
	}
	return trusted, nil
}

// contended compares what is stored now with what the view saw and with what is
// to be stored. What a rotation forgets is stored no more.
func contended(st *state, v *View, out *engine.Outcome, final *admission.Doc) error {
	for _, c := range []struct {
		role             string
		now, saw, writes *admission.Doc
	}{
		{"root", st.anchor, v.Anchor, nil},
		{"root", st.root(), v.Root, final},
		{"timestamp", st.timestamp, v.Timestamp, out.Timestamp},
		{"snapshot", st.snapshot, v.Snapshot, out.Snapshot},
	} {
		if c.now != nil && !same(c.now, c.saw) && !same(c.now, c.writes) {
			return contention(c.role)
		}
	}
	return nil
}

func same(a, b *admission.Doc) bool { return a != nil && b != nil && a.SHA256 == b.SHA256 }

func contention(role string) error {
	e := tuferr.New(protocol.CodeContention, "another process has changed what is trusted meanwhile")
	e.Role, e.Hint = role, "start again from what is trusted now"
	return e
}

// accept returns the files to write below root and the floors that hold then,
// up to the first version that goes back.
func (x *session) accept(st *state, f Floors, final *admission.Doc, out *engine.Outcome, info CommitInfo) ([]file, Floors, error) {
	var files []file
	add := func(name, role string, doc *admission.Doc) {
		files = append(files, file{path: x.public(name), role: role, data: doc.Raw, value: doc})
	}
	// What is stored already may lag behind its floor, but a complete refresh must
	// not end there.
	checked := func(doc, stored *admission.Doc) bool { return info.Complete || !same(doc, stored) }

	ts, snap := out.Timestamp, out.Snapshot
	if ts == nil {
		return nil, f, nil
	}
	if err := f.CheckRoot(final); err != nil {
		return nil, f, err
	}
	if checked(ts, st.timestamp) {
		if err := f.CheckTimestamp(ts); err != nil {
			return files, f, err
		}
		f = f.withTimestamp(ts)
	}
	if !same(ts, st.timestamp) {
		add("timestamp.json", "timestamp", ts)
		st.timestamp = ts
	}
	if snap == nil {
		return files, f, nil
	}
	covered := same(snap, st.covered) && snap.Version == f.Snapshot
	if checked(snap, st.snapshot) && !covered {
		if err := f.CheckSnapshot(snap); err != nil {
			return files, f, err
		}
		f, st.covered = f.withSnapshot(snap), snap
	}
	if !same(snap, st.snapshot) {
		add(snapshotFile, "snapshot", snap)
		st.snapshot = snap
	}
	if !f.sharesRoles(st.record.Floors) {
		st.names = newFileNames(f)
	}
	written := map[string]bool{}
	for _, v := range out.Targets {
		name := st.names.of(v.Role)
		if written[name] || admission.KindOf(v.Role) != admission.KindTargets {
			continue
		}
		stored := x.stored(x.public(name), v.Doc)
		if info.Complete || !stored {
			if err := f.CheckTargets(v.Role, v.Doc); err != nil {
				return files, f, err
			}
		}
		if !stored {
			add(name, v.Role, v.Doc)
		}
		written[name] = true
	}
	return files, f, nil
}

// stored reports whether a targets file holds the document already.
func (x *session) stored(path string, doc *admission.Doc) bool {
	have, err := x.read(path, admission.KindTargets)
	return err == nil && same(have, doc)
}

// newerExport reports whether root.json is a newer version of the chain than
// root: the history is being fetched again and has not come so far.
func (x *session) newerExport(root *admission.Doc) bool {
	have, err := x.read(x.public("root.json"), admission.KindRoot)
	return err == nil && have.Version > root.Version
}

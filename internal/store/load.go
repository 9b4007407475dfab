package store

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/verify"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// state is what the store trusts while the lock is held.
type state struct {
	anchor *admission.Doc
	// chain leads from the anchor to the trusted root, without a gap.
	chain               []*admission.Doc
	record              record
	timestamp, snapshot *admission.Doc
	// clock is what the disk holds; see ahead.
	clock clock
	// names are those of the roles that the floors list.
	names fileNames
	// covered is the snapshot from which the floors of the roles are; nil if none is
	// known to be.
	covered *admission.Doc
	// sights are of all that the state was read from.
	sights []sight
}

func (st *state) root() *admission.Doc { return st.chain[len(st.chain)-1] }

// load reads the store, finishes what a dead process began, and heals what is
// damaged. The errors are no_root, root_conflict and those of localError.
func (x *session) load() (*state, error) {
	if x.last != nil && !x.suspicious() && stand(x.last.sights) {
		st := *x.last
		for _, s := range st.sights {
			x.sights[s.path] = s
		}
		return &st, nil
	}
	x.last = nil
	if err := x.prepare(); err != nil {
		return nil, err
	}
	st := &state{}
	known, err := x.loadRecord(&st.record)
	if err != nil {
		return nil, err
	}
	if st.anchor, err = x.loadAnchor(st.record, known); err != nil {
		return nil, err
	}
	if known && st.record.Anchor != st.anchor.SHA256 {
		if st.record, err = x.reset(st.anchor, st.record); err != nil {
			return nil, err
		}
	}
	exported, err := x.loadRoots(st)
	if err != nil {
		return nil, err
	}
	if err := x.loadFiles(st, known); err != nil {
		return nil, err
	}
	if err := x.export(st, exported); err != nil {
		return nil, err
	}
	if st.clock, err = x.loadClock(); err != nil {
		return nil, err
	}
	st.names = newFileNames(st.record.Floors)
	x.settle(st)
	return st, nil
}

// settle completes a state that has been read or written, and remembers it.
func (x *session) settle(st *state) {
	paths := []string{
		x.floorsPath(), x.clockPath(), x.anchorPath(),
		x.public("root.json"), x.public("timestamp.json"), x.public(snapshotFile),
		x.historyPath(st.anchor.Version), x.historyPath(st.root().Version + 1),
	}
	if len(st.chain) > 1 {
		paths = append(paths, x.historyPath(st.root().Version))
	}
	st.sights = []sight{look(x.tmpDir())}
	for _, path := range paths {
		seen, ok := x.sights[path]
		if !ok {
			seen = unknown(path)
		}
		st.sights = append(st.sights, seen)
	}
	kept := *st
	x.last = &kept
}

// loadRecord reads the floors file and says whether there was a usable one.
func (x *session) loadRecord(r *record) (bool, error) {
	var err error
	*r, x.sights[x.floorsPath()], err = recall(x.Store, x.floorsPath(), maxRecord, unseal[record])
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, errDamaged):
		return false, x.quarantine(x.floorsPath(), "", err.Error())
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	default:
		return false, err
	}
}

// loadAnchor reads the pinned root, or restores it from the history when the
// floors can still say which one it was.
func (x *session) loadAnchor(r record, known bool) (*admission.Doc, error) {
	doc, err := x.healthy(x.anchorPath(), "root")
	if doc != nil || err != nil {
		return doc, err
	}
	if known {
		copied, err := x.read(x.historyPath(r.AnchorVersion), admission.KindRoot)
		if err == nil && copied.SHA256 == r.Anchor {
			x.event(Event{Code: EventRootRepaired, Severity: Warning, Role: "root", Path: x.anchorPath(),
				Message: "restored the pinned root from the root history"})
			return copied, x.put(x.anchorPath(), copied)
		}
	}
	return nil, noRoot(x.dir)
}

func (s *Store) historyPath(version int64) string {
	return filepath.Join(s.historyDir(), fmt.Sprintf("%d.root.json", version))
}

// loadRoots walks the root history and takes from root.json what it lacks. It
// returns what root.json holds, nil if that is nothing to keep.
func (x *session) loadRoots(st *state) (*admission.Doc, error) {
	var err error
	if st.chain, err = x.walk(st.anchor); err != nil {
		return nil, err
	}
	told := x.conflicting
	x.conflicting = ""
	doc, err := x.healthy(x.public("root.json"), "root")
	if doc == nil || err != nil {
		return nil, err
	}
	root := st.root()
	switch {
	case doc.Version < st.anchor.Version:
		return nil, x.quarantine(x.public("root.json"), "root", "older than the pinned root")
	case doc.Version <= root.Version:
		if trusted := st.chain[doc.Version-st.anchor.Version]; trusted.SHA256 != doc.SHA256 {
			path := x.public("root.json")
			if x.conflicting = doc.SHA256; told == doc.SHA256 { // However often somebody looks.
				return nil, rootConflict(trusted, doc, path)
			}
			return nil, x.conflict(trusted, doc, path)
		}
	case verify.RootStep(root, doc) == nil:
		x.event(Event{Code: EventRootRepaired, Severity: Warning, Role: "root", Path: x.public("root.json"),
			Trusted: root.Version, Received: doc.Version, Message: "took a root version from root.json into the root history"})
		if err := x.put(x.historyPath(doc.Version), doc); err != nil {
			return nil, err
		}
		st.chain, err = x.walk(st.anchor)
		return doc, err
	case doc.Version > st.record.Floors.Root:
		return nil, x.quarantine(x.public("root.json"), "root", "does not follow from the pinned root")
	}
	return doc, nil
}

// conflict raises the event of a [rootConflict].
func (x *session) conflict(trusted, doc *admission.Doc, path string) error {
	x.event(Event{Code: EventRootConflict, Severity: Critical, Role: "root", Path: path,
		Trusted: trusted.Version, Received: doc.Version,
		Message: fmt.Sprintf("refused a root with SHA-256 %s, trusted is %s", doc.SHA256, trusted.SHA256)})
	return tuferr.Tell(rootConflict(trusted, doc, path))
}

// rootConflict is the refusal of a root that differs from the trusted one of the
// same version.
func rootConflict(trusted, doc *admission.Doc, path string) error {
	e := tuferr.New(protocol.CodeRootConflict, "version %d differs from the trusted root of that version", doc.Version)
	e.Role, e.Path, e.Engine = "root", path, "host"
	e.Digest, e.Trusted, e.Received = doc.SHA256, trusted.Version, doc.Version
	e.Hint = "find out who changed it; if it is the right one, move this trust store away and pin it anew"
	return e
}

// walk returns the longest chain in the history that verifies from the anchor
// (5.3.4, 5.3.5). What it has verified before in this process it only extends.
func (x *session) walk(anchor *admission.Doc) ([]*admission.Doc, error) {
	chain := x.chain
	if len(chain) == 0 || chain[0].SHA256 != anchor.SHA256 {
		chain = []*admission.Doc{anchor}
	}
	if last := chain[len(chain)-1]; last != anchor {
		have, err := x.healthy(x.historyPath(last.Version), "root")
		if err != nil {
			return nil, err
		}
		if !same(have, last) {
			chain = []*admission.Doc{anchor}
		}
	}
	chain = chain[:len(chain):len(chain)] // views share it
	for {
		last := chain[len(chain)-1]
		path := x.historyPath(last.Version + 1)
		next, err := x.healthy(path, "root")
		if err != nil {
			return nil, err
		}
		if next == nil {
			x.chain = chain
			return chain, nil
		}
		if err := verify.RootStep(last, next); err != nil {
			if err := x.quarantine(path, "root", err.Error()); err != nil {
				return nil, err
			}
			continue
		}
		chain = append(chain, next)
	}
}

// loadFiles reads timestamp and snapshot and brings floors and files in step
// with the root history and with each other.
func (x *session) loadFiles(st *state, known bool) error {
	floors := st.record.Floors.After(st.chain...)
	if known && rotated(st.record.Floors, st.chain) {
		if err := x.forget(st.root()); err != nil {
			return err
		}
	}
	if known && st.root().Version < floors.Root {
		x.event(Event{Code: EventRootBehind, Severity: Warning, Role: "root", Trusted: floors.Root, Received: st.root().Version,
			Message: "the root history is damaged; the missing versions must be fetched again"})
	}
	var err error
	if st.timestamp, err = x.healthy(x.public("timestamp.json"), "timestamp"); err != nil {
		return err
	}
	if st.snapshot, err = x.healthy(x.public(snapshotFile), "snapshot"); err != nil {
		return err
	}
	if floors, err = x.raise(st, floors); err != nil {
		return err
	}
	if !known {
		if floors, err = x.rebuild(st, floors); err != nil {
			return err
		}
	}
	now := record{Anchor: st.anchor.SHA256, AnchorVersion: st.anchor.Version, Floors: floors}
	if known && now.equal(st.record) {
		return nil
	}
	st.record = now
	if !known && floors.equal(Floors{Root: st.anchor.Version}) {
		return nil // that is what no floors file means
	}
	return x.seal(x.floorsPath(), now)
}

// rotated reports whether the chain drops the floors.
func rotated(f Floors, chain []*admission.Doc) bool {
	const mark = 1 // survives only if nothing is dropped
	return Floors{Root: f.Root, Timestamp: mark}.After(chain...).Timestamp != mark
}

// forget deletes timestamp and snapshot after a rotation of their keys (5.3.11).
func (x *session) forget(root *admission.Doc) error {
	for _, name := range []string{"timestamp.json", snapshotFile} {
		if err := x.disk.remove(x.public(name)); err != nil {
			return err
		}
		x.gone(x.public(name))
	}
	// With lower floors, a file that came back would raise them again.
	if err := x.disk.sync(x.dir); err != nil {
		return err
	}
	x.event(Event{Code: EventRotated, Severity: Info, Role: "root", Received: root.Version,
		Message: "timestamp or snapshot keys were rotated: forgot timestamp, snapshot and their version floors"})
	return nil
}

// raise lifts the floors to files that are ahead of them, which another tool
// must have written, if their signatures verify. One that takes something else
// back is quarantined.
func (x *session) raise(st *state, f Floors) (Floors, error) {
	if ts := st.timestamp; ts != nil && ts.Version > f.Timestamp && verify.Signed(st.root(), "timestamp", ts) == nil {
		if err := f.CheckTimestamp(ts); err != nil {
			st.timestamp = nil
			_ = x.rollback(err)
			return f, x.quarantine(x.public("timestamp.json"), "timestamp", err.Error())
		}
		f = f.withTimestamp(ts)
	}
	snap := st.snapshot
	if snap == nil || snap.Version < f.Snapshot || snap.Version == f.Snapshot && f.Roles != nil ||
		verify.Signed(st.root(), "snapshot", snap) != nil {
		return f, nil
	}
	if err := f.CheckSnapshot(snap); err != nil {
		st.snapshot = nil
		_ = x.rollback(err)
		return f, x.quarantine(x.public(snapshotFile), "snapshot", err.Error())
	}
	return f.withSnapshot(snap), nil
}

// rebuild completes floors that were lost. raise has seen timestamp and
// snapshot; without them targets.json still says something.
func (x *session) rebuild(st *state, f Floors) (Floors, error) {
	if f.Roles == nil {
		doc, err := x.healthy(x.public(targetsFile), "targets")
		if err != nil {
			return f, err
		}
		if doc != nil && verify.Signed(st.root(), "targets", doc) == nil {
			f.Roles = map[string]int64{targetsFile: doc.Version}
		}
	}
	if len(st.chain) > 1 || f.Timestamp > 0 || f.Roles != nil {
		x.event(Event{Code: EventFloorsRebuilt, Severity: Warning, Path: x.floorsPath(),
			Message: fmt.Sprintf("set the version floors again from verified files: root %d, timestamp %d, snapshot %d",
				f.Root, f.Timestamp, f.Snapshot)})
	}
	return f, nil
}

// rollback tells of a version below the floor, and returns err as told of.
func (x *session) rollback(err error) error {
	e := tuferr.As(err)
	x.event(Event{Code: EventRollback, Severity: Critical, Role: e.Role, Trusted: e.Trusted, Received: e.Received, Message: e.Msg})
	return tuferr.Tell(err)
}

// export writes the trusted root to root.json, unless what it holds is that, or
// a newer version that was trusted once and whose history is being fetched again.
// It also keeps a second copy of the anchor in the history. Either can be written
// again, and is not forced to the disk.
func (x *session) export(st *state, have *admission.Doc) error {
	var p plan
	copied := x.historyPath(st.anchor.Version)
	second, err := x.read(copied, admission.KindRoot)
	if err != nil && !missing(err) {
		return err
	}
	if !same(second, st.anchor) {
		p.exports = append(p.exports, rootFile(copied, st.anchor))
	}
	if root := st.root(); !same(have, root) && (have == nil || have.Version < root.Version) {
		p.exports = append(p.exports, rootFile(x.public("root.json"), root))
	}
	return x.apply(&p)
}

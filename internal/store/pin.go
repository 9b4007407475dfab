package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/verify"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Pin sets the trust anchor: the root metadata that the application ships (5.2).
// The first one pins the store and creates its directory. After that
//
//   - a root on the local chain, and one that continues it, is fine, and an
//     older one never takes the place of a newer local root;
//   - a root newer than the local chain that does not follow from it wins: the
//     state is quarantined, and the event anchor_replaced is critical;
//   - any other root is root_conflict, unless replace is true: then it is pinned,
//     and the state is quarantined.
//
// Errors: bad_root if anchor is not admissible or not signed by its own
// threshold, root_conflict, locked, local_io, disk_full, permissions. Pin copies
// anchor.
func (s *Store) Pin(ctx context.Context, anchor []byte, replace bool) error {
	doc, err := admission.Parse(admission.KindRoot, bytes.Clone(anchor), s.limits)
	if err == nil {
		err = verify.SelfSigned(doc)
	}
	if err != nil {
		e := tuferr.New(protocol.CodeBadRoot, "the trusted root cannot be used: %w", err)
		e.Role, e.Spec, e.Hint = "root", "5.2", "give the root.json that the publisher hands out, unchanged"
		return e
	}
	lineage := s.lineage()
	if !isDir(s.private) {
		if err := s.disk.mkdir(s.private); err != nil {
			return localError(err, s.dir)
		}
	}
	return s.locked(ctx, func(x *session) error { return x.pin(doc, replace, lineage) })
}

// Exists reports whether a root has been pinned here: if not, the first Pin makes
// the store.
func (s *Store) Exists() bool { return exists(s.anchorPath()) }

func (x *session) pin(doc *admission.Doc, replace bool, lineage []string) error {
	st, err := x.load()
	if tuferr.CodeOf(err) == protocol.CodeNoRoot {
		return x.pinFirst(doc, replace, lineage)
	}
	if replace && tuferr.CodeOf(err) == protocol.CodeRootConflict {
		if err := x.setAside(x.public("root.json"), "differs from the trusted root"); err != nil {
			return err
		}
		st, err = x.load()
	}
	if err != nil {
		return err
	}
	switch x.judge(st, doc) {
	case onChain:
		return nil
	case continues:
		if err := x.put(x.historyPath(doc.Version), doc); err != nil {
			return err
		}
	case newer:
		if err := x.supersede(st, doc); err != nil {
			return err
		}
	case foreign:
		if !replace {
			return x.conflict(st.anchor, doc, x.anchorPath())
		}
		if err := x.supersede(st, doc); err != nil {
			return err
		}
	}
	_, err = x.load() // finishes what the new anchor or root begins
	return err
}

// supersede pins another root over st. The floors file tells the next load of it,
// so there must be one.
func (x *session) supersede(st *state, doc *admission.Doc) error {
	if !exists(x.floorsPath()) {
		if err := x.seal(x.floorsPath(), st.record); err != nil {
			return err
		}
	}
	return x.put(x.anchorPath(), doc)
}

// setAside quarantines a root.json that would contradict what is pinned, for good.
func (x *session) setAside(path, why string) error {
	if err := x.quarantine(path, "root", why); err != nil {
		return err
	}
	return x.disk.sync(x.dir)
}

// pinFirst pins a store that has no anchor. A root.json that another tool left
// must not contradict it.
func (x *session) pinFirst(doc *admission.Doc, replace bool, lineage []string) error {
	path := x.public("root.json")
	there, err := x.read(path, admission.KindRoot)
	if err != nil && !missing(err) {
		return err
	}
	if there != nil && there.Version == doc.Version && there.SHA256 != doc.SHA256 {
		if !replace {
			return x.conflict(doc, there, path)
		}
		if err := x.setAside(path, "differs from the new trusted root"); err != nil {
			return err
		}
	}
	p := &plan{records: []file{rootFile(x.anchorPath(), doc)}, parents: lineage}
	if errors.Is(err, fs.ErrNotExist) {
		p.exports = []file{rootFile(x.historyPath(doc.Version), doc), rootFile(path, doc)}
		return x.apply(p)
	}
	if err := x.apply(p); err != nil {
		return err
	}
	_, err = x.load()
	return err
}

// kinship is how a shipped root relates to the trusted ones.
type kinship int

const (
	onChain   kinship = iota // trusted already, or an ancestor of the anchor
	continues                // the next version after the trusted root
	newer                    // newer than anything local, and not known to follow
	foreign                  // of another chain
)

func (x *session) judge(st *state, doc *admission.Doc) kinship {
	root, floor := st.root(), st.record.Floors.Root
	switch {
	case doc.Version < st.anchor.Version:
		// What lies between is unknown here, so ask for the ancestor's signatures.
		if verify.Signed(doc, "root", st.anchor) == nil {
			return onChain
		}
		return foreign
	case doc.Version <= root.Version:
		if st.chain[doc.Version-st.anchor.Version].SHA256 == doc.SHA256 {
			return onChain
		}
		return foreign
	case verify.RootStep(root, doc) == nil:
		return continues
	case doc.Version <= floor:
		// The damaged history cannot tell. The pinned anchor stays, which is safe,
		// and the next refresh mends the history.
		return onChain
	}
	return newer
}

// reset begins anew under another anchor: it moves everything that was trusted
// under the old one into the quarantine. The old record goes last, so that a
// process that dies on the way leaves the rest to the next one.
func (x *session) reset(anchor *admission.Doc, old record) (record, error) {
	to, err := x.nextQuarantine("replaced")
	if err != nil {
		return old, err
	}
	if err := x.disk.mkdir(to); err != nil {
		return old, err
	}
	names := newFileNames(old.Floors)
	paths := []string{x.public("root.json"), x.public("timestamp.json"), x.public(snapshotFile), x.public(targetsFile)}
	for file := range old.Floors.Roles {
		if role := strings.TrimSuffix(file, metaSuffix); !isTopLevel(role) {
			paths = append(paths, x.public(names.of(role)))
		}
	}
	for _, path := range append(paths, x.historyDir()) {
		if !exists(path) {
			continue
		}
		if err := x.disk.rename(path, filepath.Join(to, filepath.Base(path))); err != nil {
			return old, err
		}
	}
	if err := x.disk.mkdir(x.historyDir()); err != nil {
		return old, err
	}
	// Under the new record, a file of the old publisher that came back would be a
	// conflict.
	if err := x.disk.sync(x.dir, x.private, x.quarantineDir(), to); err != nil {
		return old, err
	}
	c, err := x.loadClock()
	if err != nil {
		return old, err
	}
	if err := x.seal(x.clockPath(), clock{Floor: x.ahead.of(c).Floor}); err != nil {
		return old, err
	}
	r := record{Anchor: anchor.SHA256, AnchorVersion: anchor.Version, Floors: Floors{Root: anchor.Version}}
	if err := x.seal(x.floorsPath(), r); err != nil {
		return old, err
	}
	x.event(Event{Code: EventAnchorReplaced, Severity: Critical, Role: "root", Path: to,
		Trusted: old.Floors.Root, Received: anchor.Version,
		Message: fmt.Sprintf("another root was pinned (SHA-256 %s); what was trusted before is quarantined", anchor.SHA256)})
	return r, x.pruneQuarantine()
}

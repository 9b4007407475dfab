package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/delegation"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/verify"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// gather loads as much of the metadata as there is, and names what is missing or
// damaged. Where a file that says which versions are in force is gone, the newest
// one that is signed stands for it: what else is missing can be told from that.
func (v *verification) gather(ctx context.Context) error {
	cfg, err := readConfig(v.r.dir)
	if err != nil {
		return err
	}
	if cfg.Founding != "" {
		return notFounded(v.r.dir)
	}
	v.state = &state{r: v.r, now: v.r.clock(), config: cfg, roles: map[string]*loadedRole{}}
	if v.gone(metadataName) {
		v.incomplete = true
		v.found(KindMissing, true, metadataName, "the directory is not there: there is nothing for clients", restoreDir)
	}
	if err := v.gatherRoots(ctx); err != nil || v.root == nil {
		return err
	}
	if v.timestamp, err = v.readSigned(v.root, roleTimestamp, "timestamp.json"); err != nil {
		v.timestamp = nil
		v.broken(err)
	}
	if v.gatherSnapshot(); v.snapshot == nil {
		return nil
	}
	return delegation.Reach(maxRoles, func(role, delegator string) (*admission.Doc, error) {
		if err := ctx.Err(); err != nil {
			return nil, ioError(v.r.dir, err)
		}
		doc, err := v.role(role, delegator)
		if err != nil {
			v.broken(err)
			return &admission.Doc{}, nil
		}
		return doc, nil
	})
}

const restoreDir = "restore the directory from a backup of the latest state"

// gone says whether a file or directory of the repository is missing.
func (v *verification) gone(name string) bool { return notThere(filepath.Join(v.r.dir, name)) }

func notThere(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// broken notes a metadata file that cannot be used.
func (v *verification) broken(err error) {
	v.incomplete = true
	e := *during("verify", err).(*Error)
	name := e.Path
	if rel, err := filepath.Rel(v.r.dir, e.Path); err == nil {
		name = filepath.ToSlash(rel)
	}
	kind := KindDamaged
	switch {
	case errors.Is(err, fs.ErrNotExist):
		kind = KindMissing
	case e.Code == protocol.CodePermissions:
		kind = KindPermissions
	}
	v.expected[name] = true
	if v.report.codes == nil {
		v.report.codes = map[string]protocol.Code{}
	}
	v.report.codes[name] = e.Code
	v.found(kind, true, name, bare(e), e.Hint)
}

// bare is an error without what a [Problem] says elsewhere: file and hint.
func bare(e Error) string {
	e.Op, e.Path, e.Hint = "", "", ""
	return e.Error()
}

// gatherRoots walks the chain of roots; without its first one it goes on from the
// anchor, which should be the same file.
func (v *verification) gatherRoots(ctx context.Context) error {
	err := v.loadRoots(ctx)
	if err != nil && v.root == nil && ctx.Err() == nil {
		v.broken(err)
		doc, ok := v.anchor()
		if !ok {
			return nil
		}
		v.root, v.roots = doc, []*admission.Doc{doc}
		err = v.loadRoots(ctx)
	}
	if ctx.Err() != nil {
		return err
	}
	if err != nil {
		v.broken(err)
		return nil
	}
	v.checkRootGap()
	return nil
}

// anchor is the root in DIR/root.json, if it is one.
func (s *state) anchor() (*admission.Doc, bool) {
	data, err := readFile(filepath.Join(s.r.dir, anchorName), ownLimits.Root)
	if err != nil {
		return nil, false
	}
	doc, err := admission.Parse(admission.KindRoot, data, ownLimits)
	return doc, err == nil && verify.SelfSigned(doc) == nil
}

// checkRootGap names the roots that are missing before a later one: no client gets
// past a gap.
func (v *verification) checkRootGap() {
	last, ok := v.newest(roleRoot, verify.SelfSigned)
	for version := v.root.Version + 1; ok && version < last.Version; version++ {
		if name := metadataName + "/" + versioned(roleRoot, version); v.gone(name) {
			v.incomplete = true
			v.expected[name] = true
			v.found(KindMissing, true, name, fmt.Sprintf("there is a root of version %d, but no client can get there without this one", last.Version), "restore it from a backup")
		}
	}
}

// gatherSnapshot loads the snapshot that is in force, or what can stand for it.
func (v *verification) gatherSnapshot() {
	if v.timestamp != nil {
		doc, err := v.readDescribed(v.root, roleSnapshot, v.timestamp)
		if err == nil {
			v.snapshot = doc
			return
		}
		v.broken(err)
	}
	doc, ok := v.newest(roleSnapshot, func(doc *admission.Doc) error { return verify.Signed(v.root, roleSnapshot, doc) })
	if ok {
		v.snapshot = doc
		v.found(KindMissing, false, metadataName+"/"+versioned(roleSnapshot, doc.Version), "taken instead, to see what else is missing: which snapshot is in force cannot be told", "")
	}
}

// newest returns the metadata of a role with the highest version that is good.
func (v *verification) newest(role string, good func(*admission.Doc) error) (best *admission.Doc, ok bool) {
	entries, err := os.ReadDir(v.r.metadataPath(""))
	if err != nil {
		return nil, false
	}
	for _, e := range entries {
		of, version, isOne := parseVersioned(e.Name())
		if !isOne || of != role || best != nil && version <= best.Version {
			continue
		}
		if doc, err := v.r.read(role, e.Name()); err == nil && doc.Version == version && good(doc) == nil {
			best = doc
		}
	}
	return best, best != nil
}

// checkAnchor holds DIR/root.json against the chain of roots.
func (v *verification) checkAnchor() {
	if p := v.anchorProblem(); p != nil {
		v.report.Problems = append(v.report.Problems, *p)
	}
}

// anchorProblem says what is wrong with DIR/root.json, nil for nothing.
func (s *state) anchorProblem() *Problem {
	const restore = "copy " + metadataName + "/1.root.json there"
	data, err := readFile(filepath.Join(s.r.dir, anchorName), ownLimits.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return &Problem{KindMissing, true, anchorName, "the root that new clients start from is not there", restore}
	}
	if e := tuferr.As(err); e != nil && e.Code == protocol.CodePermissions {
		return &Problem{KindPermissions, true, anchorName, "cannot be read: " + bare(*e), e.Hint}
	}
	if err != nil {
		return &Problem{KindAnchor, true, anchorName, fmt.Sprintf("cannot be read: %v", err), restore}
	}
	for _, doc := range s.roots {
		if bytes.Equal(doc.Raw, data) {
			return nil
		}
	}
	return &Problem{KindAnchor, true, anchorName, "not one of the roots of this repository: clients that start from it trust nothing here",
		"find out who changed it; then " + restore}
}

package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/delegation"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/verify"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// The names of the top-level roles.
const (
	roleRoot      = string(admission.KindRoot)
	roleTargets   = string(admission.KindTargets)
	roleSnapshot  = string(admission.KindSnapshot)
	roleTimestamp = string(admission.KindTimestamp)
)

// topLevel are the top-level roles in the order in which people read of them.
var topLevel = []string{roleRoot, roleTargets, roleSnapshot, roleTimestamp}

// Bounds of the metadata this package reads back. What clients accept by default
// is less: see lint.
var ownLimits = admission.Limits{Root: 4 << 20, Timestamp: 1 << 20, Snapshot: 64 << 20, Targets: 512 << 20}

const (
	maxRoots = 1024    // versions of root
	maxRoles = 1 << 17 // delegated roles, hash bins among them
)

// state is the verified metadata of a repository at one moment. Expiry is not
// held against it: an expired repository can be renewed.
type state struct {
	r   *Repository
	now time.Time
	// config is what the configuration says now: other processes change it too.
	config config

	roots                     []*admission.Doc // the chain, from the first
	root, timestamp, snapshot *admission.Doc
	// roles holds what has been loaded, by the role's name.
	roles map[string]*loadedRole
}

type loadedRole struct {
	doc       *admission.Doc
	delegator string
}

// load reads and verifies root, timestamp and snapshot (specification, 5.3 to
// 5.5). Targets roles are loaded when they are asked for.
func (r *Repository) load(ctx context.Context) (*state, error) {
	s := &state{r: r, now: r.clock(), roles: map[string]*loadedRole{}}
	var err error
	if s.config, err = readConfig(r.dir); err != nil {
		return nil, err
	}
	if s.config.Founding != "" {
		return nil, notFounded(r.dir)
	}
	if err := s.loadRoots(ctx); err != nil {
		return nil, err
	}
	if s.timestamp, err = s.readSigned(s.root, roleTimestamp, "timestamp.json"); err != nil {
		return nil, err
	}
	s.snapshot, err = s.readDescribed(s.root, roleSnapshot, s.timestamp)
	return s, err
}

// loadRoots walks the chain of roots, from the first or from the one that is there
// (specification, 5.3).
func (s *state) loadRoots(ctx context.Context) error {
	from := 1
	if s.root != nil {
		from = int(s.root.Version) + 1
	}
	for version := from; version <= maxRoots; version++ {
		if err := ctx.Err(); err != nil {
			return ioError(s.r.dir, err)
		}
		name := fmt.Sprintf("%d.root.json", version)
		doc, err := s.r.read(roleRoot, name)
		if errors.Is(err, fs.ErrNotExist) && s.root != nil {
			return nil
		}
		if errors.Is(err, fs.ErrNotExist) {
			return s.noFirstRoot(s.r.metadataPath(name))
		}
		if err == nil && s.root == nil {
			err = verify.SelfSigned(doc)
		} else if err == nil {
			err = verify.RootStep(s.root, doc)
		}
		if err != nil {
			return at(s.r.metadataPath(name), err)
		}
		s.root = doc
		s.roots = append(s.roots, doc)
	}
	return &Error{Code: protocol.CodeTooMany, Role: roleRoot, Msg: fmt.Sprintf("more than %d versions", maxRoots)}
}

// noFirstRoot says what restores the first root.
func (s *state) noFirstRoot(path string) error {
	e := &Error{Code: protocol.CodeLocalIO, Path: path, Err: fs.ErrNotExist,
		Msg: "half a repository: the first root is missing", Hint: "restore " + metadataName + " from a backup of the latest state"}
	if s.r.source != "" {
		return e
	}
	if s.r.unfinished() {
		e.Msg, e.Hint = "the first root is published, but not completely", "publish it again, which completes it"
		return e
	}
	if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
		e.Path, e.Msg = filepath.Dir(path), "half a repository: the directory of the metadata is missing"
	} else if doc, ok := s.anchor(); ok && doc.Version == 1 {
		e.Hint = "copy " + anchorName + " of the repository there, which is the same file"
	}
	return e
}

// read admits a metadata file.
func (r *Repository) read(role, name string) (*admission.Doc, error) {
	path, kind := r.metadataPath(name), admission.KindOf(role)
	data, err := r.readMetadata(name, ownLimits.Bytes(kind))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Error{Code: protocol.CodeLocalIO, Role: role, Path: path, Msg: "the file is missing", Err: fs.ErrNotExist,
			Hint: "restore it from a backup"}
	}
	if e := tuferr.As(err); e != nil && e.Code == protocol.CodeUsage && r.source == "" {
		return nil, damaged(role, path, errors.New(e.Msg)) // Nobody has named the file: it is no wrong use.
	}
	if err != nil {
		return nil, err
	}
	doc, err := admission.Parse(kind, data, ownLimits)
	if err != nil {
		return nil, damaged(role, path, err)
	}
	return doc, nil
}

func (r *Repository) readMetadata(name string, limit int64) ([]byte, error) {
	if r.source != "" {
		return readSource(r.source, name, limit)
	}
	return readFile(r.metadataPath(name), limit)
}

// readSigned reads a file and verifies that the delegator's keys signed it.
func (s *state) readSigned(delegator *admission.Doc, role, name string) (*admission.Doc, error) {
	doc, err := s.r.read(role, name)
	if err == nil {
		err = verify.Signed(delegator, role, doc)
	}
	return doc, at(s.r.metadataPath(name), err)
}

// readDescribed reads the file of a role that another one, timestamp or
// snapshot, describes: its version, length and hashes are held against that.
func (s *state) readDescribed(delegator *admission.Doc, role string, by *admission.Doc) (*admission.Doc, error) {
	meta, ok := by.Meta[role+".json"]
	if !ok {
		return nil, damaged(string(by.Kind), s.r.metadataPath(""), fmt.Errorf("%s.json is not listed in %s", role, by.Kind))
	}
	name := versioned(role, meta.Version)
	doc, err := s.r.read(role, name)
	if err == nil {
		err = verify.Received(delegator, role, doc, meta)
	}
	if err == nil && doc.Version != meta.Version {
		err = damaged(role, s.r.metadataPath(name), fmt.Errorf("it carries version %d", doc.Version))
	}
	return doc, at(s.r.metadataPath(name), err)
}

// versioned is the name of a metadata file (specification, 6.2).
func versioned(role string, version int64) string {
	return fmt.Sprintf("%d.%s.json", version, url.PathEscape(role))
}

// at says in an error which file it is about.
func at(path string, err error) error {
	e := tuferr.As(err)
	if e == nil || e.Path != "" {
		return err
	}
	copied := *e
	copied.Path = path
	if copied.Code == protocol.CodeUnsigned || copied.Code == protocol.CodeMismatch {
		copied.Hint = "somebody or something changed it; restore it from a backup"
	}
	return &copied
}

// role returns the verified metadata of targets or of a delegated role. The
// delegator must have been loaded before; that of targets is root.
func (s *state) role(name, delegator string) (*admission.Doc, error) {
	if known := s.roles[name]; known != nil && known.delegator == delegator {
		return known.doc, nil
	}
	by := s.root
	if delegator != roleRoot {
		above := s.roles[delegator]
		if above == nil {
			return nil, fmt.Errorf("%s asked for before its delegator %s", name, delegator)
		}
		by = above.doc
	}
	doc, err := s.readDescribed(by, name, s.snapshot)
	if err == nil {
		s.roles[name] = &loadedRole{doc, delegator}
	}
	return doc, err
}

// targets returns the metadata of the top-level targets role.
func (s *state) targets() (*admission.Doc, error) { return s.role(roleTargets, roleRoot) }

// all loads every role that a search could visit.
func (s *state) all(ctx context.Context) error {
	return delegation.Reach(maxRoles, func(role, delegator string) (*admission.Doc, error) {
		if err := ctx.Err(); err != nil {
			return nil, ioError(s.r.dir, err)
		}
		return s.role(role, delegator)
	})
}

// place returns the role that a new target belongs into: the end of the chain of
// delegations that trust their roles with its path.
func (s *state) place(path string) (role, delegator string, err error) {
	role, delegator = roleTargets, roleRoot
	for range maxRoles {
		doc, err := s.role(role, delegator)
		if err != nil {
			return "", "", err
		}
		next := ""
		switch d := doc.Delegations; {
		case d == nil:
		case d.Succinct != nil:
			next = d.Succinct.RoleFor(path)
		default:
			if i := slices.IndexFunc(d.Roles, func(r admission.DelegatedRole) bool { return delegation.Trusts(&r, path) }); i >= 0 {
				next = d.Roles[i].Name
			}
		}
		if next == "" {
			return role, delegator, nil
		}
		role, delegator = next, role
	}
	return "", "", &Error{Code: protocol.CodeTooMany, Target: path, Msg: "the delegations for it do not end"}
}

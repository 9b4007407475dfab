package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/draft"
	"github.com/ragnos-labs/vault-tuf/internal/keyfile"
	"github.com/ragnos-labs/vault-tuf/internal/plugin"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Names inside a repository's directory.
const (
	metadataName = "metadata"
	targetsName  = "targets"
	keysName     = "keys"
	anchorName   = "root.json"
	configName   = "repository.json"
	lockName     = ".lock"
)

// Clock tells the time. Nil means time.Now.
type Clock func() time.Time

// Options are the options of [Open].
type Options struct {
	Keys  Keys
	Clock Clock
}

// InitOptions are the options of [Init].
type InitOptions struct {
	Options
	// Lifetimes of the roles; a zero field means that of DefaultLifetimes.
	Lifetimes Lifetimes
	// Algorithm of new keys; "" means RSA-PSS-SHA256 with 2048 bits.
	Algorithm keyfile.Algorithm
	// Root and Targets are how many keys these roles get, and how many of them
	// must sign; the zero value means one of one. Snapshot and timestamp, which
	// a server signs by itself, have one key each.
	Root, Targets Quorum
	// RootKeys and TargetsKeys are files with public keys that others have made,
	// all those of the role: then none are made for it. For [Found] only.
	RootKeys, TargetsKeys []string
}

// Quorum says that Threshold of Keys keys must sign.
type Quorum struct{ Threshold, Keys int }

// Repository is a repository on disk. It keeps nothing in memory between two
// calls and is safe for concurrent use, also by several processes.
type Repository struct {
	dir string
	// config is the configuration as it was when the repository was opened.
	config config
	keys   Keys
	clock  Clock
	limits plugin.Limits
	disk   disk
	// source, if it is set, is a directory of somebody else from which metadata is
	// read, to be adopted.
	source string
}

// Init makes a repository in dir, which must be missing or empty, with new keys
// for each role in DIR/keys. They are encrypted with Options.Keys.Passphrase,
// which must be [keyfile.Plain] if they shall not be. Metadata is put in place
// last: a directory without it is no repository. It blocks until done or ctx ends.
//
// An existing repository is left alone and gives [ErrExists].
func Init(ctx context.Context, dir string, o InitOptions) (*Repository, error) {
	if len(o.RootKeys)+len(o.TargetsKeys) > 0 {
		return nil, &Error{Code: protocol.CodeUsage, Op: "init", Msg: "keys of others may have to sign first: use Found"}
	}
	r, _, err := initialize(ctx, dir, o)
	return r, during("init", err)
}

func initialize(ctx context.Context, dir string, o InitOptions) (*Repository, *Proposal, error) {
	c, err := o.config()
	if err != nil {
		return nil, nil, err
	}
	var p *Proposal
	r, err := create(ctx, dir, c, o.Options, func(r *Repository) (err error) {
		p, err = r.build(ctx, o)
		return err
	})
	return r, p, err
}

// create makes a repository in dir, which must be missing or empty, of what build
// puts into another directory: all of it or nothing.
func create(ctx context.Context, dir string, c config, o Options, build func(*Repository) error) (*Repository, error) {
	// Asked before and under the lock: a refused directory gets no lock file.
	if err := mustBeEmpty(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, ioError(dir, err)
	}
	release, err := lock(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := sweep(dir); err != nil {
		return nil, err
	}
	if err := mustBeEmpty(dir); err != nil {
		return nil, err
	}
	building, err := os.MkdirTemp(dir, tempPrefix)
	if err != nil {
		return nil, ioError(dir, err)
	}
	defer os.RemoveAll(building)
	r := newRepository(building, c, o)
	if err := build(r); err != nil {
		return nil, elsewhere(err, building, dir)
	}
	for _, name := range []string{keysName, targetsName, proposalsName, anchorName, configName, metadataName} {
		err := os.Rename(filepath.Join(building, name), filepath.Join(dir, name))
		if _, there := os.Lstat(filepath.Join(building, name)); err != nil && !errors.Is(there, fs.ErrNotExist) {
			return nil, ioError(filepath.Join(dir, name), err)
		}
	}
	return newRepository(dir, r.config, o), syncDir(dir)
}

// config checks the options.
func (o *InitOptions) config() (config, error) {
	for role, q := range map[string]*Quorum{roleRoot: &o.Root, roleTargets: &o.Targets} {
		if err := q.complete(role, len(o.given(role))); err != nil {
			return config{}, err
		}
	}
	algorithm, err := keyfile.ParseAlgorithm(string(o.Algorithm))
	if err != nil {
		return config{}, err
	}
	l, err := o.Lifetimes.complete()
	return config{Lifetimes: l, Rotation: DefaultRotation, Algorithm: algorithm,
		KeyNames: map[string]string{}, KeysSince: map[string]time.Time{}}, err
}

// elsewhere names in an error the place that a file would have had.
func elsewhere(err error, from, to string) error {
	e := tuferr.As(err)
	if e == nil || !strings.HasPrefix(e.Path, from) {
		return err
	}
	copied := *e
	copied.Path = to + strings.TrimPrefix(e.Path, from)
	return &copied
}

// maxQuorum is the most keys of a role that Init makes.
const maxQuorum = 16

func mustBeEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return ioError(dir, err)
	}
	names := map[string]bool{}
	for _, e := range entries {
		if e.Name() != lockName && !strings.HasPrefix(e.Name(), tempPrefix) {
			names[e.Name()] = true
		}
	}
	switch {
	case len(names) == 0:
		return nil
	case names[metadataName], awaited(dir):
		return usage(dir, ErrExists, "name another directory; nothing was changed")
	case names[keysName]:
		return &Error{Code: protocol.CodeUsage, Path: dir, Msg: "the directory holds keys but no metadata",
			Hint: "if an init was interrupted here, remove the directory and start again"}
	default:
		return &Error{Code: protocol.CodeUsage, Path: dir, Msg: "the directory is not empty",
			Hint: "name a directory that is empty or does not exist"}
	}
}

// build fills the directory of a new repository. Without signatures that are
// needed it has no metadata, and a proposal instead.
func (r *Repository) build(ctx context.Context, o InitOptions) (*Proposal, error) {
	for name, perm := range map[string]fs.FileMode{keysName: 0o700, targetsName: 0o755, metadataName: 0o755} {
		if err := os.Mkdir(filepath.Join(r.dir, name), perm); err != nil {
			return nil, ioError(r.dir, err)
		}
	}
	root := draft.NewRoot()
	quorums := map[string]Quorum{roleRoot: o.Root, roleTargets: o.Targets, roleSnapshot: {1, 1}, roleTimestamp: {1, 1}}
	for _, role := range topLevel {
		var err error
		if given := o.given(role); given != nil {
			err = r.addGiven(&root.Roles, role, given)
		} else {
			err = r.newKeys(ctx, &root.Roles, role, quorums[role].Keys)
		}
		if err != nil {
			return nil, err
		}
		root.Role(role).Threshold = quorums[role].Threshold
	}
	if err := r.writeConfig(); err != nil {
		return nil, err
	}
	p, err := r.first(ctx, root)
	if err != nil || p == nil {
		return nil, err
	}
	if err := os.Remove(filepath.Join(r.dir, metadataName)); err != nil {
		return nil, ioError(r.dir, err)
	}
	return p, r.await(p)
}

// newKeys makes the keys of a role and lets them sign for it.
func (r *Repository) newKeys(ctx context.Context, to *draft.Roles, role string, count int) error {
	for n := range count {
		name := role
		if count > 1 {
			name = fmt.Sprintf("%s-%d", role, n+1)
		}
		k, err := keyfile.Generate(ctx, filepath.Join(r.dir, keysName), name, r.config.Algorithm, r.keys.Passphrase)
		if err != nil {
			return err
		}
		if err := r.addFirst(to, role, k.Public, name); err != nil {
			return err
		}
	}
	return nil
}

// first signs the first version of every role, or proposes root and targets.
func (r *Repository) first(ctx context.Context, root *draft.Root) (*Proposal, error) {
	s := &state{r: r, now: r.clock(), config: r.config, roles: map[string]*loadedRole{}}
	root.Expires = s.expiry(roleRoot)
	signed, err := root.Encode()
	if err != nil {
		return nil, err
	}
	// Nobody has delegated to the first root but itself.
	if s.root, err = admission.Parse(admission.KindRoot, draft.Seal(admission.KindRoot, signed).Bytes(), ownLimits); err != nil {
		return nil, err
	}
	c := newChange(s)
	c.founding = true
	c.givenRoot = draft.Seal(admission.KindRoot, signed)
	c.ring, c.unusable = r.ring()
	c.newRole(roleTargets, roleRoot)
	if c.stage, err = r.begin(); err != nil {
		return nil, err
	}
	return c.carryOut(ctx, func(*change) error { return nil })
}

// Open opens the repository in dir. It reads no metadata and no key yet.
func Open(dir string, o Options) (*Repository, error) {
	c, err := readConfig(dir)
	if err != nil {
		return nil, during("open", err)
	}
	return newRepository(dir, c, o), nil
}

func newRepository(dir string, c config, o Options) *Repository {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return &Repository{dir: dir, config: c, keys: o.Keys, clock: o.Clock, limits: plugin.DefaultLimits}
}

// Dir returns the repository's directory.
func (r *Repository) Dir() string { return r.dir }

func (r *Repository) metadataPath(name string) string {
	if r.source != "" {
		return filepath.Join(r.source, name)
	}
	return filepath.Join(r.dir, metadataName, name)
}

// editConfig returns the configuration as the change will leave it, which is also
// that of a change that becomes a proposal. It begins with what is on the disk:
// another process may have written it since the repository was opened.
func (c *change) editConfig() (*config, error) {
	if c.newConfig == nil {
		next, err := readConfig(c.r.dir)
		if err != nil {
			return nil, err
		}
		c.newConfig = &next
	}
	return c.newConfig, nil
}

func (c *change) stageConfig() error {
	if c.newConfig == nil {
		return nil
	}
	data, err := c.newConfig.encode()
	if err != nil {
		return err
	}
	_, err = c.stage.add(configName, phaseFiles, 0o644, bytes.NewReader(data))
	return err
}

// maxClockLag is how far the clock may be behind the moment of the last change.
const maxClockLag = 5 * time.Minute

// checkClock refuses to sign with a clock that has gone back: what it signs
// would expire earlier than people are told.
func (r *Repository) checkClock(now time.Time) error {
	path := r.metadataPath("timestamp.json")
	info, err := os.Stat(path)
	if err != nil {
		return ioError(path, err)
	}
	if lag := info.ModTime().Sub(now); lag > maxClockLag {
		return &Error{Code: protocol.CodeUsage, Path: path,
			Msg:  fmt.Sprintf("the clock says %s, but the repository was last changed at %s", now.UTC().Format(time.RFC3339), info.ModTime().UTC().Format(time.RFC3339)),
			Hint: "set the clock; if it is the file's time that is wrong, touch the file; nothing was changed"}
	}
	return nil
}

package repository

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/ragnos-labs/vault-tuf/internal/plugin"
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

// Lifetimes says how long newly signed metadata of each role is valid.
type Lifetimes struct {
	Root, Targets, Snapshot, Timestamp time.Duration
}

// DefaultLifetimes are long for roles that people sign and short for those
// that a server signs by itself.
var DefaultLifetimes = Lifetimes{
	Root:      365 * 24 * time.Hour,
	Targets:   90 * 24 * time.Hour,
	Snapshot:  7 * 24 * time.Hour,
	Timestamp: 24 * time.Hour,
}

// MinLifetime is the shortest lifetime of a role: metadata has whole seconds.
const MinLifetime = 2 * time.Second

// Options are the options of [Init].
type Options struct {
	// Lifetimes of the roles; a zero field means that of DefaultLifetimes.
	Lifetimes Lifetimes
	Clock     Clock
}

// Repository is a repository on disk. It keeps nothing in memory between two
// calls and is safe for concurrent use, also by several processes.
type Repository struct {
	dir       string
	lifetimes Lifetimes
	clock     Clock
	limits    plugin.Limits

	mu     sync.Mutex // guards the memo of health checks
	memo   Status
	memoAt time.Time
}

// configFile is DIR/repository.json.
type configFile struct {
	Format    int               `json:"format"`
	Lifetimes map[string]string `json:"lifetimes"`
}

const configFormat = 1

// Init makes a repository in dir, which must be missing or empty, with a new
// RSA-PSS-SHA256 key for each role. Metadata is put in place last: a directory
// without it is no repository. It blocks until done or ctx ends.
//
// An existing repository is left alone and gives [ErrExists].
func Init(ctx context.Context, dir string, o Options) (*Repository, error) {
	r, err := initialize(ctx, dir, o)
	return r, during("init", err)
}

func initialize(ctx context.Context, dir string, o Options) (*Repository, error) {
	lifetimes, err := o.Lifetimes.complete()
	if err != nil {
		return nil, err
	}
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
	stage, err := os.MkdirTemp(dir, tempPrefix)
	if err != nil {
		return nil, ioError(dir, err)
	}
	defer os.RemoveAll(stage)
	r := newRepository(stage, lifetimes, o.Clock)
	if err := r.build(ctx); err != nil {
		return nil, err
	}
	for _, name := range []string{keysName, targetsName, anchorName, configName, metadataName} {
		if err := os.Rename(filepath.Join(stage, name), filepath.Join(dir, name)); err != nil {
			return nil, ioError(filepath.Join(dir, name), err)
		}
	}
	r.dir = dir
	return r, syncDir(dir)
}

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
	case names[metadataName]:
		return usage(dir, ErrExists, "name another directory; nothing was changed")
	case names[keysName]:
		return &Error{Code: protocol.CodeUsage, Path: dir, Msg: "the directory holds keys but no metadata",
			Hint: "if an init was interrupted here, remove the directory and start again"}
	default:
		return &Error{Code: protocol.CodeUsage, Path: dir, Msg: "the directory is not empty",
			Hint: "name a directory that is empty or does not exist"}
	}
}

// build fills the directory of a new repository.
func (r *Repository) build(ctx context.Context) error {
	for name, perm := range map[string]fs.FileMode{keysName: 0o700, targetsName: 0o755, metadataName: 0o755} {
		if err := os.Mkdir(filepath.Join(r.dir, name), perm); err != nil {
			return ioError(r.dir, err)
		}
	}
	signers := map[string]signature.Signer{}
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		if err := ctx.Err(); err != nil {
			return ioError(r.dir, err)
		}
		s, err := newKey(r.dir, role)
		if err != nil {
			return err
		}
		signers[role] = s
	}
	s, err := r.newState(signers)
	if err != nil {
		return err
	}
	root, err := s.signRoot(signers[metadata.ROOT])
	if err != nil {
		return err
	}
	if err := errors.Join(
		writeFile(filepath.Join(r.dir, anchorName), root, 0o644),
		writeFile(r.metadataPath("1.root.json"), root, 0o644),
		r.writeConfig(),
	); err != nil {
		return err
	}
	return r.commit(s, signers)
}

// Open opens the repository in dir. It reads no metadata and no key yet.
func Open(dir string, clock Clock) (*Repository, error) {
	path := filepath.Join(dir, configName)
	data, err := readFile(path, 64<<10)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Error{Code: protocol.CodeUsage, Op: "open", Path: dir, Msg: "there is no repository", Err: err,
			Hint: "make one with: local-tuf init --dir " + dir}
	}
	if err != nil {
		return nil, during("open", err)
	}
	l, err := parseConfig(data)
	if err != nil {
		return nil, &Error{Code: protocol.CodeLocalIO, Op: "open", Path: path, Msg: "not a configuration of this version", Err: err}
	}
	return newRepository(dir, l, clock), nil
}

func newRepository(dir string, l Lifetimes, clock Clock) *Repository {
	if clock == nil {
		clock = time.Now
	}
	return &Repository{dir: dir, lifetimes: l, clock: clock, limits: plugin.DefaultLimits}
}

// Dir returns the repository's directory.
func (r *Repository) Dir() string { return r.dir }

func (r *Repository) metadataPath(name string) string {
	return filepath.Join(r.dir, metadataName, name)
}

func (r *Repository) writeConfig() error {
	c := configFile{Format: configFormat, Lifetimes: map[string]string{}}
	for role, d := range r.lifetimes.byRole() {
		c.Lifetimes[role] = d.String()
	}
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(r.dir, configName), append(data, '\n'), 0o644)
}

func parseConfig(data []byte) (Lifetimes, error) {
	var c configFile
	if err := json.Unmarshal(data, &c); err != nil {
		return Lifetimes{}, err
	}
	if c.Format != configFormat {
		return Lifetimes{}, fmt.Errorf("format is %d, not %d", c.Format, configFormat)
	}
	var l Lifetimes
	for role, d := range l.byRole() {
		v, err := time.ParseDuration(c.Lifetimes[role])
		if err != nil {
			return Lifetimes{}, fmt.Errorf("lifetime of %s: %w", role, err)
		}
		*d = v
	}
	return l.complete()
}

// byRole gives access to the field of each role.
func (l *Lifetimes) byRole() map[string]*time.Duration {
	return map[string]*time.Duration{
		metadata.ROOT: &l.Root, metadata.TARGETS: &l.Targets,
		metadata.SNAPSHOT: &l.Snapshot, metadata.TIMESTAMP: &l.Timestamp,
	}
}

// complete fills in defaults and refuses lifetimes that cannot work.
func (l Lifetimes) complete() (Lifetimes, error) {
	defaults := DefaultLifetimes.byRole()
	for role, d := range l.byRole() {
		if *d == 0 {
			*d = *defaults[role]
		}
		if *d < MinLifetime {
			return l, &Error{Code: protocol.CodeUsage, Role: role,
				Msg: fmt.Sprintf("a lifetime of %s is too short", *d), Hint: "give at least " + MinLifetime.String()}
		}
	}
	return l, nil
}

func (l Lifetimes) of(role string) time.Duration { return *l.byRole()[role] }

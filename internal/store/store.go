package store

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// lockPoll is how often a waiting process asks for the lock, which is held for
// milliseconds.
const lockPoll = 3 * time.Millisecond

// Options are what a store can be told.
type Options struct {
	// Limits bound the metadata that is read back; zero fields mean defaults.
	Limits admission.Limits
	// Logger receives the events as log records; nil discards them.
	Logger *slog.Logger
	// OnEvent is called for each event by the goroutine whose call caused it, after
	// the lock is released; nil ignores them. It must be safe for concurrent use.
	OnEvent func(Event)
}

// Store is a trust store on disk. It is safe for concurrent use, also by other
// processes and by other Stores of the same directory.
type Store struct {
	dir, private string
	limits       admission.Limits
	log          *slog.Logger
	onEvent      func(Event)
	disk         disk

	// turn is the lock among the goroutines of this Store.
	turn chan struct{}
	// Owned by whose turn it is: the verified root history, and what the store
	// trusted when it was last read or written.
	chain []*admission.Doc
	last  *state
	// conflicting is the digest of the root.json that was last told of as not the
	// trusted one, "" if there is none now.
	conflicting string

	mu       sync.Mutex
	files    map[string]remembered
	suspects map[string]string // path → role, found damaged outside the lock
	ahead    ahead
}

// Open returns the trust store in a directory, which need not exist. It touches
// no file. The error is local_io if dir has no absolute form.
func Open(dir string, o Options) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, localError(err, dir)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Store{
		dir: abs, private: filepath.Join(abs, ".ragnos"),
		limits: o.Limits, log: o.Logger, onEvent: o.OnEvent,
		turn:  make(chan struct{}, 1),
		files: map[string]remembered{}, suspects: map[string]string{},
	}, nil
}

// session is what one call does while it holds the lock.
type session struct {
	*Store
	events []Event
	// sights are what was seen of the files that were read or written.
	sights map[string]sight
}

func (x *session) event(e Event) { x.events = append(x.events, e) }

// locked runs f while no other goroutine or process uses the store. It waits
// until ctx ends. If that was a deadline that passed while it really waited, the
// error is locked; otherwise it is the context's, cancelled or timeout.
func (s *Store) locked(ctx context.Context, f func(*session) error) error {
	x := &session{Store: s, sights: map[string]sight{}}
	defer func() { s.emit(x.events) }()
	if ctx.Err() != nil {
		return engine.Cancelled(ctx)
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return s.stillLocked(ctx)
	}
	fl, err := s.flock(ctx)
	if err != nil {
		return localError(err, s.dir)
	}
	if err := f(x); err != nil {
		_ = fl.Close() // closing the file releases the lock in any case
		return localError(err, s.dir)
	}
	return localError(fl.Close(), s.dir)
}

// flock takes the kernel's lock. The kernel releases it when the process dies,
// so it is never stolen.
func (s *Store) flock(ctx context.Context) (*flock.Flock, error) {
	path := filepath.Join(s.private, "lock")
	for {
		fl := flock.New(path, flock.SetPermissions(fileMode))
		ok, err := fl.TryLockContext(ctx, lockPoll)
		if ctx.Err() != nil && !ok {
			return nil, s.stillLocked(ctx)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil, noRoot(s.dir)
		}
		if err != nil {
			return nil, err
		}
		// A lock file that somebody deleted locks out nobody else.
		mine, err1 := fl.Stat()
		now, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(mine, now) {
			return fl, nil
		}
		if err := fl.Unlock(); err != nil {
			return nil, err
		}
	}
}

func (s *Store) stillLocked(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return engine.Cancelled(ctx)
	}
	e := tuferr.New(protocol.CodeLocked, "trust store: waited for the lock: %w", ctx.Err())
	e.Path = filepath.Join(s.private, "lock")
	e.Hint = "another process uses this metadata directory; the lock goes with it, so do not delete the file"
	return e
}

func noRoot(dir string) error {
	e := tuferr.New(protocol.CodeNoRoot, "the trust store has no trusted root")
	e.Path = dir
	e.Hint = "give the root metadata that came with the application"
	return e
}

// The files of the store.

func (s *Store) public(name string) string { return filepath.Join(s.dir, name) }
func (s *Store) anchorPath() string        { return filepath.Join(s.private, "anchor.json") }
func (s *Store) floorsPath() string        { return filepath.Join(s.private, "floors") }
func (s *Store) clockPath() string         { return filepath.Join(s.private, "clock") }
func (s *Store) tmpDir() string            { return filepath.Join(s.private, "tmp") }
func (s *Store) historyDir() string        { return filepath.Join(s.private, "history") }
func (s *Store) quarantineDir() string     { return filepath.Join(s.private, "quarantine") }

// lineage are the directories in which the entries stand that lead to the
// store's own files, up to one that exists: what must be on the disk for those
// files to be found there.
func (s *Store) lineage() []string {
	all := []string{s.private, s.dir}
	for dir := s.dir; ; {
		dir = filepath.Dir(dir)
		all = append(all, dir)
		if exists(dir) {
			return all
		}
	}
}

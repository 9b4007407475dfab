// Package audit keeps a log that nobody can rewrite unnoticed.
//
// A log is a directory. Its lines stand in the files audit-000001.ndjson,
// audit-000002.ndjson and so on, each of them one JSON object and a newline:
//
//	{"event":{…},"prev":"HEX","seq":N,"time":"2026-01-02T12:00:00.000000Z"}
//
// in canonical form, that of RFC 8785, except that integers of any size keep all
// their digits. "seq" counts from 1 over all files, "prev" is the SHA-256 of the line
// before with its newline (64 zeros in the first line), "time" is in UTC, "event" is
// the caller's. No line is longer than [MaxLine].
//
// What a killed process or a power failure left of a line is moved to a file
// torn-SEQ-HASH, and the line SEQ says so: it has a member "kind", "recovered", and
// its event is {"bytes":N,"file":"torn-…","sha256":"HEX"} of what was moved.
//
// The file "checkpoints" holds signed notes (C2SP tlog-checkpoint) over the RFC 6962
// Merkle tree whose leaves are the lines without their newlines. They are made of
// lines that are on the disk, so that a log which is shorter than one of them has
// been cut. Their origin is the name of the key. "state" is what spares a new
// process to read the whole log; it is believed only with a signed checkpoint in it,
// and may be deleted. "lock" is locked by who writes. Nothing of a log is ever
// deleted by this package.
package audit

import (
	"context"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// What the zero values of [Options] stand for.
const (
	DefaultMaxFile  = 16 << 20 // bytes
	DefaultEvery    = 256      // lines
	DefaultInterval = time.Minute
)

const (
	dirMode  = 0o700
	fileMode = 0o600
	lockName = "lock"
	// tornPrefix begins the names of files with torn bytes.
	tornPrefix = "torn-"
)

// openWait is how long Open waits for another process at most.
const openWait = 30 * time.Second

// Options are the options of a log.
type Options struct {
	// Signer signs checkpoints; its name is their origin. Nil is the key in
	// [KeyName], which is made if it is not there.
	Signer note.Signer
	// Verifiers verify earlier checkpoints, those of Signer among them; without, every
	// new process reads the whole log. Those of [PublicName] need not be given where
	// Signer is nil.
	Verifiers []note.Verifier
	// Name is that of a key which has to be made, "" for one of its own. A key with
	// another name is refused.
	Name string
	// MaxFile is the length in bytes from which on a new file begins; 0 is
	// DefaultMaxFile. A file is longer only where the lines of one Append are.
	MaxFile int64
	// Every is after how many lines a checkpoint is made; 0 is DefaultEvery, less is
	// never.
	Every int
	// Interval is how long lines may stand without a checkpoint while the log is open;
	// 0 is DefaultInterval, less is for ever.
	Interval time.Duration
	// Now is the clock, nil for time.Now.
	Now func() time.Time
	// OnCheckpointError is called, if not nil, when a checkpoint cannot be made beside
	// lines that are on the disk. It will be tried again after the next line. It must
	// not call the log.
	OnCheckpointError func(error)
}

func (o *Options) fill() {
	if o.MaxFile <= 0 {
		o.MaxFile = DefaultMaxFile
	}
	if o.Every == 0 {
		o.Every = DefaultEvery
	}
	if o.Interval == 0 {
		o.Interval = DefaultInterval
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.OnCheckpointError == nil {
		o.OnCheckpointError = func(error) {}
	}
}

// Log writes a log. It is safe for concurrent use, also by other Logs and processes.
//
// Errors of the disk are local_io, disk_full and permissions. A log that has been
// tampered with, as far as a writer sees it, is local_io: nothing is written to it
// any more. Locked is when the deadline of ctx passed while others wrote, cancelled
// when ctx was.
type Log struct {
	dir  string
	opts Options
	// turn is the lock among the goroutines of this Log; who has it may use what
	// stands below, up to mu.
	turn   chan struct{}
	signer note.Signer
	known  []note.Verifier
	end    *tail // nil if it has to be read again
	// covered is how many lines a checkpoint covers, or more.
	covered int64
	// wrote says that this Log has written lines.
	wrote bool
	// before is how tests fail, or end, what is done to the disk.
	before func(op, path string) error

	mu      sync.Mutex
	queue   []*request
	closed  bool
	timer   *time.Timer
	ticking sync.WaitGroup
}

// Open opens the log in a directory, which is made, with mode 0700, if it is not
// there, as is the key. It reads the end of the log, all of it if that cannot be
// avoided, and writes no line. A key that others may read is permissions, one that is
// damaged local_io. For other errors see [Log].
func Open(dir string, opts Options) (*Log, error) {
	return OpenContext(context.Background(), dir, opts)
}

// OpenContext is Open, and waits for another process no longer than ctx allows.
func OpenContext(ctx context.Context, dir string, opts Options) (*Log, error) {
	return openWith(ctx, dir, opts, nil)
}

func openWith(ctx context.Context, dir string, opts Options, before func(op, path string) error) (*Log, error) {
	opts.fill()
	l := &Log{dir: dir, opts: opts, turn: make(chan struct{}, 1), before: before}
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, openWait)
	defer cancel()
	err := l.locked(ctx, func() error {
		l.signer, l.known = opts.Signer, opts.Verifiers
		if l.signer == nil {
			signer, verifiers, err := openKey(dir, opts.Name, before)
			if err != nil {
				return err
			}
			l.signer, l.known = signer, append(verifiers, opts.Verifiers...)
		}
		_, err := l.catchUp(context.WithoutCancel(ctx)) // However long the log is.
		return err
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Append writes a line for each event, one after another into one file. They are on
// the disk when it returns without error; callers at the same time share the wait.
// An event is what encoding/json makes a JSON object of, json.RawMessage among them;
// what is none, or longer than [MaxEvent] bytes, is usage, and no line is written.
//
// After an error no line of the call is in the log, unless the disk refuses even to
// take back what it did not finish. Once the writing has begun ctx is not looked at.
func (l *Log) Append(ctx context.Context, events ...any) error {
	if ctx.Err() != nil {
		return tuferr.Cancelled(ctx)
	}
	r := &request{done: make(chan error, 1)}
	for _, e := range events {
		raw, err := encodeEvent(e)
		if err != nil {
			return err
		}
		r.events = append(r.events, raw)
	}
	if len(r.events) == 0 {
		return nil
	}
	if err := l.enqueue(r); err != nil {
		return err
	}
	return l.await(ctx, r)
}

// Checkpoint signs the log as it is now, and returns the signed note. A log that the
// latest checkpoint covers keeps that one.
func (l *Log) Checkpoint(ctx context.Context) (raw []byte, err error) {
	if ctx.Err() != nil {
		return nil, tuferr.Cancelled(ctx)
	}
	err = l.locked(ctx, func() error {
		if l.isClosed() {
			return closedError()
		}
		raw, err = l.checkpointNow(ctx)
		return err
	})
	return raw, err
}

// Close makes a checkpoint of what was written, and takes no more lines. The error is
// that of the checkpoint; the log is closed in any case. It may be called again.
func (l *Log) Close(ctx context.Context) error {
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	if l.timer != nil && l.timer.Stop() {
		l.ticking.Done()
	}
	l.timer = nil
	l.mu.Unlock()
	if !first {
		return nil
	}
	err := l.locked(ctx, func() error {
		l.commit(ctx)
		if !l.wrote || l.end != nil && l.end.tree.size <= l.covered {
			return nil
		}
		_, err := l.checkpointNow(ctx)
		return err
	})
	l.ticking.Wait()
	return err
}

func (l *Log) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

func closedError() error { return tuferr.New(protocol.CodeUsage, "the audit log is closed") }

package audit

import (
	"bytes"
	"context"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/ragnos-labs/vault-tuf/internal/diskfile"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Entry is a line of a log.
type Entry struct {
	Place `json:"-"`
	Seq   int64     `json:"seq"`
	Time  time.Time `json:"time"`
	// Kind is "" for an event of a caller, and KindRecovered for a line that tells of a
	// torn one.
	Kind string `json:"kind,omitempty"`
	// Event is in canonical form.
	Event stdjson.RawMessage `json:"event"`
	// Raw is the whole line without its newline.
	Raw []byte `json:"-"`
}

// Entries returns the lines of a log in the order of its files, as they are: whether
// they are what was written is for [Verify] to say. What is no line is a local_io
// with its place and [ErrNoLine], and the next line follows; an unfinished last line is left out.
// After any other error, cancelled and permissions among them, the sequence ends.
func Entries(ctx context.Context, dir string) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		all, err := numbers(dir)
		if err != nil {
			yield(nil, err)
			return
		}
		for i, n := range all {
			if !entriesOf(ctx, dir, n, i == len(all)-1, yield) {
				return
			}
		}
	}
}

// entriesOf yields the lines of one file, and tells whether to go on.
func entriesOf(ctx context.Context, dir string, number int, last bool, yield func(*Entry, error) bool) bool {
	path := filepath.Join(dir, fileName(number))
	f, _, err := openAt(dir, number, 0)
	if err != nil {
		yield(nil, err)
		return false
	}
	defer f.Close()
	lines := newLineReader(f, 0)
	for {
		if ctx.Err() != nil {
			yield(nil, tuferr.Cancelled(ctx))
			return false
		}
		raw, terminated, err := lines.next()
		if err != nil {
			yield(nil, diskfile.Error("read", path, err))
			return false
		}
		if raw == nil || last && !terminated {
			return true
		}
		e, err := entry(lines, raw, terminated)
		if err != nil {
			err = notALine(path, lines)
		} else {
			e.File = fileName(number)
		}
		if !yield(e, err) {
			return false
		}
	}
}

func entry(lines *lineReader, raw []byte, terminated bool) (*Entry, error) {
	if _, err := lines.parse(raw, terminated); err != nil {
		return nil, err
	}
	raw = bytes.Clone(raw[:len(raw)-1])
	l, err := parseLine(raw)
	if err != nil {
		return nil, err
	}
	e := &Entry{Place: Place{Line: lines.number, Offset: lines.offset}, Seq: l.seq, Time: l.at, Event: l.event, Raw: raw}
	if l.recovered {
		e.Kind = KindRecovered
	}
	return e, nil
}

func notALine(path string, lines *lineReader) error {
	e := tuferr.New(protocol.CodeLocalIO, "line %d of %s, at byte %d, is %w", lines.number, path, lines.offset, ErrNoLine)
	e.Path, e.Hint = path, "verify the log"
	return e
}

// Export writes the lines of a log that its latest stored checkpoint covers, byte for
// byte, and that checkpoint as the last line: {"checkpoint":"NOTE"}. Nil verifiers are
// those in [PublicName]. It checks no more than that: see [VerifyExport].
//
// No checkpoint, and a log that is shorter, are local_io; errors of w are returned as
// they are.
func Export(ctx context.Context, dir string, w io.Writer, verifiers []note.Verifier) error {
	c, raw, err := latest(dir, verifiers)
	if err != nil {
		return err
	}
	n := int64(0)
	for e, err := range Entries(ctx, dir) {
		if n == c.size {
			break
		}
		if err != nil {
			return err
		}
		if n++; e.Seq != n {
			return exportError(dir, "line %d stands where line %d should", e.Seq, n)
		}
		if _, err := w.Write(append(e.Raw, '\n')); err != nil {
			return err
		}
	}
	if n < c.size {
		return exportError(dir, "it has %d lines, and a signed checkpoint says %d", n, c.size)
	}
	last, err := lastExported(string(raw))
	if err != nil {
		return err
	}
	_, err = w.Write(last)
	return err
}

// lastExported returns the last line of an exported log.
func lastExported(note string) ([]byte, error) {
	raw, err := encodeEvent(map[string]string{"checkpoint": note})
	return append(raw, '\n'), err
}

// latest returns the last stored checkpoint.
func latest(dir string, verifiers []note.Verifier) (c checkpoint, last []byte, err error) {
	if len(verifiers) == 0 {
		if verifiers, err = ReadKeys(filepath.Join(dir, PublicName)); err != nil {
			return c, nil, err
		}
	}
	path := filepath.Join(dir, CheckpointsName)
	f, info, err := diskfile.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil, exportError(dir, "it has no checkpoint yet")
	}
	if err != nil {
		return c, nil, err
	}
	defer f.Close()
	s, err := readStored(f, info.Size())
	if err != nil {
		return c, nil, diskfile.Error("read", path, err)
	}
	if c, err = openCheckpoint(s.raw, verifiers); err != nil {
		return c, nil, exportError(dir, "its last checkpoint does not count: %v", err)
	}
	return c, s.raw, nil
}

func exportError(dir, format string, args ...any) error {
	e := tuferr.New(protocol.CodeLocalIO, "the audit log cannot be exported: %s", fmt.Sprintf(format, args...))
	e.Path, e.Hint = dir, "verify it"
	return e
}

// VerifyExport reports what is wrong with what [Export] wrote, in constant memory.
// Verifiers must be given, and the checkpoint at the end counts as a given one. It
// returns the errors of r, and cancelled. Torn bytes that lines tell of are not
// looked for.
func VerifyExport(ctx context.Context, r io.Reader, opts VerifyOptions) (*Report, error) {
	rep := &Report{Problems: []Problem{}, Notes: []string{}, Files: 1}
	c := newChecker(rep)
	c.roots.rep, c.roots.verifiers = rep, opts.Verifiers
	c.roots.give(opts.Checkpoints, GivenName)
	end, err := c.export(ctx, r)
	if err != nil {
		return nil, err
	}
	c.finish(end, c.roots.covered)
	rep.sort()
	rep.conclude(false, len(c.roots.anchors) > 0)
	return rep, nil
}

// export reads an exported log up to its end.
func (c *checker) export(ctx context.Context, r io.Reader) (end Place, err error) {
	lines := newLineReader(r, 0)
	var last []byte // Only the last line is a checkpoint, and there is no telling it before.
	var lastAt Place
	cut := false // The last line is unfinished: whoever copied the log did not come to its end.
	for {
		if ctx.Err() != nil {
			return end, tuferr.Cancelled(ctx)
		}
		raw, terminated, err := lines.next()
		if err != nil {
			return end, err
		}
		if last != nil && raw != nil {
			c.bad(lastAt, last)
			last = nil
		}
		at := Place{Line: lines.number, Offset: lines.offset}
		c.rep.Bytes += lines.size
		switch l, err := lines.parse(raw, terminated); {
		case raw == nil:
			switch {
			case last == nil:
				c.rep.add(Problem{Kind: KindCheckpointMissing, Place: at, Message: "no checkpoint stands at the end"})
				return at, nil
			case cut:
				c.rep.add(Problem{Kind: KindCheckpointMissing, Place: lastAt, Message: "no checkpoint stands at the end, and the last line is unfinished"})
				return lastAt, nil
			}
			c.exported(last, lastAt)
			return lastAt, nil
		case err != nil:
			last, lastAt, cut = bytes.Clone(raw), at, !terminated
		default:
			c.good(&seen{at, l.seq, l.prev, hashLine(raw), leafOf(raw), l.at, l.recovered})
		}
	}
}

// exported takes the checkpoint at the end.
func (c *checker) exported(raw []byte, at Place) {
	var end struct{ Checkpoint string }
	err := stdjson.Unmarshal(raw, &end)
	again, _ := lastExported(end.Checkpoint)
	if err != nil || !bytes.Equal(raw, again) {
		c.bad(at, raw)
		c.rep.add(Problem{Kind: KindCheckpointMissing, Place: at, Message: "no checkpoint stands at the end"})
		return
	}
	cp, ok := c.roots.open([]byte(end.Checkpoint), at, "the checkpoint at the end")
	if !ok {
		return
	}
	if c.held != nil {
		c.decide(0)
	}
	switch {
	case c.gapped:
	case cp.size == c.tree.size:
		c.roots.next = &anchor{checkpoint: cp, Place: at}
		c.roots.compareStored(c.tree.root() == cp.root)
	case cp.size < c.tree.size:
		c.problem(KindForeign, at, cp.size+1, c.tree.size, "the checkpoint at the end does not cover %s", lines(cp.size+1, c.tree.size))
	}
}

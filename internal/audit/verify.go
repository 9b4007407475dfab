package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/gofrs/flock"
	"golang.org/x/mod/sumdb/note"

	"github.com/ragnos-labs/vault-tuf/internal/diskfile"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
)

// snapshotWait is how long Verify waits for writers to have finished their lines.
const snapshotWait = 2 * time.Second

// VerifyOptions are the options of [Verify].
type VerifyOptions struct {
	// Verifiers are the keys of the log, the present and earlier ones, best from
	// elsewhere. None are those in [PublicName] beside the log.
	Verifiers []note.Verifier
	// Checkpoints are signed notes that were kept elsewhere, one after another.
	Checkpoints []byte
}

// Verify reads a whole log, in constant memory, and reports what is wrong with it and
// what can be told. Others may write meanwhile: it looks at what was there at first.
// It changes nothing, and needs no right to write.
//
// An error says that it could not be read: cancelled, local_io, permissions. What is
// wrong with the log is no error.
func Verify(ctx context.Context, dir string, opts VerifyOptions) (*Report, error) {
	rep := &Report{Problems: []Problem{}, Notes: []string{}}
	v := &verification{dir: dir, checker: newChecker(rep)}
	r := &v.roots
	r.rep, r.verifiers = rep, opts.Verifiers
	own := len(r.verifiers) == 0
	if own {
		if err := v.ownKeys(); err != nil {
			return nil, err
		}
	}
	if err := v.snapshot(ctx); err != nil {
		return nil, err
	}
	if v.notes != nil {
		defer v.notes.Close()
	}
	r.give(opts.Checkpoints, "")
	if err := v.run(ctx); err != nil {
		return nil, err
	}
	rep.sort()
	rep.conclude(own, len(r.anchors) > 0)
	return rep, nil
}

// verification is one call of Verify.
type verification struct {
	*checker
	dir   string
	files []part
	notes *os.File
	// end is where the last file ends.
	end Place
}

// part is as much of a file as there was at first.
type part struct {
	number int
	size   int64
}

// ownKeys takes the keys beside the log.
func (v *verification) ownKeys() (err error) {
	v.roots.verifiers, err = ReadKeys(filepath.Join(v.dir, PublicName))
	if err == nil {
		return nil
	}
	if e := tuferr.As(err); e == nil || !errors.Is(err, fs.ErrNotExist) && e.Err != nil {
		return err
	}
	v.rep.add(Problem{Kind: KindKeyMissing, Place: Place{File: PublicName}, Message: "no checkpoint can be checked: " + err.Error()})
	return nil
}

// snapshot notes how long the files are, while nobody writes if that can be had.
func (v *verification) snapshot(ctx context.Context) error {
	path := filepath.Join(v.dir, lockName)
	if _, err := os.Lstat(path); err == nil {
		wait, cancel := context.WithTimeout(ctx, snapshotWait)
		defer cancel()
		lock := flock.New(path, flock.SetFlag(os.O_RDONLY))
		_, _ = lock.TryRLockContext(wait, lockPoll)
		defer func() { _ = lock.Close() }()
	}
	// Checkpoints first: the lines that they cover are there then.
	path = filepath.Join(v.dir, CheckpointsName)
	f, info, err := diskfile.Open(path)
	if err == nil {
		v.notes = f
		v.roots.notes = &noteReader{lines: newLineReader(io.NewSectionReader(f, 0, info.Size()), 0)}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	all, err := numbers(v.dir)
	if err != nil {
		return err
	}
	for _, n := range all {
		info, err := os.Lstat(filepath.Join(v.dir, fileName(n)))
		if err != nil {
			return diskfile.Error("read", filepath.Join(v.dir, fileName(n)), err)
		}
		v.files = append(v.files, part{n, info.Size()})
	}
	return nil
}

func (v *verification) run(ctx context.Context) error {
	v.roots.advance()
	v.roots.compare(&v.tree) // Of no line, if somebody wanted that.
	before := 0
	v.end = Place{fileName(1), 1, 0}
	for i, p := range v.files {
		for n := before + 1; n < p.number && n <= before+maxProblems; n++ {
			v.noFile(fileName(n), "the file is missing")
		}
		before = p.number
		if err := v.file(ctx, p, i == len(v.files)-1); err != nil {
			return err
		}
	}
	v.roots.finish()
	if v.roots.err != nil {
		return diskfile.Error("read", filepath.Join(v.dir, CheckpointsName), v.roots.err)
	}
	v.finish(v.end, v.roots.covered)
	return nil
}

// file reads one file.
func (v *verification) file(ctx context.Context, p part, last bool) error {
	name := fileName(p.number)
	path := filepath.Join(v.dir, name)
	f, _, err := openAt(v.dir, p.number, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	v.rep.Files++
	v.rep.Bytes += p.size
	if p.size == 0 && !last {
		v.noFile(name, "it is empty, and another file follows")
	}
	lines := newLineReader(io.LimitReader(f, p.size), 0)
	for {
		if lines.number%checkEvery == 0 && ctx.Err() != nil {
			return tuferr.Cancelled(ctx)
		}
		raw, terminated, err := lines.next()
		if err != nil {
			return diskfile.Error("read", path, err)
		}
		at := Place{name, lines.number, lines.offset}
		if raw == nil {
			v.end = Place{name, lines.number + 1, lines.offset}
			return nil
		}
		if !terminated && last {
			v.rep.Torn = &Torn{at, lines.size}
			v.end = at
			return nil
		}
		if err := v.line(lines, at, raw, terminated); err != nil {
			return err
		}
	}
}

// line takes one line, or what stands where one should.
func (v *verification) line(lines *lineReader, at Place, raw []byte, terminated bool) error {
	l, err := lines.parse(raw, terminated)
	if err != nil {
		v.bad(at, raw)
		return nil
	}
	v.good(&seen{at, l.seq, l.prev, hashLine(raw), leafOf(raw), l.at, l.recovered})
	if l.recovered {
		return v.tornFile(at, &l)
	}
	return nil
}

// tornFile looks for the bytes that a line says were moved aside.
func (v *verification) tornFile(at Place, l *line) error {
	var r recovery
	if json.Unmarshal(l.event, &r) != nil || !strings.HasPrefix(r.File, tornPrefix) || r.File != filepath.Base(r.File) {
		v.problem(KindForeign, at, l.seq, l.seq, "line %d does not say what was recovered", l.seq)
		return nil
	}
	f, info, err := diskfile.Open(filepath.Join(v.dir, r.File))
	if errors.Is(err, fs.ErrNotExist) {
		v.problem(KindFileMissing, Place{File: r.File}, l.seq, l.seq, "line %d tells of torn bytes in it, and it is missing", l.seq)
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	n := info.Size()
	if n == r.Bytes {
		if n, err = io.Copy(sum, io.LimitReader(f, n)); err != nil {
			return diskfile.Error("read", filepath.Join(v.dir, r.File), err)
		}
	}
	if n != r.Bytes || hex.EncodeToString(sum.Sum(nil)) != r.SHA256 {
		v.problem(KindEdited, Place{File: r.File}, l.seq, l.seq, "the torn bytes are not those that line %d tells of", l.seq)
	}
	return nil
}

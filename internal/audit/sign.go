package audit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/ragnos-labs/vault-tuf/internal/diskfile"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// lastNotes is how much of the end of the checkpoints is read to find the last one.
const lastNotes = 2 * maxNote

// stored is the end of the file of checkpoints.
type stored struct {
	// raw is the last note, and checked what it says, nil if no known key has signed it.
	raw     []byte
	checked *checkpoint
	// end is where the next one belongs; what stands there is torn.
	end int64
}

// lastStored reads the end of the file of checkpoints.
func (l *Log) lastStored() (*stored, error) {
	path := filepath.Join(l.dir, CheckpointsName)
	f, info, err := diskfile.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &stored{}, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s, err := readStored(f, info.Size())
	if err != nil {
		return nil, diskfile.Error("read", path, err)
	}
	if c, err := openCheckpoint(s.raw, l.known); err == nil {
		s.checked = &c
	}
	return s, nil
}

// readStored reads the last whole note of a file of checkpoints, and where it ends.
func readStored(f io.ReaderAt, size int64) (*stored, error) {
	from := max(0, size-lastNotes)
	notes := &noteReader{lines: newLineReader(io.NewSectionReader(f, from, size-from), from)}
	s := &stored{end: from}
	for {
		raw, whole, err := notes.next()
		if err != nil {
			return nil, err
		}
		if raw == nil || !whole && notes.held == nil {
			return s, nil
		}
		s.raw, s.end = bytes.Clone(raw), notes.end()
	}
}

// end is where the latest note ends, with the empty line after it.
func (r *noteReader) end() int64 {
	if r.held != nil {
		return r.lines.offset
	}
	return r.lines.offset + r.lines.size
}

// checkpointNow signs the log as it is after a look at what others wrote. It needs
// the lock.
func (l *Log) checkpointNow(ctx context.Context) ([]byte, error) {
	l.commit(ctx)
	if _, err := l.catchUp(ctx); err != nil {
		return nil, err
	}
	return l.sign()
}

// sign makes the checkpoint of the log as it is known, unless there is one, and
// returns it. It needs the lock.
func (l *Log) sign() ([]byte, error) {
	last, err := l.lastStored()
	if err != nil {
		return nil, err
	}
	now := checkpoint{l.signer.Name(), l.end.tree.size, l.end.tree.root()}
	if c := last.checked; c != nil {
		if c.size > now.size || c.size == now.size && c.root != now.root {
			return nil, l.damaged(l.end, "a signed checkpoint says otherwise")
		}
		if c.size == now.size {
			l.covered = now.size
			return last.raw, nil
		}
	}
	if err := l.syncOthers(); err != nil {
		return nil, err
	}
	raw, err := sign(now, l.signer)
	if err != nil {
		e := tuferr.New(protocol.CodeLocalIO, "the checkpoint of the audit log cannot be signed: %w", err)
		e.Hint = "the lines are written; see to the key"
		return nil, e
	}
	if err := l.store(raw, last.end); err != nil {
		return nil, err
	}
	l.covered = now.size
	l.writeState(l.end, raw)
	return raw, nil
}

// store adds a checkpoint to the file, at its end.
func (l *Log) store(raw []byte, at int64) (err error) {
	path := filepath.Join(l.dir, CheckpointsName)
	f, info, err := l.openForWriting(path)
	if err != nil {
		return err
	}
	defer f.Close()
	defer func() {
		if err != nil {
			_ = f.Truncate(at)
		}
	}()
	err = l.step("write", path)
	if err == nil {
		_, err = f.WriteAt(append(bytes.Clone(raw), '\n'), at)
	}
	if end := at + int64(len(raw)) + 1; err == nil && info.Size() > end {
		err = f.Truncate(end)
	}
	if err != nil {
		return diskfile.Error("write", path, err)
	}
	if err := l.sync(f, path); err != nil {
		return err
	}
	if info.Size() == 0 {
		return l.syncDir()
	}
	return nil
}

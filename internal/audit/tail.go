package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/go-json-experiment/json"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/ragnos-labs/vault-tuf/internal/diskfile"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

const (
	stateName = "state"
	stateTemp = "state.tmp" // only who has the lock touches it
	maxState  = 1 << 20     // bytes
	// checkEvery is after how many lines a long reading looks whether it has to stop.
	checkEvery = 1024
)

// tail is where a log ends: what has to be known to go on with it.
type tail struct {
	file int   // from 1
	size int64 // of the file, in bytes
	prev [sha256.Size]byte
	tree tree // its size is the seq of the last line
	// moved is how many torn bytes the last line tells of, 0 if it is another line.
	// They began where it begins, at start.
	moved, start int64
	// unsynced: the last lines are somebody else's, who may have died before they
	// were on the disk.
	unsynced bool
}

func (t *tail) clone() *tail {
	c := *t
	c.tree = t.tree.clone()
	return &c
}

// add goes one line further. raw has its newline.
func (t *tail) add(l *line, raw []byte) {
	t.moved, t.start = 0, t.size
	if l.recovered {
		var r recovery
		if json.Unmarshal(l.event, &r) == nil {
			t.moved = r.Bytes
		}
	}
	t.size += int64(len(raw))
	t.prev = hashLine(raw)
	t.tree.add(leafOf(raw))
}

// torn is what stands behind the last line.
type torn struct{ offset, size int64 }

// catchUp reads what was written since the last time, and leaves in end where the log
// ends. torn is what a dead writer left there, nil if nothing. It needs the lock.
func (l *Log) catchUp(ctx context.Context) (*torn, error) {
	if l.end != nil {
		same, err := l.stands()
		if same || err != nil {
			return nil, err
		}
	}
	var floor *checkpoint
	t := l.end
	if t != nil {
		t = t.clone()
	} else {
		stored, err := l.lastStored()
		if err != nil {
			return nil, err
		}
		if floor = stored.checked; floor != nil {
			l.covered = max(l.covered, floor.size)
		}
		if t = l.readState(); t == nil {
			t = &tail{file: 1}
		}
	}
	left, err := l.read(ctx, t, floor)
	if err != nil {
		l.end = nil
		return nil, err
	}
	if floor != nil && t.tree.size < floor.size {
		return nil, l.damaged(t, "it has %d lines, and a signed checkpoint says %d", t.tree.size, floor.size)
	}
	l.end = t
	return left, nil
}

// stands tells whether the log still ends where it did.
func (l *Log) stands() (bool, error) {
	info, err := os.Lstat(l.path(l.end.file))
	if errors.Is(err, fs.ErrNotExist) && l.end.file == 1 && l.end.size == 0 {
		return true, nil
	}
	if err != nil {
		return false, diskfile.Error("read", l.path(l.end.file), err)
	}
	if info.Size() < l.end.size {
		return false, l.damaged(l.end, "it has become shorter")
	}
	if info.Size() > l.end.size {
		return false, nil
	}
	_, err = os.Lstat(l.path(l.end.file + 1))
	return errors.Is(err, fs.ErrNotExist), nil
}

func (l *Log) path(file int) string { return filepath.Join(l.dir, fileName(file)) }

// read goes on from t to the end of the log.
func (l *Log) read(ctx context.Context, t *tail, floor *checkpoint) (*torn, error) {
	for {
		left, err := l.readFile(ctx, t, floor)
		if err != nil {
			return nil, err
		}
		_, err = os.Lstat(l.path(t.file + 1))
		if errors.Is(err, fs.ErrNotExist) {
			return left, nil
		}
		if err != nil {
			return nil, diskfile.Error("read", l.path(t.file+1), err)
		}
		if left != nil {
			return nil, l.damaged(t, "a line is not whole, and others follow")
		}
		if t.size == 0 {
			return nil, l.damaged(t, "it is empty or missing, and another file follows")
		}
		t.file, t.size, t.moved = t.file+1, 0, 0
	}
}

// readFile goes on from t to the end of its file.
func (l *Log) readFile(ctx context.Context, t *tail, floor *checkpoint) (*torn, error) {
	f, info, err := openAt(l.dir, t.file, t.size)
	if errors.Is(err, fs.ErrNotExist) && t.size == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info.Size() < t.size {
		return nil, l.damaged(t, "it has become shorter")
	}
	lines := newLineReader(f, t.size)
	for {
		if t.tree.size%checkEvery == 0 && ctx.Err() != nil {
			return nil, tuferr.Cancelled(ctx)
		}
		raw, terminated, err := lines.next()
		if err != nil {
			return nil, diskfile.Error("read", l.path(t.file), err)
		}
		if raw == nil {
			return nil, nil
		}
		line, err := lines.parse(raw, terminated)
		if err == nil && line.seq == t.tree.size+1 && line.prev == t.prev {
			t.add(&line, raw)
			t.unsynced = true
			if floor != nil && floor.size == t.tree.size && floor.root != t.tree.root() {
				return nil, l.damaged(t, "its lines are not those that a signed checkpoint was made of")
			}
			continue
		}
		left := &torn{lines.offset, info.Size() - lines.offset}
		if !terminated || t.left(left) || bytes.IndexByte(raw, 0) >= 0 && l.covered <= t.tree.size {
			return left, nil // A file that grew but was not written holds zeros.
		}
		return nil, l.damaged(t, "the line at byte %d does not follow the one before it", lines.offset)
	}
}

// left tells whether t ends with a line that tells already of what stands behind it:
// the writer died before the rest of it was cut off.
func (t *tail) left(behind *torn) bool {
	return t.moved > 0 && t.start+t.moved == behind.offset+behind.size
}

// state is what is kept beside the log for the next process.
type state struct {
	Checkpoint string   `json:"checkpoint"`
	Edge       []string `json:"edge"`
	File       int      `json:"file"`
	Size       int64    `json:"size"`
}

// writeState keeps where the log ends, with the checkpoint that was made of it. It is
// not synced, and whether it succeeds does not matter.
func (l *Log) writeState(t *tail, signed []byte) {
	s := state{Checkpoint: string(signed), File: t.file, Size: t.size}
	for _, h := range t.tree.edge {
		s.Edge = append(s.Edge, h.String())
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return
	}
	temp := filepath.Join(l.dir, stateTemp)
	_ = os.Remove(temp)
	if l.step("state", temp) == nil && os.WriteFile(temp, raw, fileMode) == nil {
		_ = os.Rename(temp, filepath.Join(l.dir, stateName))
	}
}

// readState returns where the log ended once, nil if that is not known for sure: if
// there is no known key's checkpoint of it, or the line before is not the last one.
func (l *Log) readState() *tail {
	raw, _, err := diskfile.Read(filepath.Join(l.dir, stateName), maxState)
	if err != nil {
		return nil
	}
	var s state
	if json.Unmarshal(raw, &s) != nil || s.File < 1 || s.Size < 1 {
		return nil
	}
	c, err := openCheckpoint([]byte(s.Checkpoint), l.known)
	if err != nil {
		return nil
	}
	t := &tail{file: s.File, size: s.Size, tree: tree{size: c.size}}
	for _, text := range s.Edge {
		h, err := tlog.ParseHash(text)
		if err != nil {
			return nil
		}
		t.tree.edge = append(t.tree.edge, h)
	}
	if !t.tree.sound() || t.tree.root() != c.root || !l.lastLine(t) {
		return nil
	}
	return t
}

// lastLine reads the last line before the end of t, and tells whether it is that.
func (l *Log) lastLine(t *tail) bool {
	from := max(0, t.size-MaxLine)
	f, info, err := openAt(l.dir, t.file, from)
	if err != nil {
		return false
	}
	defer f.Close()
	raw := make([]byte, t.size-from)
	if _, err := io.ReadFull(f, raw); err != nil || info.Size() < t.size || raw[len(raw)-1] != '\n' {
		return false
	}
	raw = raw[bytes.LastIndexByte(raw[:len(raw)-1], '\n')+1:]
	line, err := parseLine(raw[:len(raw)-1])
	if err != nil || line.seq != t.tree.size {
		return false
	}
	t.prev = hashLine(raw)
	return true
}

// damaged is the error for a log that somebody, or the disk, has changed.
func (l *Log) damaged(t *tail, format string, args ...any) error {
	path := l.path(t.file)
	e := tuferr.New(protocol.CodeLocalIO, "the audit log is damaged: %s, line %s of the log: %s", path, strconv.FormatInt(t.tree.size+1, 10), fmt.Sprintf(format, args...))
	e.Path = path
	e.Hint = "keep the directory as evidence: verify it, move it away, and start anew what writes to it: a new log begins"
	return e
}

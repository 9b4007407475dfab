package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/diskfile"
)

// maxBatch is how many bytes of lines are written in one go.
const maxBatch = 4 << 20

// request is one Append that waits to be written.
type request struct {
	events    [][]byte
	recovered bool
	done      chan error // has room for one
}

func (l *Log) enqueue(r *request) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return closedError()
	}
	l.queue = append(l.queue, r)
	return nil
}

// withdraw takes a request out of the queue, unless it is being written.
func (l *Log) withdraw(r *request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.queue, r)
	if i >= 0 {
		l.queue = slices.Delete(l.queue, i, i+1)
	}
	return i >= 0
}

// await returns when r is on the disk. Whoever gets the turn writes for all that wait.
func (l *Log) await(ctx context.Context, r *request) error {
	select {
	case err := <-r.done:
		return err
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		if l.withdraw(r) {
			return l.stillLocked(ctx)
		}
		return <-r.done
	}
	defer l.endTurn()
	select {
	case err := <-r.done:
		return err
	default:
	}
	lock, err := l.flock(ctx)
	if err != nil {
		l.withdraw(r)
		return err
	}
	defer func() { _ = lock.Close() }()
	l.commit(ctx)
	return <-r.done
}

// commit writes what waits, tells who waits for it, and makes a checkpoint if it is
// time. It needs the lock.
func (l *Log) commit(ctx context.Context) {
	left, err := l.catchUp(context.WithoutCancel(ctx))
	l.mu.Lock()
	all := l.queue
	l.queue = nil
	l.mu.Unlock()
	if err == nil && left != nil {
		err = l.recover(left)
	}
	for len(all) > 0 && err == nil {
		all, err = l.write(all)
	}
	for _, r := range all {
		r.done <- err
	}
	if err != nil {
		return
	}
	if err := l.signIfDue(); err != nil {
		l.opts.OnCheckpointError(err)
	}
	l.startTimer()
}

// signIfDue makes a checkpoint if Every lines have none, whoever wrote them.
func (l *Log) signIfDue() error {
	due := func() bool { return l.opts.Every > 0 && l.end.tree.size-l.covered >= int64(l.opts.Every) }
	if !due() {
		return nil
	}
	last, err := l.lastStored()
	if err != nil {
		return err
	}
	if last.checked != nil {
		l.covered = max(l.covered, last.checked.size)
	}
	if due() {
		_, err = l.sign()
	}
	return err
}

// write writes the first of the requests, as many as go together, and returns the
// rest. After an error none of them is in the log.
func (l *Log) write(all []*request) ([]*request, error) {
	t := l.end.clone()
	var buf []byte
	n := 0
	for ; n < len(all) && len(buf) < maxBatch; n++ {
		next := t.clone()
		lines := l.encode(next, all[n])
		if t.size > 0 && t.size+int64(len(lines)) > l.opts.MaxFile {
			break
		}
		t, buf = next, append(buf, lines...)
	}
	if n == 0 {
		return all, l.rotate()
	}
	if err := l.put(buf, l.end.size); err != nil {
		return all, err
	}
	l.end, l.wrote = t, true
	t.unsynced = false
	for _, r := range all[:n] {
		r.done <- nil
	}
	return all[n:], nil
}

// encode returns the lines of a request, which t goes on with.
func (l *Log) encode(t *tail, r *request) (lines []byte) {
	now := l.opts.Now().UTC()
	if now.Year() < 1 || now.Year() > 9999 {
		now = time.Time{} // There is no other way to write it.
	}
	for _, event := range r.events {
		begin := len(lines)
		next := line{seq: t.tree.size + 1, at: now, prev: t.prev, recovered: r.recovered, event: event}
		lines = next.append(lines)
		t.add(&next, lines[begin:])
	}
	return lines
}

// rotate begins a new file when the one before is on the disk.
func (l *Log) rotate() error {
	if err := l.syncOthers(); err != nil {
		return err
	}
	l.end.file, l.end.size, l.end.moved = l.end.file+1, 0, 0
	return nil
}

// syncOthers puts the lines of others on the disk, who may have died before they did.
func (l *Log) syncOthers() error {
	if !l.end.unsynced {
		return nil
	}
	path := l.path(l.end.file)
	f, _, err := diskfile.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := l.sync(f, path); err != nil {
		return err
	}
	if err := l.syncDir(); err != nil {
		return err
	}
	l.end.unsynced = false
	return nil
}

// put writes lines at an offset of the file where the log ends, and cuts off what
// stood there. After an error it takes them back.
func (l *Log) put(lines []byte, at int64) (err error) {
	path := l.path(l.end.file)
	unsynced := l.end.unsynced
	f, info, err := l.openForWriting(path)
	if err != nil {
		l.end = nil // What stands there then is read again.
		return err
	}
	defer f.Close()
	defer func() {
		if err == nil {
			return
		}
		l.end = nil
		if info.Size() <= at { // Torn bytes stay until a line tells of them.
			_ = f.Truncate(at)
			_ = f.Sync()
		}
	}()
	err = l.step("write", path)
	if err == nil {
		_, err = f.WriteAt(lines, at)
	}
	end := at + int64(len(lines))
	if err == nil && info.Size() > end {
		if err = l.step("truncate", path); err == nil {
			err = f.Truncate(end)
		}
	}
	if err != nil {
		return diskfile.Error("write", path, err)
	}
	if err := l.sync(f, path); err != nil {
		return err
	}
	if info.Size() == 0 || unsynced {
		return l.syncDir()
	}
	return nil
}

// openForWriting opens or makes a file of the log's directory.
func (l *Log) openForWriting(path string) (*os.File, os.FileInfo, error) {
	seen, err := os.Lstat(path)
	if err == nil && !seen.Mode().IsRegular() {
		return nil, nil, diskfile.NotRegular(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = l.step("create", path)
	}
	if err != nil {
		return nil, nil, diskfile.Error("open", path, err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, nil, diskfile.Error("open", path, err)
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, nil, diskfile.Error("open", path, err)
	}
	return f, info, nil
}

// recovery is the event of a line that tells of a torn one.
type recovery struct {
	// Bytes is how many bytes were moved to File, and SHA256 what they are.
	Bytes  int64  `json:"bytes"`
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
}

// recover moves aside what a dead writer left, and says so in a line. The line is
// written over it: whenever this writer dies too, the next one knows.
func (l *Log) recover(left *torn) error {
	if l.end.left(left) {
		return l.put(nil, left.offset)
	}
	r, err := l.moveAside(left)
	if err != nil {
		return err
	}
	event, err := encodeEvent(r)
	if err != nil {
		return err
	}
	t := l.end.clone()
	lines := l.encode(t, &request{events: [][]byte{event}, recovered: true})
	if err := l.put(lines, left.offset); err != nil {
		return err
	}
	l.end, l.wrote = t, true
	t.unsynced = false
	return nil
}

// moveAside copies torn bytes to a file of their own, which is on the disk when it
// returns.
func (l *Log) moveAside(left *torn) (*recovery, error) {
	from, _, err := openAt(l.dir, l.end.file, left.offset)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	temp := filepath.Join(l.dir, "torn.tmp")
	_ = os.Remove(temp)
	to, _, err := l.openForWriting(temp)
	if err != nil {
		return nil, err
	}
	defer to.Close()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(to, sum), from)
	if err == nil {
		err = l.sync(to, temp)
	}
	digest := hex.EncodeToString(sum.Sum(nil))
	r := &recovery{n, fmt.Sprintf(tornPrefix+"%d-%.16s", l.end.tree.size+1, digest), digest}
	if err == nil {
		if err = l.step("rename", r.File); err == nil {
			err = os.Rename(temp, filepath.Join(l.dir, r.File))
		}
	}
	if err == nil {
		err = l.syncDir()
	}
	if err != nil {
		_ = os.Remove(temp)
		return nil, diskfile.Error("write", temp, err)
	}
	return r, nil
}

func (l *Log) sync(f *os.File, path string) error {
	err := l.step("sync", path)
	if err == nil {
		err = f.Sync()
	}
	return diskfile.Error("sync", path, err)
}

func (l *Log) syncDir() error {
	err := l.step("syncdir", l.dir)
	if err == nil {
		err = diskfile.SyncDir(l.dir)
	}
	return diskfile.Error("sync", l.dir, err)
}

// step is a point at which a process may die or the disk may fail.
func (l *Log) step(op, path string) error {
	if l.before == nil {
		return nil
	}
	return l.before(op, path)
}

// startTimer sees that the lines get a checkpoint while nothing more is written.
func (l *Log) startTimer() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.opts.Interval < 0 || l.closed || l.timer != nil || l.end.tree.size <= l.covered {
		return
	}
	l.ticking.Add(1)
	l.timer = time.AfterFunc(l.opts.Interval, l.tick)
}

func (l *Log) tick() {
	defer l.ticking.Done()
	l.mu.Lock()
	l.timer = nil
	closed := l.closed
	l.mu.Unlock()
	if closed {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), openWait)
	defer cancel()
	err := l.locked(ctx, func() error {
		if l.isClosed() {
			return nil
		}
		_, err := l.checkpointNow(ctx)
		return err
	})
	if err != nil {
		l.opts.OnCheckpointError(err)
	}
}

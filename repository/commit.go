package repository

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// The staging directory holds a change in the making. Its files have numbers for
// names; the journal says what they will be called. With the journal the change
// is decided: it is completed, by whoever takes the lock next if need be.
const (
	stagedName  = ".staged"
	journalName = "journal.json"
)

// phase orders the renames of a change. Whatever is in an earlier phase is on the
// disk before a later one begins, so that a repository is valid in between.
type phase int

const (
	// phaseFiles: what nobody refers to yet: targets and versioned metadata.
	phaseFiles phase = iota
	// phaseTimestamp: clients now see the new state.
	phaseTimestamp
	// phaseRoot: the new state is signed for the old root too, where its keys are
	// at hand, and becomes that of the new root.
	phaseRoot
	phases
)

// move is a staged file and where it goes, relative to the repository.
type move struct {
	From   string `json:"from"`
	To     string `json:"to"`
	SHA256 string `json:"sha256"`
	Phase  phase  `json:"phase"`
}

type journal struct {
	Format int    `json:"format"`
	Moves  []move `json:"moves"`
}

// stage collects the files of a change. Nothing is visible before commit. Files
// may be added concurrently.
type stage struct {
	disk *disk
	dir  string // of the repository

	mu    sync.Mutex
	moves []move
}

// begin makes an empty staging directory. The caller holds the lock and has
// called [Repository.recover].
func (r *Repository) begin() (*stage, error) {
	s := &stage{disk: &r.disk, dir: r.dir}
	return s, s.disk.mkdir(s.path(""), 0o700)
}

func (s *stage) path(name string) string { return filepath.Join(s.dir, stagedName, name) }

// stagedFile is a file in the staging directory.
type stagedFile struct {
	number int
	path   string
	length int64
	sha256 string
}

// add stages a file.
func (s *stage) add(to string, p phase, perm fs.FileMode, from io.Reader) (stagedFile, error) {
	s.mu.Lock()
	f := stagedFile{number: len(s.moves)}
	s.moves = append(s.moves, move{From: strconv.Itoa(f.number), To: filepath.ToSlash(to), Phase: p})
	s.mu.Unlock()
	f.path = s.path(strconv.Itoa(f.number))
	hash := sha256.New()
	count := &countingReader{r: io.TeeReader(from, hash)}
	if err := s.disk.write(f.path, perm, count); err != nil {
		return f, err
	}
	f.length, f.sha256 = count.n, hex.EncodeToString(hash.Sum(nil))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moves[f.number].SHA256 = f.sha256
	return f, nil
}

// name sets where a staged file goes.
func (s *stage) name(f stagedFile, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moves[f.number].To = filepath.ToSlash(to)
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// commit decides the change and carries it out.
func (s *stage) commit() error {
	paths := make([]string, 0, len(s.moves)+1)
	for _, m := range s.moves {
		paths = append(paths, s.path(m.From))
	}
	data, err := json.Marshal(journal{Format: 1, Moves: s.moves})
	if err != nil {
		return err
	}
	unfinished := s.path(journalName + ".new")
	if err := s.disk.write(unfinished, 0o600, bytes.NewReader(data)); err != nil {
		return err
	}
	if err := s.disk.sync(append(paths, unfinished, s.dir)...); err != nil {
		return err
	}
	if err := s.disk.rename(unfinished, s.path(journalName)); err != nil {
		return err
	}
	err = s.disk.sync(s.path(""))
	if err == nil {
		err = s.complete(s.moves)
	}
	if err != nil {
		return decided(err)
	}
	return nil
}

// decidedError is the cause in the error of a change that will be there all the
// same.
type decidedError struct{ cause error }

func (d *decidedError) Error() string { return d.cause.Error() }
func (d *decidedError) Unwrap() error { return d.cause }

// decided says that a change will be there although something failed.
func decided(err error) error {
	e := ioError("", err)
	if inner := tuferr.As(err); inner != nil {
		copied := *inner
		e = &copied
	}
	e.Msg = "the change is signed and will be published, but is not complete"
	e.Err = &decidedError{e.Err}
	e.Hint = "mend the cause; the next local-tuf command that changes the repository, or a running serve, completes it"
	return e
}

// notProposed says that there is no proposal, although what it needs may be written:
// nothing of it is trusted, so no change is decided.
func notProposed(err error) error {
	d := (*decidedError)(nil)
	if !errors.As(err, &d) {
		return err
	}
	e := *tuferr.As(err)
	e.Msg, e.Err, e.Hint = "nothing was proposed", d.cause, "mend the cause, and run this again"
	return &e
}

// complete gives the staged files their names, phase by phase. It may begin
// anywhere: what has its name already is left.
func (s *stage) complete(moves []move) error {
	ready := map[string]bool{}
	for p := range phases {
		changed := map[string]bool{}
		for _, m := range moves {
			if m.Phase != p {
				continue
			}
			to := filepath.Join(s.dir, filepath.FromSlash(m.To))
			dir := filepath.Dir(to)
			if !ready[dir] {
				dirs, err := s.disk.makeDirs(s.dir, filepath.Dir(filepath.FromSlash(m.To)))
				if err != nil {
					return err
				}
				for _, d := range dirs {
					changed[d] = true
				}
				ready[dir] = true
			}
			changed[dir] = true
			if err := s.disk.rename(s.path(m.From), to); err != nil {
				// Once renamed, it is there already; people may have changed the
				// configuration since.
				sum, ok := hashFile(to)
				if !errors.Is(err, fs.ErrNotExist) || !ok || sum != m.SHA256 && m.To != configName {
					return err
				}
			}
		}
		if err := s.disk.sync(slices.Sorted(maps.Keys(changed))...); err != nil {
			return err
		}
	}
	if err := s.disk.remove(s.path(journalName)); err != nil {
		return err
	}
	// The change is complete. What cannot be removed now, the next one removes.
	_ = s.disk.remove(s.path(""))
	return nil
}

func hashFile(path string) (string, bool) {
	f, err := openRegular(path)
	if err != nil {
		return "", false
	}
	defer f.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	return hex.EncodeToString(sum.Sum(nil)), err == nil
}

// recover completes a change that was decided, and drops one that was not. The
// caller holds the lock.
func (r *Repository) recover() error {
	s := &stage{disk: &r.disk, dir: r.dir}
	data, err := readFile(s.path(journalName), maxJournal)
	if errors.Is(err, fs.ErrNotExist) {
		return s.disk.remove(s.path(""))
	}
	if err != nil {
		return err
	}
	var j journal
	if err := json.Unmarshal(data, &j); err != nil || j.Format != 1 {
		return damaged("", s.path(journalName), errors.New("not a journal of this version"))
	}
	for _, m := range j.Moves {
		if !safeMove(m) {
			return damaged("", s.path(journalName), fmt.Errorf("it moves %q to %q", m.From, m.To))
		}
	}
	return s.complete(j.Moves)
}

// maxJournal bounds a journal in bytes: it has a line for each target.
const maxJournal = 256 << 20

// safeMove says whether a journal may ask for a move: from the staging directory
// to what a change writes, and nowhere else.
func safeMove(m move) bool {
	dir, _, _ := strings.Cut(m.To, "/")
	_, err := strconv.Atoi(m.From)
	return err == nil && fs.ValidPath(m.To) && (dir == metadataName || dir == targetsName || m.To == configName || m.To == anchorName) &&
		m.Phase >= 0 && m.Phase < phases
}

// unfinished says whether a change waits for its completion.
func (r *Repository) unfinished() bool {
	_, err := os.Lstat(filepath.Join(r.dir, stagedName, journalName))
	return err == nil
}

// damaged is the error of a file that is not what this package wrote.
func damaged(role, path string, cause error) error {
	return &Error{Code: protocol.CodeMalformed, Role: role, Path: path, Msg: "the file is damaged", Err: cause,
		Hint: "somebody or something changed it; restore it from a backup"}
}

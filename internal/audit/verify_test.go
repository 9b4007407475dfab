package audit

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
)

// sample is a log in memory, with checkpoints and one that was kept elsewhere.
type sample struct {
	files  map[string][]byte
	anchor []byte
	keys   []note.Verifier
	lines  []string // with their newlines
}

// newSample makes a log of n lines, in files of perFile, with a checkpoint after every
// third line and at its end.
func newSample(t testing.TB, n, perFile int) *sample {
	t.Helper()
	dir := newDir(t)
	opts := quiet()
	opts.Every, opts.MaxFile = 3, int64(perFile*150)
	l := open(t, dir, opts)
	add(t, l, n)
	s := &sample{}
	var err error
	s.anchor, err = l.Checkpoint(background)
	require.NoError(t, err)
	require.NoError(t, l.Close(background))
	s.keys, err = ReadKeys(filepath.Join(dir, PublicName))
	require.NoError(t, err)
	s.files = filesOf(t, dir)
	for _, name := range s.logs() {
		s.lines = append(s.lines, strings.SplitAfter(strings.TrimSuffix(string(s.files[name]), "\n"), "\n")...)
		s.lines[len(s.lines)-1] += "\n"
	}
	require.Len(t, s.lines, n)
	return s
}

func filesOf(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	all, err := os.ReadDir(dir)
	require.NoError(t, err)
	files := map[string][]byte{}
	for _, e := range all {
		files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
	}
	return files
}

// logs are the names of the files with lines.
func (s *sample) logs() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(s.files)), func(name string) bool { return fileNumber(name) == 0 })
}

// verify verifies the log with some files replaced, nil for none of that name. A
// directory may be used again to replace the same files.
func (s *sample) verify(t testing.TB, dir string, changed map[string][]byte, anchored bool) *Report {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o700))
	for name, raw := range s.files {
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path); err != nil && changed[name] == nil {
			require.NoError(t, os.WriteFile(path, raw, 0o600))
		}
	}
	for name, raw := range changed {
		path := filepath.Join(dir, name)
		_ = os.Remove(path) // To truncate it would wait for the disk.
		if raw != nil {
			require.NoError(t, os.WriteFile(path, raw, 0o600))
		}
	}
	opts := VerifyOptions{Verifiers: s.keys}
	if anchored {
		opts.Checkpoints = s.anchor
	}
	rep, err := Verify(background, dir, opts)
	require.NoError(t, err)
	return rep
}

// verifyLines verifies these lines in one file, against the anchor alone.
func (s *sample) verifyLines(t testing.TB, dir string, lines ...string) *Report {
	t.Helper()
	return s.verify(t, dir, map[string][]byte{
		fileName(1): []byte(strings.Join(lines, "")), CheckpointsName: append(bytes.Clone(s.anchor), '\n'),
	}, true)
}

func (s *sample) offset(line int) (offset int64) {
	for _, l := range s.lines[:line-1] {
		offset += int64(len(l))
	}
	return offset
}

// find returns the problem of a kind.
func find(t testing.TB, rep *Report, kind Kind) Problem {
	t.Helper()
	i := slices.IndexFunc(rep.Problems, func(p Problem) bool { return p.Kind == kind })
	require.GreaterOrEqual(t, i, 0, "no %s in %+v", kind, rep.Problems)
	return rep.Problems[i]
}

func TestUntouched(t *testing.T) {
	s := newSample(t, 10, 4)
	require.Greater(t, len(s.logs()), 1)
	for _, anchored := range []bool{true, false} {
		rep := s.verify(t, t.TempDir(), nil, anchored)
		require.Empty(t, rep.Problems)
		require.True(t, rep.OK())
		require.EqualValues(t, 10, rep.Lines)
		require.EqualValues(t, 10, rep.Covered)
		require.EqualValues(t, 4, rep.Checkpoints)
		require.Equal(t, noon, rep.First)
		require.Equal(t, noon, rep.Last)
		require.Equal(t, len(s.logs()), rep.Files)
		require.NotEmpty(t, rep.Notes)
	}
}

// TestEveryByte changes each byte of a log to several others. Each change is found,
// and the place is right: the line, or for the last one a range with it, which
// begins behind the last checkpoint before.
func TestEveryByte(t *testing.T) {
	s := newSample(t, 6, 100)
	dir := t.TempDir()
	raw := s.files[fileName(1)]
	line := 1
	for i, old := range raw {
		if int64(i) >= s.offset(line)+int64(len(s.lines[line-1])) {
			line++
		}
		for k, b := range []byte{old ^ 1, '\n', old ^ 0x20, '"', '0', 'a', 0, 0xff} {
			if b == old {
				continue
			}
			edited := bytes.Clone(raw)
			edited[i] = b
			rep := s.verify(t, dir, map[string][]byte{fileName(1): edited}, k%2 == 0)
			s.requirePlace(t, rep, line, fmt.Sprintf("byte %d, line %d: %q to %q", i, line, old, b))
		}
	}
}

// requirePlace requires that the report's problems say that a line is not right.
func (s *sample) requirePlace(t testing.TB, rep *Report, line int, msg string) {
	t.Helper()
	require.NotEmpty(t, rep.Problems, msg)
	p := rep.Problems[0]
	require.LessOrEqual(t, p.Seq, int64(line), "%s: %+v", msg, p)
	require.GreaterOrEqual(t, p.Through, int64(line), "%s: %+v", msg, p)
	require.Equal(t, fileName(1), p.File, msg)
	require.EqualValues(t, p.Seq, p.Line, msg)
	require.Equal(t, s.offset(int(p.Line)), p.Offset, msg)
	if line < len(s.lines)-1 {
		require.EqualValues(t, line, p.Seq, "%s: %+v", msg, p)
		require.Equal(t, KindEdited, p.Kind, msg)
		require.LessOrEqual(t, p.Through, int64(line)+1, "%s: %+v", msg, p)
	}
}

func TestEveryLineRemoved(t *testing.T) {
	s := newSample(t, 8, 100)
	dir := t.TempDir()
	for from := 1; from <= 8; from++ {
		for to := from; to <= 8; to++ {
			rep := s.verifyLines(t, dir, append(slices.Clone(s.lines[:from-1]), s.lines[to:]...)...)
			kind := KindRemoved
			if to == 8 {
				kind = KindTruncated
			}
			p := find(t, rep, kind)
			require.Equal(t, Place{fileName(1), int64(from), s.offset(from)}, p.Place)
			require.EqualValues(t, from, p.Seq)
			require.EqualValues(t, to, p.Through)
			require.Len(t, rep.Problems, 1, "%d to %d: %+v", from, to, rep.Problems)
		}
	}
}

func TestEveryPairSwapped(t *testing.T) {
	s := newSample(t, 8, 100)
	dir := t.TempDir()
	for i := 1; i <= 8; i++ {
		for j := i + 1; j <= 8; j++ {
			lines := slices.Clone(s.lines)
			lines[i-1], lines[j-1] = lines[j-1], lines[i-1]
			rep := s.verifyLines(t, dir, lines...)
			p := find(t, rep, KindReordered)
			require.EqualValues(t, i, p.Line, "%d and %d: %+v", i, j, rep.Problems)
			for _, p := range rep.Problems {
				require.Equal(t, KindReordered, p.Kind, "%d and %d: %+v", i, j, rep.Problems)
				require.Contains(t, []int64{int64(i), int64(j)}, p.Seq)
			}
		}
	}
}

func TestEveryLineMoved(t *testing.T) {
	s := newSample(t, 8, 100)
	dir := t.TempDir()
	for from := range 8 {
		for to := range 8 {
			if from == to {
				continue
			}
			lines := slices.Delete(slices.Clone(s.lines), from, from+1)
			lines = slices.Insert(lines, to, s.lines[from])
			rep := s.verifyLines(t, dir, lines...)
			find(t, rep, KindReordered)
			for _, p := range rep.Problems {
				require.Equal(t, KindReordered, p.Kind, "%d to %d: %+v", from+1, to+1, rep.Problems)
			}
		}
	}
}

func TestEveryLineRepeated(t *testing.T) {
	s := newSample(t, 8, 100)
	dir := t.TempDir()
	for line := 1; line <= 8; line++ {
		for at := range 9 { // behind so many lines
			rep := s.verifyLines(t, dir, slices.Insert(slices.Clone(s.lines), at, s.lines[line-1])...)
			p := find(t, rep, KindRepeated)
			require.Len(t, rep.Problems, 1, "%d behind %d: %+v", line, at, rep.Problems)
			require.EqualValues(t, line, p.Seq)
			if at < line-1 || at > line {
				require.EqualValues(t, at+1, p.Line, "%d behind %d: %+v", line, at, rep.Problems)
			}
			require.EqualValues(t, 8, rep.Lines)
			require.EqualValues(t, 8, rep.Covered)
		}
	}
}

func TestEveryForeignLine(t *testing.T) {
	s := newSample(t, 8, 100)
	other := (&line{seq: 9, at: noon, event: []byte("{}")}).append(nil)
	dir := t.TempDir()
	for at := range 9 {
		for _, foreign := range []string{"hello\n", "\n", "{}\n", strings.Repeat("x", 3*MaxLine) + "\n", string(other)} {
			rep := s.verifyLines(t, dir, slices.Insert(slices.Clone(s.lines), at, foreign)...)
			require.NotEmpty(t, rep.Problems, "%d %.20q", at, foreign)
			require.Len(t, rep.Problems, 1, "%d %.20q %+v", at, foreign, rep.Problems)
			require.EqualValues(t, at+1, rep.Problems[0].Line, "%.20q", foreign)
			require.EqualValues(t, 8, rep.Covered)
		}
	}
}

// TestEveryCut cuts the log after each of its bytes.
func TestEveryCut(t *testing.T) {
	s := newSample(t, 6, 100)
	dir := t.TempDir()
	raw := s.files[fileName(1)]
	whole := 0 // lines
	for n := range len(raw) {
		if int64(n) == s.offset(whole+1)+int64(len(s.lines[whole])) {
			whole++
		}
		rep := s.verify(t, dir, map[string][]byte{fileName(1): raw[:n]}, true)
		p := find(t, rep, KindTruncated)
		require.Equal(t, Place{fileName(1), int64(whole + 1), s.offset(whole + 1)}, p.Place)
		require.EqualValues(t, whole+1, p.Seq)
		require.EqualValues(t, 6, p.Through)
		require.Len(t, rep.Problems, 1)
		require.EqualValues(t, whole, rep.Lines)
		require.Equal(t, int64(n) != s.offset(whole+1), rep.Torn != nil)
		require.Contains(t, strings.Join(rep.Notes, "\n"), "A power failure therefore does not make a log shorter")

		// With the checkpoints gone as well, only who kept one knows.
		rep = s.verify(t, dir, map[string][]byte{fileName(1): raw[:n], CheckpointsName: nil}, false)
		require.Empty(t, rep.Problems)
		if whole > 0 {
			require.Contains(t, rep.Notes[0], "No checkpoint covers any line")
		} else {
			require.Contains(t, rep.Notes[0], "all were taken away without trace")
		}
		rep = s.verify(t, dir, map[string][]byte{fileName(1): raw[:n], CheckpointsName: nil}, true)
		find(t, rep, KindTruncated)
		find(t, rep, KindCheckpointMissing)
	}
}

func TestEveryFileMissing(t *testing.T) {
	s := newSample(t, 12, 3)
	logs := s.logs()
	require.GreaterOrEqual(t, len(logs), 4)
	for i, name := range logs {
		rep := s.verify(t, t.TempDir(), map[string][]byte{name: nil}, true)
		kind := KindFileMissing
		if i == len(logs)-1 {
			kind = KindTruncated
		}
		p := find(t, rep, kind)
		require.Len(t, rep.Problems, 1, "%+v", rep.Problems)
		n := int64(bytes.Count(s.files[name], []byte("\n")))
		require.Equal(t, n, p.Through-p.Seq+1, "%+v", p)
		if kind == KindFileMissing {
			require.Equal(t, name, p.File)
		}
	}
	rep := s.verify(t, t.TempDir(), map[string][]byte{logs[0]: s.files[logs[1]], logs[1]: s.files[logs[0]]}, true)
	find(t, rep, KindReordered)

	// A file is never left empty where another begins, whether or not it held a line.
	for name, changed := range map[string]map[string][]byte{
		"emptied": {logs[1]: {}},
		"between": {logs[len(logs)-1]: {}, fileName(len(logs) + 1): s.files[logs[len(logs)-1]]},
	} {
		rep = s.verify(t, t.TempDir(), changed, true)
		require.Len(t, rep.Problems, 1, "%s: %+v", name, rep.Problems)
		require.Contains(t, find(t, rep, KindFileMissing).Message, "empty")
	}
}

// TestEveryByteOfCheckpoints: a change of the stored checkpoints is a problem, unless
// it looks like one that was never finished.
func TestEveryByteOfCheckpoints(t *testing.T) {
	s := newSample(t, 6, 100)
	dir := t.TempDir()
	raw := s.files[CheckpointsName]
	for i, old := range raw {
		for _, b := range []byte{old ^ 1, '\n', 'x'} {
			if b == old {
				continue
			}
			edited := bytes.Clone(raw)
			edited[i] = b
			rep := s.verify(t, dir, map[string][]byte{CheckpointsName: edited}, true)
			if i == len(raw)-1 || bytes.HasSuffix(raw[:i], []byte("=\n")) {
				continue // the empty lines between notes
			}
			require.True(t, len(rep.Problems) > 0 || rep.TornCheckpoint, "byte %d: %q to %q", i, old, b)
		}
		rep := s.verify(t, dir, map[string][]byte{CheckpointsName: raw[:i]}, false)
		require.Empty(t, rep.Problems, "cut at %d", i)
	}
}

// rewrite makes the lines of s anew with another event in one of them.
func (s *sample) rewrite(t testing.TB, line int) []byte {
	t.Helper()
	var out []byte
	end := &tail{}
	for i, raw := range s.lines {
		l, err := parseLine([]byte(strings.TrimSuffix(raw, "\n")))
		require.NoError(t, err)
		if i+1 == line {
			l.event = []byte(`{"name":"nothing happened"}`)
		}
		l.prev = end.prev
		next := l.append(nil)
		end.add(&l, next)
		out = append(out, next...)
	}
	return out
}

// TestRewritten: who makes the whole chain anew is found by the checkpoints, and the
// place is between two of them.
func TestRewritten(t *testing.T) {
	s := newSample(t, 8, 100)
	for line := 1; line <= 8; line++ {
		rep := s.verify(t, t.TempDir(), map[string][]byte{fileName(1): s.rewrite(t, line)}, false)
		require.Len(t, rep.Problems, 1, "%+v", rep.Problems)
		p := find(t, rep, KindEdited)
		require.EqualValues(t, (line-1)/3*3+1, p.Seq)
		require.EqualValues(t, min((line-1)/3*3+3, 8), p.Through)
		require.Equal(t, s.offset(int(p.Seq)), p.Offset)

		rep = s.verify(t, t.TempDir(), map[string][]byte{fileName(1): s.rewrite(t, line), CheckpointsName: nil}, true)
		p = find(t, rep, KindEdited)
		require.EqualValues(t, 1, p.Seq)
		require.EqualValues(t, 8, p.Through)
	}
}

// TestRewrittenAndSignedByTheNext: who can write to the directory needs no key, and
// the report says so; only a checkpoint from elsewhere tells.
func TestRewrittenAndSignedByTheNext(t *testing.T) {
	s := newSample(t, 8, 100)
	dir := t.TempDir()
	s.verify(t, dir, map[string][]byte{fileName(1): s.rewrite(t, 4), CheckpointsName: nil, stateName: nil}, false)
	l := open(t, dir, quiet())
	add(t, l, 1)
	require.NoError(t, l.Close(background))
	rep, err := Verify(background, dir, VerifyOptions{Verifiers: s.keys})
	require.NoError(t, err)
	require.Empty(t, rep.Problems)
	require.Contains(t, strings.Join(rep.Notes, " "), "can write here and lets the next process sign")
	rep, err = Verify(background, dir, VerifyOptions{Verifiers: s.keys, Checkpoints: s.anchor})
	require.NoError(t, err)
	find(t, rep, KindEdited)
	find(t, rep, KindCheckpointMissing)
}

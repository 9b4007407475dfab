package audit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// torns are the files with torn bytes.
func torns(t testing.TB, dir string) (names []string) {
	t.Helper()
	for name := range filesOf(t, dir) {
		if strings.HasPrefix(name, "torn") {
			names = append(names, name)
		}
	}
	return names
}

// TestTornAtEveryByte: whatever a write leaves of a line, also where its newline alone
// is missing, is moved aside, and the chain says so.
func TestTornAtEveryByte(t *testing.T) {
	s := newSample(t, 4, 100)
	last := s.lines[3]
	for n := 1; n < len(last); n++ {
		dir := t.TempDir()
		opts := quiet()
		l := open(t, dir, opts)
		add(t, l, 3)
		if n%2 == 0 { // the same Log finds it, or another one
			require.NoError(t, l.Close(background))
			l = open(t, dir, opts)
		}
		tear(t, dir, 1, last[:n])
		require.NoError(t, l.Append(background, event("next")))
		require.NoError(t, l.Close(background))

		all := torns(t, dir)
		require.Len(t, all, 1)
		require.Contains(t, all[0], "torn-4-")
		raw, err := os.ReadFile(filepath.Join(dir, all[0]))
		require.NoError(t, err)
		require.Equal(t, last[:n], string(raw))
		rep, err := Verify(background, dir, VerifyOptions{})
		require.NoError(t, err)
		require.Empty(t, rep.Problems)
		require.EqualValues(t, 5, rep.Lines)
		require.EqualValues(t, 1, rep.Recovered)
		require.Contains(t, read(t, dir, 1), fmt.Sprintf(`{"event":{"bytes":%d,"file":"%s","sha256":`, n, all[0]))
	}
}

// TestKilledInRecovery: the line that tells of torn bytes is written over them. At
// whatever byte the writer dies, the next one neither loses nor doubts anything.
func TestKilledInRecovery(t *testing.T) {
	for _, size := range []int{3, 100, 500} {
		before, after := t.TempDir(), ""
		l := open(t, before, quiet())
		add(t, l, 2)
		require.NoError(t, l.Close(background))
		good := read(t, before, 1)
		left := strings.Repeat("t", size)
		tear(t, before, 1, left)
		files := filesOf(t, before)
		l = open(t, before, quiet())
		require.NoError(t, l.Append(background, event("next")))
		require.NoError(t, l.Close(background))
		after = read(t, before, 1)
		recovered := strings.SplitAfter(after[len(good):], "\n")[0]
		for n := 0; n <= len(recovered); n += 1 + n/50 {
			dir := t.TempDir()
			for name, raw := range files {
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), raw, 0o600))
			}
			for _, name := range torns(t, before) {
				raw, err := os.ReadFile(filepath.Join(before, name))
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), raw, 0o600))
			}
			f, err := os.OpenFile(filepath.Join(dir, fileName(1)), os.O_WRONLY, 0)
			require.NoError(t, err)
			_, err = f.WriteAt([]byte(recovered[:n]), int64(len(good)))
			require.NoError(t, err)
			require.NoError(t, f.Close())

			l := open(t, dir, quiet())
			require.NoError(t, l.Append(background, event("after")))
			require.NoError(t, l.Close(background))
			rep, err := Verify(background, dir, VerifyOptions{})
			require.NoError(t, err)
			require.Empty(t, rep.Problems, "%d of %d", n, len(recovered))
			require.EqualValues(t, 1, rep.Recovered, "%d of %d", n, len(recovered))
			require.EqualValues(t, 4, rep.Lines)
		}
	}
}

// TestHole: a power failure may leave a file that has grown, and holds zeros.
func TestHole(t *testing.T) {
	dir := newDir(t)
	l := open(t, dir, quiet())
	add(t, l, 2)
	require.NoError(t, l.Close(background))
	tear(t, dir, 1, strings.Repeat("\x00", 4096)+`":1}`+"\n"+`{"event":{}`)
	rep, err := Verify(background, dir, VerifyOptions{})
	require.NoError(t, err)
	require.Empty(t, rep.Problems)
	require.NotNil(t, rep.Torn)
	l = open(t, dir, quiet())
	add(t, l, 1)
	require.NoError(t, l.Close(background))
	rep, err = Verify(background, dir, VerifyOptions{})
	require.NoError(t, err)
	require.Empty(t, rep.Problems)
	require.EqualValues(t, 1, rep.Recovered)
	require.EqualValues(t, 4, rep.Lines)

	raw := []byte(read(t, dir, 1)) // Below a checkpoint there is no such excuse.
	copy(raw[10:], make([]byte, 20))
	require.NoError(t, os.WriteFile(filepath.Join(dir, fileName(1)), raw, 0o600))
	require.NoError(t, os.Remove(filepath.Join(dir, stateName)))
	_, err = Open(dir, quiet())
	requireCode(t, err, protocol.CodeLocalIO)
}

func TestTornBytesThatWereTouched(t *testing.T) {
	dir := newDir(t)
	l := open(t, dir, quiet())
	add(t, l, 2)
	tear(t, dir, 1, "torn")
	add(t, l, 1)
	require.NoError(t, l.Close(background))
	path := filepath.Join(dir, torns(t, dir)[0])
	require.NoError(t, os.WriteFile(path, []byte("TORN"), 0o600))
	rep, err := Verify(background, dir, VerifyOptions{})
	require.NoError(t, err)
	require.Equal(t, filepath.Base(path), find(t, rep, KindEdited).File)
	require.NoError(t, os.Remove(path))
	rep, err = Verify(background, dir, VerifyOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 3, find(t, rep, KindFileMissing).Seq)
}

// TestTornCheckpoint cuts the last checkpoint after each byte: the next one takes its
// place.
func TestTornCheckpoint(t *testing.T) {
	dir := newDir(t)
	l := open(t, dir, quiet())
	add(t, l, 1)
	first, err := l.Checkpoint(background)
	require.NoError(t, err)
	add(t, l, 1)
	require.NoError(t, l.Close(background))
	raw := filesOf(t, dir)[CheckpointsName]
	for n := len(first) + 1; n < len(raw); n++ {
		require.NoError(t, os.WriteFile(filepath.Join(dir, CheckpointsName), raw[:n], 0o600))
		rep, err := Verify(background, dir, VerifyOptions{})
		require.NoError(t, err)
		require.Empty(t, rep.Problems)
		l := open(t, dir, quiet())
		again, err := l.Checkpoint(background)
		require.NoError(t, err)
		require.True(t, bytes.HasSuffix(raw, append(again, '\n')))
		require.NoError(t, l.Close(background))
		require.Equal(t, string(raw), string(filesOf(t, dir)[CheckpointsName]), "cut at %d", n)
	}
}

// TestDamaged: a writer that sees that the log was changed writes no more.
func TestDamaged(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, dir string){
		"last line": func(t *testing.T, dir string) { replace(t, dir, `"name":"4"`, `"name":"5"`) },
		"cut":       func(t *testing.T, dir string) { require.NoError(t, os.Truncate(filepath.Join(dir, fileName(1)), 200)) },
		"cut at a line": func(t *testing.T, dir string) {
			require.NoError(t, os.Truncate(filepath.Join(dir, fileName(1)), int64(strings.Index(read(t, dir, 1), "\n")+1)))
		},
		"a line more": func(t *testing.T, dir string) { tear(t, dir, 1, "{}\n") },
		"a file more": func(t *testing.T, dir string) {
			tear(t, dir, 1, "torn")
			require.NoError(t, os.WriteFile(filepath.Join(dir, fileName(2)), nil, 0o600))
		},
		"gone":   func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, fileName(1)))) },
		"a link": func(t *testing.T, dir string) { link(t, filepath.Join(dir, fileName(1))) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := newDir(t)
			l := open(t, dir, quiet())
			add(t, l, 5)
			_, err := l.Checkpoint(background)
			require.NoError(t, err)
			require.NoError(t, os.Remove(filepath.Join(dir, stateName)))
			change(t, dir)
			before := filesOf(t, dir)
			_, err = Open(dir, quiet())
			requireCode(t, err, protocol.CodeLocalIO)
			require.NotEmpty(t, tuferr.As(err).Hint)
			require.NotEmpty(t, tuferr.As(err).Path)
			if name != "last line" && name != "a link" { // These look the same to who has the log open.
				requireCode(t, l.Append(background, event(1)), protocol.CodeLocalIO)
				_, err = l.Checkpoint(background)
				requireCode(t, err, protocol.CodeLocalIO)
				require.Equal(t, before, filesOf(t, dir))
			}
		})
	}
}

func replace(t *testing.T, dir, old, new string) {
	t.Helper()
	text := read(t, dir, 1)
	require.Contains(t, text, old)
	require.NoError(t, os.WriteFile(filepath.Join(dir, fileName(1)), []byte(strings.Replace(text, old, new, 1)), 0o600))
}

func link(t *testing.T, path string) {
	t.Helper()
	require.NoError(t, os.Rename(path, path+".away"))
	require.NoError(t, os.Symlink(path+".away", path))
}

// TestFailingSteps lets each step fail once: the call says so, its lines are not in
// the log, and the next call goes on.
func TestFailingSteps(t *testing.T) {
	for n := 1; ; n++ {
		dir := newDir(t)
		require.NoError(t, open(t, dir, small()).Close(background)) // makes the keys
		count, failed := 0, 0
		opts := small()
		opts.OnCheckpointError = func(err error) {
			failed++
			requireCode(t, err, protocol.CodeDiskFull)
		}
		l, err := openWith(background, dir, opts, func(string, string) error {
			if count++; count == n {
				return fmt.Errorf("step %d: %w", n, syscall.ENOSPC)
			}
			return nil
		})
		require.NoError(t, err)
		written := 0
		for i := range 8 {
			if i == 4 {
				tear(t, dir, 2, "torn")
			}
			switch err := l.Append(background, event(i)); {
			case err == nil:
				written++
			default:
				failed++
				requireCode(t, err, protocol.CodeDiskFull)
				require.True(t, errors.Is(err, syscall.ENOSPC))
			}
		}
		if err := l.Close(background); err != nil {
			failed++
			requireCode(t, err, protocol.CodeDiskFull)
		}
		l = open(t, dir, small())
		add(t, l, 1)
		require.NoError(t, l.Close(background))
		rep, err := Verify(background, dir, VerifyOptions{})
		require.NoError(t, err)
		require.Empty(t, rep.Problems, "step %d", n)
		require.EqualValues(t, written+1, rep.Lines-rep.Recovered, "step %d", n)
		require.EqualValues(t, 1, rep.Recovered, "step %d", n)
		if n > count {
			require.Greater(t, n, 30)
			require.Zero(t, failed)
			return
		}
		require.LessOrEqual(t, failed, 1, "step %d", n)
	}
}

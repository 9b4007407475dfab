package targets

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

var background = context.Background()

func TestOpenRefuses(t *testing.T) {
	_, err := Open("", 0, 0)
	require.Equal(t, protocol.CodeUsage, tuferr.CodeOf(err))
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = Open(file, 0, 0)
	require.Equal(t, protocol.CodeLocalIO, tuferr.CodeOf(err))
	c, err := Open(filepath.Join(file, "below"), 0, 0)
	require.NoError(t, err)
	_, err = c.Fetch(background, wantOf(nil), bytesOf(nil), nil)
	require.Equal(t, protocol.CodeLocalIO, tuferr.CodeOf(err))
}

func TestOpenMakesNothing(t *testing.T) {
	c := open(t)
	require.NoDirExists(t, c.dir)
	_, ok := c.Find(background, wantOf([]byte("x")))
	require.False(t, ok)
	require.NoDirExists(t, c.dir)
}

func TestWants(t *testing.T) {
	b := []byte("plugin")
	for name, w := range map[string]Want{
		"negative length":   {Length: -1, Hashes: map[string]string{"sha256": sum256(b)}},
		"no hash":           {Length: 6},
		"unknown hash only": {Length: 6, Hashes: map[string]string{"md5": "ab"}},
		"not hex":           {Length: 6, Hashes: map[string]string{"sha256": strings.Repeat("zz", 32)}},
		"a path":            {Length: 6, Hashes: map[string]string{"sha256": "../../../etc/passwd"}},
		"wrong size":        {Length: 6, Hashes: map[string]string{"sha256": sum512(b)}},
		"one good, one bad": {Length: 6, Hashes: map[string]string{"sha256": sum256(b), "sha512": "ab"}},
	} {
		c := open(t)
		_, err := c.Fetch(background, w, bytesOf(b), nil)
		require.Equal(t, protocol.CodeMalformed, tuferr.CodeOf(err), name)
		_, ok := c.Find(background, w)
		require.False(t, ok)
		require.Equal(t, protocol.CodeMalformed, tuferr.CodeOf(Export(background, "x", w, "y")))
		require.NoDirExists(t, c.dir)
	}
	for name, w := range map[string]Want{
		"sha256/" + sum256(b): {Length: 6, Hashes: map[string]string{"sha256": sum256(b), "sha512": sum512(b), "blake": "?"}},
		"sha512/" + sum512(b): {Length: 6, Hashes: map[string]string{"sha512": strings.ToUpper(sum512(b))}},
	} {
		c := open(t)
		path, err := c.Fetch(background, w, bytesOf(b), nil)
		require.NoError(t, err)
		require.Equal(t, filepath.Join(c.dir, name), path)
		found, ok := c.Find(background, w)
		require.True(t, ok)
		require.Equal(t, path, found)
	}
}

func TestModes(t *testing.T) {
	c := open(t)
	path, err := c.Fetch(background, wantOf([]byte("x")), bytesOf([]byte("x")), nil)
	require.NoError(t, err)
	for p, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700, c.dir: 0o700} {
		info, err := os.Stat(p)
		require.NoError(t, err)
		require.Equal(t, want, info.Mode().Perm(), p)
	}
}

func TestDamagedEntryIsRemovedAndHealed(t *testing.T) {
	b := []byte("the right bytes")
	w := wantOf(b)
	both := Want{Length: w.Length, Hashes: map[string]string{"sha256": sum256(b), "sha512": sum512([]byte("x"))}}
	for name, damage := range map[string]func(path string) error{
		"other bytes":   func(p string) error { return os.WriteFile(p, []byte("the wrong bytes"), 0o600) },
		"truncated":     func(p string) error { return os.Truncate(p, 3) },
		"empty":         func(p string) error { return os.Truncate(p, 0) },
		"longer":        func(p string) error { return os.WriteFile(p, append(b, 'x'), 0o600) },
		"a link":        func(p string) error { _ = os.Remove(p); return os.Symlink("/etc/hostname", p) },
		"a hollow link": func(p string) error { _ = os.Remove(p); return os.Symlink("/nowhere", p) },
		"a directory":   func(p string) error { _ = os.Remove(p); return os.Mkdir(p, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t)
			path, err := c.Fetch(background, w, bytesOf(b), nil)
			require.NoError(t, err)
			require.NoError(t, damage(path))
			_, ok := c.Find(background, w)
			require.False(t, ok)
			_, err = os.Lstat(path)
			require.ErrorIs(t, err, os.ErrNotExist)
			_, err = c.Fetch(background, w, bytesOf(b), nil)
			require.NoError(t, err)
			_, ok = c.Find(background, w)
			require.True(t, ok)
		})
	}
	t.Run("a second hash that does not match", func(t *testing.T) {
		c := open(t)
		_, err := c.Fetch(background, w, bytesOf(b), nil)
		require.NoError(t, err)
		_, ok := c.Find(background, both)
		require.False(t, ok)
	})
	t.Run("not looked at when the caller is gone", func(t *testing.T) {
		c := open(t)
		path, err := c.Fetch(background, w, bytesOf(b), nil)
		require.NoError(t, err)
		gone, cancel := context.WithCancel(background)
		cancel()
		_, ok := c.Find(gone, w)
		require.False(t, ok)
		require.FileExists(t, path)
	})
}

func TestKilledDownloadLeavesNoName(t *testing.T) {
	dir := t.TempDir()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childDir+"="+dir)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "half-way\n", line)

	left := files(t, dir)
	require.Len(t, left, 1)
	part := filepath.Join(dir, left[0])
	require.True(t, strings.HasPrefix(filepath.Base(part), partPrefix))
	old := time.Now().Add(-2 * partGrace)
	require.NoError(t, os.Chtimes(part, old, old))
	_, err = Open(dir, 0, 0)
	require.NoError(t, err)
	require.FileExists(t, part, "a living process works on it")

	require.NoError(t, child.Process.Kill())
	require.Error(t, child.Wait())
	now := time.Now()
	require.NoError(t, os.Chtimes(part, now, now))
	_, err = Open(dir, 0, 0)
	require.NoError(t, err)
	require.FileExists(t, part, "it is not old enough to be locked for sure")
	require.NoError(t, os.Chtimes(part, old, old))
	c, err := Open(dir, 0, 0)
	require.NoError(t, err)
	require.Empty(t, files(t, dir))
	_, ok := c.Find(background, wantOf([]byte("whole")))
	require.False(t, ok)
}

func TestExport(t *testing.T) {
	b := []byte("the right bytes")
	w := wantOf(b)
	c := open(t)
	path, err := c.Fetch(background, w, bytesOf(b), nil)
	require.NoError(t, err)
	out := t.TempDir()
	dest := filepath.Join(out, "plugin")
	require.NoError(t, Export(background, path, w, dest))
	require.NoError(t, os.WriteFile(dest, []byte("older and longer than it is now"), 0o644))
	require.NoError(t, Export(background, path, w, dest))
	got, err := os.ReadFile(dest)
	require.NoError(t, err)
	require.Equal(t, b, got)
	info, err := os.Stat(dest)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.Equal(t, []string{"plugin"}, files(t, out))

	gone, cancel := context.WithCancel(background)
	cancel()
	require.ErrorIs(t, Export(gone, path, w, dest), context.Canceled)
	require.Equal(t, protocol.CodeLocalIO, tuferr.CodeOf(Export(background, path, w, filepath.Join(out, "no", "dir"))))
	require.Equal(t, protocol.CodeLocalIO, tuferr.CodeOf(Export(background, path+"x", w, dest)))
	require.Equal(t, []string{"plugin"}, files(t, out))
}

func TestExportOfDamagedFile(t *testing.T) {
	b := []byte("the right bytes")
	for name, wrong := range map[string]string{"changed": "the wrong bytes", "longer": "the right bytes and more", "shorter": "the"} {
		c := open(t)
		path, err := c.Fetch(background, wantOf(b), bytesOf(b), nil)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, []byte(wrong), 0o600))
		out := t.TempDir()
		err = Export(background, path, wantOf(b), filepath.Join(out, "plugin"))
		require.Equal(t, protocol.ClassVerdict, tuferr.ClassOf(err), name)
		require.Equal(t, path, tuferr.As(err).Path)
		require.Empty(t, files(t, out))
	}
}

func TestExportReplacesOnlyFiles(t *testing.T) {
	b := []byte("x")
	c := open(t)
	path, err := c.Fetch(background, wantOf(b), bytesOf(b), nil)
	require.NoError(t, err)
	out := t.TempDir()
	victim := filepath.Join(out, "victim")
	require.NoError(t, os.WriteFile(victim, []byte("mine"), 0o600))
	link := filepath.Join(out, "link")
	require.NoError(t, os.Symlink(victim, link))
	for _, dest := range []string{link, out, os.DevNull} {
		require.Equal(t, protocol.CodeLocalIO, tuferr.CodeOf(Export(background, path, wantOf(b), dest)), dest)
	}
	kept, err := os.ReadFile(victim)
	require.NoError(t, err)
	require.Equal(t, "mine", string(kept))
	require.Equal(t, protocol.CodeMismatch, tuferr.CodeOf(Export(background, link, wantOf(b), filepath.Join(out, "new"))))
}

//go:build unix

package targets

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// What somebody else has put where a partial file would be is not followed, not
// written to, not waited for and not believed.
func TestPlantedPartials(t *testing.T) {
	victim := filepath.Join(t.TempDir(), "victim")
	for name, plant := range map[string]func(c *Cache) error{
		"a link": func(c *Cache) error {
			_ = os.Remove(partialOf(c))
			return os.Symlink(victim, partialOf(c))
		},
		"a hollow link": func(c *Cache) error {
			_ = os.Remove(partialOf(c))
			return os.Symlink(victim+"x", partialOf(c))
		},
		"a second name": func(c *Cache) error {
			_ = os.Remove(partialOf(c))
			return os.Link(victim, partialOf(c))
		},
		"a pipe": func(c *Cache) error {
			_ = os.Remove(partialOf(c))
			return syscall.Mkfifo(partialOf(c), 0o600)
		},
		"a directory": func(c *Cache) error {
			_ = os.Remove(partialOf(c))
			return os.Mkdir(partialOf(c), 0o700)
		},
		"others may read it":  func(c *Cache) error { return os.Chmod(partialOf(c), 0o644) },
		"others may write it": func(c *Cache) error { return os.Chmod(partialOf(c), 0o602) },
		"runs as its owner":   func(c *Cache) error { return os.Chmod(partialOf(c), 0o600|os.ModeSetuid) },
		"longer than signed":  func(c *Cache) error { return os.WriteFile(partialOf(c), append(plugin, 'x'), 0o600) },
		"empty":               func(c *Cache) error { return os.Truncate(partialOf(c), 0) },
		"no note":             func(c *Cache) error { return os.Remove(noteOf(c)) },
		"an empty note":       func(c *Cache) error { return os.Truncate(noteOf(c), 0) },
		"a note of lines":     func(c *Cache) error { return os.WriteFile(noteOf(c), []byte("\"a\"\r\nX: y"), 0o600) },
		"a long note":         func(c *Cache) error { return os.WriteFile(noteOf(c), []byte(strings.Repeat("a", maxNote+1)), 0o600) },
		"a public note":       func(c *Cache) error { return os.Chmod(noteOf(c), 0o644) },
		"a linked note": func(c *Cache) error {
			_ = os.Remove(noteOf(c))
			return os.Symlink(victim, noteOf(c))
		},
		"a note on a pipe": func(c *Cache) error {
			_ = os.Remove(noteOf(c))
			return syscall.Mkfifo(noteOf(c), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(victim, []byte(`"a"`), 0o600))
			c := open(t)
			leave(t, c, plugin[:breakOff], `"a"`)
			require.NoError(t, plant(c))
			o := newOrigin(t, breaks("ETag", `"a"`), serves(plugin, `"a"`))
			require.Error(t, fetch(t, c, o))
			require.Len(t, files(t, c.dir), 2)
			require.NoError(t, fetch(t, c, o))
			asked, _ := o.asked()
			require.Equal(t, []string{"", fmt.Sprintf(`bytes=%d- if "a"`, breakOff)}, asked)
			kept, err := os.ReadFile(victim)
			require.NoError(t, err)
			require.Equal(t, `"a"`, string(kept))
			require.NoFileExists(t, victim+"x")
		})
	}
	t.Run("what cannot be removed is in nobody's way", func(t *testing.T) {
		c := open(t)
		require.NoError(t, os.MkdirAll(filepath.Join(partialOf(c), "sub"), 0o700))
		o := newOrigin(t, breaks("ETag", `"a"`), serves(plugin, `"a"`))
		require.Error(t, fetch(t, c, o))
		require.Empty(t, files(t, c.dir))
		require.NoError(t, fetch(t, c, o))
	})
}

// Somebody else's file is not believed even if it is private.
func TestPartialOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can give files away")
		return
	}
	c := open(t)
	leave(t, c, plugin[:breakOff], `"a"`)
	require.NoError(t, os.Chown(partialOf(c), 65534, 65534))
	o := newOrigin(t, serves(plugin, `"a"`))
	require.NoError(t, fetch(t, c, o))
	asked, _ := o.asked()
	require.Equal(t, []string{""}, asked)
}

func TestSweep(t *testing.T) {
	c := open(t)
	dir := filepath.Join(c.dir, "sha512")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	now := time.Now()
	put := func(name string, size int64, age time.Duration) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		require.NoError(t, os.Truncate(path, size))
		require.NoError(t, os.Chtimes(path, now.Add(-age), now.Add(-age)))
	}
	left := func() string { return strings.Join(files(t, dir), " ") }
	put(partPrefix+"new", 1, partGrace/2)
	put(partPrefix+"old", 1, 2*partGrace)
	put(partialPrefix+"a", 1, partialAge-time.Minute)
	put(notePrefix+"a", 1, 2*partialAge)
	put(partialPrefix+"b", 1, partialAge+time.Minute)
	put(notePrefix+"b", 1, partialAge+time.Minute)
	put(notePrefix+"orphan", 1, 2*partGrace)
	put(notePrefix+"fresh", 1, partGrace/2)
	put("target", 1, 2*partialAge)
	c.sweep(now)
	require.Equal(t, ".part-new .partial-a .validator-a .validator-fresh target", left())

	for _, name := range files(t, dir) {
		require.NoError(t, os.Remove(filepath.Join(dir, name)))
	}
	for i := range maxPartials + 2 {
		put(fmt.Sprintf("%s%02d", partialPrefix, i), 1, time.Duration(i)*time.Hour)
	}
	c.sweep(now)
	require.Len(t, files(t, dir), maxPartials)
	require.Contains(t, left(), partialPrefix+"00")
	require.NotContains(t, left(), fmt.Sprintf("%s%02d", partialPrefix, maxPartials))

	put(partialPrefix+"01", maxPartialBytes, time.Hour)
	c.sweep(now)
	require.Equal(t, ".partial-00", left(), "of what is too much the newest stays")
}

// The bounds hold also while a cache is in use.
func TestLeavingSweeps(t *testing.T) {
	c := open(t)
	require.NoError(t, os.MkdirAll(filepath.Join(c.dir, "sha256"), 0o700))
	for i := range maxPartials {
		path := filepath.Join(c.dir, "sha256", fmt.Sprint(partialPrefix, i))
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		old := time.Now().Add(-time.Duration(i+1) * time.Hour)
		require.NoError(t, os.Chtimes(path, old, old))
	}
	require.Error(t, fetch(t, c, newOrigin(t, breaks("ETag", `"a"`))))
	require.FileExists(t, partialOf(c))
	require.NoFileExists(t, filepath.Join(c.dir, "sha256", fmt.Sprint(partialPrefix, maxPartials-1)))
}

func TestDownloadsAreBounded(t *testing.T) {
	for _, bad := range [][2]int{{-1, 0}, {0, -1}} {
		_, err := Open(t.TempDir(), bad[0], bad[1])
		require.Equal(t, protocol.CodeUsage, tuferr.CodeOf(err))
	}
	const bound, all = 2, 6
	c, err := Open(t.TempDir(), bound, 0)
	require.NoError(t, err)
	started, release, results := make(chan int, all), make(chan struct{}), make(chan error, all)
	fetch := func(ctx context.Context, i int) {
		b := []byte(fmt.Sprint("plugin ", i))
		_, err := c.Fetch(ctx, wantOf(b), func(ctx context.Context, s Sink) error {
			started <- i
			<-release
			return bytesOf(b)(ctx, s)
		}, nil)
		results <- err
	}
	for i := range bound {
		go fetch(background, i)
	}
	for range bound {
		<-started
	}
	gone, cancel := context.WithCancel(background)
	go fetch(gone, bound)
	cancel()
	require.ErrorIs(t, <-results, context.Canceled, "who waits for a turn may give up")
	for i := bound; i < all; i++ {
		go fetch(background, i)
	}
	require.Empty(t, started)
	for n := bound; n > 0; n-- {
		release <- struct{}{}
		require.NoError(t, <-results)
	}
	close(release)
	for range all - bound {
		require.NoError(t, <-results)
	}
	require.Len(t, started, all-bound)
}

// TestTheQueueIsBounded: one more than may wait is told so at once.
func TestTheQueueIsBounded(t *testing.T) {
	c, err := Open(t.TempDir(), 1, 1)
	require.NoError(t, err)
	started, release, results := make(chan struct{}, 2), make(chan struct{}), make(chan error, 2)
	fetch := func(content string) error {
		_, err := c.Fetch(background, wantOf([]byte(content)), func(ctx context.Context, s Sink) error {
			started <- struct{}{}
			<-release
			return bytesOf([]byte(content))(ctx, s)
		}, nil)
		return err
	}
	go func() { results <- fetch("first") }()
	<-started
	go func() { results <- fetch("second") }()
	require.Eventually(t, func() bool { return c.waiting.Load() == 1 }, time.Minute, time.Millisecond)
	err = fetch("third")
	require.Equal(t, protocol.CodeBusy, tuferr.CodeOf(err), "%v", err)
	close(release)
	require.NoError(t, <-results)
	require.NoError(t, <-results)
	require.Zero(t, c.waiting.Load())
	require.NoError(t, fetch("third"))
}

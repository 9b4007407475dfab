package targets

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// /dev/full is a full disk that needs no privilege.
func TestWriteToFullDevice(t *testing.T) {
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	require.NoError(t, err)
	defer f.Close()
	want := signedOf([]byte("x"))
	p := &part{want: want, got: newSums(&want), ctx: background, file: f, progress: func(int64, int64) {}}
	_, err = p.Write([]byte("x"))
	require.Equal(t, protocol.CodeDiskFull, tuferr.CodeOf(err))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Equal(t, err, p.Reset(), "an error stays")
	require.Equal(t, err, p.commit("x"))
}

// Where a file system may be mounted, the same through the front door.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k")
	if errors.Is(err, syscall.EPERM) {
		t.Log("no right to mount: /dev/full has to do")
		return
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
	c, err := Open(filepath.Join(dir, "cache"), 0, 0)
	require.NoError(t, err)
	b := make([]byte, 1<<20)
	_, err = c.Fetch(background, wantOf(b), func(_ context.Context, s Sink) error {
		_, err := s.Write(b)
		return err
	}, nil)
	require.Equal(t, protocol.CodeDiskFull, tuferr.CodeOf(err))
	require.Empty(t, files(t, dir))

	_, err = c.Fetch(background, wantOf(plugin), from(newClient(), newOrigin(t, serves(plugin, `"a"`)).URL), nil)
	require.Equal(t, protocol.CodeDiskFull, tuferr.CodeOf(err))
	require.Empty(t, files(t, dir), "what did not fit is not gone on with")

	require.NoError(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	_, err = c.Fetch(background, wantOf(nil), bytesOf(nil), nil)
	require.Equal(t, protocol.CodePermissions, tuferr.CodeOf(err))
	require.ErrorIs(t, err, syscall.EROFS)
}

// unprivileged runs f on a thread that has no rights on other users' files; the
// thread ends with f.
func unprivileged(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		_, _, _ = syscall.RawSyscall(syscall.SYS_SETFSUID, 65534, 0, 0)
		f()
	}()
	<-done
}

func TestDirectoryThatMayNotBeWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "sha256"), 0o500))
	require.NoError(t, os.Chmod(filepath.Join(dir, "sha256"), 0o500))
	b := []byte("whole")
	var err error
	unprivileged(t, func() {
		var c *Cache
		if c, err = Open(dir, 0, 0); err == nil {
			_, err = c.Fetch(background, wantOf(b), bytesOf(b), nil)
		}
	})
	require.Equal(t, protocol.CodePermissions, tuferr.CodeOf(err), "%v", err)
	require.ErrorIs(t, err, syscall.EACCES)
	require.NotEmpty(t, tuferr.As(err).Hint)
}

// A file that cannot be read is not condemned.
func TestUnreadableEntryStays(t *testing.T) {
	c := open(t)
	b := []byte("whole")
	path, err := c.Fetch(background, wantOf(b), bytesOf(b), nil)
	require.NoError(t, err)
	require.NoError(t, os.Chmod(path, 0))
	ok := true
	unprivileged(t, func() { _, ok = c.Find(background, wantOf(b)) })
	require.False(t, ok)
	require.FileExists(t, path)
}

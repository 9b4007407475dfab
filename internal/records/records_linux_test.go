package records

import (
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

// unprivileged runs f on a thread that has no rights on other users' files; the
// thread ends with f.
func unprivileged(f func()) {
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
	b := Open(newDir(t))
	add(t, b, hello("hello", "1.0.0"))
	require.NoError(t, os.Remove(b.dir+"/"+lockName))
	for path, n := b.Path(), 0; n < 5; path, n = filepath.Dir(path), n+1 { // up to what t.TempDir made
		require.NoError(t, os.Chmod(path, 0o555))
		t.Cleanup(func() { _ = os.Chmod(path, 0o700) })
	}
	for dir, hidden := range map[string]bool{b.dir: false, b.dir + "/below": true} {
		var err, findErr error
		unprivileged(func() {
			err = Open(dir).Add(background, hello("hello", "2.0.0"), false)
			_, _, findErr = Open(dir).Find(background, "x")
		})
		requireCode(t, err, protocol.CodePermissions)
		require.NotEmpty(t, tuferr.As(err).Hint)
		if !hidden {
			require.NoError(t, findErr, "who only asks needs no right to write")
		}
	}
	require.NoError(t, os.Chmod(b.Path(), 0))
	var err error
	unprivileged(func() { _, _, err = Open(b.dir).Find(background, "x") })
	requireCode(t, err, protocol.CodePermissions)
}

// Where a file system may be mounted, a full disk through the front door.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k")
	if errors.Is(err, syscall.EPERM) {
		t.Log("no right to mount: the failing steps have to do")
		return
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
	b := Open(dir)
	add(t, b, hello("hello", "1.0.0"))
	fill, err := os.Create(dir + "/fill")
	require.NoError(t, err)
	_, err = fill.Write(make([]byte, 1<<20))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, fill.Close())
	requireCode(t, b.Add(background, hello("hello", "2.0.0"), false), protocol.CodeDiskFull)
	require.NoFileExists(t, dir+"/"+tempName)
	require.Equal(t, "1.0.0", highest(t, b, "hello"))
	require.NoError(t, os.Remove(dir+"/fill"))
	add(t, b, hello("hello", "2.0.0"))
}

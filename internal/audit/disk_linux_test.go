package audit

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
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
	dir := newDir(t)
	l := open(t, dir, quiet())
	add(t, l, 3)
	require.NoError(t, l.Close(background))
	all := []string{dir, filepath.Dir(dir), filepath.Dir(filepath.Dir(dir)), filepath.Dir(filepath.Dir(filepath.Dir(dir)))}
	for _, path := range all {
		require.NoError(t, os.Chmod(path, 0o755))
	}
	for name := range filesOf(t, dir) {
		require.NoError(t, os.Chmod(filepath.Join(dir, name), 0o644))
	}
	var err, verr error
	var rep *Report
	unprivileged(func() {
		_, err = Open(dir, quiet())
		rep, verr = Verify(background, dir, VerifyOptions{})
	})
	requireCode(t, err, protocol.CodePermissions)
	require.NotEmpty(t, tuferr.As(err).Hint)
	require.NoError(t, verr, "who only verifies needs no right to write")
	require.EqualValues(t, 3, rep.Covered)
	require.NoError(t, os.Chmod(filepath.Join(dir, fileName(1)), 0))
	unprivileged(func() { _, verr = Verify(background, dir, VerifyOptions{}) })
	requireCode(t, verr, protocol.CodePermissions)
}

// Where a file system may be mounted, a full disk through the front door.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=128k")
	if errors.Is(err, syscall.EPERM) {
		t.Log("no right to mount: the failing steps have to do")
		return
	}
	require.NoError(t, err)
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	opts := quiet()
	opts.MaxFile = 1 << 20
	l, err := Open(filepath.Join(dir, "audit"), opts)
	require.NoError(t, err)
	long := map[string]string{"long": strings.Repeat("x", 6000)}
	n := 0
	for ; err == nil; n++ {
		err = l.Append(background, long)
	}
	requireCode(t, err, protocol.CodeDiskFull)
	require.Greater(t, n, 5)
	requireCode(t, l.Append(background, long), protocol.CodeDiskFull)
	rep, err := Verify(background, l.dir, VerifyOptions{})
	require.NoError(t, err)
	require.Empty(t, rep.Problems)
	require.Nil(t, rep.Torn, "no half line is left")
	require.EqualValues(t, n-1, rep.Lines)

	fill, err := os.Create(filepath.Join(dir, "fill"))
	require.NoError(t, err)
	_, err = fill.Write(make([]byte, 1<<20))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, fill.Close())
	_, err = l.Checkpoint(background)
	requireCode(t, err, protocol.CodeDiskFull)
	require.NoError(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=4m"))
	add(t, l, 1)
	_, err = l.Checkpoint(background)
	require.NoError(t, err)

	require.NoError(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	requireCode(t, l.Append(background, event(1)), protocol.CodePermissions)
	rep, err = Verify(background, l.dir, VerifyOptions{})
	require.NoError(t, err)
	require.Empty(t, rep.Problems)
	require.EqualValues(t, n, rep.Covered)
	require.NoError(t, l.Close(background))
}

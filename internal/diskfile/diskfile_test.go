package diskfile

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	_, _, err := Read(path, 4)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, os.WriteFile(path, []byte("four"), 0o600))
	b, info, err := Read(path, 4)
	require.NoError(t, err)
	require.Equal(t, "four", string(b))
	require.Equal(t, int64(4), info.Size())
	_, _, err = Read(path, 3)
	require.Equal(t, protocol.CodeLocalIO, tuferr.CodeOf(err))
	require.Equal(t, path, tuferr.As(err).Path)
}

// A file such as those of /proc has a length of 0 and more to say.
func TestReadOfUnknownLength(t *testing.T) {
	if _, err := os.Stat("/proc/self/maps"); err != nil {
		t.Skip("no /proc here")
	}
	_, _, err := Read("/proc/self/maps", 10)
	require.Equal(t, protocol.CodeLocalIO, tuferr.CodeOf(err))
}

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	r := Replacement{Path: filepath.Join(dir, "file"), Temp: filepath.Join(dir, "temp"), Mode: 0o640, Exact: true}
	require.NoError(t, os.WriteFile(r.Temp, []byte("left by a dead process"), 0o400))
	for _, text := range []string{"one", "two"} {
		require.NoError(t, r.Write([]byte(text)))
		b, info, err := Read(r.Path, 100)
		require.NoError(t, err)
		require.Equal(t, text, string(b))
		require.Equal(t, fs.FileMode(0o640), info.Mode())
		require.NoFileExists(t, r.Temp)
	}
}

func TestReplaceFailsAtEveryStep(t *testing.T) {
	for _, op := range []string{"remove", "write", "rename", "sync"} {
		dir := t.TempDir()
		r := Replacement{Path: filepath.Join(dir, "file"), Temp: filepath.Join(dir, "temp"), Mode: 0o600}
		require.NoError(t, r.Write([]byte("old")))
		r.Before = func(now, _ string) error {
			if now == op {
				return syscall.ENOSPC
			}
			return nil
		}
		err := r.Write([]byte("new"))
		require.Equal(t, protocol.CodeDiskFull, tuferr.CodeOf(err), op)
		b, _, err := Read(r.Path, 100)
		require.NoError(t, err)
		require.Equal(t, op == "sync", string(b) == "new", op)
		require.NoFileExists(t, r.Temp)
	}
}

func TestErrors(t *testing.T) {
	for code, cause := range map[protocol.Code]error{
		protocol.CodeLocalIO:     &fs.PathError{Op: "open", Path: "p", Err: syscall.EIO},
		protocol.CodeDiskFull:    &os.LinkError{Op: "rename", Old: "p", New: "q", Err: syscall.EDQUOT},
		protocol.CodePermissions: &fs.PathError{Op: "open", Path: "p", Err: syscall.EROFS},
	} {
		e := tuferr.As(Error("open", "p", cause))
		require.Equal(t, code, e.Code)
		require.Equal(t, "p", e.Path)
		require.NotEmpty(t, e.Hint)
		require.Same(t, e, Error("read", "q", e), "an error keeps its code")
	}
	require.NoError(t, Error("open", "p", nil))
	require.NotContains(t, tuferr.As(Error("open", "p", syscall.EACCES)).Hint, "writable", "it may be there to be read only")
	require.Contains(t, tuferr.As(Error("open", "p", syscall.EROFS)).Hint, "writable")
	require.Contains(t, tuferr.As(Error("write", "p", syscall.EACCES)).Hint, "writable")
}

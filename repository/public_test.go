//go:build unix

package repository

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestOpenBelow: the kernel's way and our own allow and refuse the same.
func TestOpenBelow(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "served")
	for _, d := range []string{"a/b", "dir"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, d), 0o700))
	}
	for _, f := range []string{"served/file", "served/a/b/file", "secret"} {
		require.NoError(t, os.WriteFile(filepath.Join(top, f), []byte(f), 0o600))
	}
	for link, to := range map[string]string{"out": "../secret", "absolute": filepath.Join(top, "secret"), "in": "file", "also": "a",
		"up": "..", "loop": "loop", "gone": "nothing", "a/back": "../.."} {
		require.NoError(t, os.Symlink(to, filepath.Join(dir, link)))
	}
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	for name, open := range map[string]func(dir, name string) (*os.File, error){"kernel": openBelow, "ours": walkBelow} {
		t.Run(name, func(t *testing.T) {
			for _, good := range []string{"file", "a/b/file"} {
				f, err := open(dir, good)
				require.NoError(t, err)
				data, err := io.ReadAll(f)
				require.NoError(t, err)
				require.Equal(t, "served/"+good, string(data))
				require.NoError(t, f.Close())
			}
			for _, bad := range []string{"nothing", "nothing/file", "file/file", "out", "absolute", "in", "also/b/file", "up/secret", "loop",
				"loop/file", "gone", "a/back/secret", "a/back/served/file"} {
				_, err := open(dir, bad)
				require.True(t, isMissing(err), "%s: %v", bad, err)
			}
			for _, bad := range []string{dir + "/nothing", dir + "/file"} {
				_, err := open(bad, "file")
				require.ErrorIs(t, err, errNoDirectory)
			}
		})
	}
	for _, bad := range []string{"", ".", "..", "../secret", "/file", "a//b/file", "a/./b/file", "a/../file", "dir", "pipe", ".file", "a/.b", "a\x00", "a\\b", "a\n"} {
		_, _, err := openPublic(dir, bad)
		require.ErrorIs(t, err, errNotServed, "%q", bad)
	}
	f, size, err := openPublic(dir, "file")
	require.NoError(t, err)
	require.EqualValues(t, len("served/file"), size)
	require.NoError(t, f.Close())
}

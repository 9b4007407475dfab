//go:build unix

package keyfile

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// TestWithinReachOfOthers: neither a key file nor its directory, nor the ones a
// symbolic link leads to, may be readable or writable by others.
func TestWithinReachOfOthers(t *testing.T) {
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o602, 0o601, 0o666} {
		path := put(t, filepath.Join(keyDir(t), "a.key"), sample())
		require.NoError(t, os.Chmod(path, mode))
		_, err := Open(path)
		e := requireError(t, err, protocol.CodePermissions, nil)
		require.Equal(t, path, e.Path)
		require.Contains(t, e.Hint, "chmod 600 "+path)

		k := &Key{Path: path}
		_, err = k.Signer(t.Context(), never(t))
		requireError(t, err, protocol.CodePermissions, nil)
	}
	for _, mode := range []fs.FileMode{0o750, 0o705, 0o720, 0o702, 0o710, 0o777 | fs.ModeSticky} {
		dir := keyDir(t)
		path := put(t, filepath.Join(dir, "a.key"), sample())
		require.NoError(t, os.Chmod(dir, mode))
		_, err := Open(path)
		e := requireError(t, err, protocol.CodePermissions, nil)
		require.Contains(t, e.Hint, "chmod 700 "+dir+"; if that has no effect, as on FAT, mount the medium with uid= and umask=077, or copy")
		_, err = List(dir)
		requireError(t, err, protocol.CodePermissions, nil)
	}
}

// TestMediumWithoutModes: where chmod is refused or does nothing, as on FAT, a key
// is made only if what its file is keeps it from others.
func TestMediumWithoutModes(t *testing.T) {
	for _, on := range []struct {
		name        string
		chmod       error
		looks, dirs fs.FileMode
		ok          bool
	}{
		{"refused, everybody's", fs.ErrPermission, 0o755, 0, false},
		{"no effect, everybody's", nil, 0o777, 0, false},
		{"not known, everybody's", syscall.EOPNOTSUPP, 0o644, 0, false},
		{"refused, umask=077", fs.ErrPermission, 0o700, 0, true},
		{"a directory of everybody's", nil, 0o755, 0o755, false},
		{"a fault", syscall.EIO, 0o600, 0, false},
	} {
		t.Run(on.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "keys")
			d := disk{before: func(op, path string) error {
				switch {
				case op == "chmod":
					return on.chmod
				case op == "check" && path == dir && on.dirs != 0:
					return os.Chmod(path, on.dirs)
				case op == "check" && path != dir:
					require.Empty(t, get(t, path), "nothing secret was written yet")
					return os.Chmod(path, on.looks)
				}
				return nil
			}}
			_, err := generate(t.Context(), d, dir, "a", Ed25519, Plain)
			if on.ok {
				require.NoError(t, err)
				_, err = Open(filepath.Join(dir, "a.key"))
				require.NoError(t, err)
				return
			}
			e := tuferr.As(err)
			if on.chmod != syscall.EIO {
				requireError(t, err, protocol.CodePermissions, nil)
				require.Contains(t, e.Hint, "umask=077")
			}
			if on.dirs != 0 {
				require.NoDirExists(t, dir)
				return
			}
			entries, err := os.ReadDir(dir)
			require.NoError(t, err)
			for _, entry := range entries {
				require.Equal(t, lockName, entry.Name())
			}
		})
	}
}

func TestSymbolicLinks(t *testing.T) {
	safe, elsewhere := keyDir(t), keyDir(t)
	target := put(t, filepath.Join(elsewhere, "there"), sample())
	link := filepath.Join(safe, "a.key")
	require.NoError(t, os.Symlink(target, link))
	k, err := Open(link)
	require.NoError(t, err)
	require.Equal(t, "a", k.Name)
	require.Equal(t, link, k.Path)

	require.NoError(t, os.Chmod(elsewhere, 0o755))
	_, err = Open(link)
	requireError(t, err, protocol.CodePermissions, nil)
	require.NoError(t, os.Chmod(elsewhere, 0o700))
	require.NoError(t, os.Chmod(target, 0o644))
	_, err = Open(link)
	requireError(t, err, protocol.CodePermissions, nil)
	require.NoError(t, os.Remove(target))
	_, err = Open(link)
	requireError(t, err, protocol.CodeLocalIO, fs.ErrNotExist)
	require.NoError(t, os.Symlink(link, target))
	_, err = Open(link)
	requireError(t, err, protocol.CodeLocalIO, nil)
}

// TestNotAFile: nothing waits for ever, and nothing is read that is no key file
// by its size.
func TestNotAFile(t *testing.T) {
	dir := keyDir(t)
	pipe, huge, folder := filepath.Join(dir, "pipe.key"), filepath.Join(dir, "huge.key"), filepath.Join(dir, "folder.key")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	require.NoError(t, os.Mkdir(folder, 0o700))
	put(t, huge, nil)
	require.NoError(t, os.Truncate(huge, 1<<30))
	device := filepath.Join(dir, "device.key")
	require.NoError(t, os.Symlink("/dev/zero", device))

	for path, problem := range map[string]string{pipe: "not a regular file", folder: "not a regular file", huge: "too large"} {
		_, err := Open(path)
		requireError(t, err, protocol.CodeUsage, nil)
		require.ErrorContains(t, err, problem)
		_, err = ReadPublic(path)
		requireError(t, err, protocol.CodeUsage, nil)
	}
	_, err := Open(device)
	require.Error(t, err)
	_, err = ReadPublic(device)
	requireError(t, err, protocol.CodeUsage, nil)
	for _, path := range []string{pipe, folder, device} {
		_, err = FromFile(path)(t.Context(), "a.key", false)
		requireError(t, err, protocol.CodeUsage, nil)
	}
	_, err = Open(filepath.Join(dir, "nowhere.key"))
	requireError(t, err, protocol.CodeLocalIO, fs.ErrNotExist)
}

func TestPassphraseFileWithinReachOfOthers(t *testing.T) {
	path := put(t, filepath.Join(t.TempDir(), "phrase"), []byte(secret))
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620} {
		require.NoError(t, os.Chmod(path, mode))
		_, err := FromFile(path)(context.Background(), "a.key", false)
		e := requireError(t, err, protocol.CodePermissions, nil)
		require.Contains(t, e.Hint, "chmod 600 "+path)
	}
}

//go:build unix

package diskfile

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestOnlyRegularFiles(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	link, pipe := filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	require.NoError(t, os.Symlink(file, link))
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	for _, path := range []string{link, pipe, dir, os.DevNull} {
		_, _, err := Open(path)
		require.Equal(t, protocol.CodeLocalIO, tuferr.CodeOf(err), path)
		require.Equal(t, path, tuferr.As(err).Path)
		require.NotEmpty(t, tuferr.As(err).Hint)
	}
}

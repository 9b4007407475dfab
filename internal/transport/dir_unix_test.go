//go:build unix

package transport

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

// TestAPipeIsNotWaitedFor, nor is anything read from it.
func TestAPipeIsNotWaitedFor(t *testing.T) {
	l := newLocal(t)
	require.NoError(t, unix.Mkfifo(filepath.Join(l.dir, "metadata/timestamp.json"), 0o600))
	e := refused(t, l.c, l.metadata("timestamp", 0), protocol.CodeLocalIO)
	require.Contains(t, e.Error(), "not a regular file")
}

package repository

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestMetadataThatClientsReadDifferentlyIsNotPublished(t *testing.T) {
	r, _ := newTestRepository(t)
	list := func() (names []string) {
		entries, err := os.ReadDir(r.metadataPath(""))
		require.NoError(t, err)
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	before := list()
	err := tryRole(t, r, "acme", "plugins/[!b]*/*")
	require.Equal(t, "targets", requireCode(t, err, protocol.CodeUsage).Role)
	require.ErrorContains(t, err, "path-pattern")
	require.Equal(t, before, list())
}

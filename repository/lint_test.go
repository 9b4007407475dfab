package repository

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestMetadataThatClientsReadDifferentlyIsNotPublished(t *testing.T) {
	r, _ := newTestRepository(t)
	before := listFiles(t, r.Dir())
	_, err := r.change(t.Context(), func(c *change) error {
		d, err := c.editRole(roleTargets, roleRoot)
		if err != nil {
			return err
		}
		return d.Delegate("acme", 1, "plugins/[!b]*/*")
	})
	require.Equal(t, "targets", requireCode(t, err, protocol.CodeUsage).Role)
	require.ErrorContains(t, err, "path-pattern")
	require.ErrorContains(t, err, "threshold")
	require.Equal(t, before, listFiles(t, r.Dir()))
}

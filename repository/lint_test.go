package repository

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestMetadataThatClientsReadDifferentlyIsNotPublished(t *testing.T) {
	r, _ := newTestRepository(t)
	before := listFiles(t, r.Dir())
	manifest := filepath.Join(t.TempDir(), "manifest.json")
	require.NoError(t, os.WriteFile(manifest, []byte(`{"name":"big","version":"1.0.0","publisher":"acme","description":"d",
		"entryPoint":"bin/hello.sh","serial":9007199254740993}`), 0o600))
	_, _, err := r.Publish(t.Context(), helloArchive, manifest, PublishOptions{})
	e := requireCode(t, err, protocol.CodeUsage)
	require.Equal(t, "targets", e.Role)
	require.ErrorContains(t, err, "serial")
	require.Equal(t, before, listFiles(t, r.Dir()))

	_, err = r.change(t.Context(), func(c *change) error {
		d, err := c.editRole(roleTargets, roleRoot)
		if err != nil {
			return err
		}
		return d.Delegate("acme", 1, "plugins/[!b]*/*")
	})
	requireCode(t, err, protocol.CodeUsage)
	require.ErrorContains(t, err, "path-pattern")
	require.ErrorContains(t, err, "threshold")
	require.Equal(t, before, listFiles(t, r.Dir()))
}

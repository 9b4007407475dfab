package main

import (
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/repository"
)

// The program is built and run as a stranger would, against a real repository.
func TestEmbed(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	repo, err := repository.Init(ctx, filepath.Join(dir, "repo"), repository.InitOptions{Options: repository.Options{Keys: repository.Keys{Passphrase: repository.PlainKeys}}})
	require.NoError(t, err)
	packed := filepath.Join("..", "..", "testdata", "plugins", "hello-world.1.0.0")
	target, _, err := repo.Publish(ctx, packed+".tar.gz", packed+".json", repository.PublishOptions{})
	require.NoError(t, err)
	server := httptest.NewServer(repo.Handler())
	defer server.Close()

	program := filepath.Join(dir, "embed")
	out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)

	embed := func(name string) (string, error) {
		cmd := exec.Command(program, filepath.Join(repo.Dir(), "root.json"), name)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "RAGNOS_TUF_REPO_URL="+server.URL, "RAGNOS_TUF_CLIENT=go",
			"RAGNOS_TUF_METADATA_DIR=", "RAGNOS_TUF_CACHE_DIR=", "RAGNOS_TUF_ROOT=")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	said, err := embed(target.Path)
	require.NoError(t, err, said)
	require.Contains(t, said, "verified by go")

	want, err := os.ReadFile(packed + ".tar.gz")
	require.NoError(t, err)
	path := strings.TrimSuffix(strings.Fields(said)[2], ",")
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, want, got)

	said, err = embed("plugins/nobody/nothing.tar.gz")
	require.Error(t, err)
	require.Contains(t, said, "no role of the repository lists this target")
}

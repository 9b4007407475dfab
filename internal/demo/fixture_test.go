package main

import (
	"encoding/base64"
	"encoding/hex"
	"flag"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

var update = flag.Bool("update", false, "write testdata/fallback anew")

// TestFixture makes testdata/fallback in memory and compares: what lies there is
// what this code makes, byte by byte.
func TestFixture(t *testing.T) {
	want := makeFixture(t)
	dir := filepath.Join(testdata, "fallback")
	if *update {
		for name, content := range want {
			file := filepath.Join(dir, filepath.FromSlash(name))
			require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
			require.NoError(t, os.WriteFile(file, content, 0o644))
		}
	}
	got := map[string][]byte{}
	require.NoError(t, fs.WalkDir(os.DirFS(dir), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || name == "README.md" {
			return err
		}
		got[name], err = os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		return err
	}))
	require.Equal(t, want, got)
}

// makeFixture returns the files of testdata/fallback. Every role but root has
// two keys, one of which is enough. The second signature is as good as the
// first, but armoured: base64 where the specification wants hex.
func makeFixture(t *testing.T) map[string][]byte {
	repo := tuftest.NewRepo(tuftest.Config{})
	for n, role := range []*tuftest.Role{repo.Timestamp, repo.Snapshot, repo.Targets} {
		repo.SetKeys(role.Name, 1, tuftest.NewKey(tuftest.Ed25519, n+1), tuftest.NewKey(tuftest.Ed25519, n+11))
		role.EditSignatures = armourSecond
	}
	repo.Root.SetVersion(0)
	repo.PublishRoot()
	plugin, err := os.ReadFile(filepath.Join(testdata, "plugins", "hello-world.1.0.0.tar.gz"))
	require.NoError(t, err)
	repo.AddTarget("targets", pluginName, plugin, nil)

	files := map[string][]byte{"root.json": repo.RootBytes(1)}
	repo.Publish("targets")
	keep(files, "unreadable", repo)
	for n := range resigned {
		repo.PublishTimestamp()
		files[resignedState(n+1)+"/metadata/timestamp.json"] = repo.Files()["metadata/timestamp.json"]
	}
	for _, role := range []*tuftest.Role{repo.Timestamp, repo.Snapshot, repo.Targets} {
		role.EditSignatures = nil
	}
	repo.Publish("targets")
	keep(files, "readable", repo)
	return files
}

func armourSecond(list []any) []any {
	second := list[1].(tuftest.Map)
	raw, err := hex.DecodeString(second["sig"].(string))
	if err != nil {
		panic(err)
	}
	second["sig"] = base64.StdEncoding.EncodeToString(raw)
	return list
}

// keep keeps the metadata that a client would be given now, and the targets.
func keep(files map[string][]byte, state string, repo *tuftest.Repo) {
	all := repo.Files()
	names := []string{"1.root.json", "timestamp.json"}
	for _, role := range []*tuftest.Role{repo.Snapshot, repo.Targets} {
		names = append(names, path.Base(repo.MetadataName(role.Name, role.Version)))
	}
	for _, name := range names {
		files[state+"/metadata/"+name] = all["metadata/"+name]
	}
	for name, content := range all {
		if strings.HasPrefix(name, "targets/") {
			files[name] = content
		}
	}
}

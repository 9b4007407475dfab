package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/pyenv/pyenvtest"
)

// life is a repository that is served and changed by commands, while clients in
// every mode use it.
type life struct {
	t       *testing.T
	dir     string
	url     string
	root    []byte
	clients map[hybrid.Mode]*hybrid.Client
	// published holds the archives by their target paths.
	published map[string][]byte
}

func (l *life) tuf(args ...string) string {
	l.t.Helper()
	code, stdout, stderr := runCommand(l.t, append(args, "--dir", l.dir)...)
	require.Zero(l.t, code, "%v: %s", args, stderr)
	return stdout
}

// client makes a client that has never seen the repository.
func (l *life) client(mode hybrid.Mode) *hybrid.Client {
	l.t.Helper()
	dir := l.t.TempDir()
	c, err := hybrid.New(hybrid.Options{RepositoryURL: l.url, Root: l.root, Mode: mode, Python: pyenvtest.Python(l.t),
		MetadataDir: filepath.Join(dir, "metadata"), CacheDir: filepath.Join(dir, "cache")})
	require.NoError(l.t, err)
	l.t.Cleanup(func() { require.NoError(l.t, c.Shutdown(context.Background())) })
	return c
}

// publish publishes a version of a plugin and returns its path.
func (l *life) publish(publisher, version string) string {
	l.t.Helper()
	base := filepath.Join(l.t.TempDir(), "tool")
	manifest := fmt.Sprintf(`{"name":"tool","publisher":%q,"version":%q,"description":"a tool"}`, publisher, version)
	archive := packed(l.t, publisher+version)
	require.NoError(l.t, os.WriteFile(base+".json", []byte(manifest), 0o600))
	require.NoError(l.t, os.WriteFile(base+".tar.gz", archive, 0o600))
	l.tuf("publish", base+".tar.gz", base+".json")
	path := fmt.Sprintf("plugins/%s/tool.%s.tar.gz", publisher, version)
	l.published[path] = archive
	return path
}

// packed is an archive with one file.
func packed(t *testing.T, content string) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	w := tar.NewWriter(z)
	require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "bin/tool", Mode: 0o755, Size: int64(len(content))}))
	_, err := w.Write([]byte(content))
	require.NoError(t, errors.Join(err, w.Close(), z.Close()))
	return buf.Bytes()
}

// everybodySees lets all clients, and a new one whose engines must agree, bring
// all that is published.
func (l *life) everybodySees() {
	l.t.Helper()
	clients := maps.Clone(l.clients)
	clients["dual, new"] = l.client(hybrid.ModeDual)
	for mode, c := range clients {
		require.NoError(l.t, c.Refresh(l.t.Context()), "%s", mode)
		for path, want := range l.published {
			r, err := c.VerifyAndDownloadPlugin(l.t.Context(), path, hybrid.DownloadOptions{})
			require.NoError(l.t, err, "%s: %s", mode, path)
			got, err := os.ReadFile(r.Path)
			require.NoError(l.t, err)
			require.True(l.t, bytes.Equal(want, got))
		}
	}
}

// TestALife goes through what a repository lives to see: two publishers, new keys
// for every role, a stolen key and the recovery from it.
func TestALife(t *testing.T) {
	l := &life{t: t, dir: filepath.Join(t.TempDir(), "repo"), published: map[string][]byte{}, clients: map[hybrid.Mode]*hybrid.Client{}}
	l.tuf("init", "--plain-keys", "--algorithm", "ed25519", "--root", "2/3")
	server := startServe(t, l.dir)
	l.url = server.url
	var err error
	l.root, err = os.ReadFile(filepath.Join(l.dir, "root.json"))
	require.NoError(t, err)
	for _, mode := range []hybrid.Mode{hybrid.ModeAuto, hybrid.ModeGo, hybrid.ModePython, hybrid.ModeDual} {
		l.clients[mode] = l.client(mode)
	}

	l.publish("acme", "1.0.0")
	l.everybodySees()
	for _, publisher := range []string{"acme", "initech"} {
		l.tuf("publisher", "add", publisher, "--plain-keys")
		l.publish(publisher, "1.1.0")
	}
	l.everybodySees()

	for _, role := range []string{"timestamp", "snapshot", "targets", "root", "acme", "initech"} {
		args := []string{"key", "rotate", role, "--plain-keys"}
		if role == "root" {
			args = append(args, "--old", "root-1")
		}
		l.tuf(args...)
		l.everybodySees()
	}

	bad := l.publish("acme", "6.6.6") // by whoever stole acme's key
	l.everybodySees()
	l.tuf("key", "rotate", "acme", "--plain-keys")
	l.tuf("yank", bad, "--reason", "published with a stolen key")
	good := l.publish("acme", "6.6.7")
	l.everybodySees()
	for _, c := range l.clients {
		info, err := c.Lookup(t.Context(), bad)
		require.NoError(t, err)
		require.Contains(t, string(info.Custom), "stolen key")
		info, err = c.Lookup(t.Context(), good)
		require.NoError(t, err)
		require.Contains(t, string(info.Custom), `"latest":["stable","beta"]`)
	}
	require.Zero(t, server.stop(t))
}

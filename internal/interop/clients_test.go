package interop

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/keyfile"
	"github.com/ragnos-labs/vault-tuf/internal/pyenv/pyenvtest"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest/plain"
	"github.com/ragnos-labs/vault-tuf/repository"
)

// envInterop, set to anything, makes the clients in other languages a must: what
// is missing fails the tests, and the client on tough is built, for minutes.
// Without it tuf-js is left out where node, npm or the registry is missing, and
// tough unless it has been built before.
const envInterop = "RAGNOS_INTEROP"

// sources are the client programs in other languages.
//
//go:embed tufjs/package.json tufjs/package-lock.json tufjs/client.mjs
//go:embed tough/Cargo.toml tough/Cargo.lock tough/src/main.rs
var sources embed.FS

// reader is a plain client: a new one reads targets from a repository. A nil
// content is a target that it does not find.
type reader func(t *testing.T, url, root string, targets []string) (contents [][]byte, err error)

// TestPlainClients: repositories that local-tuf has made are read by the plain
// clients of four libraries.
func TestPlainClients(t *testing.T) {
	python := plain.NewPython(pyenvtest.Python(t))
	t.Cleanup(python.Close)
	readers := map[string]reader{"go-tuf": readPlain(plain.Go{}), "python-tuf": readPlain(python)}
	missing := map[string]string{}
	for name, prepare := range map[string]func(t *testing.T) ([]string, error){"tuf-js": prepareJS, "tough": prepareTough} {
		command, err := prepare(t)
		if err != nil {
			missing[name] = err.Error()
			require.Empty(t, os.Getenv(envInterop), "%s: %v", name, err)
			continue
		}
		readers[name] = readCommand(command)
	}
	for _, algorithm := range []keyfile.Algorithm{keyfile.RSA, keyfile.Ed25519, keyfile.ECDSA} {
		for _, bins := range []bool{false, true} {
			r, want := madeHere(t, algorithm, bins)
			server := httptest.NewServer(r.Handler())
			t.Cleanup(server.Close)
			for _, name := range []string{"go-tuf", "python-tuf", "tuf-js", "tough"} {
				t.Run(fmt.Sprintf("%s/%s/bins=%v", name, algorithm, bins), func(t *testing.T) {
					read, ok := readers[name]
					if !ok {
						t.Skip(missing[name])
					}
					names := append(slices.Sorted(maps.Keys(want)), "plugins/acme/none.1.0.0.tar.gz")
					got, err := read(t, server.URL, filepath.Join(r.Dir(), "root.json"), names)
					if name == "tough" && bins {
						require.ErrorContains(t, err, "missing field `roles`", "tough has learned to read hash bins: the lint's rule can go")
						return
					}
					require.NoError(t, err)
					for i, target := range names {
						if want[target] == nil {
							require.Nil(t, got[i], target)
						} else {
							require.Equal(t, want[target], got[i], target)
						}
					}
				})
			}
		}
	}
}

// madeHere makes a repository with all that there is: two publishers, one of them
// of two keys, a release that was yanked and one in beta, rotated keys of every
// role, and hash bins.
func madeHere(t *testing.T, algorithm keyfile.Algorithm, bins bool) (*repository.Repository, map[string][]byte) {
	o := repository.InitOptions{Options: repository.Options{Keys: repository.Keys{Passphrase: repository.PlainKeys}},
		Algorithm: algorithm, Root: repository.Quorum{Threshold: 2, Keys: 2}}
	r, err := repository.Init(t.Context(), filepath.Join(t.TempDir(), "r"), o)
	require.NoError(t, err)
	done := func(p *repository.Proposal, err error) {
		require.NoError(t, err)
		require.Nil(t, p)
	}
	_, p, err := r.AddPublisher(t.Context(), "acme", repository.PublisherOptions{})
	done(p, err)
	_, p, err = r.AddPublisher(t.Context(), "bestco", repository.PublisherOptions{Threshold: 2})
	done(p, err)
	archive := "../../testdata/plugins/hello-world.1.0.0.tar.gz"
	content, err := os.ReadFile(archive)
	require.NoError(t, err)
	want := map[string][]byte{}
	for _, publisher := range []string{"acme", "bestco", "nobody"} {
		for _, version := range []string{"1.0.0", "1.1.0", "2.0.0-rc.1"} {
			manifest := filepath.Join(t.TempDir(), "manifest.json")
			require.NoError(t, os.WriteFile(manifest, fmt.Appendf(nil,
				`{"name":"tool","version":%q,"publisher":%q,"description":"größe & <b>\n😀","entryPoint":"bin/hello.sh","x":{"a":[null,true,{}],"n":-9007199254740991}}`,
				version, publisher), 0o600))
			target, p, err := r.Publish(t.Context(), archive, manifest, repository.PublishOptions{})
			done(p, err)
			want[target.Path] = content
		}
	}
	done(r.Yank(t.Context(), "plugins/acme/tool.1.1.0.tar.gz", "broken"))
	if bins {
		_, p, err := r.MakeBins(t.Context(), "acme", 4)
		done(p, err)
	}
	for _, role := range []string{"timestamp", "snapshot", "targets"} {
		_, p, err := r.RotateKeys(t.Context(), repository.Rotate{Role: role})
		done(p, err)
	}
	for _, old := range []string{"root-1", "root-2"} {
		_, p, err := r.RotateKeys(t.Context(), repository.Rotate{Role: "root", Old: old})
		done(p, err)
	}
	sound(t, r)
	return r, want
}

// readPlain reads with a client of this process, or a child of it.
func readPlain(client plain.Client) reader {
	return func(t *testing.T, url, root string, targets []string) ([][]byte, error) {
		anchor, err := os.ReadFile(root)
		require.NoError(t, err)
		dir := t.TempDir()
		var contents [][]byte
		for _, target := range targets {
			content, err := client.Run(t.Context(), plain.Request{MetadataURL: url + "/metadata/", TargetsURL: url + "/targets/",
				MetadataDir: filepath.Join(dir, "metadata"), TargetsDir: filepath.Join(dir, "targets"), Root: anchor, Target: target})
			if err != nil && !errors.Is(err, plain.ErrNotFound) {
				return nil, err
			}
			contents = append(contents, content)
		}
		return contents, nil
	}
}

// readCommand reads with a program, which gets METADATA_URL TARGETS_URL ROOT DIR
// TARGET…, writes target number N to DIR/N, and says ok or absent for each.
func readCommand(command []string) reader {
	return func(t *testing.T, url, root string, targets []string) ([][]byte, error) {
		dir := t.TempDir()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		args := append(slices.Clone(command[1:]), url+"/metadata/", url+"/targets/", root, dir)
		cmd := exec.CommandContext(ctx, command[0], append(args, targets...)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("%w: %.2000s", err, stderr.String())
		}
		said := strings.Fields(string(out))
		require.Len(t, said, len(targets), string(out))
		contents := make([][]byte, len(targets))
		for i := range targets {
			if said[i] == "ok" {
				contents[i], err = os.ReadFile(filepath.Join(dir, strconv.Itoa(i)))
				require.NoError(t, err)
			}
		}
		return contents, nil
	}
}

// prepareJS installs tuf-js, as locked, below the user's cache directory.
func prepareJS(t *testing.T) ([]string, error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, errors.New("node is not installed")
	}
	dir, err := prepared(t, "tufjs", func(dir string) error {
		if _, err := exec.LookPath("npm"); err != nil {
			return errors.New("npm is not installed")
		}
		return command(t, 5*time.Minute, dir, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	})
	return []string{node, filepath.Join(dir, "client.mjs")}, err
}

// prepareTough builds the client on tough below the user's cache directory.
func prepareTough(t *testing.T) ([]string, error) {
	dir, err := prepared(t, "tough", func(dir string) error {
		if os.Getenv(envInterop) == "" {
			return errors.New("the client on tough is not built: make interop does that, in minutes")
		}
		if err := command(t, 30*time.Minute, dir, "cargo", "build", "--release", "--locked"); err != nil {
			return err
		}
		built := filepath.Join(dir, "target", "release", "interop-tough")
		return errors.Join(os.Rename(built, filepath.Join(dir, "client")), os.RemoveAll(filepath.Join(dir, "target")))
	})
	return []string{filepath.Join(dir, "client")}, err
}

func command(t *testing.T, limit time.Duration, dir, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, args[0], err, out[max(0, len(out)-1000):])
	}
	return nil
}

// prepared returns a directory with the sources of a client and what build has
// made of them, for these very sources only once.
func prepared(t *testing.T, name string, build func(dir string) error) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "ragnos-vault-tuf", "interop")
	files, err := fs.Sub(sources, name)
	require.NoError(t, err)
	dir := filepath.Join(cache, name+"-"+digestOf(t, files))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", err
	}
	building, err := os.MkdirTemp(cache, name+".")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(building)
	if err := errors.Join(os.CopyFS(building, files), build(building)); err != nil {
		return "", err
	}
	if err := os.Rename(building, dir); err != nil {
		if _, statErr := os.Stat(dir); statErr != nil {
			return "", err
		}
	}
	return dir, nil
}

func digestOf(t *testing.T, files fs.FS) string {
	sum := sha256.New()
	require.NoError(t, fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, name)
		fmt.Fprintf(sum, "%s %d\n", path.Clean(name), len(data))
		sum.Write(data)
		return err
	}))
	return hex.EncodeToString(sum.Sum(nil))[:16]
}

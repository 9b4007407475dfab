//go:build unix

package hybrid

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ragnos-labs/vault-tuf/internal/keyfile"
	"github.com/ragnos-labs/vault-tuf/internal/pyenv/pyenvtest"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/repository"
)

const packed = "../testdata/plugins/hello-world.1.0.0"

// shelf is a repository in a directory, as local-tuf makes it, and what its
// clients share.
type shelf struct {
	t    *testing.T
	repo *repository.Repository
	root []byte
	// plugin is the path of what has been published, state the client's directory.
	plugin, state string
}

func newShelf(t *testing.T) *shelf {
	repo, err := repository.Init(t.Context(), filepath.Join(t.TempDir(), "the repo"), repository.InitOptions{
		Options: repository.Options{Keys: repository.Keys{Passphrase: repository.PlainKeys}}, Algorithm: keyfile.Ed25519,
	})
	require.NoError(t, err)
	s := &shelf{t: t, repo: repo, state: t.TempDir()}
	s.root, err = os.ReadFile(filepath.Join(repo.Dir(), "root.json"))
	require.NoError(t, err)
	s.plugin, err = s.publish("1.0.0")
	require.NoError(t, err)
	return s
}

// publish publishes a version of the plugin and returns its path.
func (s *shelf) publish(version string) (string, error) {
	raw, err := os.ReadFile(packed + ".json")
	if err != nil {
		return "", err
	}
	manifest := map[string]any{}
	if err := json.Unmarshal(raw, &manifest); err != nil {
		return "", err
	}
	manifest["version"] = version
	if raw, err = json.Marshal(manifest); err != nil {
		return "", err
	}
	path := filepath.Join(s.state, "manifest.json")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		return "", err
	}
	target, _, err := s.repo.Publish(context.Background(), packed+".tar.gz", path, repository.PublishOptions{})
	if err != nil {
		return "", err
	}
	return target.Path, nil
}

func (s *shelf) path(name string) string {
	return filepath.Join(s.repo.Dir(), filepath.FromSlash(name))
}

func (s *shelf) client(mode Mode, edit ...func(*Options)) *Client {
	o := Options{
		RepositoryDir: s.repo.Dir(), Root: s.root, Mode: mode, Python: pyenvtest.Python(s.t),
		MetadataDir: filepath.Join(s.state, "metadata"), CacheDir: filepath.Join(s.state, "cache"),
		HTTP: HTTPOptions{Attempts: 1},
	}
	for _, f := range edit {
		f(&o)
	}
	c, err := New(o)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { require.NoError(s.t, c.Shutdown(context.Background())) })
	return c
}

// TestRepositoryInADirectory does what a served one does.
func TestRepositoryInADirectory(t *testing.T) {
	t.Setenv(EnvRepoURL, "http://127.0.0.1:1")
	want, err := os.ReadFile(packed + ".tar.gz")
	require.NoError(t, err)
	for _, mode := range []Mode{ModeGo, ModePython, ModeDual} {
		t.Run(string(mode), func(t *testing.T) {
			s := newShelf(t)
			c := s.client(mode, func(o *Options) { o.HTTP.BearerToken = "secret" })
			r, err := c.VerifyAndDownloadPlugin(t.Context(), s.plugin, DownloadOptions{})
			require.NoError(t, err)
			raw, err := os.ReadFile(r.Path)
			require.NoError(t, err)
			require.Equal(t, want, raw)
			require.False(t, r.FromCache)

			second, err := s.publish("2.0.0")
			require.NoError(t, err)
			_, err = c.Lookup(t.Context(), second)
			require.NoError(t, err)
			list, err := c.List(t.Context())
			require.NoError(t, err)
			require.Len(t, list, 2)
			_, err = c.Lookup(t.Context(), "plugins/nobody/nothing.tar.gz")
			require.ErrorIs(t, err, ErrNotFound)
			st := status(t, c)
			require.Regexp(t, "^file:///.*/the%20repo/metadata$", st.MetadataURL)
			require.Regexp(t, "^file:///.*/the%20repo/targets$", st.TargetsURL)
		})
	}
}

// TestDirectoryIsNotBelieved either: what lies there has to be signed.
func TestDirectoryIsNotBelieved(t *testing.T) {
	s := newShelf(t)
	files, err := filepath.Glob(s.path("targets/plugins/*/*.gz"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	raw, err := os.ReadFile(files[0])
	require.NoError(t, err)
	raw[0]++
	require.NoError(t, os.Remove(files[0]))
	require.NoError(t, os.WriteFile(files[0], raw, 0o600))
	_, err = s.client(ModeDual).VerifyAndDownloadPlugin(t.Context(), s.plugin, DownloadOptions{})
	require.ErrorIs(t, err, ErrMismatch)
}

// TestDirectoryThatCannotBeRead is a trouble of this machine, in every mode, and
// never the end of the chain of roots.
func TestDirectoryThatCannotBeRead(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "timestamp.json")
	for name, spoil := range map[string]func(s *shelf) error{
		"no directory":   func(s *shelf) error { return os.RemoveAll(s.repo.Dir()) },
		"nothing in it":  func(s *shelf) error { return os.RemoveAll(s.path("metadata")) },
		"a root outside": func(s *shelf) error { return os.Symlink(outside, s.path("metadata/2.root.json")) },
		"a link to outside": func(s *shelf) error {
			if err := os.Rename(s.path("metadata/timestamp.json"), outside); err != nil {
				return err
			}
			return os.Symlink(outside, s.path("metadata/timestamp.json"))
		},
		"a pipe": func(s *shelf) error {
			if err := os.Remove(s.path("metadata/timestamp.json")); err != nil {
				return err
			}
			return unix.Mkfifo(s.path("metadata/timestamp.json"), 0o600)
		},
		"a directory": func(s *shelf) error { return os.Mkdir(s.path("metadata/2.root.json"), 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelf(t)
			_, err := s.client(ModeGo).VerifyAndDownloadPlugin(t.Context(), s.plugin, DownloadOptions{})
			require.NoError(t, err)
			require.NoError(t, spoil(s))
			for _, mode := range []Mode{ModeAuto, ModePython, ModeDual} {
				_, err = s.client(mode).Lookup(t.Context(), s.plugin)
				require.ErrorIs(t, err, ErrLocal, "%s: %v", mode, err)
				require.ErrorIs(t, err, tuferr.OfCode("local_io"))
				require.Contains(t, tuferr.As(err).Path, s.repo.Dir())
				require.NotEmpty(t, tuferr.As(err).Hint)
			}
		})
	}
}

// TestPublishingWhileClientsRead: they see the state before or after a change,
// never anything between.
func TestPublishingWhileClientsRead(t *testing.T) {
	s := newShelf(t)
	published := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 10 {
			if _, err := s.publish(fmt.Sprintf("1.0.%d", i+1)); err != nil {
				published <- err
				return
			}
		}
		published <- nil
	}()
	var all sync.WaitGroup
	for _, mode := range []Mode{ModeGo, ModeDual} {
		c := s.client(mode, func(o *Options) { o.MetadataDir += string(mode); o.CacheDir += string(mode) })
		all.Go(func() {
			for last := int64(0); ; {
				info, err := c.Lookup(context.Background(), s.plugin)
				if err != nil {
					t.Errorf("%s: %v", mode, err)
					return
				}
				if info.Versions.Targets < last || info.Offline {
					t.Errorf("%s: %+v after version %d", mode, info, last)
				}
				last = info.Versions.Targets
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	all.Wait()
	require.NoError(t, <-published)
	list, err := s.client(ModeDual).List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 11)
}

// TestDirectoryOrURL: one or the other.
func TestDirectoryOrURL(t *testing.T) {
	dir := t.TempDir()
	for _, o := range []Options{
		{RepositoryDir: dir, RepositoryURL: "http://localhost"}, {RepositoryDir: dir, MetadataURL: "http://localhost/metadata"},
		{RepositoryDir: dir, TargetsURL: "http://localhost/targets"}, {RepositoryDir: dir, HTTP: HTTPOptions{Attempts: -1}},
		{RepositoryURL: "file://" + dir}, {MetadataURL: "file://" + dir + "/metadata"}, {RepositoryURL: dir},
	} {
		_, err := New(o)
		require.ErrorIs(t, err, ErrUsage, "%+v", o)
	}
}

// TestNoWayFromTheNetworkIntoADirectory: a server that knows where a good
// repository lies cannot send its clients there.
func TestNoWayFromTheNetworkIntoADirectory(t *testing.T) {
	s := newShelf(t)
	w := newWorld(t)
	w.server.On("metadata/timestamp.json", func(x *tuftest.Exchange) {
		http.Redirect(x, x.Request, "file://"+s.path("metadata/timestamp.json"), http.StatusFound)
	})
	e := w.refused(w.client(ModeGo), ErrTransport)
	require.Equal(t, http.StatusFound, e.Status)
}

package vault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/vault/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is some repositories, their servers, and what the vaults that use them share.
type world struct {
	t       *testing.T
	names   []string
	repos   map[string]*tuftest.Repo
	servers map[string]*tuftest.Server
	dir     string

	mu     sync.Mutex
	events []Event
}

func newWorld(t *testing.T, names ...string) *world {
	w := &world{t: t, names: names, repos: map[string]*tuftest.Repo{}, servers: map[string]*tuftest.Server{}, dir: t.TempDir()}
	for i, name := range names {
		repo := tuftest.NewRepo(tuftest.Config{})
		// Every repository has a root of its own.
		for j, role := range []string{"root", "timestamp", "snapshot", "targets"} {
			repo.SetKeys(role, 1, tuftest.Keys(100+10*i+j, 1)...)
		}
		repo.PublishRoot()
		repo.Publish("targets")
		w.repos[name] = repo
		w.servers[name] = tuftest.NewServer(repo)
		t.Cleanup(w.servers[name].Close)
	}
	return w
}

// release is what a test plugin is published with.
type release struct {
	publisher, name, version, channel, yanked, description string
	content                                                string
}

func (r release) path() string {
	return fmt.Sprintf("plugins/%s/%s.%s.tar.gz", r.publisher, r.name, r.version)
}

func (r release) bytes() []byte {
	if r.content == "" {
		return []byte(r.path() + " as its publisher made it")
	}
	return []byte(r.content)
}

// tool is acme's tool.
func tool(version string) release { return release{publisher: "acme", name: "tool", version: version} }

// publish publishes releases in one repository and returns the path of the last.
func (w *world) publish(repository string, all ...release) string {
	w.t.Helper()
	repo := w.repos[repository]
	path := ""
	for _, r := range all {
		path = r.path()
		said := map[string]any{"channel": "stable"}
		if r.channel != "" {
			said["channel"] = r.channel
		}
		if r.yanked != "" {
			said["yanked"] = map[string]any{"reason": r.yanked, "at": "2026-01-02T03:04:05Z"}
		}
		description := r.description
		if description == "" {
			description = "a tool"
		}
		repo.AddTarget("targets", path, r.bytes(), map[string]any{
			"name": r.name, "publisher": r.publisher, "version": r.version, "description": description, "release": said,
		})
	}
	repo.Publish("targets")
	return path
}

// file is the path of a plugin's file on a server.
func (r release) file() string {
	dir, base := filepath.Split(r.path())
	return "targets/" + dir + tuftest.SHA256(r.bytes()) + "." + base
}

// options are those of a vault that allows everything.
func (w *world) options() Options {
	o := Options{
		MetadataDir: filepath.Join(w.dir, "metadata"), CacheDir: filepath.Join(w.dir, "cache"), Mode: hybrid.ModeGo,
		Policy: policy.Policy{Allow: policy.Match{Names: []string{"*"}}, Channels: []string{"stable", "beta"}},
		OnSecurityEvent: func(e Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, e)
		},
	}
	for _, name := range w.names {
		o.Repositories = append(o.Repositories, Repository{
			Name: name, URL: w.servers[name].URL, Root: w.repos[name].RootBytes(2),
			HTTP: hybrid.HTTPOptions{Attempts: 1, BackoffMin: time.Millisecond, BackoffMax: time.Millisecond},
		})
	}
	return o
}

func (w *world) vault(edit ...func(*Options)) *Vault {
	w.t.Helper()
	o := w.options()
	for _, f := range edit {
		f(&o)
	}
	v, err := New(o)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { require.NoError(w.t, v.Shutdown(context.Background())) })
	return v
}

// install installs a release and wants its very bytes.
func (w *world) install(v *Vault, r release, o InstallOptions) *Result {
	w.t.Helper()
	result, err := v.VerifyAndDownloadPlugin(w.t.Context(), r.path(), o)
	require.NoError(w.t, err)
	got, err := os.ReadFile(result.Path)
	require.NoError(w.t, err)
	require.Equal(w.t, string(r.bytes()), string(got))
	return result
}

// refused wants an error of the family, and no such bytes in the cache.
func (w *world) refused(v *Vault, r release, o InstallOptions, family error) *hybrid.Error {
	w.t.Helper()
	result, err := v.VerifyAndDownloadPlugin(w.t.Context(), r.path(), o)
	require.Nil(w.t, result)
	require.ErrorIs(w.t, err, family)
	var e *hybrid.Error
	require.ErrorAs(w.t, err, &e)
	require.Equal(w.t, r.path(), e.Target)
	require.NoError(w.t, filepath.WalkDir(filepath.Join(w.dir, "cache"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // there may be no cache yet
		}
		require.NotEqual(w.t, tuftest.SHA256(r.bytes()), d.Name())
		return nil
	}))
	return e
}

// told waits for an event and returns it.
func (w *world) told(code EventCode) Event {
	w.t.Helper()
	var found Event
	require.Eventually(w.t, func() bool {
		for _, e := range w.all() {
			if e.Code == code {
				found = e
				return true
			}
		}
		return false
	}, 10*time.Second, time.Millisecond, "no event %s in %v", code, w.codes())
	return found
}

func (w *world) all() []Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Event(nil), w.events...)
}

// codes ends the vault's events and returns their codes, in order.
func (w *world) codes() string {
	var codes []string
	for _, e := range w.all() {
		codes = append(codes, string(e.Code))
	}
	return strings.Join(codes, " ")
}

// rule is the rule of the policy that an error names.
func rule(t *testing.T, err error) string {
	t.Helper()
	var d *policy.Denial
	require.True(t, errors.As(err, &d), "%v", err)
	return d.Rule
}

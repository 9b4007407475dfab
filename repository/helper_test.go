package repository

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/draft"
	"github.com/ragnos-labs/vault-tuf/internal/keyfile"
	"github.com/ragnos-labs/vault-tuf/internal/pyenv/pyenvtest"
)

// newFastRepository is newTestRepository with keys that are made at once.
func newFastRepository(t testing.TB) (*Repository, *testClock) {
	t.Helper()
	clock := &testClock{time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}
	r, err := Init(t.Context(), filepath.Join(t.TempDir(), "repo"), InitOptions{
		Options: Options{Keys: plainKeys, Clock: clock.Now}, Algorithm: keyfile.Ed25519,
	})
	require.NoError(t, err)
	return r, clock
}

// publishAs publishes a plugin and returns its path.
func publishAs(t testing.TB, r *Repository, publisher, name, version string) string {
	t.Helper()
	target, p, err := r.Publish(t.Context(), helloArchive, writeManifest(t, publisher, name, version), PublishOptions{})
	require.NoError(t, err)
	require.Nil(t, p)
	return target.Path
}

// addPublisher adds a publisher with a key in DIR/keys.
func addPublisher(t testing.TB, r *Repository, name string) Publisher {
	t.Helper()
	added, p, err := r.AddPublisher(t.Context(), name, PublisherOptions{})
	require.NoError(t, err)
	require.Nil(t, p)
	return added
}

// served is a repository and the clients that install from it.
type served struct {
	url    string
	root   []byte
	python string
	now    func() time.Time
}

func serveRepository(t *testing.T, r *Repository) *served {
	t.Helper()
	root, err := os.ReadFile(filepath.Join(r.Dir(), anchorName))
	require.NoError(t, err)
	return &served{startServer(t, r).URL, root, pyenvtest.Python(t), r.clock}
}

// install lets a new client download a plugin.
func (s *served) install(t *testing.T, mode hybrid.Mode, path string) ([]byte, *hybrid.Result, error) {
	t.Helper()
	dir := t.TempDir()
	c, err := hybrid.New(hybrid.Options{
		RepositoryURL: s.url, Root: s.root, Mode: mode, Python: s.python, Now: s.now,
		MetadataDir: filepath.Join(dir, "metadata"), CacheDir: filepath.Join(dir, "cache"),
		HTTP: hybrid.HTTPOptions{BackoffMin: time.Millisecond, BackoffMax: time.Millisecond},
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Shutdown(context.Background())) }()
	result, err := c.VerifyAndDownloadPlugin(t.Context(), path, hybrid.DownloadOptions{})
	if err != nil {
		cached, globErr := filepath.Glob(filepath.Join(dir, "cache", "*", "*"))
		require.NoError(t, globErr)
		require.Empty(t, cached, "nothing unverified is left behind")
		return nil, result, err
	}
	data, err := os.ReadFile(result.Path)
	return data, result, err
}

// requireInstalls checks that clients of every kind find the plugin in the role.
func requireInstalls(t *testing.T, r *Repository, role string, paths ...string) {
	t.Helper()
	s := serveRepository(t, r)
	want, err := os.ReadFile(helloArchive)
	require.NoError(t, err)
	for _, mode := range []hybrid.Mode{hybrid.ModeGo, hybrid.ModePython, hybrid.ModeDual} {
		for _, path := range paths {
			data, result, err := s.install(t, mode, path)
			require.NoError(t, err, "%s, %s", mode, path)
			require.Equal(t, want, data)
			if role != "" {
				require.Equal(t, role, result.Role, "%s, %s", mode, path)
			}
		}
	}
}

// thief has some keys and can write what is served.
type thief struct {
	*testing.T
	r     *Repository
	state *state
	keys  map[string]*keyfile.Key
}

// newThief steals keys, by their names in DIR/keys.
func newThief(t *testing.T, r *Repository, stolen ...string) *thief {
	t.Helper()
	s, err := r.load(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.all(t.Context()))
	th := &thief{t, r, s, map[string]*keyfile.Key{}}
	for _, name := range stolen {
		k, err := keyfile.Open(keyPath(r.Dir(), name))
		require.NoError(t, err)
		th.keys[name] = k
	}
	return th
}

// sign signs with a stolen key, under any keyid.
func (th *thief) sign(e *draft.Envelope, key, keyID string) {
	signer, err := th.keys[key].Signer(th.Context(), nil)
	require.NoError(th, err)
	plain, err := admission.Parse(e.Kind, draft.Seal(e.Kind, e.Signed).Bytes(), ownLimits)
	require.NoError(th, err)
	sig, err := signer.SignMessage(bytes.NewReader(plain.Canonical))
	require.NoError(th, err)
	if keyID == "" {
		keyID = th.keys[key].Public.ID
	}
	e.Add(admission.Signature{KeyID: keyID, Sig: sig})
}

// edit is the next version of a role.
func (th *thief) edit(role string) *draft.Targets {
	d, err := draft.EditTargets(th.state.roles[role].doc)
	require.NoError(th, err)
	return d
}

func (th *thief) seal(d *draft.Targets) *draft.Envelope {
	d.Expires = th.state.expiry("")
	signed, err := d.Encode()
	require.NoError(th, err)
	return draft.Seal(admission.KindTargets, signed)
}

// publish serves forged files of roles, with a snapshot and a timestamp that
// the stolen online keys sign.
func (th *thief) publish(files map[string][]byte) {
	snapshot, err := draft.EditMeta(th.state.snapshot)
	require.NoError(th, err)
	for role, raw := range files {
		doc, err := admission.Parse(admission.KindOf(role), raw, ownLimits)
		require.NoError(th, err)
		require.NoError(th, snapshot.Describe(role+".json", doc))
		require.NoError(th, os.WriteFile(th.r.metadataPath(versioned(role, doc.Version)), raw, 0o600))
	}
	signed := th.signMeta(snapshot, roleSnapshot)
	doc, err := admission.Parse(admission.KindSnapshot, signed, ownLimits)
	require.NoError(th, err)
	require.NoError(th, os.WriteFile(th.r.metadataPath(versioned(roleSnapshot, doc.Version)), signed, 0o600))
	timestamp, err := draft.EditMeta(th.state.timestamp)
	require.NoError(th, err)
	require.NoError(th, timestamp.Describe("snapshot.json", doc))
	require.NoError(th, os.WriteFile(th.r.metadataPath("timestamp.json"), th.signMeta(timestamp, roleTimestamp), 0o600))
}

func (th *thief) signMeta(m *draft.Meta, role string) []byte {
	m.Expires = th.state.expiry(role)
	signed, err := m.Encode()
	require.NoError(th, err)
	e := draft.Seal(admission.KindOf(role), signed)
	th.sign(e, role, "")
	return e.Bytes()
}

// store puts a file where clients look for a target.
func (th *thief) store(path string, data []byte) {
	file := filepath.Join(th.r.Dir(), targetsName, filepath.FromSlash(hashedPath(path, hash(data))))
	require.NoError(th, os.MkdirAll(filepath.Dir(file), 0o700))
	require.NoError(th, os.WriteFile(file, data, 0o600))
}

// copyOf returns a repository that may be damaged.
func copyOf(t *testing.T, r *Repository) *Repository {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	require.NoError(t, os.CopyFS(dir, os.DirFS(r.Dir())))
	require.NoError(t, os.Chmod(filepath.Join(dir, keysName), 0o700))
	keys, err := filepath.Glob(filepath.Join(dir, keysName, "*"))
	require.NoError(t, err)
	for _, key := range keys {
		require.NoError(t, os.Chmod(key, 0o600))
	}
	copied, err := Open(dir, Options{Keys: r.keys, Clock: r.clock})
	require.NoError(t, err)
	return copied
}

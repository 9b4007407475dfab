package interop

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path"
	"path/filepath"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

var generate = flag.Bool("generate", false, "write the repositories of go-tuf's API anew")

var (
	now     = time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC)
	expires = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
)

// signer is a test key as go-tuf uses it.
type signer struct {
	signature.Signer
	key *metadata.Key
}

func (s signer) id() string {
	id, err := s.key.ID()
	if err != nil {
		panic(err)
	}
	return id
}

// repo is a repository made with go-tuf's metadata API.
type repo struct {
	*testing.T
	c         *Case
	pretty    bool
	hashed    bool
	root      *metadata.Metadata[metadata.RootType]
	timestamp *metadata.Metadata[metadata.TimestampType]
	snapshot  *metadata.Metadata[metadata.SnapshotType]
	roles     map[string]*metadata.Metadata[metadata.TargetsType]
	// order lists the names of roles.
	order   []string
	signers map[string][]signer
	files   map[string][]byte
}

func (r *repo) signer(name string) signer {
	raw, err := os.ReadFile(filepath.Join(fixtures, "keys", name+".pem"))
	require.NoError(r, err)
	private, err := cryptoutils.UnmarshalPEMToPrivateKey(raw, nil)
	require.NoError(r, err)
	var s signature.Signer
	if k, ok := private.(*rsa.PrivateKey); ok {
		s, err = signature.LoadRSAPSSSigner(k, crypto.SHA256, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256})
	} else {
		s, err = signature.LoadSigner(private, crypto.SHA256)
	}
	require.NoError(r, err)
	public, err := s.PublicKey()
	require.NoError(r, err)
	key, err := metadata.KeyFromPublicKey(public)
	require.NoError(r, err)
	return signer{s, key}
}

func newRepo(t *testing.T, name, about string, consistent bool) *repo {
	r := &repo{
		T: t, root: metadata.Root(expires), timestamp: metadata.Timestamp(expires), snapshot: metadata.Snapshot(expires),
		roles: map[string]*metadata.Metadata[metadata.TargetsType]{}, signers: map[string][]signer{}, files: map[string][]byte{},
		c: &Case{
			About: about, Tool: "go-tuf 2.4.2, metadata API", Spec: "4", Now: now,
			dir: filepath.Join(fixtures, "go-tuf-"+name), Plain: map[string]map[string]string{},
		},
	}
	r.expect(Expect{})
	r.role("targets")
	r.root.Signed.ConsistentSnapshot = consistent
	for i, role := range []string{"root", "timestamp", "snapshot", "targets"} {
		r.authorize(role, 1, r.signer("ed25519-"+string(rune('0'+i))))
	}
	return r
}

// expect sets what is expected of all modes: success for a zero value.
func (r *repo) expect(e Expect) {
	r.c.Expect = map[string]Expect{"auto": e, "go": e, "python": e, "dual": e}
	if e.Code == "" {
		r.c.Expect = map[string]Expect{
			"auto": {Engine: "go"}, "go": {Engine: "go"}, "python": {Engine: "python"}, "dual": {Engine: "go+python"},
		}
		return
	}
	r.c.Spec = e.Spec
}

// authorize replaces the keys of a top-level role.
func (r *repo) authorize(role string, threshold int, signers ...signer) {
	for _, id := range append([]string(nil), r.root.Signed.Roles[role].KeyIDs...) {
		require.NoError(r, r.root.Signed.RevokeKey(id, role))
	}
	for _, s := range signers {
		require.NoError(r, r.root.Signed.AddKey(s.key, role))
	}
	r.root.Signed.Roles[role].Threshold = threshold
	r.signers[role] = signers
}

func (r *repo) role(name string) *metadata.Metadata[metadata.TargetsType] {
	if r.roles[name] == nil {
		r.roles[name] = metadata.Targets(expires)
		r.order = append(r.order, name)
	}
	return r.roles[name]
}

// delegate delegates to a role by one key.
func (r *repo) delegate(parent string, d metadata.DelegatedRole, s signer) {
	d.KeyIDs, d.Threshold = []string{s.id()}, 1
	p := &r.role(parent).Signed
	if p.Delegations == nil {
		p.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}}
	}
	p.Delegations.Roles = append(p.Delegations.Roles, d)
	require.NoError(r, p.AddKey(s.key, d.Name))
	r.role(d.Name)
	r.signers[d.Name] = []signer{s}
}

// add adds a target file to a role.
func (r *repo) add(role, name string, content []byte, custom string, algorithms ...string) *metadata.TargetFiles {
	f, err := metadata.TargetFile().FromBytes(name, content, algorithms...)
	require.NoError(r, err)
	target := Target{Name: name, Role: role, Length: int64(len(content)), SHA256: digest(content)}
	if custom != "" {
		raw := json.RawMessage(custom)
		f.Custom, target.Custom = &raw, raw
	}
	r.role(role).Signed.Targets[name] = f
	r.c.Targets = append(r.c.Targets, target)
	if !r.root.Signed.ConsistentSnapshot {
		r.files["targets/"+name] = content
		return f
	}
	for _, h := range f.Hashes {
		r.files["targets/"+path.Join(path.Dir(name), hex.EncodeToString(h)+"."+path.Base(name))] = content
	}
	return f
}

func (r *repo) hello(role, name string) {
	r.add(role, name, []byte(name+" of "+filepath.Base(r.c.dir)+"\n"), "")
}

func (r *repo) absent(name string) {
	r.c.Targets = append(r.c.Targets, Target{Name: name, Absent: true})
}

// sign signs a file and puts it where the repository serves it.
func sign[T metadata.Roles](r *repo, role, version string, m *metadata.Metadata[T], signers ...signer) []byte {
	m.ClearSignatures()
	for _, s := range signers {
		sig, err := m.Sign(s.Signer)
		require.NoError(r, err)
		require.Equal(r, s.id(), sig.KeyID)
	}
	raw, err := m.ToBytes(r.pretty)
	require.NoError(r, err)
	name := role + ".json"
	if role == "root" || role != "timestamp" && r.root.Signed.ConsistentSnapshot {
		name = version + "." + name
	}
	r.files["metadata/"+name] = bytes.Clone(raw)
	return raw
}

// publishRoot publishes a root, signed by former keys too, and prepares the next.
func (r *repo) publishRoot(former ...signer) {
	v := &r.root.Signed.Version
	sign(r, "root", string(rune('0'+*v)), r.root, append(append([]signer(nil), r.signers["root"]...), former...)...)
	*v++
}

func (r *repo) meta(version int64, raw []byte) *metadata.MetaFiles {
	m := metadata.MetaFile(version)
	if r.hashed {
		sum, err := hex.DecodeString(digest(raw))
		require.NoError(r, err)
		m.Length, m.Hashes = int64(len(raw)), metadata.Hashes{"sha256": sum}
	}
	return m
}

// publish writes everything to disk.
func (r *repo) publish() {
	if r.root.Signed.Version == 1 {
		r.publishRoot()
	}
	for _, name := range r.order {
		raw := sign(r, name, "1", r.roles[name], r.signers[name]...)
		r.snapshot.Signed.Meta[name+".json"] = r.meta(1, raw)
	}
	raw := sign(r, "snapshot", "1", r.snapshot, r.signers["snapshot"]...)
	r.timestamp.Signed.Meta["snapshot.json"] = r.meta(1, raw)
	sign(r, "timestamp", "", r.timestamp, r.signers["timestamp"]...)
	r.write()
}

func (r *repo) write() {
	require.NoError(r, os.RemoveAll(r.c.dir))
	for name, raw := range r.files {
		file := filepath.Join(r.c.dir, diskName(name))
		require.NoError(r, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(r, os.WriteFile(file, raw, 0o644))
	}
	require.NoError(r, os.WriteFile(filepath.Join(r.c.dir, "1.root.json"), r.files["metadata/1.root.json"], 0o644))
	r.c.save(r.T)
}

package tuftest

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
)

// Expires is when all metadata expires unless changed.
const Expires = "2099-12-31T00:00:00Z"

// Config chooses what a new repository looks like. The zero value is a sensible
// repository.
type Config struct {
	// Kind of the keys; "" is ed25519.
	Kind string
	// Inconsistent switches consistent snapshots off.
	Inconsistent bool
	// NoHashes leaves length and hashes out of timestamp and snapshot.
	NoHashes bool
	// TargetHashes are the algorithms for targets; nil is sha256 alone.
	TargetHashes []string
}

// Repo is a repository. Its files are safe for concurrent use, the rest is not.
type Repo struct {
	Config
	Root, Timestamp, Snapshot, Targets *Role
	// Delegated holds the delegated roles by name.
	Delegated map[string]*Role

	mu    sync.Mutex
	files map[string][]byte
}

// NewRepo returns a repository with version 1 of the four top-level roles
// published. Each role has one key: number 0 of the kind for root, 1 for
// timestamp, 2 for snapshot and 3 for targets.
func NewRepo(c Config) *Repo {
	if c.Kind == "" {
		c.Kind = Ed25519
	}
	if c.TargetHashes == nil {
		c.TargetHashes = []string{"sha256"}
	}
	r := &Repo{Config: c, Delegated: map[string]*Role{}, files: map[string][]byte{}}
	r.Root = newRole("root", Map{"consistent_snapshot": !c.Inconsistent, "keys": Map{}, "roles": Map{}})
	r.Timestamp = newRole("timestamp", Map{"meta": Map{}})
	r.Snapshot = newRole("snapshot", Map{"meta": Map{}})
	r.Targets = newRole("targets", Map{"targets": Map{}})
	for n, name := range []string{"root", "timestamp", "snapshot", "targets"} {
		r.SetKeys(name, 1, NewKey(c.Kind, n))
	}
	r.PublishRoot()
	r.Publish("targets")
	return r
}

func newRole(name string, fields Map) *Role {
	kind := name
	if !slices.Contains([]string{"root", "timestamp", "snapshot"}, name) {
		kind = "targets"
	}
	signed := Map{"_type": kind, "spec_version": "1.0.31", "expires": Expires}
	maps.Copy(signed, fields)
	r := &Role{Name: name, Signed: signed}
	r.SetVersion(0)
	return r
}

// Role returns a role by name, top-level or delegated.
func (r *Repo) Role(name string) *Role {
	switch name {
	case "root":
		return r.Root
	case "timestamp":
		return r.Timestamp
	case "snapshot":
		return r.Snapshot
	case "targets":
		return r.Targets
	}
	if role, ok := r.Delegated[name]; ok {
		return role
	}
	panic("tuftest: no such role: " + name)
}

// SetKeys gives a top-level role new keys in the root tree and lets them sign
// for it. The next root is signed by the old and the new root keys.
func (r *Repo) SetKeys(role string, threshold int, keys ...*Key) {
	r.ListKeys(role, threshold, keys...)
	if role == "root" {
		r.Root.addSigners(keys)
	} else {
		r.Role(role).Signers = slices.Clone(keys)
	}
}

// ListKeys is [Repo.SetKeys] without a change of who signs.
func (r *Repo) ListKeys(role string, threshold int, keys ...*Key) {
	all := r.Root.Signed["keys"].(Map)
	for _, k := range keys {
		all[k.ID] = k.JSON()
	}
	r.Root.Signed["roles"].(Map)[role] = Map{"keyids": keyIDs(keys), "threshold": threshold}
}

func keyIDs(keys []*Key) []any {
	ids := make([]any, len(keys))
	for i, k := range keys {
		ids[i] = k.ID
	}
	return ids
}

// AddTarget lists a target in a targets role and stores its content.
func (r *Repo) AddTarget(role, name string, content []byte, custom any) {
	target := r.TargetEntry(content)
	if custom != nil {
		target["custom"] = custom
	}
	r.Role(role).Signed["targets"].(Map)[name] = target
	r.StoreTarget(name, content)
}

// TargetEntry describes content the way targets metadata does.
func (r *Repo) TargetEntry(content []byte) Map {
	hashes := Map{}
	for _, algorithm := range r.TargetHashes {
		hashes[algorithm] = hexDigest(algorithm, content)
	}
	return Map{"length": len(content), "hashes": hashes}
}

// StoreTarget stores the content of a target under every name that a client may
// ask for, without listing it.
func (r *Repo) StoreTarget(name string, content []byte) {
	if r.Inconsistent {
		r.Put("targets/"+name, content)
		return
	}
	dir, base := path.Split(name)
	for _, algorithm := range r.TargetHashes {
		r.Put(fmt.Sprintf("targets/%s%s.%s", dir, hexDigest(algorithm, content), base), content)
	}
}

func hexDigest(algorithm string, content []byte) string {
	switch algorithm {
	case "sha256":
		return SHA256(content)
	case "sha512":
		return SHA512(content)
	}
	panic("tuftest: no such hash algorithm: " + algorithm)
}

// Publish raises, signs and stores the named targets roles, and then snapshot
// and timestamp. Without names it republishes snapshot and timestamp alone.
func (r *Repo) Publish(names ...string) {
	for _, name := range names {
		r.bump(r.Role(name))
	}
	r.describe(r.Snapshot, append([]*Role{r.Targets}, r.delegated()...))
	r.bump(r.Snapshot)
	r.PublishTimestamp()
}

// PublishTimestamp publishes a new timestamp that describes the current snapshot.
func (r *Repo) PublishTimestamp() {
	r.describe(r.Timestamp, []*Role{r.Snapshot})
	r.bump(r.Timestamp)
}

// PublishRoot publishes the next root version. Afterwards the keys of its root
// role alone sign.
func (r *Repo) PublishRoot() {
	r.bump(r.Root)
	ids := r.Root.Signed["roles"].(Map)["root"].(Map)["keyids"].([]any)
	r.Root.Signers = slices.DeleteFunc(r.Root.Signers, func(k *Key) bool { return !slices.Contains(ids, any(k.ID)) })
}

// Store signs a role as it is, without raising its version, and stores it.
func (r *Repo) Store(role *Role) {
	raw := role.Bytes()
	r.Put(r.MetadataName(role.Name, role.Version), raw)
	if role.Name == "root" {
		r.Put("metadata/root.json", raw)
	}
}

func (r *Repo) bump(role *Role) {
	role.SetVersion(role.Version + 1)
	r.Store(role)
}

// MetadataName returns the name under which a client asks for a metadata file.
func (r *Repo) MetadataName(role string, version int) string {
	if role == "root" || role != "timestamp" && !r.Inconsistent {
		return fmt.Sprintf("metadata/%d.%s.json", version, role)
	}
	return fmt.Sprintf("metadata/%s.json", role)
}

// describe sets the meta of snapshot or timestamp from the stored files.
func (r *Repo) describe(in *Role, roles []*Role) {
	meta := Map{}
	for _, role := range roles {
		if role.Version == 0 {
			continue
		}
		entry := Map{"version": role.Version}
		if raw, ok := r.Get(r.MetadataName(role.Name, role.Version)); ok && !r.NoHashes {
			entry["length"] = len(raw)
			entry["hashes"] = Map{"sha256": SHA256(raw)}
		}
		meta[role.Name+".json"] = entry
	}
	in.Signed["meta"] = meta
}

func (r *Repo) delegated() []*Role {
	roles := slices.Collect(maps.Values(r.Delegated))
	slices.SortFunc(roles, func(a, b *Role) int { return strings.Compare(a.Name, b.Name) })
	return roles
}

// RootBytes returns a version of the root: what an application ships.
func (r *Repo) RootBytes(version int) []byte {
	raw, ok := r.Get(fmt.Sprintf("metadata/%d.root.json", version))
	if !ok {
		panic(fmt.Sprintf("tuftest: no root version %d", version))
	}
	return raw
}

// Get returns a stored file: "metadata/…" or "targets/…", names not escaped.
func (r *Repo) Get(name string) ([]byte, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	raw, ok := r.files[name]
	return raw, ok
}

// Put stores a file as it is.
func (r *Repo) Put(name string, raw []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files[name] = slices.Clone(raw)
}

// Remove removes a file.
func (r *Repo) Remove(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.files, name)
}

// Files returns a copy of all stored files, for [Repo.SetFiles].
func (r *Repo) Files() map[string][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.files)
}

// SetFiles replaces all stored files: a repository, or an attacker, that serves
// an older state.
func (r *Repo) SetFiles(files map[string][]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files = maps.Clone(files)
}

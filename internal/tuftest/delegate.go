package tuftest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
)

// Delegation describes one delegated role.
type Delegation struct {
	Name string
	// Paths or HashPrefixes: with both nil neither field is written.
	Paths        []string
	HashPrefixes []string
	Terminating  bool
	// Keys of the role; nil is one ed25519 key made from the role's name.
	Keys []*Key
	// Threshold 0 is 1.
	Threshold int
}

// Delegate adds a delegation at the end of the list of parent and returns the
// delegated role, which is made if it does not exist yet, and signed by the
// keys of its first delegation. Publish both afterwards.
func (r *Repo) Delegate(parent string, d Delegation) *Role {
	keys := d.keys()
	entry := Map{"name": d.Name, "keyids": keyIDs(keys), "threshold": max(d.Threshold, 1), "terminating": d.Terminating}
	if d.Paths != nil {
		entry["paths"] = anyList(d.Paths)
	}
	if d.HashPrefixes != nil {
		entry["path_hash_prefixes"] = anyList(d.HashPrefixes)
	}
	delegations := r.delegations(parent, keys)
	list, _ := delegations["roles"].([]any)
	delegations["roles"] = append(list, entry)
	return r.delegatedRole(d.Name, keys)
}

// DelegateSuccinct delegates to 2^bits hash bins that share one key (0 is made
// from the prefix), and returns them in order.
func (r *Repo) DelegateSuccinct(parent string, bits int, prefix string, keys ...*Key) []*Role {
	if keys == nil {
		keys = Delegation{Name: prefix}.keys()
	}
	r.delegations(parent, keys)["succinct_roles"] = Map{
		"keyids": keyIDs(keys), "threshold": 1, "bit_length": bits, "name_prefix": prefix}
	roles := make([]*Role, 1<<bits)
	for i := range roles {
		roles[i] = r.delegatedRole(BinName(bits, prefix, i), keys)
	}
	return roles
}

// BinName returns the name of the i-th succinct hash bin.
func BinName(bits int, prefix string, i int) string {
	return fmt.Sprintf("%s-%0*x", prefix, (bits+3)/4, i)
}

// BinOf returns the number of the succinct hash bin of a target path.
func BinOf(bits int, name string) int {
	sum := sha256.Sum256([]byte(name))
	return int(binary.BigEndian.Uint32(sum[:4]) >> (32 - bits))
}

// PathHash returns the hex digest of a target path, of which hash prefixes are
// made.
func PathHash(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

func (r *Repo) delegations(parent string, keys []*Key) Map {
	signed := r.Role(parent).Signed
	delegations, ok := signed["delegations"].(Map)
	if !ok {
		delegations = Map{"keys": Map{}}
		signed["delegations"] = delegations
	}
	for _, k := range keys {
		delegations["keys"].(Map)[k.ID] = k.JSON()
	}
	return delegations
}

func (r *Repo) delegatedRole(name string, keys []*Key) *Role {
	if role, ok := r.Delegated[name]; ok {
		return role
	}
	role := newRole(name, Map{"targets": Map{}})
	role.Signers = slices.Clone(keys)
	r.Delegated[name] = role
	return role
}

func (d Delegation) keys() []*Key {
	if d.Keys != nil {
		return d.Keys
	}
	sum := sha256.Sum256([]byte(d.Name))
	return Keys(int(binary.BigEndian.Uint32(sum[:4])), 1)
}

func anyList(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

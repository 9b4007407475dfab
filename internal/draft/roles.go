package draft

import (
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
)

// Role is a threshold of keys, and what else the delegation says.
type Role struct {
	// Name is the role's name; that of hash bins is their name prefix.
	Name      string
	KeyIDs    []string
	Threshold int
	others    object
	bins      bool
}

// Roles is what root metadata and delegations have in common: keys, and the
// roles that they sign for.
type Roles struct {
	keys  object
	order []*Role
	// rest are the members of delegations as they were read.
	rest object
}

// Role returns a role, or nil.
func (r *Roles) Role(name string) *Role {
	for _, role := range r.order {
		if role.Name == name {
			return role
		}
	}
	return nil
}

// Names returns the names of the roles, in the order of the delegations.
func (r *Roles) Names() []string {
	names := make([]string, 0, len(r.order))
	for _, role := range r.order {
		names = append(names, role.Name)
	}
	return names
}

type keyObject struct {
	Type   string `json:"keytype"`
	Scheme string `json:"scheme"`
	Value  struct {
		Public string `json:"public"`
	} `json:"keyval"`
}

// AddKey lets a key sign for a role. A key that does so already stays as it is.
func (r *Roles) AddKey(role, keyID string, key admission.Key) error {
	to := r.Role(role)
	if to == nil {
		return fmt.Errorf("there is no role %q", role)
	}
	if slices.Contains(to.KeyIDs, keyID) {
		return nil
	}
	raw, err := encode(map[string]any{
		"keytype": key.Type, "scheme": key.Scheme, "keyval": map[string]string{"public": key.Public},
	})
	if err != nil {
		return err
	}
	if known, listed := r.keys[keyID]; listed {
		var is keyObject
		if err := json.Unmarshal(known, &is); err != nil || is.Type != key.Type || is.Scheme != key.Scheme || is.Value.Public != key.Public {
			return fmt.Errorf("another key is listed under the keyid %s", keyID)
		}
	} else {
		r.keys[keyID] = raw
	}
	to.KeyIDs = append(to.KeyIDs, keyID)
	return nil
}

// RemoveKey keeps a key from signing for a role. A key that signs for none is
// not listed any more.
func (r *Roles) RemoveKey(role, keyID string) {
	used := false
	for _, other := range r.order {
		if other.Name == role {
			other.KeyIDs = slices.DeleteFunc(other.KeyIDs, func(id string) bool { return id == keyID })
		}
		used = used || slices.Contains(other.KeyIDs, keyID)
	}
	if !used {
		delete(r.keys, keyID)
	}
}

// readRole reads the object of a role; name says what it is called if the object
// does not.
func readRole(raw jsontext.Value, name string) (*Role, error) {
	role := &Role{Name: name}
	if err := json.Unmarshal(raw, &role.others); err != nil {
		return nil, err
	}
	for member, into := range map[string]any{"keyids": &role.KeyIDs, "threshold": &role.Threshold, "name": &role.Name} {
		if v, ok := role.others[member]; ok {
			if err := json.Unmarshal(v, into); err != nil {
				return nil, err
			}
		}
	}
	return role, nil
}

func (r *Role) encode() (jsontext.Value, error) {
	all := map[string]any{}
	for name, v := range r.others {
		all[name] = v
	}
	ids := r.KeyIDs
	if ids == nil {
		ids = []string{}
	}
	all["keyids"], all["threshold"] = ids, r.Threshold
	return encode(all)
}

// Root is a draft of root metadata.
type Root struct {
	Header
	Roles
}

// NewRoot begins version 1 of the root of a repository with consistent snapshots
// (specification, 6.2). Its roles have the threshold 1 and no keys.
func NewRoot() *Root {
	r := &Root{Header: newHeader(admission.KindRoot), Roles: Roles{keys: object{}}}
	r.others["consistent_snapshot"] = jsontext.Value("true")
	r.Version = 1
	for _, kind := range []admission.Kind{admission.KindRoot, admission.KindSnapshot, admission.KindTargets, admission.KindTimestamp} {
		r.order = append(r.order, &Role{Name: string(kind), Threshold: 1})
	}
	return r
}

// EditRoot begins the version after doc.
func EditRoot(doc *admission.Doc) (*Root, error) {
	h, err := headerOf(doc)
	if err != nil {
		return nil, err
	}
	r := &Root{Header: h}
	var roles object
	if err := errors.Join(json.Unmarshal(h.others["keys"], &r.keys), json.Unmarshal(h.others["roles"], &roles)); err != nil {
		return nil, err
	}
	for name, raw := range roles {
		role, err := readRole(raw, name)
		if err != nil {
			return nil, err
		}
		role.Name = name
		r.order = append(r.order, role)
	}
	r.Version++
	return r, nil
}

// Encode returns the signed part.
func (r *Root) Encode() ([]byte, error) {
	roles := map[string]jsontext.Value{}
	for _, role := range r.order {
		raw, err := role.encode()
		if err != nil {
			return nil, err
		}
		roles[role.Name] = raw
	}
	return r.encode(map[string]any{"keys": r.keys, "roles": roles})
}

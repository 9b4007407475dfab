package repository

import (
	"context"
	"slices"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/delegation"
	"github.com/ragnos-labs/vault-tuf/internal/keyfile"
	"github.com/ragnos-labs/vault-tuf/internal/keys"
)

// KeyList says which keys sign for which role, and where they are.
type KeyList struct {
	Roles []KeysOfRole `json:"roles"`
	// Unused are keys at hand that sign for no role.
	Unused []KeyFile `json:"unused"`
}

// KeysOfRole are the keys of a role; hash bins are one, under their name prefix.
type KeysOfRole struct {
	Role      string    `json:"role"`
	Threshold int       `json:"threshold"`
	Keys      []KeyInfo `json:"keys"`
}

// KeyInfo is a key that signs for a role.
type KeyInfo struct {
	KeyRef
	Type string `json:"type"`
	// Since is when it came into force, zero if that is not known.
	Since time.Time `json:"since,omitzero"`
	// Due is when it should be replaced, zero for never or not known.
	Due time.Time `json:"due,omitzero"`
	// File is the private half, "" if it is not at hand.
	File string `json:"file,omitempty"`
	// Encrypted says that the private half needs a passphrase.
	Encrypted bool `json:"encrypted"`
}

// KeyFile is a key at hand.
type KeyFile struct {
	KeyRef
	File      string `json:"file"`
	Encrypted bool   `json:"encrypted"`
}

// Keys says which key signs for which role, and where its private half is. It
// opens none. Keys that cannot be used are an error beside the list. It
// blocks until done or ctx ends.
func (r *Repository) Keys(ctx context.Context) (KeyList, error) {
	list, err := r.keyList(ctx)
	return list, during("key list", err)
}

func (r *Repository) keyList(ctx context.Context) (KeyList, error) {
	s, err := r.load(ctx)
	if err != nil {
		return KeyList{Unused: []KeyFile{}}, err
	}
	return s.keyList(ctx)
}

// keyList is of one state: other processes may change the repository meanwhile.
func (s *state) keyList(ctx context.Context) (KeyList, error) {
	all := KeyList{Unused: []KeyFile{}}
	cfg := &s.config
	files, unusable := s.r.listKeys()
	used := map[keys.Fingerprint]bool{}
	err := s.eachDelegation(ctx, func(by delegator, role delegatedRole) error {
		listed, r, _ := by.doc.Delegated(role.ask)
		k := KeysOfRole{Role: role.name, Threshold: r.Threshold, Keys: []KeyInfo{}}
		for _, id := range r.KeyIDs {
			info := KeyInfo{KeyRef: KeyRef{id, cfg.KeyNames[id]}, Type: listed[id].Type, Since: cfg.KeysSince[id]}
			info.Due = cfg.due(role.name, info.Since)
			if public, err := keys.Decode(listed[id]); err == nil {
				used[public.Fingerprint] = true
				if f := fileOf(files, public.Fingerprint); f != nil {
					info.File, info.Encrypted = f.Path, f.Encrypted
				}
			}
			k.Keys = append(k.Keys, info)
		}
		all.Roles = append(all.Roles, k)
		return nil
	})
	if err != nil {
		return all, err
	}
	for _, f := range files {
		if !used[f.Public.Fingerprint] {
			all.Unused = append(all.Unused, KeyFile{KeyRef{f.Public.ID, f.Name}, f.Path, f.Encrypted})
		}
	}
	return all, unusable
}

func fileOf(files []*keyfile.Key, public keys.Fingerprint) *keyfile.Key {
	if i := slices.IndexFunc(files, func(k *keyfile.Key) bool { return k.Public.Fingerprint == public }); i >= 0 {
		return files[i]
	}
	return nil
}

// due is when a key of a role should be replaced, the zero time for never.
func (c *config) due(role string, since time.Time) time.Time {
	age := c.Rotation.of(role)
	if since.IsZero() || age == 0 {
		return time.Time{}
	}
	return since.Add(age)
}

// eachDelegation calls do for the top-level roles and all delegated ones, each
// with the document that says which keys it has, and that one's role and
// delegator. Hash bins are one role, and are not loaded.
func (s *state) eachDelegation(ctx context.Context, do func(by delegator, role delegatedRole) error) error {
	for _, role := range delegatedBy(s.root) {
		if err := do(delegator{roleRoot, "", s.root}, role); err != nil {
			return err
		}
	}
	return delegation.Reach(maxRoles, func(name, above string) (*admission.Doc, error) {
		if err := ctx.Err(); err != nil {
			return nil, ioError(s.r.dir, err)
		}
		doc, err := s.role(name, above)
		if err != nil {
			return nil, err
		}
		for _, role := range delegatedBy(doc) {
			if err := do(delegator{name, above, doc}, role); err != nil {
				return nil, err
			}
		}
		if doc.Delegations != nil && doc.Delegations.Succinct != nil {
			return &admission.Doc{}, nil
		}
		return doc, nil
	})
}

// delegator is a document that delegates, its role, and who delegates to that.
type delegator struct {
	role, above string
	doc         *admission.Doc
}

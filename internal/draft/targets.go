package draft

import (
	"bytes"
	"errors"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
)

// Targets is a draft of the metadata of a targets role, top-level or delegated.
type Targets struct {
	Header
	entries map[string]jsontext.Value
	// Delegations is nil if the role delegates to nobody.
	Delegations *Roles
}

// Target describes a target file.
type Target struct {
	Length int64
	SHA256 string
	// Custom is a JSON object, or nil.
	Custom []byte
}

// NewTargets begins version 1 of a targets role.
func NewTargets() *Targets {
	t := &Targets{Header: newHeader(admission.KindTargets), entries: map[string]jsontext.Value{}}
	t.Version = 1
	return t
}

// EditTargets begins the version after doc.
func EditTargets(doc *admission.Doc) (*Targets, error) {
	h, err := headerOf(doc)
	if err != nil {
		return nil, err
	}
	t := &Targets{Header: h, entries: make(map[string]jsontext.Value, doc.Targets.Len())}
	spaced := !bytes.Contains(doc.Raw, doc.Canonical)
	for path, entry := range doc.Targets.All() {
		if spaced {
			entry = compact(entry)
		}
		t.entries[path] = entry
	}
	t.Version++
	if doc.Delegations == nil {
		return t, nil
	}
	t.Delegations, err = readDelegations(h.others["delegations"])
	return t, err
}

func readDelegations(raw jsontext.Value) (*Roles, error) {
	var wire struct {
		Keys     object           `json:"keys"`
		Roles    []jsontext.Value `json:"roles"`
		Succinct jsontext.Value   `json:"succinct_roles"`
	}
	if err := json.Unmarshal(raw, &wire); err != nil {
		return nil, err
	}
	d := &Roles{keys: wire.Keys}
	if err := json.Unmarshal(raw, &d.rest); err != nil {
		return nil, err
	}
	for _, raw := range wire.Roles {
		role, err := readRole(raw, "")
		if err != nil {
			return nil, err
		}
		d.order = append(d.order, role)
	}
	if wire.Succinct != nil {
		role, err := readRole(wire.Succinct, "")
		if err == nil {
			role.bins = true
			err = json.Unmarshal(role.others["name_prefix"], &role.Name)
		}
		if err != nil {
			return nil, err
		}
		d.order = append(d.order, role)
	}
	return d, nil
}

// Set lists a target, in the place of what was listed under its path.
func (t *Targets) Set(path string, f Target) error {
	all := map[string]any{"length": f.Length, "hashes": map[string]string{"sha256": f.SHA256}}
	if f.Custom != nil {
		all["custom"] = jsontext.Value(f.Custom)
	}
	raw, err := encode(all)
	t.entries[path] = raw
	return err
}

// Custom returns the custom of a listed target, nil if there is none.
func (t *Targets) Custom(path string) []byte {
	var entry object
	if json.Unmarshal(t.entries[path], &entry) != nil || entry["custom"].Kind() != '{' {
		return nil
	}
	return entry["custom"]
}

// SetCustom replaces the custom of a listed target.
func (t *Targets) SetCustom(path string, custom []byte) error {
	var entry object
	if err := json.Unmarshal(t.entries[path], &entry); err != nil {
		return err
	}
	entry["custom"] = custom
	raw, err := encode(entry)
	t.entries[path] = raw
	return err
}

// Has says whether a target is listed.
func (t *Targets) Has(path string) bool {
	_, ok := t.entries[path]
	return ok
}

// Len returns the number of targets.
func (t *Targets) Len() int { return len(t.entries) }

// Move takes the target of a path out of t and lists it in other as it is.
func (t *Targets) Move(path string, other *Targets) {
	if raw, ok := t.entries[path]; ok {
		other.entries[path] = raw
		delete(t.entries, path)
	}
}

// Delegate trusts a new role with the paths that match a pattern, and ends the
// search for them there (specification, 4.5).
func (t *Targets) Delegate(role string, threshold int, pattern string) error {
	raw, err := encode(map[string]any{"name": role, "paths": []string{pattern}, "terminating": true})
	if err != nil {
		return err
	}
	r, err := readRole(raw, "")
	if err != nil {
		return err
	}
	r.Threshold = threshold
	t.delegations().order = append(t.delegations().order, r)
	return nil
}

// DelegateBins trusts 2^bits hash bins with all paths (TAP 15).
func (t *Targets) DelegateBins(prefix string, threshold, bits int) error {
	raw, err := encode(map[string]any{"name_prefix": prefix, "bit_length": bits})
	if err != nil {
		return err
	}
	r, err := readRole(raw, prefix)
	if err != nil {
		return err
	}
	r.Threshold, r.bins = threshold, true
	t.delegations().order = append(t.delegations().order, r)
	return nil
}

func (t *Targets) delegations() *Roles {
	if t.Delegations == nil {
		t.Delegations = &Roles{keys: object{}}
	}
	return t.Delegations
}

// Encode returns the signed part.
func (t *Targets) Encode() ([]byte, error) {
	own := map[string]any{"targets": jsontext.Value(t.encodeEntries())}
	if t.Delegations != nil {
		all := map[string]any{}
		for name, v := range t.Delegations.rest {
			all[name] = v
		}
		all["keys"] = t.Delegations.keys
		list := []jsontext.Value{}
		for _, role := range t.Delegations.order {
			raw, err := role.encode()
			if err != nil {
				return nil, err
			}
			if role.bins {
				all["succinct_roles"] = raw
			} else {
				list = append(list, raw)
			}
		}
		_, bins := all["succinct_roles"]
		switch {
		case bins && len(list) > 0:
			return nil, errors.New("hash bins and other delegations exclude each other")
		case !bins:
			all["roles"] = list
		}
		own["delegations"] = all
	}
	return t.encode(own)
}

// encodeEntries writes the entries in the order of their paths, by hand: a file
// may have a hundred thousand.
func (t *Targets) encodeEntries() []byte {
	paths := make([]string, 0, len(t.entries))
	size := 2
	for path, raw := range t.entries {
		paths = append(paths, path)
		size += len(path) + len(raw) + 4
	}
	slices.Sort(paths)
	b := append(make([]byte, 0, size), '{')
	for i, path := range paths {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, quoted(path)...)
		b = append(b, ':')
		b = append(b, t.entries[path]...)
	}
	return append(b, '}')
}

package admission

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The wire types mirror the specification's objects. Pointers and raw values
// tell an absent field from a null one: null never stands for an object, a
// list, a string or a number. Field names match exactly, unlike encoding/json.
// Lists stay raw, to be read no further than their limit.
type (
	wireKey struct {
		Type   *string `json:"keytype"`
		Scheme *string `json:"scheme"`
		Value  *struct {
			Public jsontext.Value `json:"public"`
		} `json:"keyval"`
	}
	wireRole struct {
		KeyIDs    jsontext.Value `json:"keyids"`
		Threshold *int           `json:"threshold"`
	}
	wireDelegated struct {
		wireRole         `json:",inline"`
		Name             *string        `json:"name"`
		Terminating      jsontext.Value `json:"terminating"`
		Paths            jsontext.Value `json:"paths"`
		PathHashPrefixes jsontext.Value `json:"path_hash_prefixes"`
	}
	wireSuccinct struct {
		wireRole   `json:",inline"`
		BitLength  *int    `json:"bit_length"`
		NamePrefix *string `json:"name_prefix"`
	}
	wireSignature struct {
		KeyID *string `json:"keyid"`
		Sig   *string `json:"sig"`
	}
)

var errMissing = errors.New("missing or null")

// unmarshal decodes a value of the file. No member stands twice in it: that has
// been checked.
func unmarshal(raw jsontext.Value, into any) error {
	return json.Unmarshal(raw, into, jsontext.AllowDuplicateNames(true))
}

// eachMember calls each for the members of an object, which errors call label,
// until it fails. The values are parts of raw.
func eachMember(label string, raw jsontext.Value, each func(name string, v jsontext.Value) error) error {
	switch raw.Kind() {
	case 0, 'n':
		return fmt.Errorf("%s: %w", label, errMissing)
	case '{':
	default:
		return fmt.Errorf("%s: want an object", label)
	}
	var name string
	return eachValue(raw, func(i int, v jsontext.Value) error {
		if i%2 == 0 {
			name = string(unquote(v))
			return nil
		}
		return each(name, v)
	})
}

// eachElement calls each for the elements of a list, which errors call label,
// until it fails. The values are parts of raw.
func eachElement(label string, raw jsontext.Value, each func(i int, v jsontext.Value) error) error {
	if raw.Kind() != '[' {
		return fmt.Errorf("%s: want a list", label)
	}
	return eachValue(raw, each)
}

func eachValue(raw jsontext.Value, each func(i int, v jsontext.Value) error) error {
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw), jsontext.AllowDuplicateNames(true))
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for i := 0; ; i++ {
		if k := dec.PeekKind(); k == '}' || k == ']' {
			return nil
		}
		v, err := dec.ReadValue()
		if err != nil {
			return err
		}
		end := int(dec.InputOffset())
		if err := each(i, raw[end-len(v):end]); err != nil {
			return err
		}
	}
}

func readSignatures(raw jsontext.Value, lim Limits) ([]Signature, error) {
	var list []Signature
	seen := map[string]bool{}
	err := eachElement("signatures", raw, func(i int, v jsontext.Value) error {
		if i == lim.Signatures {
			return fmt.Errorf("signatures: more than the limit of %d", lim.Signatures)
		}
		var s *wireSignature
		if err := unmarshal(v, &s); err != nil {
			return fmt.Errorf("signatures[%d]: %w", i, err)
		}
		if s == nil || s.KeyID == nil || s.Sig == nil {
			return fmt.Errorf("signatures[%d]: keyid and sig must be strings", i)
		}
		if seen[*s.KeyID] {
			return fmt.Errorf("signatures: keyid %.16q stands twice; it must be unique (4.2)", *s.KeyID)
		}
		seen[*s.KeyID] = true
		sig, err := hex.DecodeString(*s.Sig)
		if err != nil {
			sig = nil
		}
		list = append(list, Signature{KeyID: *s.KeyID, Sig: sig})
		return nil
	})
	return list, err
}

// specVersion is major version 1 in two or three numeric groups, as semver.
var specVersion = regexp.MustCompile(`^1(\.[0-9]+){1,2}([-+][0-9A-Za-z.+-]+)?$`)

func (d *Doc) readSigned(p *signedPart, lim Limits) error {
	if p.members == nil {
		return errors.New("signed: not an object")
	}
	var typ, spec, expires *string
	var version *int64
	for _, m := range []struct {
		name string
		into any
	}{{"_type", &typ}, {"spec_version", &spec}, {"version", &version}, {"expires", &expires}} {
		if v := p.members[m.name]; v != nil {
			if err := unmarshal(v, m.into); err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
		}
	}
	switch {
	case typ == nil || *typ != string(d.Kind):
		return fmt.Errorf("_type: want %q", d.Kind)
	case spec == nil || !specVersion.MatchString(*spec):
		return errors.New("spec_version: want a version 1 of the specification")
	case version == nil || *version < 1:
		return errors.New("version: want an integer of at least 1")
	case expires == nil:
		return fmt.Errorf("expires: %w", errMissing)
	}
	at, err := parseTime(*expires)
	if err != nil {
		return fmt.Errorf("expires: %w", err)
	}
	d.SpecVersion, d.Version, d.Expires = *spec, *version, at
	switch d.Kind {
	case KindRoot:
		return d.readRoot(p, lim)
	case KindTargets:
		return d.readTargets(p, lim)
	default:
		return d.readMeta(p)
	}
}

// parseTime accepts the one date-time format of the specification (4.2.2).
func parseTime(s string) (time.Time, error) {
	const layout = "2006-01-02T15:04:05Z"
	t, err := time.Parse(layout, s)
	if err != nil || len(s) != len(layout) {
		return time.Time{}, errors.New("want a date-time such as 2030-01-01T00:00:00Z, in UTC and whole seconds")
	}
	return t, nil
}

func (d *Doc) readRoot(p *signedPart, lim Limits) (err error) {
	root := &Root{Roles: map[string]Role{}}
	if root.Keys, err = readKeys("keys", p.members["keys"], lim); err != nil {
		return err
	}
	if v := p.members["consistent_snapshot"]; v != nil {
		if k := v.Kind(); k != 't' && k != 'f' {
			return errors.New("consistent_snapshot: want a boolean")
		}
		root.ConsistentSnapshot = v.Kind() == 't'
	}
	err = eachMember("roles", p.members["roles"], func(name string, v jsontext.Value) error {
		var w *wireRole
		err := unmarshal(v, &w)
		if err == nil {
			root.Roles[name], err = w.role(lim)
		}
		if err != nil {
			return fmt.Errorf("roles.%s: %w", name, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, k := range []Kind{KindRoot, KindTimestamp, KindSnapshot, KindTargets} {
		if _, ok := root.Roles[string(k)]; !ok {
			return fmt.Errorf("roles: %s is missing", k)
		}
	}
	d.Root = root
	return nil
}

func readKeys(label string, raw jsontext.Value, lim Limits) (map[string]Key, error) {
	keys := map[string]Key{}
	err := eachMember(label, raw, func(id string, v jsontext.Value) error {
		if len(keys) == lim.Keys {
			return fmt.Errorf("%s: more than the limit of %d", label, lim.Keys)
		}
		var w *wireKey
		if err := unmarshal(v, &w); err != nil {
			return fmt.Errorf("%s.%.16q: %w", label, id, err)
		}
		if w == nil || w.Type == nil || w.Scheme == nil || w.Value == nil {
			return fmt.Errorf("%s.%.16q: want keytype, scheme and keyval", label, id)
		}
		k := Key{Type: *w.Type, Scheme: *w.Scheme}
		// A key without a public part is not malformed metadata: it is a key
		// that cannot count.
		if v := w.Value.Public; v.Kind() == '"' {
			k.Public = string(unquote(v))
		}
		keys[id] = k
		return nil
	})
	return keys, err
}

func (w *wireRole) role(lim Limits) (Role, error) {
	if w == nil {
		return Role{}, errMissing
	}
	if w.Threshold == nil || *w.Threshold < 1 {
		return Role{}, errors.New("threshold: want an integer of at least 1")
	}
	r := Role{Threshold: *w.Threshold, KeyIDs: []string{}}
	seen := map[string]bool{}
	err := eachElement("keyids", w.KeyIDs, func(i int, v jsontext.Value) error {
		if i == lim.Keys {
			return fmt.Errorf("keyids: more than the limit of %d", lim.Keys)
		}
		if v.Kind() != '"' {
			return fmt.Errorf("keyids[%d]: want a string", i)
		}
		id := string(unquote(v))
		if !seen[id] { // Once more adds nothing but work.
			seen[id] = true
			r.KeyIDs = append(r.KeyIDs, id)
		}
		return nil
	})
	return r, err
}

func (d *Doc) readMeta(p *signedPart) error {
	switch {
	case p.members["meta"].Kind() != '{':
		return errors.New("meta: want an object")
	case p.fault != nil:
		return p.fault
	}
	d.Meta = p.meta
	if _, ok := d.Meta["snapshot.json"]; d.Kind == KindTimestamp && (!ok || len(d.Meta) != 1) {
		return errors.New("meta: timestamp must describe snapshot.json and nothing else")
	}
	return nil
}

func (d *Doc) readTargets(p *signedPart, lim Limits) error {
	switch {
	case p.members["targets"].Kind() != '{':
		return errors.New("targets: want an object")
	case p.fault != nil:
		return p.fault
	}
	d.Targets = Targets{raw: d.Raw, at: p.targets}
	if raw := p.members["delegations"]; raw != nil {
		return d.readDelegations(raw, lim)
	}
	return nil
}

func (d *Doc) readDelegations(raw jsontext.Value, lim Limits) error {
	members := map[string]jsontext.Value{}
	err := eachMember("delegations", raw, func(name string, v jsontext.Value) error {
		switch name {
		case "keys", "roles", "succinct_roles":
			members[name] = v
		}
		return nil
	})
	if err != nil {
		return err
	}
	keys, err := readKeys("delegations.keys", members["keys"], lim)
	if err != nil {
		return err
	}
	d.Delegations = &Delegations{Keys: keys}
	roles, succinct := members["roles"], members["succinct_roles"]
	switch {
	case roles.Kind() == '[' && succinct == nil:
		return d.Delegations.readRoles(roles, lim)
	case succinct.Kind() == '{' && roles == nil:
		return d.Delegations.readSuccinct(succinct, lim)
	}
	return errors.New("delegations: want exactly one of roles and succinct_roles")
}

func (d *Delegations) readRoles(raw jsontext.Value, lim Limits) error {
	seen := map[string]bool{}
	d.Roles = []DelegatedRole{}
	return eachElement("delegations.roles", raw, func(i int, v jsontext.Value) error {
		if i == lim.Roles {
			return fmt.Errorf("delegations.roles: more than the limit of %d", lim.Roles)
		}
		var w *wireDelegated
		var r DelegatedRole
		err := unmarshal(v, &w)
		if err == nil {
			r, err = w.delegated(lim)
		}
		if err != nil {
			return fmt.Errorf("delegations.roles[%d]: %w", i, err)
		}
		if seen[r.Name] {
			return fmt.Errorf("delegations.roles: %q stands twice; names must be unique (4.5)", r.Name)
		}
		seen[r.Name] = true
		d.Roles = append(d.Roles, r)
		return nil
	})
}

func (w *wireDelegated) delegated(lim Limits) (DelegatedRole, error) {
	var r DelegatedRole
	if w == nil || w.Name == nil {
		return r, fmt.Errorf("name: %w", errMissing)
	}
	if err := checkRoleName(*w.Name); err != nil {
		return r, err
	}
	base, err := w.role(lim)
	if err != nil {
		return r, err
	}
	r = DelegatedRole{Role: base, Name: *w.Name, Terminating: w.Terminating.Kind() == 't'}
	if k := w.Terminating.Kind(); k != 't' && k != 'f' && w.Terminating != nil {
		return r, errors.New("terminating: want a boolean")
	}
	if w.Paths != nil && w.PathHashPrefixes != nil {
		return r, errors.New("want only one of paths and path_hash_prefixes")
	}
	if r.Paths, err = readStrings("paths", w.Paths); err != nil {
		return r, err
	}
	r.PathHashPrefixes, err = readStrings("path_hash_prefixes", w.PathHashPrefixes)
	return r, err
}

func checkRoleName(name string) error {
	switch {
	case name == "" || len(name) > maxRoleName:
		return fmt.Errorf("name: want 1 to %d bytes", maxRoleName)
	case KindOf(name) != KindTargets || name == string(KindTargets):
		return fmt.Errorf("name: %q is reserved for the top-level role", name)
	}
	return nil
}

// readStrings reads a list of strings, which has no limit but the file's.
func readStrings(label string, raw jsontext.Value) ([]string, error) {
	if raw == nil {
		return nil, nil
	}
	n := 0
	err := eachElement(label, raw, func(_ int, v jsontext.Value) error {
		if n++; v.Kind() != '"' {
			return fmt.Errorf("%s: want a list of strings", label)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	list := make([]string, 0, n)
	err = eachElement(label, raw, func(_ int, v jsontext.Value) error {
		list = append(list, string(unquote(v)))
		return nil
	})
	return list, err
}

func (d *Delegations) readSuccinct(raw jsontext.Value, lim Limits) error {
	var w wireSuccinct
	if err := unmarshal(raw, &w); err != nil {
		return fmt.Errorf("delegations.succinct_roles: %w", err)
	}
	role, err := w.role(lim)
	switch {
	case err != nil:
		return fmt.Errorf("delegations.succinct_roles: %w", err)
	case w.BitLength == nil || *w.BitLength < 1 || *w.BitLength > 32:
		return errors.New("delegations.succinct_roles.bit_length: want 1 to 32")
	case w.NamePrefix == nil || len(*w.NamePrefix) > maxRoleName:
		return errors.New("delegations.succinct_roles.name_prefix: want a string")
	}
	d.Succinct = &SuccinctRoles{Role: role, BitLength: *w.BitLength, NamePrefix: *w.NamePrefix}
	return nil
}

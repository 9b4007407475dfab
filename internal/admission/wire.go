package admission

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The wire types mirror the specification's objects. Pointers and raw values
// tell an absent field from a null one: null never stands for an object, a
// list, a string or a number. Field names match exactly, unlike encoding/json.
type (
	wireSigned struct {
		Type               *string              `json:"_type"`
		SpecVersion        *string              `json:"spec_version"`
		Version            *int64               `json:"version"`
		Expires            *string              `json:"expires"`
		ConsistentSnapshot jsontext.Value       `json:"consistent_snapshot"`
		Keys               map[string]*wireKey  `json:"keys"`
		Roles              map[string]*wireRole `json:"roles"`
		Meta               map[string]*wireMeta `json:"meta"`
		Targets            jsontext.Value       `json:"targets"`
		Delegations        jsontext.Value       `json:"delegations"`
	}
	wireKey struct {
		Type   *string                   `json:"keytype"`
		Scheme *string                   `json:"scheme"`
		Value  map[string]jsontext.Value `json:"keyval"`
	}
	wireRole struct {
		KeyIDs    []*string `json:"keyids"`
		Threshold *int      `json:"threshold"`
	}
	wireMeta struct {
		Version *int64         `json:"version"`
		Length  jsontext.Value `json:"length"`
		Hashes  jsontext.Value `json:"hashes"`
	}
	wireTarget struct {
		Length *int64             `json:"length"`
		Hashes map[string]*string `json:"hashes"`
		Custom jsontext.Value     `json:"custom"`
	}
	wireDelegations struct {
		Keys     map[string]*wireKey `json:"keys"`
		Roles    jsontext.Value      `json:"roles"`
		Succinct jsontext.Value      `json:"succinct_roles"`
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

func (d *Doc) readSignatures(raw jsontext.Value, lim Limits) error {
	var wire []*wireSignature
	if raw.Kind() != '[' {
		return errors.New("signatures: not a list")
	}
	if err := json.Unmarshal(raw, &wire); err != nil {
		return fmt.Errorf("signatures: %w", err)
	}
	if len(wire) > lim.Signatures {
		return fmt.Errorf("signatures: %d entries, more than the limit of %d", len(wire), lim.Signatures)
	}
	seen := make(map[string]bool, len(wire))
	for i, s := range wire {
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
		d.Signatures = append(d.Signatures, Signature{KeyID: *s.KeyID, Sig: sig})
	}
	return nil
}

// specVersion is major version 1 in two or three numeric groups, as semver.
var specVersion = regexp.MustCompile(`^1(\.[0-9]+){1,2}([-+][0-9A-Za-z.+-]+)?$`)

func (d *Doc) readSigned(raw jsontext.Value, lim Limits) error {
	var s wireSigned
	if raw.Kind() != '{' {
		return errors.New("signed: not an object")
	}
	// The canonicalizer has refused duplicate names already.
	if err := json.Unmarshal(raw, &s, jsontext.AllowDuplicateNames(true)); err != nil {
		return fmt.Errorf("signed: %w", err)
	}
	switch {
	case s.Type == nil || *s.Type != string(d.Kind):
		return fmt.Errorf("_type: want %q", d.Kind)
	case s.SpecVersion == nil || !specVersion.MatchString(*s.SpecVersion):
		return errors.New("spec_version: want a version 1 of the specification")
	case s.Version == nil || *s.Version < 1:
		return errors.New("version: want an integer of at least 1")
	case s.Expires == nil:
		return fmt.Errorf("expires: %w", errMissing)
	}
	expires, err := parseTime(*s.Expires)
	if err != nil {
		return fmt.Errorf("expires: %w", err)
	}
	d.SpecVersion, d.Version, d.Expires = *s.SpecVersion, *s.Version, expires
	switch d.Kind {
	case KindRoot:
		return d.readRoot(&s, lim)
	case KindTargets:
		return d.readTargets(&s, lim)
	default:
		return d.readMeta(&s)
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

func (d *Doc) readRoot(s *wireSigned, lim Limits) error {
	root := &Root{Roles: make(map[string]Role, len(s.Roles))}
	var err error
	if root.Keys, err = readKeys(s.Keys, lim); err != nil {
		return err
	}
	if v := s.ConsistentSnapshot; v != nil {
		if k := v.Kind(); k != 't' && k != 'f' {
			return errors.New("consistent_snapshot: want a boolean")
		}
		root.ConsistentSnapshot = v.Kind() == 't'
	}
	for name, w := range s.Roles {
		if root.Roles[name], err = w.role(lim); err != nil {
			return fmt.Errorf("roles.%s: %w", name, err)
		}
	}
	for _, k := range []Kind{KindRoot, KindTimestamp, KindSnapshot, KindTargets} {
		if _, ok := root.Roles[string(k)]; !ok {
			return fmt.Errorf("roles: %s is missing", k)
		}
	}
	d.Root = root
	return nil
}

func readKeys(wire map[string]*wireKey, lim Limits) (map[string]Key, error) {
	if wire == nil {
		return nil, fmt.Errorf("keys: %w", errMissing)
	}
	if len(wire) > lim.Keys {
		return nil, fmt.Errorf("keys: %d entries, more than the limit of %d", len(wire), lim.Keys)
	}
	keys := make(map[string]Key, len(wire))
	for id, w := range wire {
		if w == nil || w.Type == nil || w.Scheme == nil || w.Value == nil {
			return nil, fmt.Errorf("keys.%.16q: want keytype, scheme and keyval", id)
		}
		k := Key{Type: *w.Type, Scheme: *w.Scheme}
		// A key without a public part is not malformed metadata: it is a key
		// that cannot count.
		if v := w.Value["public"]; v.Kind() == '"' {
			if err := json.Unmarshal(v, &k.Public); err != nil {
				return nil, err
			}
		}
		keys[id] = k
	}
	return keys, nil
}

func (w *wireRole) role(lim Limits) (Role, error) {
	if w == nil {
		return Role{}, errMissing
	}
	if w.KeyIDs == nil || len(w.KeyIDs) > lim.Keys {
		return Role{}, errors.New("keyids: want a list of bounded length")
	}
	if w.Threshold == nil || *w.Threshold < 1 {
		return Role{}, errors.New("threshold: want an integer of at least 1")
	}
	r := Role{Threshold: *w.Threshold, KeyIDs: make([]string, 0, len(w.KeyIDs))}
	seen := make(map[string]bool, len(w.KeyIDs))
	for i, id := range w.KeyIDs {
		if id == nil {
			return Role{}, fmt.Errorf("keyids[%d]: %w", i, errMissing)
		}
		if !seen[*id] { // Once more adds nothing but work.
			seen[*id] = true
			r.KeyIDs = append(r.KeyIDs, *id)
		}
	}
	return r, nil
}

func (d *Doc) readMeta(s *wireSigned) error {
	if s.Meta == nil {
		return fmt.Errorf("meta: %w", errMissing)
	}
	d.Meta = make(map[string]MetaFile, len(s.Meta))
	for name, w := range s.Meta {
		m, err := w.metaFile()
		if err != nil {
			return fmt.Errorf("meta.%s: %w", name, err)
		}
		d.Meta[name] = m
	}
	if _, ok := d.Meta["snapshot.json"]; d.Kind == KindTimestamp && (!ok || len(d.Meta) != 1) {
		return errors.New("meta: timestamp must describe snapshot.json and nothing else")
	}
	return nil
}

func (w *wireMeta) metaFile() (MetaFile, error) {
	m := MetaFile{Length: -1}
	if w == nil || w.Version == nil || *w.Version < 1 {
		return m, errors.New("version: want an integer of at least 1")
	}
	m.Version = *w.Version
	if w.Length != nil {
		if err := json.Unmarshal(w.Length, &m.Length); err != nil || w.Length.Kind() != '0' || m.Length < 0 {
			return m, errors.New("length: want an integer of at least 0")
		}
	}
	if w.Hashes == nil {
		return m, nil
	}
	var hashes map[string]*string
	if err := json.Unmarshal(w.Hashes, &hashes); err != nil {
		return m, fmt.Errorf("hashes: %w", err)
	}
	var err error
	m.Hashes, err = readHashes(hashes)
	return m, err
}

func readHashes(wire map[string]*string) (map[string]string, error) {
	if len(wire) == 0 {
		return nil, errors.New("hashes: want at least one")
	}
	hashes := make(map[string]string, len(wire))
	for algorithm, digest := range wire {
		if digest == nil {
			return nil, fmt.Errorf("hashes.%s: %w", algorithm, errMissing)
		}
		hashes[algorithm] = strings.ToLower(*digest)
	}
	return hashes, nil
}

func (d *Doc) readTargets(s *wireSigned, lim Limits) error {
	if s.Targets == nil {
		return fmt.Errorf("targets: %w", errMissing)
	}
	var err error
	if d.Targets, err = readTargetList(s.Targets); err != nil {
		return err
	}
	if s.Delegations == nil {
		return nil
	}
	return d.readDelegations(s.Delegations, lim)
}

func (d *Doc) readDelegations(raw jsontext.Value, lim Limits) error {
	var w wireDelegations
	if raw.Kind() != '{' {
		return errors.New("delegations: want an object")
	}
	if err := json.Unmarshal(raw, &w); err != nil {
		return fmt.Errorf("delegations: %w", err)
	}
	keys, err := readKeys(w.Keys, lim)
	if err != nil {
		return fmt.Errorf("delegations.%w", err)
	}
	d.Delegations = &Delegations{Keys: keys}
	switch {
	case w.Roles.Kind() == '[' && w.Succinct == nil:
		return d.Delegations.readRoles(w.Roles, lim)
	case w.Succinct.Kind() == '{' && w.Roles == nil:
		return d.Delegations.readSuccinct(w.Succinct, lim)
	}
	return errors.New("delegations: want exactly one of roles and succinct_roles")
}

func (d *Delegations) readRoles(raw jsontext.Value, lim Limits) error {
	var wire []*wireDelegated
	if err := json.Unmarshal(raw, &wire); err != nil {
		return fmt.Errorf("delegations.roles: %w", err)
	}
	if len(wire) > lim.Roles {
		return fmt.Errorf("delegations.roles: %d entries, more than the limit of %d", len(wire), lim.Roles)
	}
	seen := make(map[string]bool, len(wire))
	d.Roles = make([]DelegatedRole, 0, len(wire))
	for i, w := range wire {
		r, err := w.delegated(lim)
		if err != nil {
			return fmt.Errorf("delegations.roles[%d]: %w", i, err)
		}
		if seen[r.Name] {
			return fmt.Errorf("delegations.roles: %q stands twice; names must be unique (4.5)", r.Name)
		}
		seen[r.Name] = true
		d.Roles = append(d.Roles, r)
	}
	return nil
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
	if r.Paths, err = readStrings(w.Paths); err != nil {
		return r, fmt.Errorf("paths: %w", err)
	}
	if r.PathHashPrefixes, err = readStrings(w.PathHashPrefixes); err != nil {
		return r, fmt.Errorf("path_hash_prefixes: %w", err)
	}
	return r, nil
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

func readStrings(raw jsontext.Value) ([]string, error) {
	if raw == nil {
		return nil, nil
	}
	var wire []*string
	if err := json.Unmarshal(raw, &wire); err != nil || raw.Kind() != '[' {
		return nil, errors.New("want a list of strings")
	}
	list := make([]string, len(wire))
	for i, s := range wire {
		if s == nil {
			return nil, errors.New("want a list of strings")
		}
		list[i] = *s
	}
	return list, nil
}

func (d *Delegations) readSuccinct(raw jsontext.Value, lim Limits) error {
	var w wireSuccinct
	if err := json.Unmarshal(raw, &w); err != nil {
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

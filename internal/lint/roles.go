package lint

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/delegation"
	"github.com/ragnos-labs/vault-tuf/internal/keys"
)

// trusted is a role as this file trusts it, with the keys it is chosen from.
type trusted struct {
	where string
	admission.Role
}

// trusts returns the keys that a file lists and the roles that it trusts.
func (f *file) trusts() (listed map[string]admission.Key, roles []trusted) {
	d := f.doc.Delegations
	switch {
	case f.doc.Root != nil:
		for name, role := range f.doc.Root.Roles {
			roles = append(roles, trusted{"roles." + name, role})
		}
		return f.doc.Root.Keys, roles
	case d == nil:
		return nil, nil
	case d.Succinct != nil:
		return d.Keys, []trusted{{"delegations.succinct_roles", d.Succinct.Role}}
	}
	for _, role := range d.Roles {
		roles = append(roles, trusted{"delegations.roles." + role.Name, role.Role})
	}
	return d.Keys, roles
}

// keyPlace is where a key stands.
func (f *file) keyPlace(id string) string {
	if f.doc.Root != nil {
		return "keys." + id
	}
	return "delegations.keys." + id
}

func checkKey(f *file) (at []string) {
	listed, _ := f.trusts()
	for id, k := range listed {
		if _, err := keys.Decode(k); err != nil {
			at = append(at, f.keyPlace(id))
		}
	}
	return at
}

func checkKeyTwice(f *file) (at []string) {
	listed, _ := f.trusts()
	seen := map[keys.Fingerprint]bool{}
	for _, id := range sorted(listed) {
		k, err := keys.Decode(listed[id])
		if err != nil {
			continue
		}
		if seen[k.Fingerprint] {
			at = append(at, f.keyPlace(id))
		}
		seen[k.Fingerprint] = true
	}
	return at
}

func checkKeyIDTwice(f *file) (at []string) {
	f.eachObject(func(kind, where string, o object) {
		ids, _ := o["keyids"].([]any)
		for i, id := range ids {
			if kind == "role" && slices.Contains(ids[:i], id) {
				at = append(at, where+".keyids")
			}
		}
	})
	return at
}

func checkKeyMissing(f *file) (at []string) {
	listed, roles := f.trusts()
	for _, role := range roles {
		for _, id := range role.KeyIDs {
			if _, ok := listed[id]; !ok {
				at = append(at, role.where+".keyids."+id)
			}
		}
	}
	return at
}

func checkThreshold(f *file) (at []string) {
	listed, roles := f.trusts()
	for _, role := range roles {
		countable := map[keys.Fingerprint]bool{}
		for _, id := range role.KeyIDs {
			if k, err := keys.Decode(listed[id]); err == nil {
				countable[k.Fingerprint] = true
			}
		}
		if role.Threshold > len(countable) {
			at = append(at, role.where+".threshold")
		}
	}
	return at
}

func checkKeyUnused(f *file) (at []string) {
	listed, roles := f.trusts()
	used := map[string]bool{}
	for _, role := range roles {
		for _, id := range role.KeyIDs {
			used[id] = true
		}
	}
	for id := range listed {
		if !used[id] {
			at = append(at, f.keyPlace(id))
		}
	}
	return at
}

func checkKeyID(f *file) (at []string) {
	f.eachObject(func(kind, where string, o object) {
		if kind != "key" {
			return
		}
		_, id, _ := strings.Cut(where, "keys.")
		text, err := cjson.EncodeCanonical(o)
		sum := sha256.Sum256(text)
		if err != nil || hex.EncodeToString(sum[:]) != id {
			at = append(at, where)
		}
	})
	return at
}

func checkDelegationFields(f *file) (at []string) {
	d, _ := f.signed["delegations"].(object)
	list, _ := d["roles"].([]any)
	for _, v := range list {
		role, _ := v.(object)
		name, _ := role["name"].(string)
		_, paths := role["paths"]
		_, prefixes := role["path_hash_prefixes"]
		if _, ok := role["terminating"]; !ok || !paths && !prefixes {
			at = append(at, "delegations.roles."+name)
		}
	}
	return at
}

func checkDelegationMembers(f *file) (at []string) {
	f.eachObject(func(kind, where string, o object) {
		if kind != "delegations" && (kind != "role" || !strings.HasPrefix(where, "delegations.")) {
			return
		}
		for name := range o {
			if !slices.Contains(known[kind], name) {
				at = append(at, join(where, name))
			}
		}
	})
	return at
}

// roleList returns the delegations by name; nil if there are none of them.
func (f *file) roleList() []admission.DelegatedRole {
	if f.doc.Delegations == nil {
		return nil
	}
	return f.doc.Delegations.Roles
}

func checkHashPrefixes(f *file) (at []string) {
	for _, role := range f.roleList() {
		if role.PathHashPrefixes != nil {
			at = append(at, "delegations.roles."+role.Name)
		}
	}
	return at
}

func (f *file) patterns(odd func(pattern string) bool) (at []string) {
	for _, role := range f.roleList() {
		for _, pattern := range role.Paths {
			if odd(pattern) {
				at = append(at, "delegations.roles."+role.Name+".paths."+pattern)
			}
		}
	}
	return at
}

func checkPattern(f *file) []string {
	return f.patterns(func(p string) bool { return strings.ContainsAny(p, `[]\`) })
}

var portablePart = regexp.MustCompile(`^[A-Za-z0-9_*?~-][A-Za-z0-9._*?~-]*$`)

func checkPatternOthers(f *file) []string {
	return f.patterns(func(p string) bool {
		for part := range strings.SplitSeq(p, "/") {
			if !portablePart.MatchString(part) || strings.Contains(part, "**") {
				return !strings.ContainsAny(p, `[]\`)
			}
		}
		return false
	})
}

var portableName = regexp.MustCompile(`^[A-Za-z0-9._~-]*$`)

func checkRoleName(f *file) (at []string) {
	d := f.doc.Delegations
	if d == nil {
		return nil
	}
	if d.Succinct != nil {
		if p := d.Succinct.NamePrefix; !portableName.MatchString(p) || p == "" || len(p) > maxName {
			at = append(at, "delegations.succinct_roles.name_prefix")
		}
	}
	folded := map[string]bool{"root": true, "targets": true, "snapshot": true, "timestamp": true}
	for _, role := range d.Roles {
		lower := strings.ToLower(role.Name)
		if !portableName.MatchString(role.Name) || len(role.Name) > maxName || folded[lower] {
			at = append(at, "delegations.roles."+short(role.Name))
		}
		folded[lower] = true
	}
	return at
}

// maxSamples bounds the patterns for which a search is tried.
const maxSamples = 256

// checkRoleSearch tries for each pattern what a search for one of its paths
// would visit.
func checkRoleSearch(f *file) []string {
	roles := f.roleList()
	if len(roles) <= maxVisited {
		return nil
	}
	sample := strings.NewReplacer("*", "x", "?", "x")
	samples := 0
	for _, role := range roles {
		for _, pattern := range role.Paths {
			if samples++; samples > maxSamples {
				return nil
			}
			if visited(roles, sample.Replace(pattern)) > maxVisited {
				return []string{"delegations.roles"}
			}
		}
	}
	return nil
}

func visited(roles []admission.DelegatedRole, path string) (n int) {
	for i := range roles {
		if delegation.Trusts(&roles[i], path) {
			n++
			if roles[i].Terminating {
				break
			}
		}
	}
	return n
}

func checkManyRoles(f *file) []string {
	d := f.doc.Delegations
	switch {
	case d == nil:
	case d.Succinct != nil && d.Succinct.Bins() > maxListed:
		return []string{"delegations.succinct_roles.bit_length"}
	case len(d.Roles) > maxListed:
		return []string{"delegations.roles"}
	}
	return nil
}

func checkSuccinct(f *file) []string {
	if f.doc.Delegations != nil && f.doc.Delegations.Succinct != nil {
		return []string{"delegations.succinct_roles"}
	}
	return nil
}

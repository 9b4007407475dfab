package lint

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/ragnos-labs/vault-tuf/internal/engine/gotuf"
)

func checkConsistent(f *file) []string {
	if f.doc.Root != nil && !f.doc.Root.ConsistentSnapshot {
		return []string{"consistent_snapshot"}
	}
	return nil
}

func checkExtraRole(f *file) (at []string) {
	if f.doc.Root == nil {
		return nil
	}
	for name := range f.doc.Root.Roles {
		if !slices.Contains([]string{"root", "timestamp", "snapshot", "targets"}, name) {
			at = append(at, "roles."+name)
		}
	}
	return at
}

var plainSpecVersion = regexp.MustCompile(`^1(\.[0-9]+){1,2}$`)

func checkSpecVersion(f *file) []string {
	if !plainSpecVersion.MatchString(f.doc.SpecVersion) {
		return []string{"spec_version"}
	}
	return nil
}

// known are the members that go-tuf has fields for, by the kind of the object.
var known = map[string][]string{
	"signed":      {"_type", "spec_version", "consistent_snapshot", "version", "expires", "keys", "roles", "meta", "targets", "delegations"},
	"key":         {"keytype", "scheme", "keyval"},
	"keyval":      {"public"},
	"role":        {"keyids", "threshold", "name", "terminating", "path_hash_prefixes", "paths", "bit_length", "name_prefix"},
	"meta":        {"length", "hashes", "version"},
	"target":      {"length", "hashes", "custom"},
	"delegations": {"keys", "roles", "succinct_roles"},
}

func checkFieldCase(f *file) (at []string) {
	f.eachObject(func(kind, where string, o object) {
		for name := range o {
			if slices.Contains(known[kind], name) {
				continue
			}
			if slices.ContainsFunc(known[kind], func(k string) bool { return strings.EqualFold(k, name) }) {
				at = append(at, join(where, name))
			}
		}
	})
	return at
}

// eachObject calls do for the objects that the specification defines. Package
// admission has held them against the schema.
func (f *file) eachObject(do func(kind, where string, o object)) {
	do("signed", "", f.signed)
	keysAndRoles := func(where string, o object) {
		each(o["keys"], func(id string, key object) {
			do("key", join(where, "keys."+id), key)
			if value, ok := key["keyval"].(object); ok {
				do("keyval", join(where, "keys."+id+".keyval"), value)
			}
		})
		each(o["roles"], func(name string, role object) { do("role", join(where, "roles."+name), role) })
		list, _ := o["roles"].([]any)
		for _, v := range list {
			role, _ := v.(object)
			do("role", join(where, fmt.Sprintf("roles.%v", role["name"])), role)
		}
		if bins, ok := o["succinct_roles"].(object); ok {
			do("role", join(where, "succinct_roles"), bins)
		}
	}
	keysAndRoles("", f.signed)
	each(f.signed["meta"], func(name string, o object) { do("meta", "meta."+name, o) })
	each(f.signed["targets"], func(path string, o object) { do("target", "targets."+path, o) })
	if d, ok := f.signed["delegations"].(object); ok {
		do("delegations", "delegations", d)
		keysAndRoles("delegations", d)
	}
}

func each(v any, do func(name string, o object)) {
	all, _ := v.(object)
	for name, v := range all {
		if o, ok := v.(object); ok {
			do(name, o)
		}
	}
}

func join(where, name string) string {
	if where == "" {
		return name
	}
	return where + "." + name
}

// walk calls do for every value of the signed part, and for every member's name.
func (f *file) walk(do func(where string, depth int, v any)) {
	var down func(where string, depth int, v any)
	down = func(where string, depth int, v any) {
		do(where, depth, v)
		switch v := v.(type) {
		case object:
			for name, member := range v {
				down(join(where, name), depth+1, member)
			}
		case []any:
			for i, element := range v {
				down(fmt.Sprintf("%s[%d]", where, i), depth+1, element)
			}
		}
	}
	down("", 1, f.signed)
}

func checkNumber(f *file) (at []string) {
	f.walk(func(where string, _ int, v any) {
		if n, ok := v.(json.Number); ok {
			if i, err := n.Int64(); err != nil || i > maxInteger || i < -maxInteger {
				at = append(at, where)
			}
		}
	})
	return at
}

func checkNesting(f *file) (at []string) {
	f.walk(func(where string, depth int, _ any) {
		if depth == maxDepth+1 {
			at = append(at, short(where))
		}
	})
	return at
}

// short keeps the beginning of a place.
func short(where string) string {
	if len(where) > 80 {
		return strings.ToValidUTF8(where[:80], "") + "…"
	}
	return where
}

func checkText(f *file) (at []string) {
	f.walk(func(where string, _ int, v any) {
		switch v := v.(type) {
		case object:
			for name := range v {
				if strings.ContainsFunc(name, func(r rune) bool { return r >= utf8.RuneSelf }) {
					at = append(at, join(where, name))
				}
			}
		case string:
			if !norm.NFC.IsNormalString(v) {
				at = append(at, where)
			}
		}
	})
	return at
}

func checkCustomNull(f *file) (at []string) {
	f.eachObject(func(kind, where string, o object) {
		if v, ok := o["custom"]; ok && v == nil && kind == "target" {
			at = append(at, where+".custom")
		}
	})
	return at
}

func checkLengthZero(f *file) (at []string) {
	for name, m := range f.doc.Meta {
		if m.Length == 0 {
			at = append(at, "meta."+name+".length")
		}
	}
	return at
}

// digestSizes are the lengths of the hashes in use, in bytes.
var digestSizes = map[string]int{"sha256": 32, "sha512": 64}

func checkHashes(f *file) (at []string) {
	f.eachObject(func(kind, where string, o object) {
		hashes, ok := o["hashes"].(object)
		if !ok || kind != "target" && kind != "meta" {
			return
		}
		for algorithm, v := range hashes {
			digest, _ := v.(string)
			raw, err := hex.DecodeString(digest)
			if err != nil || len(raw) != digestSizes[algorithm] || len(raw) == 0 || strings.ToLower(digest) != digest {
				at = append(at, where+".hashes."+algorithm)
			}
		}
	})
	return at
}

func checkOneHash(f *file) (at []string) {
	f.eachObject(func(kind, where string, o object) {
		if hashes, _ := o["hashes"].(object); kind == "target" && len(hashes) > 1 {
			at = append(at, where+".hashes")
		}
	})
	return at
}

func checkTargetPath(f *file) (at []string) {
	for path := range f.doc.Targets.Paths() {
		odd := strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f || strings.ContainsRune(`%?#\`, r) })
		for part := range strings.SplitSeq(path, "/") {
			odd = odd || part == "" || part == "." || part == ".."
		}
		if odd {
			at = append(at, fmt.Sprintf("targets.%q", path))
		}
	}
	return at
}

func checkSignature(f *file) (at []string) {
	for _, s := range f.full.Signatures {
		if s.Sig == nil {
			at = append(at, "signatures."+s.KeyID)
		}
	}
	return at
}

func checkForm(f *file) (at []string) {
	defer func() {
		if recover() != nil { // go-tuf does where it cannot go on.
			at = []string{"the signed part"}
		}
	}()
	if !gotuf.Represents(f.doc) {
		return []string{"the signed part"}
	}
	return nil
}

// sorted returns the keys of a map in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

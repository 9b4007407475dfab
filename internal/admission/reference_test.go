package admission

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"
)

type tree = map[string]any

// reference says slowly, over a tree of the whole file, what Parse says in one
// pass: the signed part and its canonical form if the file is admitted.
func reference(kind Kind, raw []byte) (signed tree, canonical []byte, ok bool) {
	if !jsontext.Value(raw).IsValid() {
		return nil, nil, false
	}
	var file any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if dec.Decode(&file) != nil {
		return nil, nil, false
	}
	signed, isObject := asTree(file)["signed"].(tree)
	if !isObject || !refSignatures(asTree(file)["signatures"]) {
		return nil, nil, false
	}
	canonical, ok = refCanonical(nil, signed, DefaultDepth)
	spec, _ := signed["spec_version"].(string)
	expires, _ := signed["expires"].(string)
	at, err := time.Parse(time.RFC3339, expires)
	ok = ok && signed["_type"] == string(kind) && atLeast(signed["version"], 1) &&
		specVersion.MatchString(spec) &&
		err == nil && at.UTC().Format("2006-01-02T15:04:05Z") == expires
	switch kind {
	case KindRoot:
		ok = ok && refRoot(signed)
	case KindTargets:
		ok = ok && refTargets(signed)
	default:
		ok = ok && refMeta(kind, signed["meta"])
	}
	return signed, canonical, ok
}

func asTree(v any) tree { t, _ := v.(tree); return t }

func atLeast(v any, min int64) bool {
	number, _ := v.(json.Number)
	n, err := number.Int64()
	return err == nil && n >= min
}

var refEscapes = strings.NewReplacer(`"`, `\"`, `\`, `\\`)

func refCanonical(out []byte, v any, depth int) ([]byte, bool) {
	ok := true
	switch v := v.(type) {
	case tree:
		out = append(out, '{')
		for i, name := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				out = append(out, ',')
			}
			out, _ = refCanonical(out, name, depth)
			var fine bool
			out, fine = refCanonical(append(out, ':'), v[name], depth-1)
			ok = ok && fine
		}
		return append(out, '}'), ok && depth > 0
	case []any:
		out = append(out, '[')
		for i, e := range v {
			if i > 0 {
				out = append(out, ',')
			}
			var fine bool
			out, fine = refCanonical(out, e, depth-1)
			ok = ok && fine
		}
		return append(out, ']'), ok && depth > 0
	case string:
		return append(out, `"`+refEscapes.Replace(v)+`"`...), true
	case json.Number:
		if v == "-0" {
			v = "0"
		}
		return append(out, v...), !strings.ContainsAny(v.String(), ".eE")
	case bool:
		if v {
			return append(out, "true"...), true
		}
		return append(out, "false"...), true
	}
	return append(out, "null"...), true
}

func refSignatures(v any) bool {
	list, ok := v.([]any)
	seen := map[string]bool{}
	for _, s := range list {
		id, isString := asTree(s)["keyid"].(string)
		_, hasSig := asTree(s)["sig"].(string)
		ok = ok && isString && hasSig && !seen[id]
		seen[id] = true
	}
	return ok && len(list) <= DefaultSignatures
}

func refHashes(v any) bool {
	hashes := asTree(v)
	for _, digest := range hashes {
		if _, ok := digest.(string); !ok {
			return false
		}
	}
	return len(hashes) > 0
}

func refMeta(kind Kind, v any) bool {
	meta, ok := v.(tree)
	for _, e := range meta {
		length, hasLength := asTree(e)["length"]
		hashes, hasHashes := asTree(e)["hashes"]
		ok = ok && atLeast(asTree(e)["version"], 1) && (!hasLength || atLeast(length, 0)) && (!hasHashes || refHashes(hashes))
	}
	if kind == KindTimestamp {
		ok = ok && len(meta) == 1 && meta["snapshot.json"] != nil
	}
	return ok
}

func refKeys(v any) bool {
	keys, ok := v.(tree)
	for _, k := range keys {
		_, hasType := asTree(k)["keytype"].(string)
		_, hasScheme := asTree(k)["scheme"].(string)
		_, hasValue := asTree(k)["keyval"].(tree)
		ok = ok && hasType && hasScheme && hasValue
	}
	return ok && len(keys) <= DefaultKeys
}

func refStrings(v any) bool {
	list, ok := v.([]any)
	for _, e := range list {
		_, isString := e.(string)
		ok = ok && isString
	}
	return ok
}

func refRole(v any) bool {
	ids, _ := asTree(v)["keyids"].([]any)
	return refStrings(asTree(v)["keyids"]) && len(ids) <= DefaultKeys && atLeast(asTree(v)["threshold"], 1)
}

func refRoot(signed tree) bool {
	consistent, present := signed["consistent_snapshot"]
	_, isBool := consistent.(bool)
	roles, ok := signed["roles"].(tree)
	for _, role := range roles {
		ok = ok && refRole(role)
	}
	return ok && refKeys(signed["keys"]) && (isBool || !present) &&
		roles["root"] != nil && roles["timestamp"] != nil && roles["snapshot"] != nil && roles["targets"] != nil
}

func refTargets(signed tree) bool {
	targets, ok := signed["targets"].(tree)
	for _, e := range targets {
		_, isObject := asTree(e)["custom"].(tree)
		ok = ok && atLeast(asTree(e)["length"], 0) && refHashes(asTree(e)["hashes"]) && (isObject || asTree(e)["custom"] == nil)
	}
	v, present := signed["delegations"]
	if !present {
		return ok
	}
	roles, hasRoles := asTree(v)["roles"]
	succinct, hasSuccinct := asTree(v)["succinct_roles"]
	ok = ok && refKeys(asTree(v)["keys"]) && hasRoles != hasSuccinct
	if hasSuccinct {
		prefix, isString := asTree(succinct)["name_prefix"].(string)
		bits := asTree(succinct)["bit_length"]
		return ok && refRole(succinct) && isString && len(prefix) <= maxRoleName && atLeast(bits, 1) && !atLeast(bits, 33)
	}
	list, isList := roles.([]any)
	seen := map[string]bool{}
	for _, r := range list {
		ok = ok && refDelegated(asTree(r), seen)
	}
	return ok && isList && len(list) <= DefaultRoles
}

func refDelegated(r tree, seen map[string]bool) bool {
	name, ok := r["name"].(string)
	terminating, hasTerminating := r["terminating"]
	_, isBool := terminating.(bool)
	paths, hasPaths := r["paths"]
	prefixes, hasPrefixes := r["path_hash_prefixes"]
	ok = ok && !seen[name] && name != "" && len(name) <= maxRoleName &&
		!slices.Contains([]string{"root", "timestamp", "snapshot", "targets"}, name) &&
		refRole(r) && (isBool || !hasTerminating) && !(hasPaths && hasPrefixes) &&
		(!hasPaths || refStrings(paths)) && (!hasPrefixes || refStrings(prefixes))
	seen[name] = true
	return ok
}

// agree holds Parse against the reference.
func agree(t *testing.T, kind Kind, raw []byte) {
	t.Helper()
	d, err := Parse(kind, bytes.Clone(raw), Limits{})
	signed, canonical, ok := reference(kind, raw)
	if err != nil && strings.Contains(err.Error(), "out of order too deeply") {
		return
	}
	require.Equal(t, ok, err == nil, "%s: %v", raw, err)
	if err != nil {
		return
	}
	require.Equal(t, string(canonical), string(d.Canonical))
	require.Equal(t, raw, d.Raw)
	meta, _ := signed["meta"].(tree)
	if kind == KindTimestamp || kind == KindSnapshot {
		require.Len(t, d.Meta, len(meta))
	}
	for name, m := range d.Meta {
		e := asTree(meta[name])
		require.True(t, atLeast(e["version"], m.Version) && !atLeast(e["version"], m.Version+1))
		require.Equal(t, e["length"] != nil, m.Length >= 0)
		require.True(t, m.Length < 0 || atLeast(e["length"], m.Length) && !atLeast(e["length"], m.Length+1))
		sameHashes(t, e["hashes"], m.Hashes)
	}
	if kind == KindTargets {
		sameTargets(t, signed["targets"].(tree), d.Targets)
	}
}

func sameHashes(t *testing.T, want any, got map[string]string) {
	require.Len(t, got, len(asTree(want)))
	for algorithm, digest := range asTree(want) {
		require.Equal(t, strings.ToLower(digest.(string)), got[algorithm])
	}
}

func sameTargets(t *testing.T, want tree, got Targets) {
	require.Equal(t, len(want), got.Len())
	require.Equal(t, slices.Sorted(maps.Keys(want)), slices.Collect(got.Paths()))
	for path, v := range want {
		for _, near := range []string{path + "x", "x" + path, strings.TrimSuffix(path, "x")} {
			require.Equal(t, want[near] != nil, got.Find(near) != nil, near)
			require.Equal(t, want[near] != nil, got.Has(near), near)
		}
		target, e := got.Find(path), v.(tree)
		require.NotNil(t, target, path)
		require.True(t, atLeast(e["length"], target.Length) && !atLeast(e["length"], target.Length+1))
		sameHashes(t, e["hashes"], target.Hashes)
		require.Equal(t, e["custom"] != nil, target.Custom != nil)
		if target.Custom != nil {
			want, err := json.Marshal(e["custom"])
			require.NoError(t, err)
			require.JSONEq(t, string(want), string(target.Custom))
		}
	}
}

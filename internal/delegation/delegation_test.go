package delegation_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/delegation"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// TestMatch runs the vectors that the python worker's tests run too.
func TestMatch(t *testing.T) {
	raw, err := os.ReadFile("../../testdata/protocol/paths.json")
	require.NoError(t, err)
	var vectors []struct {
		Pattern, Prefix *string
		Path            string
		Match           bool
	}
	require.NoError(t, json.Unmarshal(raw, &vectors))
	require.Greater(t, len(vectors), 100)
	for _, v := range vectors {
		if v.Prefix != nil {
			r := &admission.DelegatedRole{PathHashPrefixes: []string{*v.Prefix}}
			require.Equal(t, v.Match, delegation.Trusts(r, v.Path), "%q %q", *v.Prefix, v.Path)
			continue
		}
		require.Equal(t, v.Match, delegation.Match(*v.Pattern, v.Path), "%q %q", *v.Pattern, v.Path)
	}
}

// TestMatchIsLinear: a pattern made to backtrack returns. An exponential
// matcher would not come back within the test's time.
func TestMatchIsLinear(t *testing.T) {
	require.False(t, delegation.Match(strings.Repeat("a*", 500)+"b", strings.Repeat("a", 5000)))
	require.True(t, delegation.Match(strings.Repeat("*", 5000), strings.Repeat("a", 5000)))
	require.False(t, delegation.Match(strings.Repeat("[", 5000), "a"))
}

func TestTrusts(t *testing.T) {
	sum := sha256.Sum256([]byte("a/b"))
	digest := hex.EncodeToString(sum[:])
	for name, tt := range map[string]struct {
		role admission.DelegatedRole
		want bool
	}{
		"neither":               {admission.DelegatedRole{}, false},
		"empty lists":           {admission.DelegatedRole{Paths: []string{}, PathHashPrefixes: nil}, false},
		"a path":                {admission.DelegatedRole{Paths: []string{"x", "a/*"}}, true},
		"other paths":           {admission.DelegatedRole{Paths: []string{"*", "a/c"}}, false},
		"a prefix":              {admission.DelegatedRole{PathHashPrefixes: []string{"zz", digest[:3]}}, true},
		"the whole digest":      {admission.DelegatedRole{PathHashPrefixes: []string{digest}}, true},
		"more than the digest":  {admission.DelegatedRole{PathHashPrefixes: []string{digest + "0"}}, false},
		"the end of the digest": {admission.DelegatedRole{PathHashPrefixes: []string{digest[10:]}}, false},
		"upper case":            {admission.DelegatedRole{PathHashPrefixes: []string{strings.ToUpper(digest)}}, false},
	} {
		require.Equal(t, tt.want, delegation.Trusts(&tt.role, "a/b"), name)
	}
}

// tree is a repository's delegations; visits notes what was loaded.
type tree struct {
	docs   map[string]*admission.Doc
	visits []string
}

func (g *tree) load(role, delegator string) (*admission.Doc, error) {
	g.visits = append(g.visits, delegator+">"+role)
	if doc := g.docs[role]; doc != nil {
		return doc, nil
	}
	return nil, fmt.Errorf("%s: %w", role, errLoad)
}

var errLoad = errors.New("cannot load")

// role lists targets and delegates; a name that ends in "!" is terminating, and
// "=pattern" limits it.
func role(targets string, delegated ...string) *admission.Doc {
	listed := map[string]any{}
	for _, name := range strings.Fields(targets) {
		listed[name] = map[string]any{"length": 0, "hashes": map[string]any{"sha256": "00"}}
	}
	doc, err := admission.Parse(admission.KindTargets, tuftest.Text(tuftest.Map{"signatures": []any{}, "signed": tuftest.Map{
		"_type": "targets", "spec_version": "1.0", "version": 1, "expires": "2030-01-01T00:00:00Z", "targets": listed,
	}}), admission.Limits{})
	if err != nil {
		panic(err)
	}
	if len(delegated) == 0 {
		return doc
	}
	doc.Delegations = &admission.Delegations{}
	for _, d := range delegated {
		name, pattern, limited := strings.Cut(d, "=")
		if !limited {
			pattern = "*"
		}
		doc.Delegations.Roles = append(doc.Delegations.Roles, admission.DelegatedRole{
			Name: strings.TrimSuffix(name, "!"), Terminating: strings.HasSuffix(name, "!"), Paths: []string{pattern},
		})
	}
	return doc
}

func succinct(bits int) *admission.Doc {
	doc := role("")
	doc.Delegations = &admission.Delegations{Succinct: &admission.SuccinctRoles{BitLength: bits, NamePrefix: "bin"}}
	return doc
}

func TestFind(t *testing.T) {
	type docs = map[string]*admission.Doc
	bin := succinct(3).Delegations.Succinct.RoleFor("t")
	for name, tt := range map[string]struct {
		docs   docs
		want   string
		visits string
	}{
		"top level":               {docs{"targets": role("t", "a"), "a": role("t")}, "targets", "root>targets"},
		"nowhere":                 {docs{"targets": role("u")}, "", "root>targets"},
		"first of two":            {docs{"targets": role("", "a", "b"), "a": role("t"), "b": role("t")}, "a", "root>targets targets>a"},
		"second of two":           {docs{"targets": role("", "a", "b"), "a": role(""), "b": role("t")}, "b", "root>targets targets>a targets>b"},
		"depth first":             {docs{"targets": role("", "a", "b"), "a": role("", "c"), "b": role("t"), "c": role("t")}, "c", "root>targets targets>a a>c"},
		"back up":                 {docs{"targets": role("", "a", "b"), "a": role("", "c"), "b": role("t"), "c": role("")}, "b", "root>targets targets>a a>c targets>b"},
		"not trusted":             {docs{"targets": role("", "a=x", "b"), "a": role("t"), "b": role("t")}, "b", "root>targets targets>b"},
		"terminating":             {docs{"targets": role("", "a!", "b"), "a": role(""), "b": role("t")}, "", "root>targets targets>a"},
		"terminating goes down":   {docs{"targets": role("", "a!", "b"), "a": role("", "c"), "b": role("t"), "c": role("t")}, "c", "root>targets targets>a a>c"},
		"terminating elsewhere":   {docs{"targets": role("", "a!=x", "b"), "b": role("t")}, "b", "root>targets targets>b"},
		"terminating comes later": {docs{"targets": role("", "a", "b!", "c"), "a": role(""), "b": role(""), "c": role("t")}, "", "root>targets targets>a targets>b"},
		"terminating deep down":   {docs{"targets": role("", "a", "b"), "a": role("", "c!"), "b": role("t"), "c": role("")}, "", "root>targets targets>a a>c"},
		"cycle":                   {docs{"targets": role("", "a"), "a": role("", "b"), "b": role("", "a", "b")}, "", "root>targets targets>a a>b"},
		"cycle to the top":        {docs{"targets": role("", "a"), "a": role("", "targets")}, "", "root>targets targets>a"},
		"diamond":                 {docs{"targets": role("", "a", "b"), "a": role("", "c"), "b": role("", "c"), "c": role("")}, "", "root>targets targets>a a>c targets>b"},
		"diamond, other way":      {docs{"targets": role("", "a", "b"), "a": role("", "c=x"), "b": role("", "c"), "c": role("t")}, "c", "root>targets targets>a targets>b b>c"},
		"succinct":                {docs{"targets": succinct(3), bin: role("t")}, bin, "root>targets targets>" + bin},
	} {
		t.Run(name, func(t *testing.T) {
			g := &tree{docs: tt.docs}
			got, _, err := delegation.Find("t", 8, g.load)
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
			require.Equal(t, tt.visits, strings.Join(g.visits, " "))
		})
	}
}

func TestFindEndsWithTheErrorOfLoad(t *testing.T) {
	g := &tree{docs: map[string]*admission.Doc{"targets": role("", "gone", "b"), "b": role("t")}}
	got, _, err := delegation.Find("t", 8, g.load)
	require.ErrorIs(t, err, errLoad)
	require.Empty(t, got)
	require.Equal(t, []string{"root>targets", "targets>gone"}, g.visits)
}

// chain is targets and n delegated roles in a row; the last lists "t".
func chain(n int) *tree {
	g := &tree{docs: map[string]*admission.Doc{"targets": role("", "r1")}}
	for i := 1; i < n; i++ {
		g.docs[fmt.Sprintf("r%d", i)] = role("", fmt.Sprintf("r%d", i+1))
	}
	g.docs[fmt.Sprintf("r%d", n)] = role("t")
	return g
}

func TestBounds(t *testing.T) {
	for _, max := range []int{1, 4} {
		got, _, err := delegation.Find("t", max, chain(max).load)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("r%d", max), got)
		require.NoError(t, delegation.Reach(max, chain(max).load))
		g := chain(max + 1)
		_, _, err = delegation.Find("t", max, g.load)
		require.Equal(t, protocol.CodeTooMany, tuferr.CodeOf(err))
		require.Len(t, g.visits, max+1, "nothing beyond the bound is loaded")
		g = chain(max + 1)
		require.Equal(t, protocol.CodeTooMany, tuferr.CodeOf(delegation.Reach(max, g.load)))
		require.Len(t, g.visits, max+1)
	}
}

func TestReach(t *testing.T) {
	g := &tree{docs: map[string]*admission.Doc{
		"targets": role("", "a!=nothing", "b"), "a": role("", "c"), "b": role("", "c", "a"), "c": role("", "targets"),
	}}
	require.NoError(t, delegation.Reach(8, g.load))
	require.Equal(t, "root>targets targets>a a>c c>targets targets>b b>c b>a", strings.Join(g.visits, " "),
		"every delegation once, whatever its paths, and each role for each of its delegators")

	g = &tree{docs: map[string]*admission.Doc{"targets": succinct(1), "bin-0": role(""), "bin-1": role("")}}
	require.NoError(t, delegation.Reach(2, g.load))
	require.Equal(t, "root>targets targets>bin-0 targets>bin-1", strings.Join(g.visits, " "))

	g = &tree{docs: map[string]*admission.Doc{"targets": succinct(32)}}
	require.Equal(t, protocol.CodeTooMany, tuferr.CodeOf(delegation.Reach(64, g.load)), "4294967296 bins are not even listed")

	g = &tree{docs: map[string]*admission.Doc{"targets": role("", "gone")}}
	require.ErrorIs(t, delegation.Reach(8, g.load), errLoad)
}

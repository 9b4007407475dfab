package lint

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/pyenv/pyenvtest"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest/plain"
)

// breach breaks a rule in the file of a role. Where both is set, the repository
// is read by the plain clients of both libraries, and what they make of target t
// is what the rule says.
type breach struct {
	rule, role string
	repo       func(r *tuftest.Repo)
	both       *outcome
}

// outcome is what the plain clients make of target t.
type outcome struct{ goTUF, pythonTUF bool }

var (
	onlyGo     = &outcome{goTUF: true}
	onlyPython = &outcome{pythonTUF: true}
	neither    = &outcome{}
	alike      = &outcome{true, true}
)

func targetsEdit(edit func(signed tuftest.Map)) func(*tuftest.Repo) {
	return func(r *tuftest.Repo) { edit(r.Targets.Signed); r.Publish("targets") }
}

func entryEdit(member string, value any) func(*tuftest.Repo) {
	return targetsEdit(func(s tuftest.Map) { s["targets"].(tuftest.Map)["t"].(tuftest.Map)[member] = value })
}

func rootEdit(edit func(r *tuftest.Repo)) func(*tuftest.Repo) {
	return func(r *tuftest.Repo) { edit(r); r.PublishRoot(); r.Publish("targets") }
}

// move has t listed by a delegated role.
func move(d tuftest.Delegation) func(*tuftest.Repo) {
	return func(r *tuftest.Repo) {
		delete(r.Targets.Signed["targets"].(tuftest.Map), "t")
		r.Delegate("targets", d)
		r.AddTarget(d.Name, "t", []byte("t"), nil)
		r.Publish("targets", d.Name)
	}
}

func delegationEdit(edit func(role tuftest.Map)) func(*tuftest.Repo) {
	return func(r *tuftest.Repo) {
		r.Delegate("targets", tuftest.Delegation{Name: "team", Paths: []string{"team/*"}})
		edit(r.Targets.Signed["delegations"].(tuftest.Map)["roles"].([]any)[0].(tuftest.Map))
		r.Publish("targets", "team")
	}
}

func delegate(names ...string) func(*tuftest.Repo) {
	return func(r *tuftest.Repo) {
		for _, name := range names {
			r.Delegate("targets", tuftest.Delegation{Name: name, Paths: []string{"x/*"}})
		}
		r.Publish(append([]string{"targets"}, names...)...)
	}
}

var twin = tuftest.NewKey(tuftest.Ed25519, 7)

func nested(n int) tuftest.Verbatim {
	return tuftest.Verbatim(strings.Repeat("[", n) + strings.Repeat("]", n))
}

func breaches() []breach {
	names := make([]string, 40)
	for i := range names {
		names[i] = fmt.Sprintf("r%02d", i)
	}
	pattern := func(p string) func(*tuftest.Repo) {
		return move(tuftest.Delegation{Name: "team", Paths: []string{p}})
	}
	return []breach{
		{"consistent-snapshot", "root", rootEdit(func(r *tuftest.Repo) { delete(r.Root.Signed, "consistent_snapshot") }), neither},
		{"extra-role", "root", rootEdit(func(r *tuftest.Repo) { r.ListKeys("mirrors", 1, twin) }), onlyGo},
		{"spec-version", "targets", targetsEdit(func(s tuftest.Map) { s["spec_version"] = "1.0.31-rc1" }), onlyGo},
		{"field-case", "targets", targetsEdit(func(s tuftest.Map) { s["ver\u017fion"] = 77 }), onlyPython},
		{"number", "targets", targetsEdit(func(s tuftest.Map) { s["x"] = tuftest.Verbatim("9007199254740993") }), onlyPython},
		{"number", "targets", entryEdit("custom", tuftest.Map{"n": tuftest.Verbatim("-9007199254740993")}), nil},
		{"nesting", "targets", entryEdit("custom", tuftest.Map{"n": nested(1200)}), onlyGo},
		{"custom-null", "targets", entryEdit("custom", nil), onlyPython},
		{"length-zero", "snapshot", func(r *tuftest.Repo) {
			r.Snapshot.EditSigned = func(s tuftest.Map) {
				s["meta"].(tuftest.Map)["other.json"] = tuftest.Map{"version": 1, "length": 0}
			}
			r.Publish("targets")
		}, onlyPython},
		{"hashes", "targets", func(r *tuftest.Repo) {
			md5 := "e358efa489f58062f10dd7316b65649e"
			r.Put("targets/"+md5+".t", []byte("t"))
			entryEdit("hashes", tuftest.Map{"md5": md5})(r)
		}, onlyPython},
		{"hashes", "targets", entryEdit("hashes", tuftest.Map{"sha256": strings.ToUpper(tuftest.SHA256([]byte("t")))}), neither},
		{"one-hash", "targets", entryEdit("hashes", tuftest.Map{"sha256": tuftest.SHA256([]byte("t")), "sha512": tuftest.SHA512([]byte("t"))}), nil},
		{"target-path", "targets", func(r *tuftest.Repo) { r.AddTarget("targets", "100%", []byte("t"), nil); r.Publish("targets") }, nil},
		{"target-path", "targets", func(r *tuftest.Repo) { r.AddTarget("targets", "a/../b", []byte("t"), nil); r.Publish("targets") }, nil},
		{"delegation-fields", "targets", delegationEdit(func(role tuftest.Map) { delete(role, "terminating") }), neither},
		{"delegation-fields", "targets", delegationEdit(func(role tuftest.Map) { delete(role, "paths") }), onlyGo},
		{"delegation-members", "targets", delegationEdit(func(role tuftest.Map) { role["note"] = 1 }), alike},
		{"path-hash-prefixes", "targets", move(tuftest.Delegation{Name: "team", HashPrefixes: []string{tuftest.PathHash("t")[:2]}}), onlyPython},
		{"path-pattern", "targets", pattern("[!a]"), onlyPython},
		{"path-pattern", "targets", pattern("[^a]"), onlyGo},
		{"path-pattern", "targets", pattern(`\t`), onlyGo},
		{"path-pattern-others", "targets", pattern("**"), alike},
		{"path-pattern-others", "targets", delegationEdit(func(role tuftest.Map) { role["paths"] = []any{"{a,b}"} }), nil},
		{"role-name", "targets", delegate("a/b"), nil},
		{"role-name", "targets", delegate("team", "Team"), nil},
		{"role-name", "targets", func(r *tuftest.Repo) { r.DelegateSuccinct("targets", 1, "b:n"); r.Publish("targets", "b:n-0", "b:n-1") }, nil},
		{"role-search", "targets", func(r *tuftest.Repo) {
			delegate(names...)(r)
			r.AddTarget("r39", "x/t", []byte("t"), nil)
			r.Publish("r39")
		}, nil},
		{"many-roles", "targets", func(r *tuftest.Repo) { r.DelegateSuccinct("targets", 13, "bin"); r.Publish("targets") }, nil},
		{"succinct", "targets", func(r *tuftest.Repo) {
			delete(r.Targets.Signed["targets"].(tuftest.Map), "t")
			r.DelegateSuccinct("targets", 1, "bin")
			bin := tuftest.BinName(1, "bin", tuftest.BinOf(1, "t"))
			r.AddTarget(bin, "t", []byte("t"), nil)
			r.Publish("targets", "bin-0", "bin-1")
		}, alike},
		{"key", "root", rootEdit(func(r *tuftest.Repo) {
			r.Root.Signed["keys"].(tuftest.Map)["feed"] = twin.With(func(k *tuftest.Key) { k.Type, k.Scheme = "sphincs", "sphincs" }).JSON()
		}), onlyGo},
		{"key", "root", rootEdit(func(r *tuftest.Repo) { r.SetKeys("targets", 1, tuftest.NewKey(tuftest.RSA1024, 0)) }), alike},
		{"key-twice", "root", rootEdit(func(r *tuftest.Repo) { r.SetKeys("targets", 2, twin, twin.As("another")) }), onlyPython},
		{"keyid-twice", "root", rootEdit(func(r *tuftest.Repo) {
			role := r.Root.Signed["roles"].(tuftest.Map)["targets"].(tuftest.Map)
			role["keyids"] = append(role["keyids"].([]any), role["keyids"].([]any)[0])
		}), onlyGo},
		{"key-missing", "root", rootEdit(func(r *tuftest.Repo) {
			role := r.Root.Signed["roles"].(tuftest.Map)["targets"].(tuftest.Map)
			role["keyids"] = append([]any{"feed"}, role["keyids"].([]any)...)
		}), onlyPython},
		{"threshold", "root", rootEdit(func(r *tuftest.Repo) { r.ListKeys("targets", 2, r.Targets.Signers[0]) }), neither},
		{"key-unused", "root", rootEdit(func(r *tuftest.Repo) { r.Root.Signed["keys"].(tuftest.Map)[twin.ID] = twin.JSON() }), alike},
		{"keyid", "root", rootEdit(func(r *tuftest.Repo) { r.SetKeys("targets", 1, twin.As("another")) }), alike},
		{"signature", "targets", func(r *tuftest.Repo) {
			r.Targets.EditSignatures = func(l []any) []any { return append(l, tuftest.Map{"keyid": "feed", "sig": "odd"}) }
			r.Publish("targets")
		}, onlyPython},
		{"too-large", "root", rootEdit(func(r *tuftest.Repo) { r.Root.Signed["x"] = strings.Repeat("x", maxRoot) }), neither},
		{"too-large", "timestamp", func(r *tuftest.Repo) {
			r.Timestamp.Signed["x"] = strings.Repeat("x", maxTimestamp)
			r.Publish("targets")
		}, neither},
		{"text", "targets", entryEdit("custom", tuftest.Map{"größe": 1}), alike},
		{"text", "targets", entryEdit("custom", tuftest.Map{"x": "e\u0301"}), alike},
		{"form", "targets", entryEdit("custom", nil), onlyPython},
	}
}

func soundRepo() *tuftest.Repo {
	r := tuftest.NewRepo(tuftest.Config{})
	r.AddTarget("targets", "t", []byte("t"), tuftest.Map{"a": []any{1, nil}})
	r.Publish("targets")
	return r
}

// docOf admits the newest file of a role.
func docOf(t *testing.T, r *tuftest.Repo, role string) *admission.Doc {
	raw, ok := r.Get(r.MetadataName(role, r.Role(role).Version))
	require.True(t, ok)
	doc, err := admission.Parse(admission.KindOf(role), raw, admission.Limits{Root: 1 << 20, Timestamp: 1 << 20})
	require.NoError(t, err)
	return doc
}

func names(list []Finding) map[string]bool {
	all := map[string]bool{}
	for _, f := range list {
		all[f.Rule] = true
	}
	return all
}

func TestWhatIsSoundHasNoFindings(t *testing.T) {
	for _, kind := range []string{tuftest.Ed25519, tuftest.RSA, tuftest.ECDSA, tuftest.ECDSAP384} {
		r := tuftest.NewRepo(tuftest.Config{Kind: kind})
		r.AddTarget("targets", "plugins/acme/t.1.0.0+x.tar.gz", []byte("t"), tuftest.Map{"a": []any{1, nil}, "text": "größe\n"})
		r.Delegate("targets", tuftest.Delegation{Name: "acme", Paths: []string{"plugins/acme/*", "p?"}, Terminating: true})
		r.Publish("targets", "acme")
		for _, role := range []string{"root", "timestamp", "snapshot", "targets", "acme"} {
			require.Empty(t, File(role, docOf(t, r, role)), "%s %s", kind, role)
		}
	}
}

// TestRules: each rule finds its breach.
func TestRules(t *testing.T) {
	tested := map[string]bool{}
	for _, b := range breaches() {
		t.Run(b.rule, func(t *testing.T) {
			r := soundRepo()
			b.repo(r)
			found := File(b.role, docOf(t, r, b.role))
			require.True(t, names(found)[b.rule], "%v", found)
			for _, f := range found {
				require.Equal(t, b.role, f.Role)
				require.NotEmpty(t, f.Where)
			}
			tested[b.rule] = true
		})
	}
	for _, r := range rules {
		require.True(t, tested[r.id], "%s has no test", r.id)
		require.NotEmpty(t, r.what+r.why+r.do)
	}
	require.Len(t, tested, len(rules))
}

// TestBothLibraries: what the rules say of go-tuf and python-tuf is so.
func TestBothLibraries(t *testing.T) {
	python := plain.NewPython(pyenvtest.Python(t))
	t.Cleanup(python.Close)
	read := func(t *testing.T, c plain.Client, r *tuftest.Repo) bool {
		s := tuftest.NewServer(r)
		defer s.Close()
		dir := t.TempDir()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := c.Run(ctx, plain.Request{MetadataURL: s.MetadataURL(), TargetsURL: s.TargetsURL(),
			MetadataDir: filepath.Join(dir, "metadata"), TargetsDir: filepath.Join(dir, "targets"), Root: r.RootBytes(1), Target: "t"})
		t.Logf("%T: %v", c, err)
		return err == nil
	}
	for _, b := range append(breaches(), breach{rule: "none", repo: func(*tuftest.Repo) {}, both: alike}) {
		if b.both == nil {
			continue
		}
		t.Run(b.rule, func(t *testing.T) {
			r := soundRepo()
			b.repo(r)
			require.Equal(t, *b.both, outcome{read(t, plain.Go{}, r), read(t, python, r)})
		})
	}
}

func TestAChangeIsHeldToWhatItChanges(t *testing.T) {
	r := soundRepo()
	entryEdit("custom", nil)(r)
	old := docOf(t, r, "targets")
	require.True(t, names(File("targets", old))["custom-null"])
	require.NotEmpty(t, Change("targets", nil, old))
	require.Empty(t, Change("targets", old, old), "it was so before")

	r.AddTarget("targets", "u", []byte("u"), nil)
	r.Publish("targets")
	require.Empty(t, Change("targets", old, docOf(t, r, "targets")), "it was so before, and stays")

	r.Targets.Signed["targets"].(tuftest.Map)["v"] = tuftest.Map{"length": 1, "hashes": tuftest.Map{"sha256": tuftest.SHA256([]byte("v"))}, "custom": nil}
	r.Publish("targets")
	found := Change("targets", old, docOf(t, r, "targets"))
	require.Equal(t, map[string]bool{"custom-null": true, "form": true}, names(found))
	require.Equal(t, "targets.v.custom", found[0].Where)
}

// TestALongFileIsLookedAtInParts: nothing is missed between them.
func TestALongFileIsLookedAtInParts(t *testing.T) {
	r := soundRepo()
	r.Delegate("targets", tuftest.Delegation{Name: "team", Paths: []string{"[x]"}})
	all := r.Targets.Signed["targets"].(tuftest.Map)
	entry := all["t"]
	for i := range 2*maxPart + 1 {
		all[fmt.Sprintf("p%06d", i)] = entry
	}
	for _, i := range []int{0, maxPart - 1, maxPart, 2*maxPart - 1, 2 * maxPart} {
		bad := maps.Clone(entry.(tuftest.Map))
		bad["x"] = tuftest.Verbatim("9007199254740993")
		all[fmt.Sprintf("p%06d", i)] = bad
	}
	r.Publish("targets", "team")
	var where []string
	for _, f := range File("targets", docOf(t, r, "targets")) {
		where = append(where, f.Rule+" "+f.Where)
	}
	require.Equal(t, []string{
		"number targets.p000000.x", "number targets.p004095.x", "number targets.p004096.x", "number targets.p008191.x", "number targets.p008192.x",
		"path-pattern delegations.roles.team.paths.[x]", "form the signed part",
	}, where)
}

func TestPlacesAreBounded(t *testing.T) {
	r := soundRepo()
	all := r.Targets.Signed["targets"].(tuftest.Map)
	for i := range 100 {
		entry := maps.Clone(all["t"].(tuftest.Map))
		entry["custom"] = nil
		all[fmt.Sprint(i)] = entry
	}
	r.Publish("targets")
	list := File("targets", docOf(t, r, "targets"))
	require.Len(t, list, maxPlaces+1+1, "custom-null and form")
	require.Equal(t, "and 84 more places", list[maxPlaces].Where)
}

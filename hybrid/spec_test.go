//go:build unix

package hybrid

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/engine/gotuf"
	"github.com/ragnos-labs/vault-tuf/internal/source"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// specStart is the update start time of the cases.
var specStart = time.Date(2030, 6, 7, 8, 9, 10, 0, time.UTC)

func specTime(d time.Duration) string { return specStart.Add(d).Format("2006-01-02T15:04:05Z") }

// held is what a trust store holds.
type held struct {
	root, timestamp, snapshot *admission.Doc
	roles                     map[string]*admission.Doc
}

func (h held) RootDoc() *admission.Doc            { return h.root }
func (h held) TimestampDoc() *admission.Doc       { return h.timestamp }
func (h held) SnapshotDoc() *admission.Doc        { return h.snapshot }
func (h held) RoleDoc(role string) *admission.Doc { return h.roles[role] }

// hold returns everything that is published now, under root version 1.
func hold(t *testing.T, r *tuftest.Repo) held {
	doc := func(role string, version int) *admission.Doc {
		raw, ok := r.Get(r.MetadataName(role, version))
		require.True(t, ok, role)
		d, err := admission.Parse(admission.KindOf(role), raw, admission.DefaultLimits())
		require.NoError(t, err)
		return d
	}
	return held{
		root: doc("root", 1), timestamp: doc("timestamp", r.Timestamp.Version), snapshot: doc("snapshot", r.Snapshot.Version),
		roles: map[string]*admission.Doc{"targets": doc("targets", r.Targets.Version), "team": doc("team", r.Role("team").Version)},
	}
}

// specCase is one repository and what each engine, alone inside the walls of
// admission and before the host's own look, must make of it.
type specCase struct {
	name string
	play func(r *tuftest.Repo)
	path string
	// code is "" if it must accept; role then lists the path.
	code protocol.Code
	role string
	// goCode and pythonCode are of the one that puts it otherwise, or that cannot
	// represent the file.
	goCode, pythonCode protocol.Code
}

const teamTool = "team/tool"

var specKey = tuftest.NewKey(tuftest.Ed25519, 60)

// twins are other spellings of one key.
var twins = map[string]func(k *tuftest.Key){
	"another keyid": func(k *tuftest.Key) { k.ID = "twin" },
	"upper case":    func(k *tuftest.Key) { k.Public = strings.ToUpper(k.Public) },
	"extra field":   func(k *tuftest.Key) { k.Extra = tuftest.Map{"x-note": "twin"} },
}

var pemTwins = map[string]func(k *tuftest.Key){
	"white space":   func(k *tuftest.Key) { k.Public = "\n" + k.Public + "\n" },
	"CR LF":         func(k *tuftest.Key) { k.Public = strings.ReplaceAll(k.Public, "\n", "\r\n") },
	"keytype alias": func(k *tuftest.Key) { k.Type = k.Scheme },
}

func thresholdCases() []specCase {
	var cases []specCase
	add := func(name string, key, twin *tuftest.Key) {
		keys := []*tuftest.Key{key, twin}
		cases = append(cases, specCase{name: "one key twice: " + name, code: protocol.CodeUnsigned, play: func(r *tuftest.Repo) {
			r.SetKeys("targets", 2, keys...)
			r.PublishRoot()
			r.Publish("targets")
		}}, specCase{name: "one key twice for a delegated role: " + name, path: teamTool, code: protocol.CodeUnsigned, play: func(r *tuftest.Repo) {
			delete(r.Targets.Signed, "delegations")
			r.Delegate("targets", tuftest.Delegation{Name: "team", Paths: []string{"team/*"}, Keys: keys, Threshold: 2})
			r.Role("team").Signers = keys
			r.Publish("targets", "team")
		}})
	}
	for name, edit := range twins {
		add(name, specKey, specKey.With(edit))
	}
	ec := tuftest.NewKey(tuftest.ECDSA, 60)
	for name, edit := range pemTwins {
		add(name, ec, ec.With(edit))
	}
	return cases
}

func keySetCases() []specCase {
	var cases []specCase
	for name, useless := range map[string]*tuftest.Key{
		"unknown keytype":  specKey.With(func(k *tuftest.Key) { k.Type, k.Scheme = "sphincs", "sphincs" }),
		"unknown scheme":   specKey.With(func(k *tuftest.Key) { k.Scheme = "ed25519ph" }),
		"RSA of 1024 bits": tuftest.NewKey(tuftest.RSA1024, 0),
		"broken PEM":       tuftest.NewKey(tuftest.RSA, 0).With(func(k *tuftest.Key) { k.Public = k.Public[:100] }),
		"short ed25519":    specKey.With(func(k *tuftest.Key) { k.Public = k.Public[:62] }),
	} {
		good := tuftest.NewKey(tuftest.Ed25519, 61)
		for _, s := range []struct {
			name      string
			threshold int
			keys      []*tuftest.Key
			code      protocol.Code
		}{
			{"alone", 1, []*tuftest.Key{useless}, protocol.CodeUnsigned},
			{"needed", 2, []*tuftest.Key{useless, good}, protocol.CodeUnsigned},
			{"not needed", 1, []*tuftest.Key{useless, good}, ""},
		} {
			for _, role := range []string{"root", "targets"} {
				cases = append(cases, specCase{name: fmt.Sprintf("%s, %s, for %s", name, s.name, role), code: s.code, role: "targets", play: func(r *tuftest.Repo) {
					r.SetKeys(role, s.threshold, s.keys...)
					r.PublishRoot()
					r.Publish("targets")
				}})
			}
		}
	}
	return cases
}

// expiryCases lets each role expire at the very second of the start, which is
// expired, and one second later, which is not.
func expiryCases() []specCase {
	var cases []specCase
	for _, role := range []string{"root", "timestamp", "snapshot", "targets", "team"} {
		for _, at := range []time.Duration{-time.Hour, 0, time.Second} {
			c := specCase{name: fmt.Sprintf("%s expires at %s", role, at), path: teamTool, role: "team", play: func(r *tuftest.Repo) {
				r.Role(role).Signed["expires"] = specTime(at)
				if role == "root" {
					r.PublishRoot()
				}
				r.Publish("targets", "team")
			}}
			if at <= 0 {
				c.code = protocol.CodeExpired
			}
			cases = append(cases, c)
		}
	}
	return cases
}

func signerCases() []specCase {
	var cases []specCase
	for _, role := range []string{"root", "timestamp", "snapshot", "targets", "team"} {
		for name, signers := range map[string][]*tuftest.Key{
			"a stranger": {tuftest.NewKey(tuftest.Ed25519, 900)}, "nobody": {},
			"a stranger under a listed keyid": nil,
		} {
			cases = append(cases, specCase{name: role + " signed by " + name, path: teamTool, code: protocol.CodeUnsigned, play: func(r *tuftest.Repo) {
				own := r.Role(role).Signers[0].ID
				r.Role(role).Signers = append([]*tuftest.Key{}, signers...)
				if signers == nil {
					r.Role(role).Signers = []*tuftest.Key{tuftest.NewKey(tuftest.Ed25519, 900).As(own)}
				}
				if role == "root" {
					r.PublishRoot()
				}
				r.Publish("targets", "team")
			}})
		}
	}
	return cases
}

func versionCases() []specCase {
	snapshotMeta := func(r *tuftest.Repo, edit func(meta tuftest.Map)) {
		r.Snapshot.EditSigned = func(s tuftest.Map) { edit(s["meta"].(tuftest.Map)) }
	}
	return []specCase{
		{name: "news", role: "targets", play: func(r *tuftest.Repo) { r.PublishRoot(); r.Publish("targets") }},
		{name: "no news", role: "targets", play: func(*tuftest.Repo) {}},
		{name: "timestamp goes back", code: protocol.CodeRollback, play: func(r *tuftest.Repo) { r.Timestamp.SetVersion(0); r.PublishTimestamp() }},
		{name: "snapshot goes back", code: protocol.CodeRollback, play: func(r *tuftest.Repo) { r.Snapshot.SetVersion(0); r.Publish() }},
		{name: "targets goes back", code: protocol.CodeRollback, play: func(r *tuftest.Repo) { r.Targets.SetVersion(0); r.Publish("targets") }},
		{name: "a delegated role goes back", code: protocol.CodeRollback, play: func(r *tuftest.Repo) { r.Role("team").SetVersion(0); r.Publish("team") }},
		{name: "a role vanishes", code: protocol.CodeRollback, play: func(r *tuftest.Repo) {
			snapshotMeta(r, func(meta tuftest.Map) { delete(meta, "team.json") })
			r.Publish()
		}},
		{name: "root is no next version", code: protocol.CodeBadVersion, play: func(r *tuftest.Repo) {
			r.Root.EditSigned = func(s tuftest.Map) { s["version"] = 3 }
			r.PublishRoot()
		}},
		{name: "root is the same version", code: protocol.CodeRollback, pythonCode: protocol.CodeBadVersion, play: func(r *tuftest.Repo) {
			r.Root.EditSigned = func(s tuftest.Map) { s["version"] = 1 }
			r.PublishRoot()
		}},
		{name: "snapshot of another version than announced", code: protocol.CodeBadVersion, play: func(r *tuftest.Repo) {
			r.Snapshot.EditSigned = func(s tuftest.Map) { s["version"] = 77 }
			r.Publish()
		}},
		{name: "targets of another version than announced", code: protocol.CodeBadVersion, play: func(r *tuftest.Repo) {
			r.Targets.EditSigned = func(s tuftest.Map) { s["version"] = 77 }
			r.Publish("targets")
		}},
		{name: "a delegated role is not in the snapshot", path: "late/x", code: protocol.CodeNotInSnapshot, play: func(r *tuftest.Repo) {
			r.Delegate("targets", tuftest.Delegation{Name: "late", Paths: []string{"late/*"}})
			snapshotMeta(r, func(meta tuftest.Map) { delete(meta, "late.json") })
			r.Publish("targets", "late")
		}},
		{name: "snapshot of another hash", code: protocol.CodeMismatch, play: func(r *tuftest.Repo) {
			r.Timestamp.EditSigned = func(s tuftest.Map) {
				s["meta"].(tuftest.Map)["snapshot.json"].(tuftest.Map)["hashes"] = tuftest.Map{"sha256": tuftest.SHA256(nil)}
			}
			r.Publish()
		}},
		{name: "targets of another hash", code: protocol.CodeMismatch, play: func(r *tuftest.Repo) {
			snapshotMeta(r, func(meta tuftest.Map) {
				meta["targets.json"].(tuftest.Map)["hashes"] = tuftest.Map{"sha256": tuftest.SHA256(nil)}
			})
			r.Publish("targets")
		}},
		{name: "targets shorter than announced", code: protocol.CodeMismatch, play: func(r *tuftest.Repo) {
			snapshotMeta(r, func(meta tuftest.Map) {
				m := meta["targets.json"].(tuftest.Map)
				delete(m, "hashes")
				m["length"] = m["length"].(int) + 1
			})
			r.Publish("targets")
		}},
		{name: "targets longer than announced", code: protocol.CodeEndlessData, play: func(r *tuftest.Repo) {
			snapshotMeta(r, func(meta tuftest.Map) {
				m := meta["targets.json"].(tuftest.Map)
				delete(m, "hashes")
				m["length"] = m["length"].(int) - 1
			})
			r.Publish("targets")
		}},
		{name: "recovery from a fast-forward", role: "targets", play: func(r *tuftest.Repo) {
			r.SetKeys("snapshot", 1, tuftest.NewKey(tuftest.Ed25519, 62))
			r.PublishRoot()
			r.Timestamp.SetVersion(0)
			r.Snapshot.SetVersion(0)
			r.Targets.SetVersion(0)
			r.Publish("targets")
		}},
	}
}

func formatCases() []specCase {
	const large = tuftest.Verbatim("9007199254740993")
	double := func(list []any) []any { return append(list, list[0]) }
	return []specCase{
		{name: "spec_version 2", code: protocol.CodeMalformed, play: func(r *tuftest.Repo) { r.Targets.Signed["spec_version"] = "2.0.0"; r.Publish("targets") }},
		{name: "a keyid signs twice", code: protocol.CodeMalformed, play: func(r *tuftest.Repo) { r.Timestamp.EditSignatures = double; r.Publish() }},
		{name: "a null target", code: protocol.CodeMalformed, play: func(r *tuftest.Repo) {
			r.Targets.Signed["targets"].(tuftest.Map)["null"] = nil
			r.Publish("targets")
		}},
		{name: "version 0", code: protocol.CodeMalformed, play: func(r *tuftest.Repo) {
			r.Timestamp.EditSigned = func(s tuftest.Map) { s["version"] = 0 }
			r.Publish()
		}},
		{name: "an odd signature beside", role: "targets", goCode: protocol.CodeUnrepresentable, play: func(r *tuftest.Repo) { r.Timestamp.EditSignatures = oddSignature; r.Publish() }},
		{name: "a number beyond a float's", role: "targets", goCode: protocol.CodeUnrepresentable, play: func(r *tuftest.Repo) {
			r.Targets.Signed["x-large"] = large
			r.Publish("targets")
		}},
		{name: "a forgery that go-tuf cannot represent", code: protocol.CodeUnsigned, play: func(r *tuftest.Repo) {
			r.Targets.Signed["x-large"] = large
			r.Targets.Signers = tuftest.Keys(900, 1)
			r.Publish("targets")
		}},
	}
}

func delegationCases() []specCase {
	prefix := func(p string) tuftest.Delegation { return tuftest.Delegation{Name: "bin", HashPrefixes: []string{p}} }
	in := func(d tuftest.Delegation, path string) func(r *tuftest.Repo) {
		return func(r *tuftest.Repo) {
			r.Delegate("targets", d)
			r.AddTarget(d.Name, path, forged, nil)
			r.Publish("targets", d.Name)
		}
	}
	digest := tuftest.SHA256([]byte("x"))
	paths := func(globs ...string) tuftest.Delegation { return tuftest.Delegation{Name: "guest", Paths: globs} }
	return []specCase{
		{name: "inside its paths", path: teamTool, role: "team", play: func(*tuftest.Repo) {}},
		{name: "outside its paths", path: "other/x", play: in(paths("team/*"), "other/x")},
		{name: "a star is one level", path: "a/b/c", play: in(paths("a/*"), "a/b/c")},
		{name: "outside a negated set", path: "a", play: in(paths("[!a]"), "a")},
		{name: "inside a negated set", path: "b", role: "guest", play: in(paths("[!a]"), "b")},
		{name: "inside its hash prefix", path: "x", role: "bin", play: in(prefix(digest[:3]), "x")},
		{name: "outside its hash prefix", path: "x", play: in(prefix(strings.Repeat("0", 3)), "x")},
		{name: "hash prefix in base64", path: "x", play: in(prefix("LX"), "x")},
		{name: "neither paths nor prefixes", path: "x", pythonCode: protocol.CodeUnrepresentable, play: in(tuftest.Delegation{Name: "guest"}, "x")},
		{name: "terminating", path: teamTool + "2", play: func(r *tuftest.Repo) {
			delete(r.Targets.Signed, "delegations")
			r.Delegate("targets", tuftest.Delegation{Name: "team", Paths: []string{"team/*"}, Terminating: true})
			in(paths("team/*"), teamTool+"2")(r)
		}},
		{name: "signed for another delegator only", path: "two/x", code: protocol.CodeUnsigned, play: func(r *tuftest.Repo) {
			r.Delegate("targets", tuftest.Delegation{Name: "one", Paths: []string{"*/*"}})
			r.Delegate("targets", tuftest.Delegation{Name: "two", Paths: []string{"two/*"}})
			r.Delegate("one", tuftest.Delegation{Name: "shared", Paths: []string{"one/*"}, Keys: tuftest.Keys(80, 1)})
			r.Delegate("two", tuftest.Delegation{Name: "shared", Paths: []string{"two/*"}, Keys: tuftest.Keys(81, 1)})
			r.AddTarget("shared", "two/x", forged, nil)
			r.Publish("targets", "one", "two", "shared")
		}},
	}
}

// TestEachEngineAlone: the fallback table is the second lock. This is the first:
// what must be refused is refused by each engine by itself, with the right code,
// and what is in order is accepted.
func TestEachEngineAlone(t *testing.T) {
	w := newWorld(t)
	c := w.client(ModePython)
	python := c.python
	var cases []specCase
	for _, more := range [][]specCase{thresholdCases(), keySetCases(), expiryCases(), signerCases(), versionCases(), formatCases(), delegationCases()} {
		cases = append(cases, more...)
	}
	for _, tt := range cases {
		repo := tuftest.NewRepo(tuftest.Config{})
		repo.Delegate("targets", tuftest.Delegation{Name: "team", Paths: []string{"team/*"}})
		repo.AddTarget("targets", plugin, content, nil)
		repo.AddTarget("team", teamTool, content, nil)
		repo.Publish("targets", "team")
		repo.Publish("targets", "team")
		trusts := hold(t, repo)
		tt.play(repo)
		if tt.path == "" {
			tt.path = plugin
		}
		server := tuftest.NewServer(repo)
		remote := source.Remote{Client: c.mirrors.all[0].remote.Client, MetadataURL: server.URL + "/metadata"}
		for _, e := range []engine.Engine{engine.Guard(gotuf.Engine{}, time.Minute), python} {
			t.Run(tt.name+"/"+e.Name(), func(t *testing.T) {
				code := tt.code
				switch {
				case e.Name() == gotuf.Name && tt.goCode != "":
					code = tt.goCode
				case e.Name() == python.Name() && tt.pythonCode != "":
					code = tt.pythonCode
				}
				inquiry := source.Inquire(remote, &source.Memo{})
				defer inquiry.Close()
				out, err := e.Run(context.Background(), &engine.Operation{
					Root: trusts.root, Source: source.New(inquiry, trusts), Start: specStart,
					Targets: []string{tt.path}, MaxRoots: 8, MaxRoles: 8,
				})
				require.Equal(t, code, tuferr.CodeOf(err), err)
				if code == "" {
					require.Equal(t, map[string]string{tt.path: tt.role}, out.Answers)
				} else {
					require.Empty(t, out.Answers)
				}
			})
		}
		server.Close()
	}
}

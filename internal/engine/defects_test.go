package engine_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/ragnos-labs/vault-tuf/internal/pyenv/pyenvtest"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

// defect is one known defect of an engine's library that a wall of this project
// stands for.
type defect struct {
	name string
	// wall is what can go once upstream has mended it.
	wall string
	// repo plays the defect on a repository. It is judged by the plain library.
	repo func(r *tuftest.Repo)
	// present says whether the plain library still has it.
	present func(t *testing.T, r *tuftest.Repo) bool
}

// mended fails a test on the day when a defect is gone.
func mended(t *testing.T, wall string, present bool) {
	t.Helper()
	require.True(t, present, "mended upstream: remove the wall (%s) and this entry", wall)
}

func edit(key string, value any) func(r *tuftest.Repo) {
	return func(r *tuftest.Repo) { r.Targets.Signed[key] = value; r.Publish("targets") }
}

// entry replaces a field of a target.
func entry(key string, value any) func(r *tuftest.Repo) {
	return func(r *tuftest.Repo) {
		r.Targets.Signed["targets"].(tuftest.Map)["t"].(tuftest.Map)[key] = value
		r.Publish("targets")
	}
}

var twin = tuftest.NewKey(tuftest.Ed25519, 7)

const (
	representability = "admission and the question whether go-tuf can represent a file"
	admissionWall    = "package admission"
	walkWall         = "package delegation in place of go-tuf's matching"
	keysWall         = "package keys, which takes keys that cannot count out of the delegator"
)

// goDefects are those of go-tuf 2.4.2.
func goDefects() []defect {
	list := []defect{
		{name: "panics on a null target, signed by nobody", wall: admissionWall + " and the guard", present: goPanics, repo: func(r *tuftest.Repo) {
			r.NoHashes = true
			r.Targets.Signed["targets"].(tuftest.Map)["null"] = nil
			r.Targets.Signers = nil
			r.Publish("targets")
		}},
		{name: "panics on a timestamp without snapshot.json", wall: admissionWall + " and the guard", present: goPanics, repo: func(r *tuftest.Repo) {
			r.Timestamp.EditSigned = func(s tuftest.Map) { s["meta"] = tuftest.Map{} }
			r.Publish()
		}},
		{name: "panics on an ed25519 key of wrong length", wall: keysWall, present: goPanics, repo: func(r *tuftest.Repo) {
			key := twin.With(func(k *tuftest.Key) { k.Public = k.Public[:62] })
			r.SetKeys("targets", 1, key)
			r.PublishRoot()
			r.Publish("targets")
		}},
		{name: "ignores spec_version", wall: admissionWall, present: goAccepts, repo: edit("spec_version", "7.0.0")},
		{name: "takes targets: null", wall: admissionWall, present: goAccepts, repo: edit("targets", nil)},
		{name: "takes version 0", wall: admissionWall, present: goAccepts, repo: func(r *tuftest.Repo) {
			r.Targets.EditSigned = func(s tuftest.Map) { s["version"] = 0 }
			r.Snapshot.EditSigned = func(s tuftest.Map) { s["meta"].(tuftest.Map)["targets.json"].(tuftest.Map)["version"] = 0 }
			r.Publish("targets")
		}},
		{name: "takes one delegated role name twice", wall: admissionWall, present: goAccepts, repo: func(r *tuftest.Repo) {
			r.Delegate("targets", tuftest.Delegation{Name: "twice", Paths: []string{"a"}})
			r.Delegate("targets", tuftest.Delegation{Name: "twice", Paths: []string{"b"}})
			r.Publish("targets", "twice")
		}},
		{name: "ignores the scheme of a key", wall: keysWall, present: goAccepts, repo: func(r *tuftest.Repo) {
			r.SetKeys("targets", 1, twin.With(func(k *tuftest.Key) { k.Scheme = "no-such-scheme" }))
			r.PublishRoot()
			r.Publish("targets")
		}},
		{name: "counts RSA keys of 1024 bits", wall: keysWall, present: goAccepts, repo: func(r *tuftest.Repo) {
			r.SetKeys("targets", 1, tuftest.NewKey(tuftest.RSA1024, 0))
			r.PublishRoot()
			r.Publish("targets")
		}},
		{name: "one broken key fails a threshold that is met", wall: keysWall, present: goRefuses, repo: func(r *tuftest.Repo) {
			broken := tuftest.NewKey(tuftest.RSA, 0).With(func(k *tuftest.Key) { k.Public = "broken" })
			r.ListKeys("targets", 1, broken, twin)
			r.Targets.Signers = []*tuftest.Key{twin}
			r.PublishRoot()
			r.Publish("targets")
		}},
		{name: "a signature that is not hex fails the file", wall: representability, present: goRefuses, repo: func(r *tuftest.Repo) {
			r.Targets.EditSignatures = func(l []any) []any { return append(l, tuftest.Map{"keyid": "feed", "sig": "odd"}) }
			r.Publish("targets")
		}},
		{name: "calls metadata valid at the second when it expires", wall: "the nanosecond added to the start time", repo: func(*tuftest.Repo) {},
			present: func(*testing.T, *tuftest.Repo) bool {
				now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
				return !metadata.Targets(now).Signed.IsExpired(now)
			}},
		{name: "matches hash prefixes in base64", wall: walkWall, repo: func(*tuftest.Repo) {}, present: func(t *testing.T, _ *tuftest.Repo) bool {
			return !goTrusts(t, metadata.DelegatedRole{PathHashPrefixes: []string{tuftest.SHA256([]byte("a"))[:4]}}, "a")
		}},
		{name: "takes [!a] for a and the exclamation mark", wall: walkWall, repo: func(*tuftest.Repo) {}, present: func(t *testing.T, _ *tuftest.Repo) bool {
			return goTrusts(t, metadata.DelegatedRole{Paths: []string{"[!a]"}}, "a")
		}},
		{name: "does not verify a role again for another delegator", wall: "package delegation in place of go-tuf's walk", present: goSharesARole, repo: func(r *tuftest.Repo) {
			for n, name := range []string{"one", "two"} {
				r.Delegate("targets", tuftest.Delegation{Name: name, Paths: []string{name + "/*"}})
				r.Delegate(name, tuftest.Delegation{Name: "shared", Paths: []string{"*/x"}, Keys: tuftest.Keys(80+n, 1)})
			}
			r.AddTarget("shared", "one/x", []byte("x"), nil)
			r.AddTarget("shared", "two/x", []byte("x"), nil)
			r.Publish("targets", "one", "two", "shared")
		}},
	}
	// It verifies what it would write itself, not what was signed.
	for name, play := range map[string]func(r *tuftest.Repo){
		"an integer above 2^53":      edit("x-large", tuftest.Verbatim("9007199254740993")),
		"custom: null":               entry("custom", nil),
		"length: 0":                  metaLength,
		"a date-time with an offset": edit("expires", "2099-12-31T00:00:00+00:00"),
		"no consistent_snapshot": func(r *tuftest.Repo) {
			delete(r.Root.Signed, "consistent_snapshot")
			r.PublishRoot()
			r.Publish("targets")
		},
		"a field in another case":     edit("ver\u017fion", 77), // it comes after "version", and folds to it
		"delegations without a field": edit("delegations", tuftest.Map{"keys": tuftest.Map{}, "roles": []any{tuftest.Map{"name": "r", "keyids": []any{}, "threshold": 1, "paths": []any{}}}}),
	} {
		list = append(list, defect{name: "cannot represent " + name, wall: representability, repo: play, present: goRefuses})
	}
	return list
}

// metaLength gives a length of 0 to a file that does not count.
func metaLength(r *tuftest.Repo) {
	r.Snapshot.EditSigned = func(s tuftest.Map) {
		s["meta"].(tuftest.Map)["other.json"] = tuftest.Map{"version": 1, "length": 0}
	}
	r.Publish("targets")
}

// goRuns has plain go-tuf judge a repository in memory, from root version 1.
func goRuns(r *tuftest.Repo) (err error, panicked bool) {
	defer func() { panicked = recover() != nil }()
	tm, err := trustedmetadata.New(r.RootBytes(1))
	if err != nil {
		return err, false
	}
	if r.Root.Version > 1 {
		if _, err := tm.UpdateRoot(r.RootBytes(2)); err != nil {
			return err, false
		}
	}
	get := func(role *tuftest.Role) []byte {
		raw, _ := r.Get(r.MetadataName(role.Name, role.Version))
		return raw
	}
	if _, err := tm.UpdateTimestamp(get(r.Timestamp)); err != nil {
		return err, false
	}
	if _, err := tm.UpdateSnapshot(get(r.Snapshot), false); err != nil {
		return err, false
	}
	_, err = tm.UpdateTargets(get(r.Targets))
	return err, false
}

func goPanics(_ *testing.T, r *tuftest.Repo) bool {
	_, panicked := goRuns(r)
	return panicked
}

func goAccepts(_ *testing.T, r *tuftest.Repo) bool {
	err, panicked := goRuns(r)
	return err == nil && !panicked
}

func goRefuses(_ *testing.T, r *tuftest.Repo) bool {
	err, panicked := goRuns(r)
	return err != nil && !panicked
}

func goTrusts(t *testing.T, role metadata.DelegatedRole, path string) bool {
	ok, err := role.IsDelegatedPath(path)
	require.NoError(t, err)
	return ok
}

// goSharesARole looks a target up on each side of a diamond. The role in the
// middle is signed for the first delegator only.
func goSharesARole(t *testing.T, r *tuftest.Repo) bool {
	server := tuftest.NewServer(r)
	defer server.Close()
	cfg, err := config.New(server.MetadataURL(), r.RootBytes(1))
	require.NoError(t, err)
	cfg.LocalMetadataDir, cfg.LocalTargetsDir = t.TempDir(), t.TempDir()
	u, err := updater.New(cfg)
	require.NoError(t, err)
	require.NoError(t, u.Refresh())
	_, err = u.GetTargetInfo("one/x")
	require.NoError(t, err)
	_, err = u.GetTargetInfo("two/x")
	return err == nil
}

func newDefectRepo() *tuftest.Repo {
	r := tuftest.NewRepo(tuftest.Config{})
	r.AddTarget("targets", "t", []byte("t"), tuftest.Map{})
	r.Publish("targets")
	return r
}

func TestKnownDefectsOfGoTUF(t *testing.T) {
	require.True(t, goAccepts(t, newDefectRepo()), "the repository that the defects are shown on is sound")
	for _, d := range goDefects() {
		t.Run(d.name, func(t *testing.T) {
			r := newDefectRepo()
			d.repo(r)
			mended(t, d.wall, d.present(t, r))
		})
	}
}

// pythonProbes judges with plain python-tuf: one expression for each defect.
const pythonProbes = `
import base64, json, sys, datetime
from tuf.api.metadata import DelegatedRole, Key, Metadata, Root, TargetFile
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType, UpdaterConfig

def judge(files):
    ts = TrustedMetadataSet(files["root1"], EnvelopeType.METADATA)
    if "root2" in files: ts.update_root(files["root2"])
    ts.update_timestamp(files["timestamp"])
    ts.update_snapshot(files["snapshot"])
    return ts.update_targets(files["targets"])
def accepts(files): judge(files); return True
def refuses(files):
    try: judge(files)
    except Exception: return True
    return False
def weak_hash(files):
    judge(files).targets["t"].verify_length_and_hashes(b"t"); return True
def shortcut(files):
    # the question that decides whether a role is loaded again knows names alone
    import inspect
    return list(inspect.signature(TrustedMetadataSet.contains).parameters) == ["self", "role", "delegator"]
def glob(pattern, path): return DelegatedRole("r", [], 1, False, [pattern]).is_delegated_path(path)
def caret(files): return not glob("[^a]", "b")
def backslash(files): return not glob("\\*", "*")
def silent_bound(files): return UpdaterConfig().max_root_rotations == 256
PROBES = {f.__name__: f for f in (accepts, refuses, weak_hash, shortcut, caret, backslash, silent_bound)}
out = {}
for case in json.load(sys.stdin):
    files = {k: base64.b64decode(v) for k, v in case["files"].items()}
    try: out[case["name"]] = PROBES[case["probe"]](files)
    except Exception as e: out[case["name"]] = False; print(case["name"], repr(e), file=sys.stderr)
json.dump(out, sys.stdout)
`

// pythonDefects are those of python-tuf 7.0.1; the probe names a function of
// pythonProbes.
var pythonDefects = []struct {
	name, wall, probe string
	repo              func(r *tuftest.Repo)
}{
	{"counts keyids, not keys", "the worker's count of distinct keys", "accepts", func(r *tuftest.Repo) {
		r.SetKeys("targets", 2, twin, twin.With(func(k *tuftest.Key) { k.Extra = tuftest.Map{"x": 1} }))
		r.PublishRoot()
		r.Publish("targets")
	}},
	{"counts RSA keys of 1024 bits", "the worker's list of keys that count", "accepts", func(r *tuftest.Repo) {
		r.SetKeys("targets", 1, tuftest.NewKey(tuftest.RSA1024, 0))
		r.PublishRoot()
		r.Publish("targets")
	}},
	{"one unknown keytype fails the file, needed or not", "the worker's key that never verifies", "refuses", func(r *tuftest.Repo) {
		r.ListKeys("targets", 1, twin.With(func(k *tuftest.Key) { k.Type, k.Scheme = "sphincs", "sphincs" }), twin)
		r.Targets.Signers = []*tuftest.Key{twin}
		r.PublishRoot()
		r.Publish("targets")
	}},
	{"takes version: true", admissionWall, "accepts", func(r *tuftest.Repo) {
		r.NoHashes = true
		r.Targets.Version = 0
		r.Targets.EditSigned = func(s tuftest.Map) { s["version"] = true }
		r.Publish("targets")
	}},
	{"takes NaN outside the signed part", admissionWall, "accepts", func(r *tuftest.Repo) {
		r.NoHashes = true
		r.Targets.EditRaw = func(raw []byte) []byte { return append([]byte(`{"x":NaN,`), raw[1:]...) }
		r.Publish("targets")
	}},
	{"takes md5 as a target's only hash", "the target cache, which knows sha256 and sha512", "weak_hash", entry("hashes", tuftest.Map{"md5": "e358efa489f58062f10dd7316b65649e"})},
	{"tells roles by the name of their delegator", "the worker's place by the bytes of the delegator", "shortcut", nil},
	{"takes [^a] for a and the caret", "the worker's path matcher", "caret", nil},
	{"knows no backslash in a pattern", "the worker's path matcher", "backslash", nil},
	{"stops after 256 roots without a word", "the bound on roots, said aloud", "silent_bound", nil},
}

func TestKnownDefectsOfPythonTUF(t *testing.T) {
	type probe struct {
		Name  string            `json:"name"`
		Probe string            `json:"probe"`
		Files map[string][]byte `json:"files"`
	}
	probes := []probe{{Name: "sound", Probe: "accepts", Files: filesOf(newDefectRepo())}}
	for _, d := range pythonDefects {
		r := newDefectRepo()
		if d.repo != nil {
			d.repo(r)
		}
		probes = append(probes, probe{d.name, d.probe, filesOf(r)})
	}
	input, err := json.Marshal(probes)
	require.NoError(t, err)
	cmd := exec.Command(pyenvtest.Python(t), "-I", "-c", pythonProbes)
	stdin := filepath.Join(t.TempDir(), "probes")
	require.NoError(t, os.WriteFile(stdin, input, 0o600))
	cmd.Stdin, err = os.Open(stdin)
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	raw, err := cmd.Output()
	require.NoError(t, err)
	var present map[string]bool
	require.NoError(t, json.Unmarshal(raw, &present))
	require.True(t, present["sound"], "the repository that the defects are shown on is sound")
	for _, d := range pythonDefects {
		t.Run(d.name, func(t *testing.T) { mended(t, d.wall, present[d.name]) })
	}
}

// filesOf returns what a client of the repository gets to see.
func filesOf(r *tuftest.Repo) map[string][]byte {
	files := map[string][]byte{"root1": r.RootBytes(1)}
	if r.Root.Version > 1 {
		files["root2"] = r.RootBytes(2)
	}
	for _, role := range []*tuftest.Role{r.Timestamp, r.Snapshot, r.Targets} {
		files[role.Name], _ = r.Get(r.MetadataName(role.Name, role.Version))
	}
	return files
}

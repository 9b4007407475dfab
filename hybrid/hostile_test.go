//go:build unix

package hybrid

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// hostileWorker stands in the place of the interpreter: it ignores what it is
// to run and speaks the protocol without any python-tuf. "believe" asks for
// every file as python-tuf would, and calls all of it verified.
const hostileWorker = `
import base64, hashlib, json, os, sys, time
ID = SEQ = 0
def say(frame): sys.stdout.write(json.dumps(frame) + "\n"); sys.stdout.flush()
def ask(role, version=0, local=False):
    global SEQ
    SEQ += 1
    say({"id": ID, "event": "fetch", "fetch": {"seq": SEQ, "role": role, "version": version, "local": local}})
    f = json.loads(sys.stdin.readline())["fetched"]
    if f.get("error"): return f["error"], None
    data = base64.b64decode(f["data"])
    return None, data
def claim(role, data, delegator="root"):
    return {"role": role, "delegator": delegator, "version": json.loads(data)["signed"]["version"],
            "sha256": hashlib.sha256(data).hexdigest()}
def get(role, version=0, local=False, delegator="root"):
    err, data = ask(role, version, local)
    if err: no(err["code"]); raise EOFError
    return claim(role, data, delegator), json.loads(data)["signed"]
def roots(most=1000):
    out, v = [], json.loads(ROOT)["signed"]["version"] + 1
    while len(out) < most:
        err, data = ask("root", v)
        if err: break
        out.append(claim("root", data)); v += 1
    return out
def believe(verified=None, extra=()):
    out = roots() if verified is None else verified
    c, ts = get("timestamp"); out.append(c)
    c, snap = get("snapshot", ts["meta"]["snapshot.json"]["version"]); out.append(c)
    c, _ = get("targets", snap["meta"]["targets.json"]["version"]); out.append(c)
    for role, delegator in extra if P.get("targets") else ():
        c, _ = get(role, snap["meta"][role + ".json"]["version"], delegator=delegator); out.append(c)
    return out
def local():
    return [get(role, local=True)[0] for role in ("timestamp", "snapshot", "targets")]
def found(role="targets"):
    return {t: {"role": role, "length": 4, "hashes": {"sha256": "00" * 32}} for t in P.get("targets") or []}
def ok(verified, answers=None): say({"id": ID, "ok": True, "result": {"verified": verified, "answers": found() if answers is None else answers}})
def no(code, **detail): say({"id": ID, "ok": False, "error": {"code": code, "class": "verdict", "message": "says the worker", "role": "timestamp", "detail": detail}})
def run():
    %BODY%
sys.stdin.buffer.read(int(sys.argv[4])) # the script of the honest worker
say({"hello": {"protocol": 2, "pid": os.getpid(), "python": "3", "tuf": "7"}})
while True:
    line = sys.stdin.readline()
    if not line: break
    req = json.loads(line)
    if req["method"] == "shutdown": say({"id": req["id"], "ok": True}); break
    if req["method"] not in ("refresh", "lookup", "list"): continue
    ID, SEQ, P = req["id"], 0, req["params"]
    ROOT = ask("root", local=True)[1]
    try: run()
    except EOFError: pass
`

// hostilePython writes the worker as an executable and returns its path.
func hostilePython(t *testing.T, body string) string {
	t.Helper()
	python, err := exec.LookPath("python3")
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "python")
	script := "#!" + python + " -I\n" + strings.Replace(hostileWorker, "%BODY%", body, 1)
	require.NoError(t, os.WriteFile(path, []byte(script), 0o700))
	return path
}

// setting is a way in which a client comes to ask the worker.
type setting struct {
	name string
	mode Mode
	// odd: go-tuf cannot decode the timestamp. open: the breaker is open.
	odd, open bool
}

var settings = []setting{
	{"python", ModePython, false, false},
	{"auto, go-tuf cannot decode", ModeAuto, true, false},
	{"auto, breaker open", ModeAuto, false, true},
	{"dual", ModeDual, false, false},
}

// envLong asks for all of the long tests.
const envLong = "RAGNOS_TUF_LONG_TESTS"

// settingsFor returns mode python and one of the others, all others in turn, or
// all settings when that is asked for.
func settingsFor(turn int) []setting {
	if os.Getenv(envLong) != "" {
		return settings
	}
	return []setting{settings[0], settings[1+turn%(len(settings)-1)]}
}

// openBreaker reports faults until the breaker is open.
func openBreaker(c *Client) {
	for !c.brk.open() {
		if report, ok := c.brk.allow(); ok {
			report(failed)
		}
	}
}

var forged = []byte("EVIL bytes of the attacker's own")

// forge lists forged bytes for a target in a role and signs as nobody may.
func forge(w *world, role, target string) {
	r := w.repo.Role(role)
	w.repo.AddTarget(role, target, forged, nil)
	for i, k := range r.Signers {
		r.Signers[i] = tuftest.NewKey(tuftest.Ed25519, 700+i).As(k.ID)
	}
}

// hostileWorld is a repository with a delegated role, seen once and trusted, and
// then changed: to something new, or by an attack.
func hostileWorld(t *testing.T, odd bool, attack func(w *world)) *world {
	w := newWorld(t)
	w.repo.Delegate("targets", tuftest.Delegation{Name: "team", Paths: []string{"team/*"}})
	w.repo.AddTarget("team", "team/tool", []byte("a tool"), nil)
	w.repo.Publish("targets", "team")
	require.NoError(t, w.client(ModeGo).Refresh(context.Background()))
	if odd {
		w.repo.Timestamp.EditSignatures = oddSignature
	}
	attack(w)
	w.server.Forget()
	return w
}

// stored returns the metadata files of the trust store by name.
func (w *world) stored() map[string][]byte {
	files, err := filepath.Glob(filepath.Join(w.dir, "metadata", "*.json"))
	require.NoError(w.t, err)
	all := map[string][]byte{}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		require.NoError(w.t, err)
		all[filepath.Base(f)] = raw
	}
	return all
}

// cached returns every file of the cache.
func (w *world) cached() (files []string) {
	err := filepath.WalkDir(filepath.Join(w.dir, "cache"), func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		// What is hidden is not there for good, and nobody takes it for a target.
		if err == nil && e.Type().IsRegular() && !strings.HasPrefix(e.Name(), ".") {
			files = append(files, path)
		}
		return err
	})
	require.NoError(w.t, err)
	return files
}

// noHarm checks what must hold whatever a worker said: nothing in the cache, and
// in the trust store only what was there, or what the repository has published
// in the roles that are sound.
func (w *world) noHarm(before map[string][]byte, unsound ...string) {
	w.t.Helper()
	for _, f := range w.cached() {
		raw, err := os.ReadFile(f)
		require.NoError(w.t, err)
		require.Empty(w.t, raw, f)
	}
	published := w.repo.Files()
	for name, raw := range w.stored() {
		require.NotContains(w.t, string(raw), "EVIL")
		if bytes.Equal(raw, before[name]) {
			continue
		}
		role := strings.TrimSuffix(name, ".json")
		require.NotContains(w.t, unsound, role, "%s has changed", name)
		sound := false
		for _, p := range published {
			sound = sound || bytes.Equal(p, raw)
		}
		require.True(w.t, sound, "nobody published what is trusted as %s", name)
	}
}

// liars are workers that lie about a sound repository, or break.
var liars = map[string]string{
	"claims without fetching":     `ok([{"role": r, "delegator": "root", "version": 9, "sha256": "0" * 64} for r in ("timestamp", "snapshot", "targets")])`,
	"claims nothing at all":       `ok([])`,
	"claims bytes never served":   `v = believe(); v[-1]["sha256"] = "0" * 64; ok(v)`,
	"claims after half the work":  `v = believe(); ok(v[:-1])`,
	"claims another version":      `v = believe(); v[-1]["version"] += 1; ok(v)`,
	"freeze: only what it had":    `roots(); ok(local())`,
	"freeze: no timestamp asked":  `v = roots(); l = local(); ok(v + l)`,
	"freeze: timestamp, then old": `v = roots(); get("timestamp"); ok(v + local())`,
	"old targets, new snapshot":   `v = believe(); v[-1] = get("targets", local=True)[0]; ok(v)`,
	"older targets":               `v = believe(); v[-1] = get("targets", 1)[0]; ok(v)`,
	"stops the root chain early":  `ok(believe(roots(1)))`,
	"asks for no root":            `ok(believe([]))`,
	"hides a new root":            `ok(believe(roots()[:-1]))`,
	"claims roots out of order":   `v = roots(); v.reverse(); ok(believe(v))`,
	"snapshot as targets":         `v = believe(); v[-1]["sha256"] = v[-2]["sha256"]; ok(v)`,
	"answers for others":          `v = believe(); ok(v, {"other": {"role": "targets", "length": 1, "hashes": {}}})`,
	"answers another request":     `v = believe(); say({"id": ID + 7, "ok": True, "result": {"verified": v, "answers": {}}})`,
	"answers twice":               `v = roots(1); ok(v); ok(v)`,
	"no JSON":                     `sys.stdout.write("verified\n"); sys.stdout.flush()`,
	"floods":                      `[sys.stdout.write("x" * (8 << 20)) for _ in range(13)]; sys.stdout.flush()`,
	"floods with questions":       "while True: ask('timestamp')",
	"dies at once":                `os._exit(0)`,
	"dies half way":               `roots(); get("timestamp"); os.kill(os.getpid(), 9)`,
	"is too slow":                 `believe(); time.sleep(600)`,
	"claims a bad signature":      `believe(); no("unsigned")`,
}

// TestHostileWorkerOnGoodRepository: the repository has news and is sound, the
// worker lies about it or breaks. It is believed nothing. Where go-tuf may be
// asked after it, go-tuf answers with what is true.
func TestHostileWorkerOnGoodRepository(t *testing.T) {
	t.Parallel()
	for i, name := range slices.Sorted(maps.Keys(liars)) {
		body := liars[name]
		for _, s := range settingsFor(i) {
			t.Run(name+"/"+s.name, func(t *testing.T) {
				t.Parallel()
				w := hostileWorld(t, s.odd, func(w *world) {
					w.repo.PublishRoot()
					w.repo.PublishRoot()
					w.repo.Publish("targets", "team")
				})
				before := w.stored()
				c := w.client(s.mode, func(o *Options) {
					o.Python, o.EngineTimeout = hostilePython(t, body), time.Second
				})
				if s.open {
					openBreaker(c)
				}
				r, err := c.VerifyAndDownloadPlugin(context.Background(), plugin, DownloadOptions{})
				if err == nil {
					require.True(t, s.open, "the worker was believed")
					require.Equal(t, "go", r.Engine)
					require.Equal(t, Versions{Root: 3, Timestamp: 4, Snapshot: 4, Targets: 4}, r.Versions)
					raw, err := os.ReadFile(r.Path)
					require.NoError(t, err)
					require.Equal(t, content, raw)
					return
				}
				var e *Error
				require.ErrorAs(t, err, &e)
				require.Contains(t, []protocol.Class{protocol.ClassFault, protocol.ClassVerdict}, e.Class(), err)
				w.noHarm(before)
				w.repo.Timestamp.EditSignatures = nil
				w.repo.PublishTimestamp()
				require.Equal(t, int64(4), w.get(w.client(ModeGo)).Versions.Targets, "a later run works")
			})
		}
	}
}

// expire publishes a role that has expired.
func expire(role string) func(w *world) {
	return func(w *world) {
		w.repo.Role(role).Signed["expires"] = time.Now().UTC().Add(-time.Second).Format("2006-01-02T15:04:05Z")
		w.repo.Publish("targets", "team")
	}
}

// What the worker says to an attack: all of it is verified, and all of it with the
// delegated role.
const believing = `ok(believe())`
const believingTeam = `ok(believe(extra=[("team", "targets")]), found("team"))`

// attacks are what a repository may be made to serve, and what mode python then
// says; unsound are the roles that must not be trusted.
var attacks = map[string]struct {
	attack  func(w *world)
	body    string
	target  string
	code    protocol.Code
	unsound []string
}{
	"forged root": {func(w *world) { w.repo.Root.Signers = tuftest.Keys(800, 1); w.repo.PublishRoot() }, believing, plugin,
		protocol.CodeUnsigned, []string{"root", "timestamp", "snapshot", "targets"}},
	"forged timestamp": {func(w *world) {
		w.repo.Publish("targets")
		w.repo.Timestamp.Signers = tuftest.Keys(800, 1)
		w.repo.PublishTimestamp()
	}, believing, plugin, protocol.CodeUnsigned, []string{"timestamp", "snapshot", "targets"}},
	"forged snapshot": {func(w *world) { w.repo.Snapshot.Signers = tuftest.Keys(800, 1); w.repo.Publish("targets") }, believing, plugin,
		protocol.CodeUnsigned, []string{"snapshot", "targets"}},
	"forged targets": {func(w *world) { forge(w, "targets", plugin); w.repo.Publish("targets") }, believing, plugin,
		protocol.CodeUnsigned, []string{"targets"}},
	"forged delegated role": {func(w *world) { forge(w, "team", "team/tool"); w.repo.Publish("team") }, believingTeam, "team/tool",
		protocol.CodeUnsigned, []string{"team"}},
	"a role outside its paths": {func(w *world) {
		w.repo.AddTarget("team", "other/x", []byte("honestly signed"), nil)
		w.repo.Publish("team")
	},
		believingTeam, "other/x", protocol.CodeNotFound, nil},
	"a target nobody lists": {func(w *world) { w.repo.Publish("team") }, believingTeam, "team/none",
		protocol.CodeEngineInternal, nil},
	"a role that nobody delegates to": {func(w *world) {
		w.repo.Delegate("team", tuftest.Delegation{Name: "guest", Paths: []string{"x/*"}})
		w.repo.AddTarget("guest", "team/x", []byte("honestly signed"), nil)
		w.repo.Publish("team", "guest")
	}, `ok(believe(extra=[("guest", "targets")]), found("guest"))`, "team/x", protocol.CodeUnsigned, []string{"guest"}},
	"expired root": {func(w *world) {
		w.repo.Root.Signed["expires"] = "2020-01-01T00:00:00Z"
		w.repo.PublishRoot()
		w.repo.Publish("targets")
	}, believing, plugin, protocol.CodeExpired, []string{"timestamp", "snapshot", "targets"}},
	"expired timestamp": {expire("timestamp"), believing, plugin, protocol.CodeExpired, []string{"timestamp", "snapshot", "targets"}},
	"expired snapshot":  {expire("snapshot"), believing, plugin, protocol.CodeExpired, []string{"snapshot", "targets"}},
	"expired targets":   {expire("targets"), believing, plugin, protocol.CodeExpired, []string{"targets"}},
	"expired team":      {expire("team"), believingTeam, "team/tool", protocol.CodeExpired, []string{"team"}},
	"rollback of the timestamp": {func(w *world) {
		w.repo.Timestamp.SetVersion(1)
		w.repo.PublishTimestamp()
	}, believing, plugin, protocol.CodeRollback, []string{"timestamp", "snapshot", "targets"}},
	"rollback of the snapshot": {func(w *world) {
		w.repo.Snapshot.SetVersion(1)
		w.repo.Publish("targets")
	}, believing, plugin, protocol.CodeRollback, []string{"timestamp", "snapshot", "targets"}},
	"rollback of targets": {func(w *world) {
		w.repo.Targets.SetVersion(1)
		w.repo.Publish("targets")
	}, believing, plugin, protocol.CodeRollback, []string{"snapshot", "targets"}},
	"a role has vanished": {func(w *world) {
		w.repo.Snapshot.EditSigned = func(s tuftest.Map) { delete(s["meta"].(tuftest.Map), "team.json") }
		w.repo.Publish("targets")
	}, believing, plugin, protocol.CodeRollback, []string{"snapshot", "targets"}},
	"rollback, and the worker hides it": {func(w *world) {
		w.repo.Timestamp.SetVersion(1)
		w.repo.PublishTimestamp()
	}, `v = roots(); get("timestamp"); ok(v + local())`, plugin, protocol.CodeEngineInternal, []string{"timestamp"}},
	"snapshot of another hash": {func(w *world) {
		old, _ := w.repo.Get("metadata/3.snapshot.json")
		w.repo.Publish("targets")
		w.repo.Put("metadata/4.snapshot.json", append(old, '\n'))
	}, believing, plugin, protocol.CodeMismatch, []string{"snapshot", "targets"}},
	"targets of another hash": {func(w *world) {
		old, _ := w.repo.Get("metadata/3.targets.json")
		w.repo.Publish("targets")
		w.repo.Put("metadata/4.targets.json", old)
	}, believing, plugin, protocol.CodeMismatch, []string{"targets"}},
	"one key for a threshold of two": {func(w *world) {
		key := tuftest.NewKey(tuftest.Ed25519, 60)
		w.repo.SetKeys("targets", 2, key, key.With(func(k *tuftest.Key) { k.Extra = tuftest.Map{"x": "y"} }))
		w.repo.PublishRoot()
		w.repo.Publish("targets")
	}, believing, plugin, protocol.CodeUnsigned, []string{"targets"}},
	"not the next root": {func(w *world) {
		w.repo.Root.EditSigned = func(s tuftest.Map) { s["version"] = 7 }
		w.repo.PublishRoot()
	}, `ok(believe(roots(1)))`, plugin, protocol.CodeProtocol, []string{"root"}},
}

// TestHostileWorkerOnAttackedRepository: the repository is an attacker's, and
// the worker calls everything verified that it is given.
func TestHostileWorkerOnAttackedRepository(t *testing.T) {
	t.Parallel()
	for i, name := range slices.Sorted(maps.Keys(attacks)) {
		tt := attacks[name]
		for _, s := range settingsFor(i) {
			t.Run(name+"/"+s.name, func(t *testing.T) {
				t.Parallel()
				w := hostileWorld(t, s.odd, func(w *world) {
					tt.attack(w)
					if s.odd && w.repo.Timestamp.Version == 3 {
						w.repo.PublishTimestamp()
					}
				})
				before := w.stored()
				c := w.client(s.mode, func(o *Options) { o.Python = hostilePython(t, tt.body) })
				if s.open {
					openBreaker(c)
				}
				r, err := c.VerifyAndDownloadPlugin(context.Background(), tt.target, DownloadOptions{})
				require.Nil(t, r)
				var e *Error
				require.ErrorAs(t, err, &e)
				if s.mode == ModePython {
					require.Equal(t, tt.code, e.Code, err)
				}
				require.Contains(t, []protocol.Class{protocol.ClassFault, protocol.ClassVerdict, protocol.ClassNotFound}, e.Class(), err)
				w.noHarm(before, tt.unsound...)
			})
		}
	}
}

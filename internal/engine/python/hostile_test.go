//go:build unix

package python

import (
	"context"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func kill(pid int) error { return syscall.Kill(pid, syscall.SIGKILL) }

// hostile is a worker without python-tuf that does what the body of run says.
const hostile = `
import base64, hashlib, json, sys
ID = SEQ = 0
def say(frame): print(json.dumps(frame), flush=True)
def get(role, version=0, local=False, have=None):
    global SEQ
    SEQ += 1
    say({"id": ID, "event": "fetch", "fetch": {"seq": SEQ, "role": role, "version": version, "local": local, "have": have}})
    f = json.loads(sys.stdin.readline())["fetched"]
    if f.get("error") or f.get("same"): return f.get("error") or f
    data = base64.b64decode(f["data"])
    return {"role": role, "delegator": "root", "version": json.loads(data)["signed"]["version"],
            "sha256": hashlib.sha256(data).hexdigest()}
def trusted(): return get("root", local=True)
def honest():
    return [get("root", 2), get("timestamp"), get("snapshot", 1), get("targets", 1)]
def ok(verified, answers=None): say({"id": ID, "ok": True, "result": {"verified": verified, "answers": answers or {}}})
def no(code, **detail):
    say({"id": ID, "ok": False, "error": {"code": code, "class": "verdict", "message": "lies\x1b[2J" * 999, "role": "timestamp", "detail": detail}})
def found(role="targets"): return {"role": role, "length": 1, "hashes": {"sha256": "00"}}
def run():
    %BODY%
say({"hello": {"protocol": 2, "pid": 1, "python": "3", "tuf": "7"}})
while True:
    line = sys.stdin.readline()
    if not line: break
    req = json.loads(line)
    if req["method"] == "shutdown":
        say({"id": req["id"], "ok": True}); break
    ID, SEQ = req["id"], 0
    T = trusted()
    run()
`

func hostileEngine(t *testing.T, body string) *Engine {
	t.Helper()
	bare, err := exec.LookPath("python3")
	require.NoError(t, err)
	script := []byte(strings.Replace(hostile, "%BODY%", body, 1))
	return newEngine(t, bare, script)
}

// small is a repository with a second root and one target, "t".
func small() *memory {
	r := tuftest.NewRepo(tuftest.Config{})
	r.PublishRoot()
	return newMemory(r)
}

func TestHostileWorker(t *testing.T) {
	const lie = protocol.CodeProtocol
	tests := map[string]struct {
		body string
		code protocol.Code
	}{
		"honest":                    {`ok(honest(), {"t": found()})`, ""},
		"lies about length":         {`ok(honest(), {"t": {"role": "targets", "length": 10**12, "hashes": {}}})`, ""},
		"verified nothing":          {`honest(); ok([], {"t": None})`, lie},
		"never asked":               {`ok([{"role": "timestamp", "delegator": "root", "version": 1, "sha256": "0" * 64}], {"t": None})`, lie},
		"digest never served":       {`v = honest(); v[3]["sha256"] = "0" * 64; ok(v, {"t": None})`, lie},
		"digest of another role":    {`v = honest(); v[3]["sha256"] = v[2]["sha256"]; ok(v, {"t": None})`, lie},
		"digest in upper case":      {`v = honest(); v[3]["sha256"] = v[3]["sha256"].upper(); ok(v, {"t": None})`, lie},
		"another version":           {`v = honest(); v[1]["version"] += 1; ok(v, {"t": None})`, lie},
		"another role's name":       {`v = honest(); v[3]["role"] = "evil"; ok(v, {"t": None})`, lie},
		"another delegator":         {`v = honest(); v[3]["delegator"] = "targets"; ok(v, {"t": None})`, lie},
		"a root twice":              {`v = honest(); ok([v[0]] + v, {"t": None})`, lie},
		"a root too late":           {`v = honest(); ok(v[1:] + v[:1], {"t": None})`, lie},
		"snapshot before timestamp": {`v = honest(); ok([v[0], v[2], v[1], v[3]], {"t": None})`, lie},
		"timestamp again":           {`v = honest(); ok(v[:3] + [v[1]] + v[3:], {"t": None})`, lie},
		"targets twice":             {`v = honest(); ok(v + v[3:], {"t": None})`, lie},
		"targets before snapshot":   {`v = honest(); ok([v[1], v[3], v[2]], {"t": None})`, lie},
		"no targets":                {`ok(honest()[:3], {"t": None})`, lie},
		"no answer":                 {`ok(honest())`, lie},
		"answer for another":        {`ok(honest(), {"u": found()})`, lie},
		"one answer too many":       {`ok(honest(), {"t": found(), "u": found()})`, lie},
		"found in no verified role": {`ok(honest(), {"t": found("evil")})`, lie},
		"found in a snapshot":       {`ok(honest(), {"t": found("snapshot")})`, lie},
		"result is a list":          {`honest(); say({"id": ID, "ok": True, "result": [1]})`, lie},
		"result is missing":         {`honest(); say({"id": ID, "ok": True})`, lie},
		"result of other types":     {`honest(); say({"id": ID, "ok": True, "result": {"verified": "all"}})`, lie},
		"root out of turn":          {`get("root", 3); ok(honest())`, lie},
		"root from far away":        {`get("root", 2**62); ok(honest())`, lie},
		"the same root again":       {`get("root", 2); get("root", 2); ok([])`, lie},
		"root after a timestamp":    {`get("timestamp"); get("root", 2); ok([])`, lie},
		"trusted root again":        {`trusted(); ok(honest(), {"t": found()})`, lie},
		"verified trusted root":     {`ok([T] + honest(), {"t": found()})`, lie},
		"guessed digest":            {`v = honest(); v[1]["sha256"] = get("timestamp", have="0" * 64)["sha256"]; ok(v, {"t": found()})`, ""},
		"digest in upper case had":  {`v = honest(); v[1]["sha256"] = get("timestamp", have=v[1]["sha256"].upper())["sha256"]; ok(v, {"t": found()})`, ""},
		"digest of another had":     {`v = honest(); v[1]["sha256"] = get("timestamp", have=v[2]["sha256"])["sha256"]; ok(v, {"t": found()})`, ""},
		"same bytes not sent again": {`v = honest(); assert get("timestamp", have=v[1]["sha256"])["same"]; ok(v, {"t": found()})`, ""},
		"same, but another version": {`v = honest(); get("timestamp", have=v[1]["sha256"]); v[1]["version"] += 1; ok(v, {"t": found()})`, lie},
		"asks for ever":             {"while not get('timestamp').get('code'): pass\n    ok([])", lie},
		"goes on after an error":    {`get("nonsense", 7); ok(honest(), {"t": None})`, lie},
		"success after an error":    {`v = honest(); get("nonsense", 7); ok(v, {"t": None})`, lie},
		"verdict":                   {`honest(); no("rollback")`, protocol.CodeRollback},
		"verdict with lies":         {`no("rollback", verified=[{"role": "root", "delegator": "root", "version": 2, "sha256": "0" * 64}])`, lie},
		"verdict with nonsense":     {`no("rollback", verified=7)`, lie},
		"unknown code":              {`no("dunno")`, protocol.CodeEngineInternal},
		"fault":                     {`no("unrepresentable")`, protocol.CodeUnrepresentable},
		"claims transport":          {`no("unreachable")`, lie},
		"claims local":              {`no("disk_full")`, lie},
		"claims usage":              {`no("usage")`, lie},
		"claims not found":          {`no("not_found")`, lie},
		"claims cancelled":          {`no("cancelled")`, lie},
		"claims timeout":            {`no("timeout")`, lie},
		"another transport error":   {`get("nonsense", 7); no("unreachable")`, protocol.CodeHTTPStatus},
		"a verdict after an error":  {`get("nonsense", 7); no("rollback")`, protocol.CodeHTTPStatus},
		"the error that it got":     {`no(get("nonsense", 7)["code"])`, protocol.CodeHTTPStatus},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := hostileEngine(t, tt.body)
			out, err := e.Run(t.Context(), small().operation(t, "t"))
			require.NotNil(t, out)
			require.Equal(t, tt.code, tuferr.CodeOf(err), err)
			if tt.code == "" {
				require.Equal(t, map[string]string{"t": "targets"}, out.Answers)
			} else {
				require.Empty(t, out.Answers)
			}
			if tt.code == lie {
				require.Equal(t, &engine.Outcome{}, out, "nothing of it may be kept")
				require.Eventually(t, func() bool { return e.sup.Status().PID == 0 }, 20*time.Second, time.Millisecond, "it is killed")
			}
			if err != nil {
				require.NotContains(t, err.Error(), "\x1b")
				require.Less(t, len(err.Error()), 3<<10)
			}
		})
	}
}

func TestHostileAnswersToARefresh(t *testing.T) {
	e := hostileEngine(t, `ok(honest(), {"t": found()})`)
	for _, all := range []bool{false, true} {
		op := small().operation(t)
		op.All = all
		_, err := refused(t, e, op)
		require.Equal(t, protocol.CodeProtocol, err.Code)
	}
}

func TestHostileEvidenceIsTheHosts(t *testing.T) {
	m := small()
	e := hostileEngine(t, `honest(); no("rollback", trusted=99, received=98)`)
	_, err := refused(t, e, m.operation(t, "t"))
	require.Equal(t, m.given["metadata/timestamp.json"].SHA256, err.Digest)
	require.EqualValues(t, 1, err.Received)
	require.Zero(t, err.Trusted)
}

func TestHostileWorkerWithoutTheTrustedRoot(t *testing.T) {
	bare, err := exec.LookPath("python3")
	require.NoError(t, err)
	script := strings.Replace(hostile, "    T = trusted()\n", "", 1)
	e := newEngine(t, bare, []byte(strings.Replace(script, "%BODY%", `ok(honest(), {"t": found()})`, 1)))
	m := small()
	out, lie := refused(t, e, m.operation(t, "t"))
	require.Equal(t, protocol.CodeProtocol, lie.Code)
	require.Equal(t, &engine.Outcome{}, out)
	require.Empty(t, m.given)
}

func TestHostileWorkerThatIgnoresCancel(t *testing.T) {
	m := small()
	e := hostileEngine(t, "get('timestamp')\n    while True: pass")
	ctx, cancel := context.WithCancel(t.Context())
	m.fail = func(context.Context, engine.File) error { cancel(); return nil }
	_, err := e.Run(ctx, m.operation(t))
	require.ErrorIs(t, err, context.Canceled)
}

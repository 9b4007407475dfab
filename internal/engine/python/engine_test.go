//go:build unix

package python

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	vaulttuf "github.com/ragnos-labs/vault-tuf"
	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/pyenv/pyenvtest"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/internal/verify"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/pywrapper"
)

func realEngine(t *testing.T) *Engine {
	return newEngine(t, pyenvtest.Python(t), vaulttuf.PythonClient)
}

func TestRefresh(t *testing.T) {
	e := realEngine(t)
	for name, cfg := range map[string]tuftest.Config{"consistent": {}, "inconsistent": {Inconsistent: true}, "rsa": {Kind: tuftest.RSA}, "ecdsa": {Kind: tuftest.ECDSA}} {
		t.Run(name, func(t *testing.T) {
			m := newMemory(tuftest.NewRepo(cfg))
			m.repo.PublishRoot()
			m.repo.PublishRoot()
			op := m.operation(t)
			out, err := e.Run(t.Context(), op)
			require.NoError(t, err)
			require.Equal(t, "2 3 ", versions(out.Roots))
			require.Same(t, m.given["metadata/timestamp.json"], out.Timestamp)
			require.EqualValues(t, 1, out.Snapshot.Version)
			require.Len(t, out.Targets, 1)
			require.Equal(t, "targets", out.Targets[0].Role)
			require.Equal(t, "root", out.Targets[0].Delegator)
			require.Equal(t, map[string]int64{"timestamp": 3, "snapshot": 3, "targets": 3}, m.roots, "Local is asked under the newest root")
			_, err = verify.Outcome(verify.Base{Root: op.Root}, op, out)
			require.NoError(t, err)
		})
	}
}

func delegated(t *testing.T) *memory {
	t.Helper()
	r := tuftest.NewRepo(tuftest.Config{})
	r.Delegate("targets", tuftest.Delegation{Name: "alice", Paths: []string{"a/*"}})
	r.Delegate("targets", tuftest.Delegation{Name: "bob", Paths: []string{"b/*"}})
	r.Delegate("alice", tuftest.Delegation{Name: "carol", Paths: []string{"a/c*"}})
	r.AddTarget("targets", "top", []byte("t"), nil)
	r.AddTarget("bob", "b/1", []byte("b"), map[string]any{"x": 1})
	r.AddTarget("carol", "a/c1", []byte("c"), nil)
	r.Publish("targets", "alice", "bob", "carol")
	return newMemory(r)
}

func roles(out *engine.Outcome) (s string) {
	for _, v := range out.Targets {
		s += v.Delegator + ">" + v.Role + " "
	}
	return s
}

func TestLookup(t *testing.T) {
	m := delegated(t)
	op := m.operation(t, "top", "a/c1", "b/1", "b/none", "b/1")
	out, err := realEngine(t).Run(t.Context(), op)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"top": "targets", "a/c1": "carol", "b/1": "bob", "b/none": ""}, out.Answers)
	require.Equal(t, "root>targets targets>alice alice>carol targets>bob ", roles(out))
	_, err = verify.Outcome(verify.Base{Root: op.Root}, op, out)
	require.NoError(t, err)
}

func TestList(t *testing.T) {
	m := delegated(t)
	op := m.operation(t)
	op.All = true
	out, err := realEngine(t).Run(t.Context(), op)
	require.NoError(t, err)
	require.Equal(t, "root>targets targets>alice alice>carol targets>bob ", roles(out))
	require.Empty(t, out.Answers)
}

func TestTrustedCopiesAreUsed(t *testing.T) {
	m := delegated(t)
	m.trust(t, "timestamp", "snapshot", "targets", "bob")
	m.fail = func(_ context.Context, f engine.File) error {
		if f.Role != "root" && f.Role != "timestamp" {
			return tuferr.New(protocol.CodeInternal, "%s is there already", f.Role)
		}
		return nil
	}
	out, err := realEngine(t).Run(t.Context(), m.operation(t, "b/1"))
	require.NoError(t, err)
	require.Same(t, m.trusted["timestamp"], out.Timestamp, "the same version: python-tuf keeps what it has")
	require.Same(t, m.trusted["bob"], out.Find("bob", "targets"))
}

// The worker keeps what it has verified: of an unchanged repository it needs no
// byte again, and of a changed one the changed files. A fresh worker needs all.
func TestOnlyNewFilesAreSent(t *testing.T) {
	e := realEngine(t)
	m := delegated(t)
	var sent []string
	lookup := func() map[string]string {
		t.Helper()
		sent = nil
		r := &run{op: m.operation(t, "a/c1", "b/1")}
		r.restart()
		raw, err := e.sup.Call(t.Context(), pywrapper.Call{
			Method: protocol.MethodLookup, Params: params(r.op),
			Fetch: func(ctx context.Context, f protocol.Fetch) protocol.Fetched {
				answer := r.fetch(ctx, f)
				if answer.Data != nil {
					require.False(t, answer.Same)
					sent = append(sent, f.Role)
				}
				return answer
			},
		})
		require.NoError(t, err)
		out, err := r.succeeded(raw)
		require.NoError(t, err)
		require.Equal(t, "root>targets targets>alice alice>carol targets>bob ", roles(out))
		_, err = verify.Outcome(verify.Base{Root: r.op.Root}, r.op, out)
		require.NoError(t, err)
		return out.Answers
	}
	all := []string{"root", "timestamp", "snapshot", "targets", "alice", "carol", "bob"}
	answers := lookup()
	require.Equal(t, all, sent)
	require.Equal(t, answers, lookup())
	require.Empty(t, sent)
	m.trust(t, "timestamp", "snapshot", "targets", "alice", "bob", "carol")
	require.Equal(t, answers, lookup())
	require.Empty(t, sent, "the trusted copies are the same files")
	m.repo.Publish("bob")
	clear(m.given)
	require.Equal(t, answers, lookup())
	require.Equal(t, []string{"timestamp", "snapshot", "bob"}, sent)
	require.NoError(t, kill(e.sup.Status().PID))
	require.Eventually(t, func() bool { return e.sup.Status().PID == 0 }, 20*time.Second, time.Millisecond)
	require.Equal(t, answers, lookup())
	require.Subset(t, sent, all, "the host keeps no account of what a worker has")
}

func TestSourceErrorsComeBackUnchanged(t *testing.T) {
	e := realEngine(t)
	for _, code := range []protocol.Code{protocol.CodeUnreachable, protocol.CodeHTTPStatus, protocol.CodeNotARepository,
		protocol.CodeMalformed, protocol.CodeEndlessData, protocol.CodeNotFound, protocol.CodeLocalIO, protocol.CodeInternal} {
		for _, role := range []string{"root", "timestamp", "snapshot", "targets", "bob"} {
			if code == protocol.CodeNotFound && role == "root" {
				continue // the end of the chain
			}
			t.Run(string(code)+" "+role, func(t *testing.T) {
				m := delegated(t)
				m.repo.PublishRoot()
				original := &tuferr.Error{Code: code, Msg: "as the source has it", URL: "http://x", Status: 418}
				m.fail = func(_ context.Context, f engine.File) error {
					if f.Role == role && (role != "root" || f.Version == 3) {
						return original
					}
					return nil
				}
				out, err := refused(t, e, m.operation(t, "b/1"))
				require.Same(t, original, err)
				require.Equal(t, "2 ", versions(out.Roots), "what was verified before")
				require.Equal(t, role != "root" && role != "timestamp", out.Timestamp != nil)
				require.Equal(t, role == "targets" || role == "bob", out.Snapshot != nil)
				require.Equal(t, role == "bob", len(out.Targets) == 1)
			})
		}
	}
}

func TestVerdicts(t *testing.T) {
	e := realEngine(t)
	tests := map[string]struct {
		code  protocol.Code
		role  string
		spoil func(t *testing.T, m *memory, op *engine.Operation)
	}{
		"expired": {protocol.CodeExpired, "", func(_ *testing.T, _ *memory, op *engine.Operation) {
			op.Start = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
		}},
		"at its last second": {protocol.CodeExpired, "", func(_ *testing.T, _ *memory, op *engine.Operation) {
			op.Start, _ = time.Parse(time.RFC3339, tuftest.Expires)
		}},
		"unsigned": {protocol.CodeUnsigned, "timestamp", func(_ *testing.T, m *memory, _ *engine.Operation) {
			m.repo.Timestamp.EditSignatures = func([]any) []any { return nil }
			m.repo.PublishTimestamp()
		}},
		"rollback": {protocol.CodeRollback, "timestamp", func(t *testing.T, m *memory, _ *engine.Operation) {
			m.trust(t, "timestamp")
			m.repo.Timestamp.SetVersion(0)
			m.repo.PublishTimestamp()
		}},
		"mismatch": {protocol.CodeMismatch, "snapshot", func(_ *testing.T, m *memory, _ *engine.Operation) {
			m.repo.Snapshot.Signed["expires"] = "2098-12-31T00:00:00Z"
			m.repo.Store(m.repo.Snapshot)
		}},
		"too many roots": {protocol.CodeTooMany, "root", func(_ *testing.T, m *memory, op *engine.Operation) {
			op.MaxRoots = 2
			for range 3 {
				m.repo.PublishRoot()
			}
		}},
		"too many roles": {protocol.CodeTooMany, "bob", func(_ *testing.T, _ *memory, op *engine.Operation) { op.MaxRoles = 0 }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := delegated(t)
			m.repo.Publish("bob")
			op := m.operation(t, "b/1")
			tt.spoil(t, m, op)
			_, err := refused(t, e, op)
			require.Equal(t, tt.code, err.Code, err)
			require.Equal(t, Name, err.Engine)
			if tt.role != "" && tt.role != "bob" {
				require.Equal(t, tt.role, err.Role)
				require.NotEmpty(t, err.Digest, "the evidence")
			}
			if tt.code == protocol.CodeRollback {
				require.EqualValues(t, 1, err.Received)
				require.EqualValues(t, 3, err.Trusted)
			}
		})
	}
}

func TestExactlyMaxRoots(t *testing.T) {
	m := delegated(t)
	op := m.operation(t)
	op.MaxRoots = 3
	for range 3 {
		m.repo.PublishRoot()
	}
	out, err := realEngine(t).Run(t.Context(), op)
	require.NoError(t, err)
	require.Equal(t, "2 3 4 ", versions(out.Roots))
}

func TestContextEnds(t *testing.T) {
	e := realEngine(t)
	for _, code := range []protocol.Code{protocol.CodeCancelled, protocol.CodeTimeout} {
		m := delegated(t)
		ctx, cancel := context.WithCancel(t.Context())
		if code == protocol.CodeTimeout {
			cancel()
			ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
		}
		m.fail = func(fctx context.Context, f engine.File) error {
			if code == protocol.CodeCancelled {
				cancel()
			}
			<-fctx.Done()
			return tuferr.New(code, "given up: %w", fctx.Err())
		}
		out, err := e.Run(ctx, m.operation(t))
		require.NotNil(t, out)
		require.Equal(t, code, tuferr.CodeOf(err), err)
		require.ErrorIs(t, err, ctx.Err())
		cancel()
	}
	m := delegated(t)
	_, err := e.Run(t.Context(), m.operation(t))
	require.NoError(t, err)
	require.Equal(t, 1, e.sup.Status().Starts, "the worker survives")
}

func TestConcurrentRuns(t *testing.T) {
	e := realEngine(t)
	var wg sync.WaitGroup
	for i := range 12 {
		m := delegated(t)
		for range i % 4 {
			m.repo.PublishRoot()
		}
		op := m.operation(t, "b/1")
		wg.Go(func() {
			out, err := e.Run(t.Context(), op)
			if err != nil || len(out.Roots) != i%4 || out.Answers["b/1"] != "bob" {
				t.Errorf("run %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

func TestWorkerKilledInMidRun(t *testing.T) {
	e := realEngine(t)
	m := delegated(t)
	m.repo.PublishRoot()
	var once sync.Once
	m.fail = func(_ context.Context, f engine.File) error {
		if f.Role == "snapshot" {
			once.Do(func() { require.NoError(t, kill(e.sup.Status().PID)) })
		}
		return nil
	}
	out, err := e.Run(t.Context(), m.operation(t, "b/1"))
	require.NoError(t, err, "asked again from the start")
	require.Equal(t, "2 ", versions(out.Roots))
	require.Equal(t, 2, e.sup.Status().Starts)
}

func TestNoWorker(t *testing.T) {
	e := newEngine(t, "/no/such/python", vaulttuf.PythonClient)
	_, err := refused(t, e, delegated(t).operation(t))
	require.Equal(t, protocol.CodeWorkerUnavailable, err.Code)
	require.ErrorContains(t, err, "/no/such/python")
}

func TestReferenceTimeIsHandedOver(t *testing.T) {
	op := delegated(t).operation(t)
	op.Start = time.Date(2030, 1, 2, 3, 4, 5, 678901234, time.FixedZone("", 3600))
	require.Equal(t, "2030-01-02T02:04:05.678901Z", params(op).ReferenceTime)
	require.EqualValues(t, admission.DefaultRootBytes, params(op).Lengths["root"])
	require.Equal(t, "python", (&Engine{}).Name())
}

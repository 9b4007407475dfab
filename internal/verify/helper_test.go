package verify_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/internal/verify"
)

var start = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func parse(t *testing.T, kind admission.Kind, raw []byte) *admission.Doc {
	t.Helper()
	doc, err := admission.Parse(kind, raw, admission.DefaultLimits())
	require.NoError(t, err)
	return doc
}

// world is a repository with delegations, and what an engine says about it.
type world struct {
	t    *testing.T
	repo *tuftest.Repo
	base verify.Base
	op   *engine.Operation
	out  *engine.Outcome
}

// newWorld is a repository whose roles a and b both delegate to c.
func newWorld(t *testing.T) *world {
	w := &world{t: t, repo: tuftest.NewRepo(tuftest.Config{})}
	w.repo.Delegate("targets", tuftest.Delegation{Name: "a", Paths: []string{"a/*"}})
	w.repo.Delegate("targets", tuftest.Delegation{Name: "b", Paths: []string{"b/*"}})
	w.repo.Delegate("a", tuftest.Delegation{Name: "c", Paths: []string{"*/c"}})
	w.repo.Delegate("b", tuftest.Delegation{Name: "c", Paths: []string{"*/c"}})
	w.repo.AddTarget("targets", "t", []byte("t"), nil)
	w.repo.AddTarget("c", "b/c", []byte("c"), nil)
	w.repo.Publish("targets", "a", "b", "c")
	w.base = verify.Base{Root: w.doc("root")}
	w.op = &engine.Operation{Root: w.base.Root, Start: start, MaxRoots: 8, MaxRoles: 8, Targets: []string{"t", "b/c", "x"}}
	w.honest()
	return w
}

// doc returns the published metadata of a role as it is now.
func (w *world) doc(role string) *admission.Doc {
	w.t.Helper()
	raw, ok := w.repo.Get(w.repo.MetadataName(role, w.repo.Role(role).Version))
	require.True(w.t, ok, role)
	return parse(w.t, admission.KindOf(role), raw)
}

// trust makes what is published now what the store trusts.
func (w *world) trust() {
	w.base.Timestamp, w.base.Snapshot = w.doc("timestamp"), w.doc("snapshot")
}

// honest makes the outcome that of an engine that works.
func (w *world) honest() {
	w.out = &engine.Outcome{
		Timestamp: w.doc("timestamp"), Snapshot: w.doc("snapshot"),
		Targets: []engine.Verified{
			{Role: "targets", Delegator: "root", Doc: w.doc("targets")},
			{Role: "a", Delegator: "targets", Doc: w.doc("a")},
			{Role: "b", Delegator: "targets", Doc: w.doc("b")},
			{Role: "c", Delegator: "a", Doc: w.doc("c")},
			{Role: "c", Delegator: "b", Doc: w.doc("c")},
		},
		Answers: map[string]string{"t": "targets", "b/c": "c", "x": ""},
	}
	for v := int(w.base.Root.Version) + 1; v <= w.repo.Root.Version; v++ {
		w.out.Roots = append(w.out.Roots, parse(w.t, admission.KindRoot, w.repo.RootBytes(v)))
	}
}

// confirmed counts the parts of an outcome: roots, timestamp, snapshot, targets
// and answers.
func confirmed(o *engine.Outcome) [5]int {
	n := [5]int{len(o.Roots), 0, 0, len(o.Targets), len(o.Answers)}
	if o.Timestamp != nil {
		n[1] = 1
	}
	if o.Snapshot != nil {
		n[2] = 1
	}
	return n
}

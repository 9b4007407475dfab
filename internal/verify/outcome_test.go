package verify_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/internal/verify"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func at(d time.Duration) string { return start.Add(d).Format(time.RFC3339) }

func forger() []*tuftest.Key { return tuftest.Keys(900, 1) }

// snapshotMeta is what the snapshot says of a role.
func snapshotMeta(s tuftest.Map, role string) tuftest.Map {
	return s["meta"].(tuftest.Map)[role+".json"].(tuftest.Map)
}

const impossible = protocol.CodeEngineInternal

// lies are what an engine may claim, and how much of it is confirmed.
var lies = map[string]struct {
	lie       func(w *world)
	code      protocol.Code
	spec      string
	confirmed [5]int
}{
	"honest":    {func(*world) {}, "", "", [5]int{0, 1, 1, 5, 3}},
	"nothing":   {func(w *world) { w.out = &engine.Outcome{} }, "", "", [5]int{}},
	"new roots": {func(w *world) { w.repo.PublishRoot(); w.repo.PublishRoot(); w.honest() }, "", "", [5]int{2, 1, 1, 5, 3}},
	"unchanged": {func(w *world) { w.trust() }, "", "", [5]int{0, 1, 1, 5, 3}},
	"news":      {func(w *world) { w.trust(); w.repo.Publish("targets", "c"); w.honest() }, "", "", [5]int{0, 1, 1, 5, 3}},
	"no hashes": {func(w *world) { w.repo.NoHashes = true; w.repo.Publish("c"); w.honest() }, "", "", [5]int{0, 1, 1, 5, 3}},
	"broke off": {func(w *world) { w.out.Answers = nil; w.out.Targets = w.out.Targets[:2] }, "", "", [5]int{0, 1, 1, 2, 0}},
	"expires a second later": {func(w *world) {
		w.repo.Timestamp.Signed["expires"] = at(time.Second)
		w.repo.Publish()
		w.honest()
	}, "", "", [5]int{0, 1, 1, 5, 3}},

	"root of a forger": {func(w *world) { w.repo.Root.Signers = forger(); w.repo.PublishRoot(); w.honest() },
		protocol.CodeUnsigned, "5.3.4", [5]int{}},
	"root skips a version": {func(w *world) { w.repo.PublishRoot(); w.repo.PublishRoot(); w.honest(); w.out.Roots = w.out.Roots[1:] },
		protocol.CodeBadVersion, "5.3.5", [5]int{}},
	"the trusted root again": {func(w *world) { w.out.Roots = []*admission.Doc{w.base.Root} },
		protocol.CodeRollback, "5.3.5", [5]int{}},
	"root not signed by its own keys": {func(w *world) {
		old := w.repo.Root.Signers
		w.repo.SetKeys("root", 1, tuftest.NewKey(tuftest.Ed25519, 40))
		w.repo.Root.Signers = old
		w.repo.PublishRoot()
		w.honest()
	}, protocol.CodeUnsigned, "5.3.4", [5]int{}},
	"second root of a forger": {func(w *world) {
		w.repo.PublishRoot()
		w.repo.Root.Signers = forger()
		w.repo.PublishRoot()
		w.honest()
	}, protocol.CodeUnsigned, "5.3.4", [5]int{1}},
	"final root expires now": {func(w *world) { w.repo.Root.Signed["expires"] = at(0); w.repo.PublishRoot(); w.honest() },
		protocol.CodeExpired, "5.3.10", [5]int{1}},

	"timestamp of a forger": {func(w *world) { w.repo.Timestamp.Signers = forger(); w.repo.Publish(); w.honest() },
		protocol.CodeUnsigned, "5.4.2", [5]int{}},
	"timestamp of a key that was rotated": {func(w *world) {
		old := w.repo.Timestamp.Signers
		w.repo.SetKeys("timestamp", 1, tuftest.NewKey(tuftest.Ed25519, 41))
		w.repo.PublishRoot()
		w.repo.Timestamp.Signers = old
		w.repo.Publish()
		w.honest()
	}, protocol.CodeUnsigned, "5.4.2", [5]int{1}},
	"timestamp goes back": {func(w *world) {
		old := w.doc("timestamp")
		w.repo.Publish("targets")
		w.trust()
		w.out.Timestamp = old
	}, protocol.CodeRollback, "5.4.3.1", [5]int{}},
	"another timestamp of the same version": {func(w *world) {
		w.trust()
		w.repo.Timestamp.Signed["x-note"] = "other bytes"
		w.repo.Store(w.repo.Timestamp)
		w.honest()
	}, protocol.CodeRollback, "5.4.3.1", [5]int{}},
	"timestamp takes the snapshot back": {func(w *world) {
		w.trust()
		w.repo.Timestamp.EditSigned = func(s tuftest.Map) { snapshotMeta(s, "snapshot")["version"] = 1 }
		w.repo.PublishTimestamp()
		w.honest()
	}, protocol.CodeRollback, "5.4.3.2", [5]int{}},
	"timestamp expires now": {func(w *world) { w.repo.Timestamp.Signed["expires"] = at(0); w.repo.Publish(); w.honest() },
		protocol.CodeExpired, "5.4.4", [5]int{}},
	"the trusted timestamp has expired": {func(w *world) {
		w.repo.Timestamp.Signed["expires"] = at(0)
		w.repo.Publish()
		w.trust()
		w.honest()
	}, protocol.CodeExpired, "5.4.4", [5]int{}},

	"snapshot without timestamp": {func(w *world) { w.out.Timestamp = nil }, impossible, "", [5]int{}},
	"snapshot with another hash": {func(w *world) {
		w.repo.Timestamp.EditSigned = func(s tuftest.Map) {
			snapshotMeta(s, "snapshot")["hashes"] = tuftest.Map{"sha256": tuftest.SHA256(nil)}
		}
		w.repo.PublishTimestamp()
		w.honest()
	}, protocol.CodeMismatch, "5.5.2", [5]int{0, 1}},
	"snapshot with another sha512": {func(w *world) {
		w.repo.Timestamp.EditSigned = func(s tuftest.Map) {
			snapshotMeta(s, "snapshot")["hashes"].(tuftest.Map)["sha512"] = tuftest.SHA512(nil)
		}
		w.repo.PublishTimestamp()
		w.honest()
	}, protocol.CodeMismatch, "5.5.2", [5]int{0, 1}},
	"snapshot with a hash nobody knows": {func(w *world) {
		w.repo.Timestamp.EditSigned = func(s tuftest.Map) {
			snapshotMeta(s, "snapshot")["hashes"] = tuftest.Map{"md5": "00"}
		}
		w.repo.PublishTimestamp()
		w.honest()
	}, protocol.CodeMismatch, "5.5.2", [5]int{0, 1}},
	"snapshot of another length": {func(w *world) {
		w.repo.Timestamp.EditSigned = func(s tuftest.Map) {
			delete(snapshotMeta(s, "snapshot"), "hashes")
			snapshotMeta(s, "snapshot")["length"] = 7
		}
		w.repo.PublishTimestamp()
		w.honest()
	}, protocol.CodeMismatch, "5.5.2", [5]int{0, 1}},
	"snapshot of a forger": {func(w *world) { w.repo.Snapshot.Signers = forger(); w.repo.Publish(); w.honest() },
		protocol.CodeUnsigned, "5.5.3", [5]int{0, 1}},
	"the trusted snapshot under a root that no longer lists its key": {func(w *world) {
		w.trust()
		w.repo.ListKeys("snapshot", 1, tuftest.NewKey(tuftest.Ed25519, 42))
		w.repo.PublishRoot()
		w.honest()
	}, protocol.CodeUnsigned, "5.5.3", [5]int{1, 1}},
	"another version than announced": {func(w *world) {
		w.repo.Snapshot.EditSigned = func(s tuftest.Map) { s["version"] = s["version"].(int) + 1 }
		w.repo.Publish()
		w.honest()
	}, protocol.CodeBadVersion, "5.5.4", [5]int{0, 1}},
	"snapshot forgets a role": {func(w *world) {
		w.trust()
		w.repo.Snapshot.EditSigned = func(s tuftest.Map) { delete(s["meta"].(tuftest.Map), "c.json") }
		w.repo.Publish()
		w.honest()
	}, protocol.CodeRollback, "5.5.5", [5]int{0, 1}},
	"snapshot takes a role back": {func(w *world) {
		w.repo.Publish("c")
		w.trust()
		w.repo.Snapshot.EditSigned = func(s tuftest.Map) { snapshotMeta(s, "c")["version"] = 1 }
		w.repo.Publish()
		w.honest()
	}, protocol.CodeRollback, "5.5.5", [5]int{0, 1}},
	"snapshot expires now": {func(w *world) { w.repo.Snapshot.Signed["expires"] = at(0); w.repo.Publish(); w.honest() },
		protocol.CodeExpired, "5.5.6", [5]int{0, 1}},
	"the trusted snapshot has expired": {func(w *world) {
		w.repo.Snapshot.Signed["expires"] = at(0)
		w.repo.Publish()
		w.trust()
		w.honest()
	}, protocol.CodeExpired, "5.5.6", [5]int{0, 1}},

	"targets without snapshot": {func(w *world) { w.out.Snapshot = nil }, impossible, "", [5]int{0, 1}},
	"role not in the snapshot": {func(w *world) {
		w.repo.Snapshot.EditSigned = func(s tuftest.Map) { delete(s["meta"].(tuftest.Map), "a.json") }
		w.repo.Publish()
		w.honest()
	}, protocol.CodeNotInSnapshot, "5.6.1", [5]int{0, 1, 1, 1}},
	"role with another hash": {func(w *world) {
		w.repo.Snapshot.EditSigned = func(s tuftest.Map) {
			snapshotMeta(s, "b")["hashes"] = tuftest.Map{"sha256": tuftest.SHA256(nil)}
		}
		w.repo.Publish()
		w.honest()
	}, protocol.CodeMismatch, "5.6.2", [5]int{0, 1, 1, 2}},
	"role of a forger": {func(w *world) { w.repo.Role("a").Signers = forger(); w.repo.Publish("a"); w.honest() },
		protocol.CodeUnsigned, "5.6.3", [5]int{0, 1, 1, 1}},
	"top-level targets of a forger": {func(w *world) { w.repo.Targets.Signers = forger(); w.repo.Publish("targets"); w.honest() },
		protocol.CodeUnsigned, "5.6.3", [5]int{0, 1, 1}},
	"another file in the role's place": {func(w *world) { w.out.Targets[1].Doc = w.doc("b") },
		protocol.CodeMismatch, "5.6.2", [5]int{0, 1, 1, 1}},
	"another file in the role's place, no hashes": {func(w *world) {
		w.repo.NoHashes = true
		w.repo.Publish("a", "b")
		w.honest()
		w.out.Targets[1].Doc = w.doc("b")
	}, protocol.CodeUnsigned, "5.6.3", [5]int{0, 1, 1, 1}},
	"role of another version than announced": {func(w *world) {
		w.repo.Role("a").EditSigned = func(s tuftest.Map) { s["version"] = 77 }
		w.repo.Publish("a")
		w.honest()
	}, protocol.CodeBadVersion, "5.6.4", [5]int{0, 1, 1, 1}},
	"role expires now": {func(w *world) { w.repo.Role("b").Signed["expires"] = at(0); w.repo.Publish("b"); w.honest() },
		protocol.CodeExpired, "5.6.5", [5]int{0, 1, 1, 2}},
	"a delegator that was not verified": {func(w *world) { w.out.Targets = append(w.out.Targets[:1:1], w.out.Targets[3:]...) },
		impossible, "", [5]int{0, 1, 1, 1}},
	"a delegator that does not delegate": {func(w *world) { w.out.Targets[3].Delegator = "targets" },
		protocol.CodeUnsigned, "5.6.3", [5]int{0, 1, 1, 3}},
	"a delegated role as if from root": {func(w *world) { w.out.Targets[1].Delegator = "root" },
		protocol.CodeUnsigned, "5.6.3", [5]int{0, 1, 1, 1}},
	"signed for one of two delegators only": {func(w *world) {
		w.repo.Role("b").Signed["delegations"] = tuftest.Map{"keys": tuftest.Map{}, "roles": []any{}}
		w.repo.Delegate("b", tuftest.Delegation{Name: "c", Paths: []string{"*/c"}, Keys: tuftest.Keys(44, 1)})
		w.repo.Publish("b")
		w.honest()
	}, protocol.CodeUnsigned, "5.6.3", [5]int{0, 1, 1, 4}},

	"wrong role for a target":         {func(w *world) { w.out.Answers["b/c"] = "a" }, impossible, "", [5]int{0, 1, 1, 5, 1}},
	"a target that nobody lists":      {func(w *world) { w.out.Answers["x"] = "targets" }, impossible, "", [5]int{0, 1, 1, 5, 2}},
	"a listed target is not found":    {func(w *world) { w.out.Answers["t"] = "" }, impossible, "", [5]int{0, 1, 1, 5, 0}},
	"an answer without what it needs": {func(w *world) { w.out.Targets = w.out.Targets[:3] }, impossible, "", [5]int{0, 1, 1, 3, 1}},
	"verified for another delegator than asked": {func(w *world) {
		w.out.Targets = w.out.Targets[:4]
	}, impossible, "", [5]int{0, 1, 1, 4, 1}},
	"more roles than may be visited": {func(w *world) { w.op.MaxRoles = 1 }, protocol.CodeTooMany, "5.6.7.1", [5]int{0, 1, 1, 5, 1}},
}

// TestOutcome breaks one thing at a time in what an engine claims to have
// verified. What comes before it is confirmed, and nothing after it.
func TestOutcome(t *testing.T) {
	for name, tt := range lies {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tt.lie(w)
			good, err := verify.Outcome(w.base, w.op, w.out)
			require.Equal(t, tt.code, tuferr.CodeOf(err), err)
			require.Equal(t, tt.confirmed, confirmed(good))
			if err != nil {
				e := tuferr.As(err)
				require.Equal(t, tt.spec, e.Spec)
				require.Equal(t, "host", e.Engine)
			}
		})
	}
}

// TestAnswersNobodyAskedForAreDropped, and so are answers that were not given.
func TestAnswersNobodyAskedForAreDropped(t *testing.T) {
	w := newWorld(t)
	w.out.Answers["unasked"] = "targets"
	delete(w.out.Answers, "x")
	good, err := verify.Outcome(w.base, w.op, w.out)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"t": "targets", "b/c": "c"}, good.Answers)
}

// TestRotationForgets: after a root took a timestamp or snapshot key away, what
// was trusted under it no longer bars the way (5.3.11).
func TestRotationForgets(t *testing.T) {
	for _, role := range []string{"timestamp", "snapshot"} {
		w := newWorld(t)
		w.repo.Timestamp.SetVersion(1000)
		w.repo.Snapshot.SetVersion(1000)
		w.repo.Publish("c")
		w.trust()
		w.repo.Timestamp.SetVersion(1)
		w.repo.Snapshot.SetVersion(1)
		w.repo.Role("c").SetVersion(0)
		w.repo.Publish("c")
		w.honest()
		_, err := verify.Outcome(w.base, w.op, w.out)
		require.Equal(t, protocol.CodeRollback, tuferr.CodeOf(err))

		w.repo.SetKeys(role, 1, tuftest.NewKey(tuftest.Ed25519, 43))
		w.repo.PublishRoot()
		w.repo.Publish("c")
		w.honest()
		_, err = verify.Outcome(w.base, w.op, w.out)
		require.NoError(t, err)
	}
}

// TestEvidence: a refusal says what it compared.
func TestEvidence(t *testing.T) {
	w := newWorld(t)
	old := w.doc("timestamp")
	w.repo.Publish("targets")
	w.trust()
	w.out.Timestamp = old
	_, err := verify.Outcome(w.base, w.op, w.out)
	e := tuferr.As(err)
	require.Equal(t, "timestamp", e.Role)
	require.Equal(t, w.base.Timestamp.Version, e.Trusted)
	require.Equal(t, old.Version, e.Received)
	require.Equal(t, old.SHA256, e.Digest)
	require.NotEmpty(t, e.Hint)
}

package verify

import (
	"fmt"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/delegation"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Base is what the trust store trusted when an operation began.
type Base struct {
	// Root is never nil; Timestamp and Snapshot are nil if there are none.
	Root, Timestamp, Snapshot *admission.Doc
}

// gate holds what has been confirmed so far.
type gate struct {
	base Base
	op   *engine.Operation
	root *admission.Doc
	good *engine.Outcome
}

// Outcome confirms what an engine returned for op, in the order of the client
// workflow. It returns the part that it confirms, which may be committed, and
// the first reason to refuse the rest: a verdict, or a fault engine_internal
// if the outcome is not one that a working engine could have returned.
func Outcome(base Base, op *engine.Operation, out *engine.Outcome) (*engine.Outcome, error) {
	g := &gate{base: base, op: op, root: base.Root, good: &engine.Outcome{Answers: map[string]string{}}}
	for _, step := range []func(*engine.Outcome) error{g.roots, g.timestamp, g.snapshot, g.targets, g.answers} {
		if err := step(out); err != nil {
			return g.good, err
		}
	}
	return g.good, nil
}

func (g *gate) roots(out *engine.Outcome) error {
	for _, next := range out.Roots {
		if err := RootStep(g.root, next); err != nil {
			return err
		}
		if Rotated(g.root, next) {
			g.base.Timestamp, g.base.Snapshot = nil, nil
		}
		g.root = next
		g.good.Roots = append(g.good.Roots, next)
	}
	return nil
}

func (g *gate) timestamp(out *engine.Outcome) error {
	ts, old := out.Timestamp, g.base.Timestamp
	if ts == nil {
		return nil
	}
	const role = string(admission.KindTimestamp)
	if err := g.fresh(string(admission.KindRoot), g.root, "5.3.10"); err != nil {
		return err
	}
	if err := Signed(g.root, role, ts); err != nil {
		return err
	}
	if old != nil && old.SHA256 != ts.SHA256 {
		// A new root may ask for more signatures than the trusted timestamp has:
		// then one of the same version may take its place, an older one never.
		same := ts.Version == old.Version && Signed(g.root, role, old) == nil
		if ts.Version < old.Version || same {
			return rollback(role, ts, old.Version, ts.Version, "5.4.3.1", "not newer than the trusted timestamp")
		}
		was, is := old.Meta["snapshot.json"].Version, ts.Meta["snapshot.json"].Version
		if is < was {
			return rollback(role, ts, was, is, "5.4.3.2", "it takes the snapshot back")
		}
	}
	if err := g.fresh(role, ts, "5.4.4"); err != nil {
		return err
	}
	g.good.Timestamp = ts
	return nil
}

func (g *gate) snapshot(out *engine.Outcome) error {
	snap, old := out.Snapshot, g.base.Snapshot
	if snap == nil {
		return nil
	}
	const role = string(admission.KindSnapshot)
	if g.good.Timestamp == nil {
		return impossible(role, snap, "a snapshot without a timestamp")
	}
	meta := g.good.Timestamp.Meta["snapshot.json"]
	known := old != nil && old.SHA256 == snap.SHA256
	if !known {
		// What was trusted before has been compared with the hashes then.
		if err := matches(role, snap, meta, "5.5.2"); err != nil {
			return err
		}
	}
	if err := Signed(g.root, role, snap); err != nil {
		return err
	}
	if snap.Version != meta.Version {
		return announced(role, snap, meta.Version, "5.5.4")
	}
	if old != nil && !known {
		for name, was := range old.Meta {
			is, ok := snap.Meta[name]
			if !ok {
				return rollback(role, snap, was.Version, 0, "5.5.5", fmt.Sprintf("%q has vanished from it", name))
			}
			if is.Version < was.Version {
				return rollback(role, snap, was.Version, is.Version, "5.5.5", fmt.Sprintf("it takes %q back", name))
			}
		}
	}
	if err := g.fresh(role, snap, "5.5.6"); err != nil {
		return err
	}
	g.good.Snapshot = snap
	return nil
}

func (g *gate) targets(out *engine.Outcome) error {
	for _, v := range out.Targets {
		if err := g.role(v); err != nil {
			return err
		}
		g.good.Targets = append(g.good.Targets, v)
	}
	return nil
}

// role confirms one targets role for one delegator.
func (g *gate) role(v engine.Verified) error {
	if g.good.Snapshot == nil {
		return impossible(v.Role, v.Doc, "targets without a snapshot")
	}
	delegator := g.root
	if v.Delegator != string(admission.KindRoot) {
		if delegator = g.confirmed(v.Delegator); delegator == nil {
			return impossible(v.Role, v.Doc, "delegated by a role that was not verified")
		}
	}
	meta, ok := g.good.Snapshot.Meta[v.Role+".json"]
	if !ok {
		return refuse(protocol.CodeNotInSnapshot, v.Role, v.Doc, "5.6.1", "the snapshot does not list this role")
	}
	if err := Received(delegator, v.Role, v.Doc, meta); err != nil {
		return err
	}
	if before := g.confirmed(v.Role); before != nil && before.SHA256 != v.Doc.SHA256 {
		// A snapshot without hashes promises that the version alone identifies the
		// file (4.4). Two files of one role would let one delegator's speak where
		// only the other's may.
		return refuse(protocol.CodeMismatch, v.Role, v.Doc, "5.6.2",
			fmt.Sprintf("this is not the file of the same version that %.12s… is", before.SHA256))
	}
	if v.Doc.Version != meta.Version {
		return announced(v.Role, v.Doc, meta.Version, "5.6.4")
	}
	return g.fresh(v.Role, v.Doc, "5.6.5")
}

// confirmed returns the confirmed document of a targets role: each role has one
// file under one snapshot, whoever delegates to it.
func (g *gate) confirmed(role string) *admission.Doc {
	for _, v := range g.good.Targets {
		if v.Role == role {
			return v.Doc
		}
	}
	return nil
}

// answers walks the confirmed delegations itself and compares.
func (g *gate) answers(out *engine.Outcome) error {
	load := func(role, delegator string) (*admission.Doc, error) {
		if doc := g.good.Find(role, delegator); doc != nil {
			return doc, nil
		}
		return nil, impossible(role, nil, "a role that the search has to visit was not verified")
	}
	for _, path := range g.op.Targets {
		said, ok := out.Answers[path]
		if !ok {
			return nil // The engine stopped before it came to this one.
		}
		role, _, err := delegation.Find(path, g.op.MaxRoles, load)
		if err != nil {
			return err
		}
		if role != said {
			e := impossible(said, nil, fmt.Sprintf("the engine found the target in %q, the host in %q", said, role))
			e.Target = path
			return e
		}
		g.good.Answers[path] = role
	}
	return nil
}

// fresh checks that a document has not expired at the start of the update.
func (g *gate) fresh(role string, doc *admission.Doc, spec string) error {
	return Fresh(role, doc, g.op.Start, spec)
}

// Fresh checks that a document's expiration is later than start. The error is
// the verdict expired, for the given section of the specification.
func Fresh(role string, doc *admission.Doc, start time.Time, spec string) error {
	if doc.Expires.After(start) {
		return nil
	}
	e := refuse(protocol.CodeExpired, role, doc, spec, fmt.Sprintf("version %d expired at %s, it is now %s",
		doc.Version, doc.Expires.Format(time.RFC3339), start.UTC().Format(time.RFC3339)))
	e.Hint = "the publisher must sign a new version; if the date here is wrong, set the clock"
	return e
}

// Received checks a snapshot or targets file that has just been fetched: length
// and hashes as announced, then the threshold (5.5.2, 5.5.3; 5.6.2, 5.6.3). The
// errors are the verdicts mismatch and unsigned.
func Received(delegator *admission.Doc, role string, doc *admission.Doc, meta admission.MetaFile) error {
	spec := "5.6.2"
	if admission.KindOf(role) == admission.KindSnapshot {
		spec = "5.5.2"
	}
	if err := matches(role, doc, meta, spec); err != nil {
		return err
	}
	return Signed(delegator, role, doc)
}

// matches checks length and hashes of a metadata file against signed ones.
func matches(role string, doc *admission.Doc, meta admission.MetaFile, spec string) error {
	if meta.Length >= 0 && int64(len(doc.Raw)) != meta.Length {
		return refuse(protocol.CodeMismatch, role, doc, spec,
			fmt.Sprintf("%d bytes where %d were announced", len(doc.Raw), meta.Length))
	}
	for algorithm, want := range meta.Hashes {
		var got string
		switch algorithm {
		case "sha256":
			got = doc.SHA256
		case "sha512":
			got = doc.SHA512()
		default:
			return refuse(protocol.CodeMismatch, role, doc, spec, fmt.Sprintf("hash algorithm %.32q is unknown", algorithm))
		}
		if got != want {
			return refuse(protocol.CodeMismatch, role, doc, spec, algorithm+" is not the announced one")
		}
	}
	return nil
}

func rollback(role string, doc *admission.Doc, trusted, received int64, spec, msg string) error {
	e := refuse(protocol.CodeRollback, role, doc, spec, fmt.Sprintf("%s: version %d after %d", msg, received, trusted))
	e.Trusted, e.Received = trusted, received
	e.Hint = "somebody serves old metadata: a mirror that lags behind, or an attack"
	return e
}

func announced(role string, doc *admission.Doc, want int64, spec string) error {
	e := refuse(protocol.CodeBadVersion, role, doc, spec, fmt.Sprintf("version %d where version %d was announced", doc.Version, want))
	e.Trusted = want
	return e
}

func impossible(role string, doc *admission.Doc, msg string) *tuferr.Error {
	return refuse(protocol.CodeEngineInternal, role, doc, "", msg)
}

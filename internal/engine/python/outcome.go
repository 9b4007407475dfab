package python

import (
	"encoding/json"
	"errors"
	"slices"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/pywrapper"
)

// succeeded turns a successful reply into the outcome.
func (r *run) succeeded(raw json.RawMessage) (*engine.Outcome, error) {
	if r.refused != nil {
		return nil, violation("it reports success after an error: %w", r.refused)
	}
	var res protocol.TUFResult
	if err := decode(raw, &res); err != nil {
		return nil, err
	}
	out, err := r.verified(res.Verified)
	if err != nil {
		return nil, err
	}
	if out.Timestamp == nil || out.Snapshot == nil || len(out.Targets) == 0 {
		return nil, violation("it reports success without timestamp, snapshot and targets")
	}
	if err := r.answers(out, res.Answers); err != nil {
		return nil, err
	}
	return out, nil
}

// verified maps what the worker says it has verified to the documents it got.
func (r *run) verified(files []protocol.VerifiedFile) (*engine.Outcome, error) {
	out := &engine.Outcome{Answers: map[string]string{}}
	for _, f := range files {
		doc := r.served[f.Role][f.SHA256]
		if doc == nil || doc.Version != f.Version {
			return nil, violation("it was never given version %d of %.64q as %.64q", f.Version, f.Role, f.SHA256)
		}
		if err := r.place(out, f, doc); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// place puts one verified document where it belongs in the outcome.
func (r *run) place(out *engine.Outcome, f protocol.VerifiedFile, doc *admission.Doc) error {
	kind, root := admission.KindOf(f.Role), string(admission.KindRoot)
	top := kind != admission.KindTargets || f.Role == string(admission.KindTargets)
	if top != (f.Delegator == root) {
		return violation("%.64q is not the delegator of %.64q", f.Delegator, f.Role)
	}
	switch kind {
	case admission.KindRoot:
		if out.Timestamp != nil || doc.Version != out.RootDoc(r.op.Root).Version+1 {
			return violation("root version %d is verified out of turn", doc.Version)
		}
		out.Roots = append(out.Roots, doc)
	case admission.KindTimestamp:
		if out.Snapshot != nil {
			return violation("a timestamp is verified after a snapshot")
		}
		out.Timestamp = doc
	case admission.KindSnapshot:
		if out.Timestamp == nil || len(out.Targets) > 0 {
			return violation("a snapshot is verified out of turn")
		}
		out.Snapshot = doc
	default:
		return placeTargets(out, engine.Verified{Role: f.Role, Delegator: f.Delegator, Doc: doc})
	}
	return nil
}

func placeTargets(out *engine.Outcome, v engine.Verified) error {
	delegated := v.Delegator != string(admission.KindRoot)
	switch {
	case out.Snapshot == nil:
		return violation("%.64q is verified before the snapshot", v.Role)
	case delegated && !hasRole(out, v.Delegator):
		return violation("%.64q is verified before its delegator %.64q", v.Role, v.Delegator)
	case !delegated && len(out.Targets) > 0, out.Find(v.Role, v.Delegator) != nil:
		return violation("%.64q is verified twice for %.64q", v.Role, v.Delegator)
	}
	out.Targets = append(out.Targets, v)
	return nil
}

func hasRole(out *engine.Outcome, role string) bool {
	return slices.ContainsFunc(out.Targets, func(v engine.Verified) bool { return v.Role == role })
}

// answers takes over in which role each target was found, and nothing else.
func (r *run) answers(out *engine.Outcome, answers map[string]*protocol.Answer) error {
	asked := r.op.Targets
	if r.op.All {
		asked = nil
	}
	for _, path := range asked {
		a, ok := answers[path]
		if !ok {
			return violation("it gives no answer for %.256q", path)
		}
		out.Answers[path] = ""
		if a == nil {
			continue
		}
		if !hasRole(out, a.Role) {
			return violation("it found %.256q in %.64q, which it has not verified", path, a.Role)
		}
		out.Answers[path] = a.Role
	}
	if len(answers) != len(out.Answers) {
		return violation("it answers for targets that were not asked for")
	}
	return nil
}

// failed turns the error of a call into the engine's, with what was verified
// before it.
func (r *run) failed(err error) (*engine.Outcome, error) {
	var we *pywrapper.Error
	if !errors.As(err, &we) || !we.Replied {
		return &engine.Outcome{}, supervised(err)
	}
	var detail struct {
		Verified []protocol.VerifiedFile `json:"verified"`
	}
	if err := decode(we.Detail, &detail); err != nil {
		return &engine.Outcome{}, err
	}
	out, verr := r.verified(detail.Verified)
	if verr != nil {
		return &engine.Outcome{}, verr
	}
	return out, r.replied(we)
}

// Fault returns what kept a worker from starting as the engine's error, nil for nil.
func Fault(err error) error {
	if err == nil {
		return nil
	}
	return supervised(err)
}

// supervised is an error that the supervisor saw.
func supervised(err error) error {
	var we *pywrapper.Error
	if !errors.As(err, &we) {
		return &tuferr.Error{Code: protocol.CodeInternal, Engine: Name, Err: err}
	}
	code := we.Code
	if _, known := code.Lookup(); !known {
		code = protocol.CodeEngineInternal
	}
	return &tuferr.Error{Code: code, Engine: Name, Msg: we.Error(), Err: err}
}

// replied judges the error that the worker replied with.
func (r *run) replied(we *pywrapper.Error) error {
	if r.refused != nil {
		return r.refused // the original: all the worker may do is pass it on
	}
	info, known := we.Code.Lookup()
	e := &tuferr.Error{Code: we.Code, Engine: Name, Role: r.roleOf(we.Role), Msg: we.Message, Err: we}
	switch {
	case !known:
		e.Code = protocol.CodeEngineInternal
	case info.Class == protocol.ClassVerdict:
		e.Spec = sections[admission.KindOf(we.Role)][e.Code]
		r.addEvidence(e)
	case info.Class == protocol.ClassFault:
	default:
		return violation("it failed with %q, which is not an engine's to say: %s", we.Code, we.Message)
	}
	return e
}

// sections are the sections of the specification that python-tuf's verdicts
// enforce, by the kind of the file.
var sections = map[admission.Kind]map[protocol.Code]string{
	admission.KindRoot: {
		protocol.CodeTooMany: "5.3.3", protocol.CodeUnsigned: "5.3.4", protocol.CodeRollback: "5.3.5",
		protocol.CodeBadVersion: "5.3.5", protocol.CodeExpired: "5.3.10",
	},
	admission.KindTimestamp: {
		protocol.CodeUnsigned: "5.4.2", protocol.CodeRollback: "5.4.3", protocol.CodeExpired: "5.4.4",
	},
	admission.KindSnapshot: {
		protocol.CodeMismatch: "5.5.2", protocol.CodeUnsigned: "5.5.3", protocol.CodeBadVersion: "5.5.4",
		protocol.CodeRollback: "5.5.5", protocol.CodeExpired: "5.5.6",
	},
	admission.KindTargets: {
		protocol.CodeNotInSnapshot: "5.6.1", protocol.CodeMismatch: "5.6.2", protocol.CodeUnsigned: "5.6.3",
		protocol.CodeBadVersion: "5.6.4", protocol.CodeExpired: "5.6.5", protocol.CodeTooMany: "5.6.7.1",
	},
}

// addEvidence fills in what the host knows of the files that were judged.
func (r *run) addEvidence(e *tuferr.Error) {
	if doc := r.remote[e.Role]; doc != nil {
		e.Received, e.Digest = doc.Version, doc.SHA256
	}
	if doc := r.local[e.Role]; doc != nil {
		e.Trusted = doc.Version
	} else if e.Role == string(admission.KindRoot) {
		e.Trusted = max(r.op.Root.Version, r.root.Version-1)
	}
}

// roleOf returns role if this operation was about it.
func (r *run) roleOf(role string) string {
	if role == string(admission.KindRoot) || r.local[role] != nil || r.remote[role] != nil {
		return role
	}
	return ""
}

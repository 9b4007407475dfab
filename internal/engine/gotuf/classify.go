package gotuf

import (
	"errors"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/verify"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// kindOfError is how go-tuf can say no. Its types do not tell the role or the
// file, and one type stands for several reasons; the stage tells them apart.
//
//	go-tuf's error            stage              means
//	ErrEqualVersionNumber     timestamp          not an error (handled before)
//	ErrUnsignedMetadata       any                unsigned, or unrepresentable if the
//	                                             host finds the signed bytes in order
//	ErrValue                  any                no key that counts is left: the same
//	ErrExpiredMetadata        any                expired
//	ErrLengthOrHashMismatch   any                mismatch
//	ErrBadVersionNumber       root               rollback, or bad_version if too new
//	                          timestamp          rollback
//	                          snapshot           bad_version if not the announced one,
//	                                             else rollback of what it lists
//	                          targets            bad_version
//	ErrRepository             snapshot           rollback: a listed file has vanished
//	                          targets            not_in_snapshot
//	ErrRuntime, ErrType       any                engine_internal
//	anything else             any                unrepresentable: the bytes were
//	                                             admitted, go-tuf cannot decode them
func (r *run) classify(err error, role string, delegator, doc *admission.Doc) error {
	if tuferr.As(err) != nil {
		return err
	}
	code, spec := r.code(err, role, delegator, doc)
	e := tuferr.New(code, "%w", err)
	e.Role, e.Engine, e.Spec = role, Name, spec
	e.Digest, e.Received = doc.SHA256, doc.Version
	e.Trusted = r.trustedVersion(role)
	return e
}

func (r *run) code(err error, role string, delegator, doc *admission.Doc) (protocol.Code, string) {
	stage := admission.KindOf(role)
	switch {
	case errors.Is(err, &metadata.ErrUnsignedMetadata{}), errors.Is(err, &metadata.ErrValue{}):
		if verify.Signed(delegator, role, doc) == nil {
			return protocol.CodeUnrepresentable, ""
		}
		return protocol.CodeUnsigned, map[admission.Kind]string{"root": "5.3.4", "timestamp": "5.4.2", "snapshot": "5.5.3", "targets": "5.6.3"}[stage]
	case errors.Is(err, &metadata.ErrExpiredMetadata{}):
		return protocol.CodeExpired, map[admission.Kind]string{"timestamp": "5.4.4", "snapshot": "5.5.6", "targets": "5.6.5"}[stage]
	case errors.Is(err, &metadata.ErrLengthOrHashMismatch{}):
		return protocol.CodeMismatch, map[admission.Kind]string{"snapshot": "5.5.2", "targets": "5.6.2"}[stage]
	case errors.Is(err, &metadata.ErrBadVersionNumber{}):
		return r.versionCode(stage, doc)
	case errors.Is(err, &metadata.ErrRepository{}):
		if stage == admission.KindSnapshot {
			return protocol.CodeRollback, "5.5.5"
		}
		return protocol.CodeNotInSnapshot, "5.6.1"
	case errors.Is(err, &metadata.ErrRuntime{}), errors.Is(err, &metadata.ErrType{}):
		return protocol.CodeEngineInternal, ""
	}
	return protocol.CodeUnrepresentable, ""
}

func (r *run) versionCode(stage admission.Kind, doc *admission.Doc) (protocol.Code, string) {
	switch stage {
	case admission.KindRoot:
		if doc.Version > r.root.Version {
			return protocol.CodeBadVersion, "5.3.5"
		}
		return protocol.CodeRollback, "5.3.5"
	case admission.KindTimestamp:
		return protocol.CodeRollback, "5.4.3"
	case admission.KindSnapshot:
		if doc.Version != r.out.Timestamp.Meta["snapshot.json"].Version {
			return protocol.CodeBadVersion, "5.5.4"
		}
		return protocol.CodeRollback, "5.5.5"
	default:
		return protocol.CodeBadVersion, "5.6.4"
	}
}

func (r *run) trustedVersion(role string) int64 {
	if role == metadata.ROOT {
		return r.root.Version
	}
	if local := r.op.Source.Local(role, r.root); local != nil {
		return local.Version
	}
	return 0
}

// cannot says whether an error over a trusted local file means that go-tuf
// cannot read it at all, rather than that it is no longer current.
func (r *run) cannot(err error, role string, doc *admission.Doc) bool {
	if err == nil || errors.Is(err, &metadata.ErrEqualVersionNumber{}) {
		return false
	}
	code, _ := r.code(err, role, r.root, doc)
	return code == protocol.CodeUnrepresentable
}

func unrepresentable(role string, doc *admission.Doc, err error) error {
	e := tuferr.New(protocol.CodeUnrepresentable, "go-tuf cannot represent this file: %w", err)
	e.Role, e.Engine, e.Digest, e.Received = role, Name, doc.SHA256, doc.Version
	return e
}

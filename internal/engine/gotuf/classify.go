package gotuf

import (
	"bytes"
	"errors"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// kindOfError is how go-tuf can say no. Its types do not tell the role or the
// file, and one type stands for several reasons; the stage tells them apart.
//
//	go-tuf's error            stage              means
//	ErrEqualVersionNumber     timestamp          not an error (handled before)
//	ErrUnsignedMetadata       any                unrepresentable: the host has found the
//	ErrValue                                     threshold met over the bytes as signed
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
func (r *run) classify(err error, role string, doc *admission.Doc) error {
	if tuferr.As(err) != nil {
		return err
	}
	code, spec := r.code(err, role, doc)
	switch {
	case code == protocol.CodeUnrepresentable:
		return unrepresentable(role, doc, err)
	case code.Class() == protocol.ClassVerdict && !Represents(doc):
		return unrepresentable(role, doc, errors.Join(errOtherForm, err))
	}
	e := tuferr.New(code, "%w", err)
	e.Role, e.Engine, e.Spec = role, Name, spec
	e.Digest, e.Received = doc.SHA256, doc.Version
	e.Trusted = r.trustedVersion(role)
	return e
}

// Represents says whether go-tuf sees in the bytes what was signed. It binds
// names without regard to case, for one: a verdict over something else is none.
// This is only ever asked about files whose threshold is met.
func Represents(doc *admission.Doc) bool {
	var signed any
	var err error
	switch doc.Kind {
	case admission.KindRoot:
		signed, err = decoded[metadata.RootType](doc)
	case admission.KindTimestamp:
		signed, err = decoded[metadata.TimestampType](doc)
	case admission.KindSnapshot:
		signed, err = decoded[metadata.SnapshotType](doc)
	default:
		signed, err = decoded[metadata.TargetsType](doc)
	}
	return err == nil && asSigned(signed, doc)
}

// asSigned says whether what go-tuf decoded encodes to what was signed.
func asSigned(signed any, doc *admission.Doc) bool {
	again, err := cjson.EncodeCanonical(signed)
	return err == nil && bytes.Equal(again, doc.Canonical)
}

func decoded[T metadata.Roles](doc *admission.Doc) (any, error) {
	m, err := new(metadata.Metadata[T]).FromBytes(doc.Raw)
	if err != nil {
		return nil, err
	}
	return m.Signed, nil
}

func (r *run) code(err error, role string, doc *admission.Doc) (protocol.Code, string) {
	stage := admission.KindOf(role)
	switch {
	case errors.Is(err, &metadata.ErrUnsignedMetadata{}), errors.Is(err, &metadata.ErrValue{}):
		return protocol.CodeUnrepresentable, ""
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
func (r *run) cannot(err error, role string) bool {
	if err == nil || errors.Is(err, &metadata.ErrEqualVersionNumber{}) {
		return false
	}
	code, _ := r.code(err, role, &admission.Doc{})
	return code == protocol.CodeUnrepresentable
}

func unrepresentable(role string, doc *admission.Doc, err error) error {
	e := tuferr.New(protocol.CodeUnrepresentable, "go-tuf cannot represent this file: %w", err)
	e.Role, e.Engine, e.Digest, e.Received = role, Name, doc.SHA256, doc.Version
	return e
}

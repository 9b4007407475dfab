// Package verify is the host's own look at what an engine vouches for, over
// the bytes as they were signed. Nothing enters the trust store and no answer
// reaches a caller that it does not confirm, whichever engine spoke: an engine
// that is wrong, or a worker that lies, costs availability and never integrity.
//
// It checks thresholds by distinct keys over the canonical form of the raw
// signed part (never over something re-marshalled), version order, hashes and
// lengths, expiry and the walk over delegations. It fetches nothing and
// decides nothing about fallback.
package verify

import (
	"fmt"
	"slices"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/keys"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// maxWork bounds the bytes that are hashed to verify the signatures of one file.
const maxWork = 1 << 30

// Signed checks that doc is signed by the threshold of distinct keys that
// delegator demands for role. The error is the verdict unsigned. Success is
// noted in doc, so that it is found once, however many ask.
func Signed(delegator *admission.Doc, role string, doc *admission.Doc) error {
	if doc.VerifiedFor(delegator, role) {
		return nil
	}
	set, r, ok := delegator.Delegated(role)
	if !ok {
		return unsigned(role, doc, "nobody delegates to this role")
	}
	sigs := make(map[string][]byte, len(doc.Signatures))
	for _, s := range doc.Signatures {
		sigs[s.KeyID] = s.Sig
	}
	counted := map[keys.Fingerprint]bool{}
	work := 0
	for _, id := range r.KeyIDs {
		sig, signed := sigs[id]
		k, listed := set[id]
		if !signed || !listed || len(sig) == 0 {
			continue
		}
		if work += len(doc.Canonical); work > maxWork {
			return refuse(protocol.CodeTooMany, role, doc, signedSpec(role), "too many signatures to verify over so large a file")
		}
		pub, err := keys.Decode(k)
		if err != nil || counted[pub.Fingerprint] {
			continue
		}
		if pub.Verify(doc.Canonical, sig) {
			counted[pub.Fingerprint] = true
		}
		if len(counted) >= r.Threshold {
			doc.NoteVerified(delegator, role)
			return nil
		}
	}
	return unsigned(role, doc, fmt.Sprintf("signed by %d distinct keys of the %d that are required", len(counted), r.Threshold))
}

func unsigned(role string, doc *admission.Doc, msg string) error {
	e := refuse(protocol.CodeUnsigned, role, doc, signedSpec(role), msg)
	e.Hint = "the file was changed on its way or by someone without the keys: do not use it, and tell the publisher"
	return e
}

func signedSpec(role string) string {
	switch admission.Kind(role) {
	case admission.KindRoot:
		return "5.3.4"
	case admission.KindTimestamp:
		return "5.4.2"
	case admission.KindSnapshot:
		return "5.5.3"
	default:
		return "5.6.3"
	}
}

// refuse makes a verdict of the host about a document.
func refuse(code protocol.Code, role string, doc *admission.Doc, spec, msg string) *tuferr.Error {
	e := tuferr.New(code, "%s", msg)
	e.Role, e.Engine, e.Spec = role, "host", spec
	if doc != nil {
		e.Digest, e.Received = doc.SHA256, doc.Version
	}
	return e
}

// SelfSigned checks a root that is trusted by itself, the shipped anchor: it
// must be signed by its own threshold.
func SelfSigned(root *admission.Doc) error { return Signed(root, string(admission.KindRoot), root) }

// RootStep checks that next follows trusted: version N+1, signed by the
// thresholds of both (5.3.4, 5.3.5). The errors are the verdicts unsigned,
// rollback and bad_version.
func RootStep(trusted, next *admission.Doc) error {
	const root = string(admission.KindRoot)
	if err := Signed(trusted, root, next); err != nil {
		return err
	}
	if want := trusted.Version + 1; next.Version != want {
		code := protocol.CodeBadVersion
		if next.Version <= trusted.Version {
			code = protocol.CodeRollback
		}
		e := refuse(code, root, next, "5.3.5", fmt.Sprintf("version %d where version %d belongs", next.Version, want))
		e.Trusted = trusted.Version
		return e
	}
	return SelfSigned(next)
}

// Rotated says whether next takes a timestamp or snapshot key away that old
// had, or gives its keyid to another key: then what those keys signed is
// forgotten (5.3.11).
func Rotated(old, next *admission.Doc) bool {
	for _, k := range []admission.Kind{admission.KindTimestamp, admission.KindSnapshot} {
		now := next.Root.Roles[string(k)].KeyIDs
		for _, id := range old.Root.Roles[string(k)].KeyIDs {
			if !slices.Contains(now, id) || next.Root.Keys[id] != old.Root.Keys[id] {
				return true
			}
		}
	}
	return false
}

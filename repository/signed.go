package repository

import (
	"slices"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/keys"
)

// signedBy returns the keyids of the distinct keys of by whose signatures of a
// file are right.
func signedBy(by *admission.Doc, s *sealed) (ids []string) {
	return goodSignatures(by, s.role, s.plain.Canonical, s.envelope.Signatures)
}

func goodSignatures(by *admission.Doc, role string, message []byte, signatures []admission.Signature) (ids []string) {
	listed, r, _ := by.Delegated(role)
	seen := map[keys.Fingerprint]bool{}
	for _, sig := range signatures {
		k, ok := listed[sig.KeyID]
		if !ok || !slices.Contains(r.KeyIDs, sig.KeyID) {
			continue
		}
		public, err := keys.Decode(k)
		if err == nil && !seen[public.Fingerprint] && public.Verify(message, sig.Sig) {
			seen[public.Fingerprint] = true
			ids = append(ids, sig.KeyID)
		}
	}
	return ids
}

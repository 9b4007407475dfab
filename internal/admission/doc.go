// Package admission turns bytes into checked TUF metadata documents. It runs
// on every metadata file, remote or local, before an engine, the trust store
// or a caller sees it, and is the only place where metadata bytes are parsed
// by the host.
//
// It enforces what can be said about one file by itself (TUF specification,
// section 4): bounded size, depth and counts; strict JSON without duplicate
// names; the shape of the object of the expected type; spec_version major 1;
// versions of at least 1; UTC date-times in the one format the specification
// allows; unique signature keyids and role names. It knows nothing of other
// files: signatures, version order and hashes are checked by package verify.
//
// A [Doc] keeps the raw bytes and the canonical form of its signed part, so
// that signatures are always verified over what the publisher signed and never
// over something re-marshalled from a struct.
package admission

import (
	"crypto/sha512"
	"encoding/hex"
	"sync"
	"time"
)

// Kind is the _type of a metadata file. Delegated roles have KindTargets.
type Kind string

// The kinds of metadata, which are also the names of the top-level roles.
const (
	KindRoot      Kind = "root"
	KindTimestamp Kind = "timestamp"
	KindSnapshot  Kind = "snapshot"
	KindTargets   Kind = "targets"
)

// KindOf returns the kind of the file of a role: every role that is not
// top-level is a delegated targets role.
func KindOf(role string) Kind {
	switch k := Kind(role); k {
	case KindRoot, KindTimestamp, KindSnapshot:
		return k
	default:
		return KindTargets
	}
}

// Doc is one admitted metadata file. It is immutable and safe for concurrent use.
type Doc struct {
	Kind Kind
	// Raw is the file as received; never changed, never re-marshalled.
	Raw []byte
	// SHA256 is the lower-case hex digest of Raw.
	SHA256 string
	// Canonical is the canonical JSON of the signed part: what signatures sign.
	Canonical  []byte
	Signatures []Signature

	SpecVersion string
	Version     int64
	Expires     time.Time

	// Root is set for KindRoot, Meta for KindTimestamp and KindSnapshot,
	// Targets and (optionally) Delegations for KindTargets.
	Root        *Root
	Meta        map[string]MetaFile
	Targets     Targets
	Delegations *Delegations

	verified   verified
	sha512     string
	sha512Once sync.Once
}

// SHA512 returns the lower-case hex digest of Raw. It is computed once.
func (d *Doc) SHA512() string {
	d.sha512Once.Do(func() {
		sum := sha512.Sum512(d.Raw)
		d.sha512 = hex.EncodeToString(sum[:])
	})
	return d.sha512
}

// Signature is one entry of the signatures array. Sig is nil if the signature
// is not valid hex: such an entry counts for nothing, and does no harm.
type Signature struct {
	KeyID string
	Sig   []byte
}

// Root is the body of root metadata.
type Root struct {
	ConsistentSnapshot bool
	Keys               map[string]Key
	Roles              map[string]Role
}

// Key is a public key as written in metadata, not decoded yet.
type Key struct {
	Type, Scheme, Public string
}

// Role is a threshold over keyids. KeyIDs may name keys that do not exist or
// cannot count; see package keys. Each stands once.
type Role struct {
	KeyIDs    []string
	Threshold int
}

// MetaFile describes a metadata file in timestamp or snapshot metadata.
type MetaFile struct {
	Version int64
	// Length is -1 if absent.
	Length int64
	// Hashes maps algorithm to lower-case hex digest; nil if absent.
	Hashes map[string]string
}

// Target describes a target file.
type Target struct {
	Length int64
	// Hashes maps algorithm to lower-case hex digest; never empty, but
	// perhaps without an algorithm this client knows.
	Hashes map[string]string
	// Custom is the raw JSON of the custom field, nil if absent.
	Custom []byte
}

// Delegations is the delegations object of targets metadata: exactly one of
// Roles and Succinct is set.
type Delegations struct {
	Keys     map[string]Key
	Roles    []DelegatedRole
	Succinct *SuccinctRoles
}

// DelegatedRole is one delegation. At most one of Paths and PathHashPrefixes is
// not nil.
type DelegatedRole struct {
	Role
	Name             string
	Terminating      bool
	Paths            []string
	PathHashPrefixes []string
}

// SuccinctRoles is a delegation to 2^BitLength hash bins (TAP 15).
type SuccinctRoles struct {
	Role
	BitLength  int
	NamePrefix string
}

// Delegated returns the keys and threshold under which this document delegates
// to role, and false if it does not. For root metadata these are the top-level
// roles.
func (d *Doc) Delegated(role string) (map[string]Key, Role, bool) {
	switch {
	case d.Root != nil:
		r, ok := d.Root.Roles[role]
		return d.Root.Keys, r, ok
	case d.Delegations == nil:
		return nil, Role{}, false
	case d.Delegations.Succinct != nil:
		s := d.Delegations.Succinct
		return d.Delegations.Keys, s.Role, s.Contains(role)
	}
	for i := range d.Delegations.Roles {
		if r := &d.Delegations.Roles[i]; r.Name == role {
			return d.Delegations.Keys, r.Role, true
		}
	}
	return nil, Role{}, false
}

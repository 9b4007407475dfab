package tuftest

import (
	"encoding/hex"
	"slices"
)

// Role is one metadata file in the making.
type Role struct {
	Name string
	// Signed is the signed part. Publishing sets its version, and the meta of
	// snapshot and timestamp; all else may be changed at any time.
	Signed Map
	// Version stands in file names and in the files that describe this one.
	Version int
	// Signers sign the file.
	Signers []*Key

	// EditSigned changes a copy of the signed part just before it is signed.
	EditSigned func(signed Map)
	// EditSignatures changes the signature list, whose entries are Maps.
	EditSignatures func(list []any) []any
	// EditRaw changes the bytes of the finished file.
	EditRaw func(raw []byte) []byte
}

// Bytes returns the signed file.
func (r *Role) Bytes() []byte {
	signed := Clone(r.Signed)
	if r.EditSigned != nil {
		r.EditSigned(signed)
	}
	list := SignatureList(Canonical(signed), r.Signers...)
	if r.EditSignatures != nil {
		list = r.EditSignatures(list)
	}
	raw := Text(Map{"signatures": list, "signed": signed})
	if r.EditRaw != nil {
		raw = r.EditRaw(raw)
	}
	return raw
}

// SignatureList signs a message with every key, in the form of the signatures
// array.
func SignatureList(message []byte, keys ...*Key) []any {
	list := make([]any, len(keys))
	for i, k := range keys {
		list[i] = Map{"keyid": k.ID, "sig": hex.EncodeToString(k.Sign(message))}
	}
	return list
}

// Copy returns an independent copy of the role, hooks included, to be changed
// and signed beside the original.
func (r *Role) Copy() *Role {
	c := *r
	c.Signed = Clone(r.Signed)
	c.Signers = slices.Clone(r.Signers)
	return &c
}

// SetVersion sets the version in the tree and for file names.
func (r *Role) SetVersion(v int) {
	r.Version = v
	r.Signed["version"] = v
}

func (r *Role) addSigners(keys []*Key) {
	for _, k := range keys {
		if !slices.ContainsFunc(r.Signers, func(s *Key) bool { return s.ID == k.ID }) {
			r.Signers = append(r.Signers, k)
		}
	}
}

// Package draft writes TUF metadata: the next version of a file, before and while
// it is signed. It judges nothing: what it writes is read back by package
// admission and held against its signers by package verify, like any other file.
//
// A draft that begins with an earlier version keeps every member it does not
// know. Entries of targets stay the bytes they were, so that a large file is
// neither decoded nor copied entry by entry.
package draft

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
)

// SpecVersion is the version of the TUF specification that new files follow.
const SpecVersion = "1.0.31"

// object is a JSON object with its values as they are.
type object = map[string]jsontext.Value

// Header is what all kinds of metadata have in common.
type Header struct {
	kind admission.Kind
	// others are the members that are not fields here.
	others  object
	Version int64
	// Expires has whole seconds in metadata.
	Expires time.Time
}

func newHeader(kind admission.Kind) Header {
	return Header{kind: kind, others: object{"spec_version": quoted(SpecVersion)}}
}

// headerOf reads the members of the signed part of doc, but for targets: they may
// be almost all of a large file, and are read otherwise.
func headerOf(doc *admission.Doc) (Header, error) {
	h := Header{kind: doc.Kind, Version: doc.Version, Expires: doc.Expires, others: object{}}
	err := inSigned(doc, func(d *jsontext.Decoder) error {
		return eachMember(d, func(name string) error {
			if name == "targets" && doc.Kind == admission.KindTargets {
				return d.SkipValue()
			}
			v, err := d.ReadValue()
			h.others[name] = compact(v)
			return err
		})
	})
	return h, err
}

// compact returns a copy without white space.
func compact(v jsontext.Value) jsontext.Value {
	v = v.Clone()
	_ = v.Compact() // cannot fail: the value has been read
	return v
}

// inSigned calls read where the decoder has come to the signed part of doc. The
// file has been admitted: names stand once.
func inSigned(doc *admission.Doc, read func(*jsontext.Decoder) error) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(doc.Raw), jsontext.AllowDuplicateNames(true))
	return eachMember(d, func(name string) error {
		if name != "signed" {
			return d.SkipValue()
		}
		return read(d)
	})
}

// eachMember reads an object. do reads the value of each member.
func eachMember(d *jsontext.Decoder, do func(name string) error) error {
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return err
		}
		if err := do(name.String()); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

func signedPart(doc *admission.Doc) (signed jsontext.Value, err error) {
	err = inSigned(doc, func(d *jsontext.Decoder) error {
		v, err := d.ReadValue()
		signed = v.Clone()
		return err
	})
	return signed, err
}

// encode returns the signed part with the given members beside the common ones.
func (h *Header) encode(own map[string]any) ([]byte, error) {
	own["_type"] = string(h.kind)
	own["version"] = h.Version
	own["expires"] = h.Expires.UTC().Truncate(time.Second).Format(time.RFC3339)
	for name, v := range h.others {
		if _, set := own[name]; !set {
			own[name] = v
		}
	}
	names := slices.Sorted(maps.Keys(own))
	values := make([]jsontext.Value, len(names))
	size := 0
	for i, name := range names {
		v, ready := own[name].(jsontext.Value)
		if !ready {
			var err error
			if v, err = encode(own[name]); err != nil {
				return nil, err
			}
		}
		values[i] = v
		size += len(name) + len(v) + 8
	}
	b := append(make([]byte, 0, size), '{')
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, quoted(name)...)
		b = append(b, ':')
		b = append(b, values[i]...)
	}
	return append(b, '}'), nil
}

// encode writes v with sorted member names.
func encode(v any) (jsontext.Value, error) { return json.Marshal(v, json.Deterministic(true)) }

func quoted(s string) jsontext.Value {
	v, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		// Only invalid UTF-8 fails: then the file has its replacement, and is
		// refused where it matters.
		v, _ = jsontext.AppendQuote(nil, fmt.Sprintf("%q", s))
	}
	return v
}

// Envelope is a metadata file in the making: its signed part and the signatures
// so far.
type Envelope struct {
	Kind       admission.Kind
	Signed     []byte
	Signatures []admission.Signature
}

// Seal puts the signed part of a draft into an envelope without signatures.
func Seal(kind admission.Kind, signed []byte) *Envelope { return &Envelope{Kind: kind, Signed: signed} }

// Reopen returns the envelope of a file that has been read, with its signatures.
func Reopen(doc *admission.Doc) (*Envelope, error) {
	signed, err := signedPart(doc)
	return &Envelope{Kind: doc.Kind, Signed: signed, Signatures: slices.Clone(doc.Signatures)}, err
}

// Add adds a signature, in the place of an earlier one by the same key.
func (e *Envelope) Add(s admission.Signature) {
	e.Signatures = slices.DeleteFunc(e.Signatures, func(old admission.Signature) bool { return old.KeyID == s.KeyID })
	e.Signatures = append(e.Signatures, s)
}

// Bytes returns the file.
func (e *Envelope) Bytes() []byte {
	b := make([]byte, 0, len(e.Signed)+len(e.Signatures)*700+64)
	b = append(b, `{"signatures":[`...)
	for i, s := range e.Signatures {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"keyid":`...)
		b = append(b, quoted(s.KeyID)...)
		b = append(b, `,"sig":"`...)
		b = hex.AppendEncode(b, s.Sig)
		b = append(b, `"}`...)
	}
	b = append(b, `],"signed":`...)
	b = append(b, e.Signed...)
	return append(b, "}\n"...)
}

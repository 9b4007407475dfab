package draft

import (
	"github.com/go-json-experiment/json"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
)

// Meta is a draft of timestamp or snapshot metadata.
type Meta struct {
	Header
	files object
}

// NewMeta begins version 1 of timestamp or snapshot metadata.
func NewMeta(kind admission.Kind) *Meta {
	m := &Meta{Header: newHeader(kind), files: object{}}
	m.Version = 1
	return m
}

// EditMeta begins the version after doc.
func EditMeta(doc *admission.Doc) (*Meta, error) {
	h, err := headerOf(doc)
	m := &Meta{Header: h}
	if err == nil {
		err = json.Unmarshal(h.others["meta"], &m.files)
	}
	m.Version++
	return m, err
}

// Describe lists a file with its version, length and hash (specification, 4.4).
func (m *Meta) Describe(name string, doc *admission.Doc) error {
	raw, err := encode(map[string]any{
		"version": doc.Version, "length": len(doc.Raw), "hashes": map[string]string{"sha256": doc.SHA256},
	})
	m.files[name] = raw
	return err
}

// Encode returns the signed part.
func (m *Meta) Encode() ([]byte, error) { return m.encode(map[string]any{"meta": m.files}) }

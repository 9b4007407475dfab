package admission

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// maxMoves is how often each byte of a file may be moved on the average to bring
// object members into canonical order: once for each level that is out of order.
const maxMoves = 32

// Parse checks raw as a metadata file of the kind and returns its document.
// The document shares no memory with raw.
//
// Errors are *tuferr.Error: endless_data if raw is longer than the limit,
// not_a_repository if it is not even a JSON object with signatures and a signed
// part, malformed for everything else. Parse is safe for concurrent use.
func Parse(kind Kind, raw []byte, lim Limits) (*Doc, error) {
	lim = lim.withDefaults()
	if max := lim.Bytes(kind); int64(len(raw)) > max {
		return nil, tuferr.New(protocol.CodeEndlessData, "%d bytes, more than the limit of %d", len(raw), max)
	}
	d := &Doc{Kind: kind, Raw: bytes.Clone(raw)}
	sum := sha256.Sum256(raw)
	d.SHA256 = hex.EncodeToString(sum[:])
	if err := d.parse(lim); err != nil {
		code := protocol.CodeMalformed
		if !looksLikeMetadata(raw) {
			code = protocol.CodeNotARepository
		}
		e := tuferr.New(code, "%w", err)
		e.Digest, e.Engine, e.Spec = d.SHA256, "host", "4"
		return nil, e
	}
	return d, nil
}

// looksLikeMetadata tells broken metadata from a page that some other server
// sent. Both are refused; only the advice to the user differs.
func looksLikeMetadata(raw []byte) bool {
	t := bytes.TrimLeft(raw, " \t\r\n")
	return len(t) > 0 && t[0] == '{' &&
		bytes.Contains(raw, []byte(`"signed"`)) && bytes.Contains(raw, []byte(`"signatures"`))
}

// parse fills the document from its raw bytes.
func (d *Doc) parse(lim Limits) error {
	dec := jsontext.NewDecoder(bytes.NewReader(d.Raw))
	if dec.PeekKind() != '{' {
		return errors.New("not a JSON object")
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	var signatures, signed jsontext.Value
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return err
		}
		start := dec.InputOffset()
		switch name.String() {
		case "signed":
			c := canonicalizer{dec: dec, limit: lim.Depth, moves: maxMoves * len(d.Raw), out: make([]byte, 0, len(d.Raw))}
			if err := c.value(); err != nil {
				return fmt.Errorf("signed: %w", err)
			}
			d.Canonical = c.out
			signed = trimColon(d.Raw[start:dec.InputOffset()])
		case "signatures":
			v, err := dec.ReadValue()
			if err != nil {
				return err
			}
			signatures = v.Clone()
		default:
			if err := dec.SkipValue(); err != nil {
				return err
			}
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON object")
	}
	if d.Canonical == nil || signatures == nil {
		return errors.New("not an object with signatures and a signed part")
	}
	if err := d.readSignatures(signatures, lim); err != nil {
		return err
	}
	return d.readSigned(signed, lim)
}

// trimColon strips what stands between a member's name and its value.
func trimColon(v []byte) jsontext.Value {
	return bytes.TrimLeft(v, " \t\r\n:")
}

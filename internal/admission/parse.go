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

// Parse checks raw as a metadata file of the kind and returns its document,
// which takes raw over: nobody may change it any more.
//
// Errors are *tuferr.Error: endless_data if raw is longer than the limit,
// not_a_repository if it is not even a JSON object with signatures and a signed
// part, malformed for everything else. Parse is safe for concurrent use. Its time
// and its memory are linear in the length of raw, whatever raw is.
func Parse(kind Kind, raw []byte, lim Limits) (*Doc, error) {
	lim = lim.withDefaults()
	if max := lim.Bytes(kind); int64(len(raw)) > max {
		return nil, tuferr.New(protocol.CodeEndlessData, "%d bytes, more than the limit of %d", len(raw), max)
	}
	d := &Doc{Kind: kind, Raw: raw}
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
	dec := jsontext.NewDecoder(bytes.NewBuffer(d.Raw), jsontext.AllowDuplicateNames(true))
	if dec.PeekKind() != '{' {
		return errors.New("not a JSON object")
	}
	file := canonicalizer{dec: dec}
	var signatures jsontext.Value
	var signed *signedPart
	err := file.object(func(name []byte) (err error) {
		start := dec.InputOffset()
		switch string(name) {
		case "signed":
			if signed != nil {
				return errors.New("signed stands twice")
			}
			if signed, err = d.readSignedPart(dec, lim); err != nil {
				return fmt.Errorf("signed: %w", err)
			}
		case "signatures":
			err = file.value()
			signatures = trimColon(d.Raw[start:dec.InputOffset()])
		default:
			err = file.value()
		}
		return err
	})
	if err != nil {
		return err
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON object")
	}
	if signed == nil || signatures == nil {
		return errors.New("not an object with signatures and a signed part")
	}
	if d.Signatures, err = readSignatures(signatures, lim); err != nil {
		return err
	}
	return d.readSigned(signed, lim)
}

// trimColon strips what stands between a member's name and its value.
func trimColon(v []byte) jsontext.Value {
	return bytes.TrimLeft(v, " \t\r\n:")
}

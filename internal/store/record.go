package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

const (
	recordMagic   = "ragnos-trust-store"
	recordVersion = 1
	// maxRecord bounds the floors file: room for every role that admission allows.
	maxRecord = 128 << 20
)

// record is the content of the floors file.
type record struct {
	// Anchor is the hex SHA-256 of the pinned root, AnchorVersion its version. A
	// record that names another anchor than anchor.json is from before a
	// replacement that was not finished.
	Anchor        string `json:"anchor"`
	AnchorVersion int64  `json:"anchor_version"`
	Floors        Floors `json:"floors"`
}

func (r record) equal(o record) bool {
	return r.Anchor == o.Anchor && r.AnchorVersion == o.AnchorVersion && r.Floors.equal(o.Floors)
}

// seal gives a value the form in which it is stored.
func seal(v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	body = append(body, '\n')
	sum := sha256.Sum256(body)
	return fmt.Appendf(nil, "%s %d %x\n%s", recordMagic, recordVersion, sum, body), nil
}

// unseal reads what seal made of a value. The errors are errDamaged, and local_io
// for a format from the future, which is not damage.
func unseal[T any](raw []byte) (value T, err error) {
	head, body, _ := bytes.Cut(raw, []byte("\n"))
	words := strings.SplitN(string(head), " ", 4)
	if len(words) != 3 || words[0] != recordMagic {
		return value, &damage{errors.New("not a file of this trust store")}
	}
	sum := sha256.Sum256(body)
	if words[2] != hex.EncodeToString(sum[:]) {
		return value, &damage{errors.New("the checksum is wrong")}
	}
	if version, err := strconv.Atoi(words[1]); err != nil || version != recordVersion {
		e := tuferr.New(protocol.CodeLocalIO, "trust store: format %q is not known to this release", words[1])
		e.Hint = "use the newer release that wrote it, or another metadata directory"
		return value, e
	}
	if err := json.Unmarshal(body, &value); err != nil {
		return value, &damage{err}
	}
	return value, nil
}

// missing reports whether err says that there is no usable content.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, errDamaged)
}

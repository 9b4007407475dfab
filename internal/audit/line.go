package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	stdjson "encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

const (
	// MaxLine is the longest line in bytes, with its newline.
	MaxLine = 64 << 10
	// MaxEvent is the longest event in bytes, in canonical form.
	MaxEvent = MaxLine - 512

	// KindRecovered is the kind of a line that tells of a torn one.
	KindRecovered = "recovered"

	maxSeq     = 1<<53 - 1
	timeLayout = "2006-01-02T15:04:05.000000Z"
)

// The members of a line but for their values, in canonical order.
var (
	beforeEvent = []byte(`{"event":`)
	beforeKind  = []byte(`,"kind":"` + KindRecovered + `"`)
	beforePrev  = []byte(`,"prev":"`)
	beforeSeq   = []byte(`","seq":`)
	beforeTime  = []byte(`,"time":"`)
	afterTime   = []byte(`"}`)
)

// line is what stands in a line, which it shares memory with.
type line struct {
	seq       int64
	at        time.Time
	prev      [sha256.Size]byte
	recovered bool
	event     []byte
}

// append writes the line, with its newline.
func (l *line) append(to []byte) []byte {
	to = append(append(to, beforeEvent...), l.event...)
	if l.recovered {
		to = append(to, beforeKind...)
	}
	to = hex.AppendEncode(append(to, beforePrev...), l.prev[:])
	to = strconv.AppendInt(append(to, beforeSeq...), l.seq, 10)
	to = l.at.UTC().AppendFormat(append(to, beforeTime...), timeLayout)
	return append(append(to, afterTime...), '\n')
}

// ErrNoLine is in the chain of the error for what stands in a log and is no line.
var ErrNoLine = errors.New("not a line of this log in its one form")

// parseLine reads a line without its newline. Only what append writes is one.
func parseLine(raw []byte) (line, error) {
	var l line
	rest, ok := bytes.CutPrefix(raw, beforeEvent)
	if len(raw) >= MaxLine || !ok {
		return l, ErrNoLine
	}
	if rest, ok = bytes.CutSuffix(rest, afterTime); !ok || len(rest) < len(timeLayout) {
		return l, ErrNoLine
	}
	rest, when := rest[:len(rest)-len(timeLayout)], rest[len(rest)-len(timeLayout):]
	at, err := time.Parse(timeLayout, string(when))
	if err != nil || at.Format(timeLayout) != string(when) {
		return l, ErrNoLine
	}
	if rest, ok = bytes.CutSuffix(rest, beforeTime); !ok {
		return l, ErrNoLine
	}
	i := bytes.LastIndex(rest, beforeSeq)
	if i < 0 {
		return l, ErrNoLine
	}
	if l.seq, ok = parseSeq(rest[i+len(beforeSeq):]); !ok {
		return l, ErrNoLine
	}
	j := i - hex.EncodedLen(len(l.prev))
	if j < len(beforePrev) || !parseDigest(&l.prev, rest[j:i]) {
		return l, ErrNoLine
	}
	if rest, ok = bytes.CutSuffix(rest[:j], beforePrev); !ok {
		return l, ErrNoLine
	}
	l.event, l.recovered = bytes.CutSuffix(rest, beforeKind)
	if !isCanonical(l.event) {
		return l, ErrNoLine
	}
	l.at = at
	return l, nil
}

func parseSeq(digits []byte) (int64, bool) {
	n, err := strconv.ParseInt(string(digits), 10, 64)
	return n, err == nil && n > 0 && n <= maxSeq && digits[0] != '+' && digits[0] != '0'
}

func parseDigest(to *[sha256.Size]byte, digits []byte) bool {
	_, err := hex.Decode(to[:], digits)
	return err == nil && !bytes.ContainsAny(digits, "ABCDEF")
}

// canonicalize brings a JSON value into canonical form.
func canonicalize(v *jsontext.Value) error {
	return v.Canonicalize(jsontext.CanonicalizeRawInts(false))
}

// isCanonical tells whether raw is one JSON object in canonical form.
func isCanonical(raw []byte) bool {
	v := jsontext.Value(bytes.Clone(raw))
	return v.Kind() == '{' && canonicalize(&v) == nil && bytes.Equal(v, raw)
}

// encodeEvent returns an event in canonical form.
func encodeEvent(event any) ([]byte, error) {
	raw, err := stdjson.Marshal(event)
	v := jsontext.Value(raw)
	if err == nil {
		err = canonicalize(&v)
	}
	if err == nil && v.Kind() != '{' {
		err = errors.New("it is not a JSON object")
	}
	if err == nil && len(v) > MaxEvent {
		err = errors.New("it is longer than " + strconv.Itoa(MaxEvent) + " bytes")
	}
	if err != nil {
		return nil, tuferr.New(protocol.CodeUsage, "an event cannot be written to the audit log: %w", err)
	}
	return v, nil
}

// hashLine returns the hash that the next line names as prev: of the line with its
// newline.
func hashLine(withNewline []byte) [sha256.Size]byte { return sha256.Sum256(withNewline) }

// leafOf returns the hash of the line as a leaf of the tree: of the line without its
// newline.
func leafOf(withNewline []byte) tlog.Hash {
	return tlog.RecordHash(withNewline[:len(withNewline)-1])
}

package audit

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// CheckpointsName is the file of all checkpoints: signed notes, the oldest first,
// with an empty line after each.
const CheckpointsName = "checkpoints"

// maxNote is the longest checkpoint in bytes, with all its signatures.
const maxNote = 64 << 10

// checkpoint is what a signed note says of a log.
type checkpoint struct {
	origin string
	size   int64
	root   tlog.Hash
}

// sign makes a checkpoint: a note of the origin, the size and the root, as C2SP's
// tlog-checkpoint defines it.
func sign(c checkpoint, signer note.Signer) ([]byte, error) {
	return note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", c.origin, c.size, c.root)}, signer)
}

// parseCheckpoint reads the text of a note. Lines after the third are extensions,
// which say nothing here.
func parseCheckpoint(text string) (checkpoint, error) {
	bad := errors.New("not a checkpoint")
	lines := strings.SplitN(text, "\n", 4)
	if len(lines) < 4 || lines[0] == "" {
		return checkpoint{}, bad
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return checkpoint{}, bad
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return checkpoint{}, bad
	}
	return checkpoint{lines[0], size, tlog.Hash(root)}, nil
}

// errForeign is for a checkpoint that is for another log.
var errForeign = errors.New("for another log")

// openCheckpoint reads a signed note. One key of verifiers must have signed it, and
// be named as its origin. errForeign is in the chain of the error for what is, as far
// as can be told, the checkpoint of another log.
func openCheckpoint(raw []byte, verifiers []note.Verifier) (checkpoint, error) {
	n, err := note.Open(raw, note.VerifierList(verifiers...))
	var unknown *note.UnverifiedNoteError
	if errors.As(err, &unknown) {
		c, err := parseCheckpoint(unknown.Note.Text)
		if err == nil && len(verifiers) > 0 && !named(verifiers, c.origin) {
			return c, fmt.Errorf("it is %w: %q", errForeign, clip(c.origin))
		}
		return c, errors.New("no known key has signed it")
	}
	if err != nil {
		return checkpoint{}, errors.New("its signature is wrong, or it is none")
	}
	c, err := parseCheckpoint(n.Text)
	if err != nil {
		return c, err
	}
	for _, s := range n.Sigs {
		if _, err := base64.StdEncoding.Strict().DecodeString(s.Base64); err != nil {
			return c, errors.New("its signature is not in its one form")
		}
		if s.Name == c.origin {
			return c, nil
		}
	}
	return c, fmt.Errorf("it is %w: %q", errForeign, clip(c.origin))
}

func named(verifiers []note.Verifier, name string) bool {
	for _, v := range verifiers {
		if v.Name() == name {
			return true
		}
	}
	return false
}

// clip shortens what others wrote for a message.
func clip(s string) string { return s[:min(len(s), 80)] }

// noteReader splits signed notes that stand one after another.
type noteReader struct {
	lines *lineReader
	// line and offset are where the latest note begins; lines count from 1.
	line, offset int64
	held         []byte // a line of the next note
}

var signature = []byte("— ")

// next returns the next note. whole is false for the end of the last one, if it is
// missing: a note ends with an empty line behind its signatures, or where another
// one begins. At the end the note is nil. The note stays until the next call.
func (r *noteReader) next() (raw []byte, whole bool, err error) {
	raw, r.held = r.held, nil
	r.line, r.offset = r.lines.number, r.lines.offset
	signed := false
	for {
		b, terminated, err := r.lines.next()
		if err != nil || b == nil {
			return raw, false, err
		}
		if len(raw) == 0 {
			r.line, r.offset = r.lines.number, r.lines.offset
		}
		if !terminated {
			return append(raw, b...), false, nil
		}
		if signed && !bytes.HasPrefix(b, signature) {
			if len(b) > 1 {
				r.held = bytes.Clone(b)
			}
			return raw, len(b) == 1, nil
		}
		signed = bytes.HasPrefix(b, signature)
		if len(raw)+len(b) <= maxNote {
			raw = append(raw, b...)
		}
	}
}

package lockfile

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// document is the file.
type document struct {
	Version int       `json:"version"`
	Plugins []located `json:"plugins"`
}

// located is an entry, and up to where the file has been read before it.
type located struct {
	Entry
	offset int64
}

// strictEntry tells what is missing from what is nothing.
type strictEntry struct {
	Target     string            `json:"target"`
	Publisher  string            `json:"publisher"`
	Name       string            `json:"name"`
	Version    string            `json:"version"`
	Wanted     string            `json:"wanted"`
	Repository string            `json:"repository"`
	Length     *int64            `json:"length"`
	Hashes     map[string]string `json:"hashes"`
}

// UnmarshalJSONFrom reads one entry.
func (l *located) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	l.offset = d.InputOffset()
	if d.PeekKind() != '{' {
		return errors.New("an entry is not an object")
	}
	var e strictEntry
	if err := json.UnmarshalDecode(d, &e); err != nil {
		return err
	}
	if e.Length == nil {
		return errors.New("an entry has no length")
	}
	l.Entry = Entry{e.Target, e.Publisher, e.Name, e.Version, e.Wanted, e.Repository, *e.Length, e.Hashes}
	return nil
}

// Encode returns the file's bytes. The error is local_io for more than [MaxSize].
func (f *File) Encode() ([]byte, error) {
	d := struct {
		Version int     `json:"version"`
		Plugins []Entry `json:"plugins"`
	}{Version, f.entries}
	if d.Plugins == nil {
		d.Plugins = []Entry{}
	}
	raw, err := json.Marshal(d, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		return nil, tuferr.New(protocol.CodeInternal, "cannot write the lock file: %w", err)
	}
	if raw = append(raw, '\n'); len(raw) > MaxSize {
		return nil, tooLong()
	}
	return raw, nil
}

// Parse reads the bytes of a lock file. Every error is local_io and, where it is about
// a place in the file, names its line. It keeps nothing of data.
func Parse(data []byte) (*File, error) {
	if len(data) > MaxSize {
		return nil, tooLong()
	}
	if line := conflict(data); line > 0 {
		e := bad(line, "the file holds an unresolved merge conflict")
		e.Hint = "take either side, and lock again what the other side changed"
		return nil, e
	}
	var head struct {
		Version *int `json:"version"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, notJSON(data, err)
	}
	switch {
	case head.Version == nil || *head.Version < 1:
		return nil, bad(0, "the file has no version")
	case *head.Version > Version:
		return nil, newer(bad(0, "the file has version %d", *head.Version))
	}
	var d document
	if err := json.Unmarshal(data, &d, json.RejectUnknownMembers(true)); err != nil {
		return nil, notJSON(data, err)
	}
	if d.Plugins == nil {
		return nil, bad(0, "the file has no plugins: write an empty list")
	}
	return collect(data, d.Plugins)
}

// collect makes a file of entries unless one cannot be, or is there twice.
func collect(data []byte, all []located) (*File, error) {
	f := &File{}
	seen := map[string]int{}
	for _, l := range all {
		line := lineAt(data, start(data, l.offset))
		if err := l.check(); err != nil {
			e := bad(line, "%s", err)
			e.Hint = "lock it anew"
			return nil, e
		}
		for _, key := range slices.Compact([]string{l.key(), "/" + l.Target}) {
			if first, twice := seen[key]; twice {
				e := bad(line, "%s is in line %d already", strings.TrimPrefix(key, "/"), first)
				e.Hint = "a plugin is locked once: remove one of them"
				return nil, e
			}
			seen[key] = line
		}
		f.entries = append(f.entries, l.Entry)
	}
	slices.SortFunc(f.entries, byTarget)
	return f, nil
}

// start skips what stands between two values.
func start(data []byte, offset int64) int64 {
	rest := data[offset:]
	return offset + int64(len(rest)-len(bytes.TrimLeft(rest, " \t\r\n,")))
}

// lineAt is the number of the line that holds an offset, from 1.
func lineAt(data []byte, offset int64) int {
	return 1 + bytes.Count(data[:min(max(offset, 0), int64(len(data)))], []byte("\n"))
}

// conflict returns the line of the first mark that git leaves in a file that it cannot
// merge, 0 if there is none. No line of JSON can begin so.
func conflict(data []byte) int {
	line := 0
	for text := range bytes.Lines(data) {
		line++
		for _, mark := range []string{"<<<<<<<", "=======", ">>>>>>>", "|||||||"} {
			if bytes.HasPrefix(text, []byte(mark)) {
				return line
			}
		}
	}
	return 0
}

func bad(line int, format string, args ...any) *tuferr.Error {
	where := "lock file: "
	if line > 0 {
		where = fmt.Sprintf("lock file, line %d: ", line)
	}
	e := tuferr.New(protocol.CodeLocalIO, where+format, args...)
	e.Hint = "restore the file from version control, or lock all plugins anew"
	return e
}

// notJSON says where and why JSON, or a value in it, is not as it should be.
func notJSON(data []byte, err error) error {
	var syntactic *jsontext.SyntacticError
	var semantic *json.SemanticError
	offset, where, cause := int64(0), jsontext.Pointer(""), err
	switch {
	case errors.As(err, &syntactic):
		offset, where, cause = syntactic.ByteOffset, syntactic.JSONPointer, syntactic.Err
	case errors.As(err, &semantic):
		offset, where, cause = start(data, min(semantic.ByteOffset, int64(len(data)))), semantic.JSONPointer, semantic.Err
		if cause == nil {
			cause = errors.New("a value of the wrong type")
		}
	}
	place := ""
	if where != "" {
		place = fmt.Sprintf("%.200q: ", string(where))
	}
	e := bad(lineAt(data, offset), "%s%w", place, cause)
	if errors.Is(err, json.ErrUnknownName) {
		return newer(e)
	}
	return e
}

func newer(e *tuferr.Error) error {
	e.Hint = "it was made by a newer version: use that one"
	return e
}

func tooLong() error {
	return bad(0, "the file is longer than %d bytes", MaxSize)
}

package admission

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sort"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Targets lists the target files of targets metadata. It is a view of the file
// as received: every entry was checked when the file was admitted, and is
// decoded each time it is asked for, so that a large file costs little more than
// its bytes. The zero value lists nothing. It is immutable.
type Targets struct {
	raw []byte
	// at is where in raw the members' names begin, in the order of the names.
	at []int
}

// Len returns the number of target files.
func (t Targets) Len() int { return len(t.at) }

// Paths yields the target paths in ascending order of their bytes.
func (t Targets) Paths() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, at := range t.at {
			if !yield(string(unquote(leadingString(t.raw[at:])))) {
				return
			}
		}
	}
}

// Find returns the description of a target file, or nil if it is not listed.
func (t Targets) Find(path string) *Target {
	i, found := sort.Find(len(t.at), func(i int) int {
		return bytes.Compare([]byte(path), unquote(leadingString(t.raw[t.at[i]:])))
	})
	if !found {
		return nil
	}
	member := t.raw[t.at[i]:]
	dec := jsontext.NewDecoder(bytes.NewBuffer(trimColon(member[len(leadingString(member)):])))
	target, err := readTarget(dec)
	if err != nil {
		return nil // Never: the entry has been admitted.
	}
	return target
}

// readTarget decodes one entry.
func readTarget(dec *jsontext.Decoder) (*Target, error) {
	var w *wireTarget
	if err := json.UnmarshalDecode(dec, &w, jsontext.AllowDuplicateNames(true)); err != nil {
		return nil, err
	}
	if w == nil || w.Length == nil || *w.Length < 0 {
		return nil, errors.New("want an object with a length of at least 0")
	}
	hashes, err := readHashes(w.Hashes)
	if err != nil {
		return nil, err
	}
	t := &Target{Length: *w.Length, Hashes: hashes}
	switch w.Custom.Kind() {
	case '{':
		t.Custom = w.Custom
	case 'n', 0:
	default:
		return nil, errors.New("custom: want an object")
	}
	return t, nil
}

// readTargetList checks every entry of the targets object and makes the index.
func readTargetList(raw jsontext.Value) (Targets, error) {
	t := Targets{raw: raw}
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw), jsontext.AllowDuplicateNames(true))
	if dec.PeekKind() != '{' {
		return t, errors.New("targets: want an object")
	}
	if _, err := dec.ReadToken(); err != nil {
		return t, err
	}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadValue()
		if err != nil {
			return t, err
		}
		t.at = append(t.at, int(dec.InputOffset())-len(name))
		if _, err := readTarget(dec); err != nil {
			return t, fmt.Errorf("targets.%s: %w", leadingString(raw[t.at[len(t.at)-1]:]), err)
		}
	}
	slices.SortFunc(t.at, func(a, b int) int {
		return bytes.Compare(unquote(leadingString(raw[a:])), unquote(leadingString(raw[b:])))
	})
	return t, nil
}

// leadingString returns the JSON string that v, which is valid, begins with.
func leadingString(v []byte) []byte {
	for i := 1; ; i++ {
		switch v[i] {
		case '\\':
			i++
		case '"':
			return v[:i+1]
		}
	}
}

// unquote returns the text of a valid JSON string; it may share its memory.
func unquote(s []byte) []byte {
	if bytes.IndexByte(s, '\\') < 0 {
		return s[1 : len(s)-1]
	}
	text, err := jsontext.AppendUnquote(nil, s)
	if err != nil {
		return nil // Never: the string has been admitted.
	}
	return text
}

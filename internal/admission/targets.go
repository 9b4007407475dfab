package admission

import (
	"bytes"
	"iter"
	"slices"
	"sort"
	"strings"

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

// All yields the target paths in ascending order of their bytes, each with its
// description as received. Nobody may change the bytes.
func (t Targets) All() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for _, at := range t.at {
			name := leadingString(t.raw[at:])
			entry := leadingObject(trimColon(t.raw[at+len(name):]))
			if !yield(string(unquote(name)), entry) {
				return
			}
		}
	}
}

// From yields the target paths that begin with a prefix, in ascending order.
func (t Targets) From(prefix string) iter.Seq[string] {
	return func(yield func(string) bool) {
		first, _ := sort.Find(len(t.at), func(i int) int {
			return bytes.Compare([]byte(prefix), unquote(leadingString(t.raw[t.at[i]:])))
		})
		for _, at := range t.at[first:] {
			path := string(unquote(leadingString(t.raw[at:])))
			if !strings.HasPrefix(path, prefix) || !yield(path) {
				return
			}
		}
	}
}

// Has says whether a target file is listed.
func (t Targets) Has(path string) bool { return t.member(path) != nil }

// member returns what the file has from the member of a path on, or nil.
func (t Targets) member(path string) []byte {
	want := []byte(path)
	i, found := sort.Find(len(t.at), func(i int) int {
		return bytes.Compare(want, unquote(leadingString(t.raw[t.at[i]:])))
	})
	if !found {
		return nil
	}
	return t.raw[t.at[i]:]
}

// Find returns the description of a target file, or nil if it is not listed.
func (t Targets) Find(path string) *Target {
	member := t.member(path)
	if member == nil {
		return nil
	}
	entry := leadingObject(trimColon(member[len(leadingString(member)):]))
	var w struct {
		Length int64             `json:"length"`
		Hashes map[string]string `json:"hashes"`
		Custom jsontext.Value    `json:"custom"`
	}
	if err := unmarshal(entry, &w); err != nil {
		// Never: the entry was held against the schema. The path is listed, with
		// nothing that a file could match.
		return &Target{}
	}
	for algorithm, digest := range w.Hashes {
		w.Hashes[algorithm] = strings.ToLower(digest)
	}
	target := &Target{Length: w.Length, Hashes: w.Hashes}
	if w.Custom.Kind() == '{' {
		target.Custom = w.Custom
	}
	return target
}

// sortNames sorts the places of names in raw by the names.
func sortNames(raw []byte, at []int) {
	type named struct {
		name []byte
		at   int
	}
	list := make([]named, len(at))
	for i, at := range at {
		list[i] = named{unquote(leadingString(raw[at:])), at}
	}
	slices.SortFunc(list, func(a, b named) int { return bytes.Compare(a.name, b.name) })
	for i := range list {
		at[i] = list[i].at
	}
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

// leadingObject returns the JSON object that v, which is valid, begins with.
func leadingObject(v []byte) jsontext.Value {
	depth := 0
	for i := 0; ; i++ {
		switch v[i] {
		case '"':
			i += len(leadingString(v[i:])) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return v[:i+1]
			}
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

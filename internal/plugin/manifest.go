package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Bounds of a manifest.
const (
	// MaxManifest is the largest manifest in bytes.
	MaxManifest = 64 << 10

	maxDepth       = 16
	maxName        = 64
	maxVersion     = 64
	maxDescription = 1000 // characters
	maxPermissions = 64
	maxPermission  = 128
	maxSafeInteger = 1<<53 - 1

	// releaseMember is what the repository adds to a manifest.
	releaseMember = "release"
)

// Manifest describes a plugin to people and to the host application. It is
// signed as the custom field of the target.
type Manifest struct {
	// Name and Publisher are lower-case letters, digits, ".", "_" and "-".
	Name, Publisher string
	// Version is a semantic version without build metadata.
	Version     string
	Description string
	// EntryPoint is the file of the archive to start, "" if not given.
	EntryPoint string
	// MinHostVersion is the oldest host that can run it, "" if not given.
	MinHostVersion string
	Permissions    []string
	// Raw is the whole manifest, compact, with the fields unknown here.
	Raw json.RawMessage
}

// TargetPath is the plugin's path in the repository.
func (m *Manifest) TargetPath() string { return Path(m.Publisher, m.Name, m.Version) }

var (
	namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$`)
	// https://semver.org, without build metadata: it does not take part in
	// the order of versions, so two files could claim to be the same version.
	semverPattern = regexp.MustCompile(`^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)` +
		`(-(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(\.(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*)?$`)
	permissionPattern = regexp.MustCompile(`^[a-z0-9][A-Za-z0-9._:/*-]*$`)
)

// ParseManifest checks a manifest. Fields it does not know are kept as they
// are. Every error is a [*ManifestError].
//
// The manifest becomes part of signed metadata, so it may hold only what every
// TUF client reads alike: no duplicate names, names in ASCII, whole numbers
// that a double can hold.
func ParseManifest(data []byte) (*Manifest, error) {
	if len(data) > MaxManifest {
		return nil, &ManifestError{"", fmt.Sprintf("is larger than %d bytes", MaxManifest)}
	}
	if err := portable(data); err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, &ManifestError{"", "is not a JSON object"}
	}
	if _, ok := fields[releaseMember]; ok {
		return nil, &ManifestError{releaseMember, "is the repository's to write: leave it out"}
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, data); err != nil {
		return nil, &ManifestError{"", "is not JSON: " + err.Error()}
	}
	m := &Manifest{Raw: compact.Bytes()}
	f := fieldReader{fields: fields}
	m.Name = f.text("name", true, isName)
	m.Version = f.text("version", true, isVersion)
	m.Publisher = f.text("publisher", true, isName)
	m.Description = f.text("description", true, isDescription)
	m.EntryPoint = f.text("entryPoint", false, isEntryPoint)
	m.MinHostVersion = f.text("minHostVersion", false, isVersion)
	m.Permissions = f.permissions()
	if f.err != nil {
		return nil, f.err
	}
	return m, nil
}

// canonical returns members in the one spelling of RFC 8785.
func canonical(members map[string]json.RawMessage) (json.RawMessage, error) {
	data, err := json.Marshal(members)
	if err != nil {
		return nil, &ManifestError{"", "is not JSON: " + err.Error()}
	}
	v := jsontext.Value(data)
	if err := v.Canonicalize(); err != nil {
		return nil, &ManifestError{"", "is not JSON: " + err.Error()}
	}
	return json.RawMessage(v), nil
}

// fieldReader reads fields and remembers the first that is wrong.
type fieldReader struct {
	fields map[string]json.RawMessage
	err    error
}

func (f *fieldReader) fail(field, problem string) {
	if f.err == nil {
		f.err = &ManifestError{field, problem}
	}
}

func (f *fieldReader) text(field string, required bool, check func(string) string) string {
	raw, ok := f.fields[field]
	if !ok {
		if required {
			f.fail(field, "is missing")
		}
		return ""
	}
	var s string
	if raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		f.fail(field, "must be a string")
		return ""
	}
	if problem := check(s); problem != "" {
		f.fail(field, problem)
	}
	return s
}

func (f *fieldReader) permissions() []string {
	const field = "permissions"
	raw, ok := f.fields[field]
	if !ok {
		return nil
	}
	var list []*string
	if raw[0] != '[' || json.Unmarshal(raw, &list) != nil {
		f.fail(field, "must be an array of strings")
		return nil
	}
	if len(list) > maxPermissions {
		f.fail(field, fmt.Sprintf("has more than %d entries", maxPermissions))
	}
	seen := map[string]bool{}
	var all []string
	for _, p := range list {
		switch {
		case p == nil:
			f.fail(field, "must be an array of strings")
			return nil
		case len(*p) > maxPermission || !permissionPattern.MatchString(*p):
			f.fail(field, fmt.Sprintf("holds %.40q: use letters, digits and . _ : / * -, at most %d", *p, maxPermission))
		case seen[*p]:
			f.fail(field, fmt.Sprintf("holds %q twice", *p))
		}
		seen[*p] = true
		all = append(all, *p)
	}
	return all
}

func isName(s string) string {
	switch {
	case len(s) > maxName:
		return fmt.Sprintf("is longer than %d characters", maxName)
	case !namePattern.MatchString(s):
		return "must be lower-case letters, digits and . _ -, beginning and ending with a letter or digit"
	case strings.Contains(s, ".."):
		return `must not contain ".."`
	}
	return ""
}

func isVersion(s string) string {
	switch {
	case len(s) > maxVersion:
		return fmt.Sprintf("is longer than %d characters", maxVersion)
	case strings.Contains(s, "+"):
		return "must not have build metadata (+…): two files could claim to be the same version"
	case !semverPattern.MatchString(s):
		return "must be a semantic version such as 1.2.3 or 1.2.3-beta.1"
	}
	return ""
}

func isDescription(s string) string {
	switch {
	case strings.TrimSpace(s) == "":
		return "is empty"
	case utf8.RuneCountInString(s) > maxDescription:
		return fmt.Sprintf("is longer than %d characters", maxDescription)
	case strings.ContainsFunc(s, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }):
		return "holds control characters"
	}
	return ""
}

func isEntryPoint(s string) string {
	if problem := badPath(s); problem != "" {
		return problem
	}
	if path.Clean(s) != s || s == "." {
		return "must be a plain path of a file in the archive, such as bin/plugin"
	}
	return ""
}

// portable refuses JSON that two TUF clients could read differently, or one of
// them not at all.
func portable(data []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(data))
	for first := true; ; first = false {
		token, err := d.ReadToken()
		if errors.Is(err, io.EOF) && !first {
			return nil
		}
		if err != nil {
			return &ManifestError{"", "is not JSON: " + err.Error()}
		}
		if first && token.Kind() != '{' {
			return &ManifestError{"", "is not a JSON object"}
		}
		if !first && d.StackDepth() == 0 && token.Kind() != '}' {
			return &ManifestError{"", "is followed by something else"}
		}
		if problem := badToken(d, token); problem != "" {
			field, _, _ := strings.Cut(strings.TrimPrefix(string(d.StackPointer()), "/"), "/")
			return &ManifestError{field, problem}
		}
	}
}

func badToken(d *jsontext.Decoder, t jsontext.Token) string {
	depth := d.StackDepth()
	if depth > maxDepth {
		return fmt.Sprintf("is nested more than %d deep", maxDepth)
	}
	switch t.Kind() {
	case '0':
		n, err := strconv.ParseInt(t.String(), 10, 64)
		if err != nil || strconv.FormatInt(n, 10) != t.String() || n > maxSafeInteger || n < -maxSafeInteger {
			return "holds a number that is not whole or too large; write it as a string"
		}
	case '"':
		kind, length := d.StackIndex(depth)
		isMemberName := kind == '{' && length%2 == 1
		if isMemberName && strings.ContainsFunc(t.String(), func(r rune) bool { return r < ' ' || r > '~' }) {
			return "has a field name that is not printable ASCII"
		}
	}
	return ""
}

package plugin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Bounds of a manifest.
const (
	// MaxManifest is the largest manifest in bytes.
	MaxManifest = 64 << 10

	maxDepth       = 16
	maxName        = 64
	maxVersion     = 64
	maxText        = 1000 // characters of a description or reason
	maxPermissions = 64
	maxPermission  = 128
	maxSafeInteger = 1<<53 - 1

	// releaseMember is what the repository adds to a manifest.
	releaseMember = "release"
)

// members are the fields known here. Those of a manifest may have no others
// that differ from them in case only.
var members = []string{"name", "version", "publisher", "description", "entryPoint", "minHostVersion", "permissions", releaseMember}

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

// ParseManifest checks a manifest. Fields it does not know are kept as they
// are; "release" is refused, since it is the repository's to write. Every error
// is a [*ManifestError]. It keeps nothing of data and is safe for concurrent
// use, as is all of this package.
//
// The manifest becomes part of signed metadata, so it may hold only what every
// TUF client reads alike: no duplicate names, names in ASCII, whole numbers
// that a double can hold. [Schema] says the same in JSON Schema, as far as that
// language goes.
func ParseManifest(data []byte) (*Manifest, error) {
	if len(data) > MaxManifest {
		return nil, &ManifestError{"", fmt.Sprintf("is larger than %d bytes", MaxManifest)}
	}
	fields, err := object(data)
	if err != nil {
		return nil, err
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, data); err != nil {
		return nil, &ManifestError{"", "is not JSON: " + err.Error()}
	}
	m := &Manifest{Raw: compact.Bytes()}
	f := fieldReader{fields: fields}
	f.names()
	m.Name = f.text("name", true, isName)
	m.Version = f.text("version", true, isVersion)
	m.Publisher = f.text("publisher", true, isPublisher)
	m.Description = f.text("description", true, isText)
	m.EntryPoint = f.text("entryPoint", false, isEntryPoint)
	m.MinHostVersion = f.text("minHostVersion", false, isVersion)
	m.Permissions = f.permissions()
	if f.err != nil {
		return nil, f.err
	}
	return m, nil
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

// names refuses the reserved field, and fields that readers who ignore case
// would take for another.
func (f *fieldReader) names() {
	for _, field := range slices.Sorted(maps.Keys(f.fields)) {
		if field == releaseMember {
			f.fail(field, "is the repository's to write: leave it out")
		}
		for _, known := range members {
			if field != known && strings.EqualFold(field, known) {
				f.fail(field, fmt.Sprintf("differs from %q only in case: some readers would take it for that", known))
			}
		}
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
	if raw[0] != '[' || json.Unmarshal(raw, &list) != nil || slices.Contains(list, nil) {
		f.fail(field, "must be an array of strings")
		return nil
	}
	if len(list) > maxPermissions {
		f.fail(field, fmt.Sprintf("has more than %d entries", maxPermissions))
	}
	seen := map[string]bool{}
	var all []string
	for _, p := range list {
		if len(*p) > maxPermission || !permissionPattern.MatchString(*p) {
			f.fail(field, fmt.Sprintf("holds %.40q: use letters, digits and . _ : / * -, at most %d", *p, maxPermission))
		}
		if seen[*p] {
			f.fail(field, fmt.Sprintf("holds %q twice", *p))
		}
		seen[*p] = true
		all = append(all, *p)
	}
	return all
}

package lockfile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Kind says what happened to an entry.
type Kind string

// The kinds of changes.
const (
	Added   Kind = "added"
	Removed Kind = "removed"
	Changed Kind = "changed"
)

// Change is what became of the entry of one plugin, or of one target without a
// manifest.
type Change struct {
	Kind Kind `json:"kind"`
	// Old is nil if it was added, New if it was removed.
	Old *Entry `json:"old,omitempty"`
	New *Entry `json:"new,omitempty"`
	// Fields are the members that changed, in the order of the file.
	Fields []string `json:"fields,omitempty"`
}

// String says it in one line, such as "+ acme/hello 1.2.0", "- acme/hello 1.2.0" or
// "~ acme/hello 1.2.0 -> 1.3.0 (target, version, length, hashes)".
func (c Change) String() string {
	switch c.Kind {
	case Added:
		return "+ " + c.New.title()
	case Removed:
		return "- " + c.Old.title()
	}
	to := ""
	if c.Old.Version != c.New.Version {
		to = " -> " + c.New.Version
	}
	return fmt.Sprintf("~ %s%s (%s)", c.Old.title(), to, strings.Join(c.Fields, ", "))
}

func (e *Entry) title() string {
	if e.Name == "" {
		return e.Target
	}
	return e.ID() + " " + e.Version
}

// Diff says what has to happen to was to make it become: first targets without a manifest,
// then plugins, each sorted. It is empty if nothing has to; nil stands for an empty file.
func Diff(was, become *File) []Change {
	before, after := was.byKey(), become.byKey()
	all := maps.Clone(before)
	maps.Copy(all, after)
	var changes []Change
	for _, key := range slices.Sorted(maps.Keys(all)) {
		old, new := before[key], after[key]
		switch {
		case old == nil:
			changes = append(changes, Change{Kind: Added, New: new})
		case new == nil:
			changes = append(changes, Change{Kind: Removed, Old: old})
		default:
			if fields := old.differs(new); fields != nil {
				changes = append(changes, Change{Changed, old, new, fields})
			}
		}
	}
	return changes
}

// byKey returns copies of the entries.
func (f *File) byKey() map[string]*Entry {
	all := map[string]*Entry{}
	if f == nil {
		return all
	}
	for _, e := range f.Entries() {
		all[e.key()] = &e
	}
	return all
}

// differs returns the names of the members in which two entries of a key differ.
func (e *Entry) differs(o *Entry) (fields []string) {
	for _, m := range []struct {
		name string
		diff int
	}{
		{"target", cmp.Compare(e.Target, o.Target)}, {"version", cmp.Compare(e.Version, o.Version)},
		{"wanted", cmp.Compare(e.Wanted, o.Wanted)}, {"repository", cmp.Compare(e.Repository, o.Repository)},
		{"length", cmp.Compare(e.Length, o.Length)},
	} {
		if m.diff != 0 {
			fields = append(fields, m.name)
		}
	}
	if !maps.Equal(e.Hashes, o.Hashes) {
		fields = append(fields, "hashes")
	}
	return fields
}

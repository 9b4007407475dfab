// Package lint finds what TUF clients could read differently, or what one of
// them cannot read, in metadata that is otherwise right. A publisher asks it
// before a file is published: a client cannot mend anything any more.
//
// The portable subset is what go-tuf, python-tuf and this project's own client
// read alike; outside of it a file is refused. What only other clients, such as
// tuf-js and tough, cannot read is a warning.
//
// What package admission refuses never comes here: duplicate names, date-times
// that are not whole seconds in UTC, numbers with a fraction, a role name that
// stands twice in a file.
package lint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"slices"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
)

// Level says what a finding means for publishing.
type Level string

// The levels.
const (
	// Refuse: the file is not to be published.
	Refuse Level = "error"
	// Warn: the file may be published; some clients will not read it.
	Warn Level = "warning"
)

// Finding is one place in a file that a rule is about.
type Finding struct {
	// Rule is the rule's name.
	Rule  string `json:"rule"`
	Level Level  `json:"level"`
	// Role is the role whose file it is, Where the place in the file.
	Role  string `json:"role"`
	Where string `json:"where"`
	// What is wrong, why (which client reads it how), and what to do.
	What string `json:"what"`
	Why  string `json:"why"`
	Do   string `json:"do"`
}

// String is one line for people.
func (f Finding) String() string {
	return fmt.Sprintf("%s: %s, %s: %s (%s)", f.Rule, f.Role, f.Where, f.What, f.Why)
}

// maxPlaces bounds the findings of one rule in one file.
const maxPlaces = 16

// File returns the findings in the file of a role, in the order of the rules.
func File(role string, doc *admission.Doc) []Finding { return find(role, doc, admission.Targets{}) }

// Change returns the findings in doc that were not in the version before. The
// targets that both versions list alike are not looked at again, so that a
// change costs what it changes. before may be nil.
func Change(role string, before, doc *admission.Doc) []Finding {
	if before == nil {
		return File(role, doc)
	}
	list := find(role, doc, before.Targets)
	if len(list) == 0 {
		return nil
	}
	known := map[[2]string]bool{}
	for _, f := range find(role, before, before.Targets) {
		known[[2]string{f.Rule, f.Where}] = true
	}
	return slices.DeleteFunc(list, func(f Finding) bool { return known[[2]string{f.Rule, f.Where}] })
}

func unreadable(role string, err error) Finding {
	return Finding{Rule: "form", Level: Refuse, Role: role, Where: "the file", What: err.Error(),
		Why: "it cannot be looked at", Do: "make the file anew"}
}

// find looks at a file, without the targets that known lists with the same bytes.
func find(role string, doc *admission.Doc, known admission.Targets) (list []Finding) {
	places := make([][]string, len(rules))
	for part, err := range parts(role, doc, known) {
		if err != nil {
			return []Finding{unreadable(role, err)}
		}
		for i, r := range rules {
			places[i] = append(places[i], r.check(part)...)
		}
	}
	for i, r := range rules {
		at := places[i]
		slices.Sort(at)
		at = slices.Compact(at)
		if more := len(at) - maxPlaces; more > 0 {
			at = append(at[:maxPlaces:maxPlaces], fmt.Sprintf("and %d more places", more))
		}
		for _, where := range at {
			list = append(list, Finding{r.id, r.level, role, where, r.what, r.why, r.do})
		}
	}
	return list
}

// file is a metadata file, or a part of it, as the rules see it.
type file struct {
	role string
	// full is the whole file; doc is the part, and signed its signed part, with
	// numbers as json.Number.
	full, doc *admission.Doc
	signed    object
}

type object = map[string]any

// maxPart bounds the targets that are decoded at a time: go-tuf takes some twenty
// times the bytes of a file.
const maxPart = 4096

// parts yields what is to be looked at of a file, in parts of bounded size: the
// file itself, or, of long targets metadata, all but the targets, and then those
// that known does not list alike.
func parts(role string, doc *admission.Doc, known admission.Targets) iter.Seq2[*file, error] {
	return func(yield func(*file, error) bool) {
		if known.Len() == 0 && doc.Targets.Len() <= maxPart {
			yield(open(role, doc, doc))
			return
		}
		var all struct {
			Signed map[string]jsontext.Value `json:"signed"`
		}
		if err := jsonv2.Unmarshal(doc.Raw, &all); err != nil {
			yield(nil, err)
			return
		}
		same := map[string][]byte{}
		for path, entry := range known.All() {
			same[path] = entry
		}
		part := map[string]jsontext.Value{}
		emit := func() bool {
			f, err := openPart(role, doc, all.Signed, part)
			part = map[string]jsontext.Value{}
			return yield(f, err) && err == nil
		}
		if !emit() {
			return
		}
		delete(all.Signed, "delegations")
		for path, entry := range doc.Targets.All() {
			if old, ok := same[path]; ok && bytes.Equal(old, entry) {
				continue
			}
			if part[path] = entry; len(part) == maxPart && !emit() {
				return
			}
		}
		if len(part) > 0 {
			emit()
		}
	}
}

// openPart prepares the part of a file that lists the given targets.
func openPart(role string, full *admission.Doc, signed, targets map[string]jsontext.Value) (*file, error) {
	text, err := jsonv2.Marshal(targets, jsonv2.Deterministic(true))
	if err != nil {
		return nil, err
	}
	signed["targets"] = text
	raw, err := jsonv2.Marshal(map[string]any{"signatures": []any{}, "signed": signed}, jsonv2.Deterministic(true))
	if err != nil {
		return nil, err
	}
	doc, err := admission.Parse(full.Kind, raw, admission.Limits{Targets: int64(len(raw))})
	if err != nil {
		return nil, err
	}
	return open(role, full, doc)
}

func open(role string, full, doc *admission.Doc) (*file, error) {
	var all struct {
		Signed object `json:"signed"`
	}
	d := json.NewDecoder(bytes.NewReader(doc.Raw))
	d.UseNumber()
	if err := d.Decode(&all); err != nil {
		return nil, err
	}
	return &file{role: role, full: full, doc: doc, signed: all.Signed}, nil
}

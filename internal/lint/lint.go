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
func File(role string, doc *admission.Doc) []Finding {
	f, err := open(role, doc, nil)
	if err != nil {
		return []Finding{unreadable(role, err)}
	}
	return f.find()
}

// Change returns the findings in doc that were not in the version before. The
// targets that both versions list alike are not looked at again, so that a
// change costs what it changes. before may be nil.
func Change(role string, before, doc *admission.Doc) []Finding {
	if before == nil {
		return File(role, doc)
	}
	f, err := open(role, doc, before)
	if err != nil {
		return []Finding{unreadable(role, err)}
	}
	list := f.find()
	if len(list) == 0 {
		return nil
	}
	old, err := open(role, before, before)
	if err != nil {
		return list
	}
	known := map[[2]string]bool{}
	for _, f := range old.find() {
		known[[2]string{f.Rule, f.Where}] = true
	}
	return slices.DeleteFunc(list, func(f Finding) bool { return known[[2]string{f.Rule, f.Where}] })
}

func unreadable(role string, err error) Finding {
	return Finding{Rule: "form", Level: Refuse, Role: role, Where: "the file", What: err.Error(),
		Why: "it cannot be looked at", Do: "make the file anew"}
}

func (f *file) find() (list []Finding) {
	for _, r := range rules {
		places := r.check(f)
		slices.Sort(places)
		places = slices.Compact(places)
		more := len(places) - maxPlaces
		if more > 0 {
			places = append(places[:maxPlaces:maxPlaces], fmt.Sprintf("and %d more places", more))
		}
		for _, where := range places {
			list = append(list, Finding{r.id, r.level, f.role, where, r.what, r.why, r.do})
		}
	}
	return list
}

// file is a metadata file as the rules see it.
type file struct {
	role string
	// full is the whole file; doc is the same without the targets that need no
	// look, and signed its signed part, with numbers as json.Number.
	full, doc *admission.Doc
	signed    object
}

type object = map[string]any

// open prepares a file for the rules, without the targets that known lists with
// the same bytes.
func open(role string, doc, known *admission.Doc) (*file, error) {
	f := &file{role: role, full: doc, doc: doc}
	if known != nil && doc.Kind == admission.KindTargets && known.Targets.Len() > 0 {
		var err error
		if f.doc, err = without(doc, known.Targets); err != nil {
			return nil, err
		}
	}
	var all struct {
		Signed object `json:"signed"`
	}
	d := json.NewDecoder(bytes.NewReader(f.doc.Raw))
	d.UseNumber()
	err := d.Decode(&all)
	f.signed = all.Signed
	return f, err
}

// without returns doc, unsigned, without the targets that known lists alike.
func without(doc *admission.Doc, known admission.Targets) (*admission.Doc, error) {
	var all struct {
		Signed map[string]jsontext.Value `json:"signed"`
	}
	if err := jsonv2.Unmarshal(doc.Raw, &all); err != nil {
		return nil, err
	}
	same := map[string][]byte{}
	for path, entry := range known.All() {
		same[path] = entry
	}
	rest := map[string]jsontext.Value{}
	for path, entry := range doc.Targets.All() {
		if old, ok := same[path]; !ok || !bytes.Equal(old, entry) {
			rest[path] = entry
		}
	}
	targets, err := jsonv2.Marshal(rest, jsonv2.Deterministic(true))
	if err != nil {
		return nil, err
	}
	all.Signed["targets"] = targets
	raw, err := jsonv2.Marshal(map[string]any{"signatures": []any{}, "signed": all.Signed}, jsonv2.Deterministic(true))
	if err != nil {
		return nil, err
	}
	return admission.Parse(doc.Kind, raw, admission.Limits{Targets: int64(len(raw))})
}

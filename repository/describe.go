package repository

import (
	"fmt"
	"maps"
	"slices"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
)

// RoleChange says in words what changes in the file of a role.
type RoleChange struct {
	Role    string   `json:"role"`
	Version int64    `json:"version"`
	Words   []string `json:"words"`
}

// Describe says in words what a proposal changes, told from the bytes that are
// signed and the files that they replace. Whatever differs between the two is
// told; text from the files cannot pretend to be a line of its own.
func (p *Proposal) Describe() []RoleChange {
	var all []RoleChange
	for _, f := range p.files {
		w := words{p: p, was: p.was(f.role), is: f.plain}
		w.expiry()
		w.keys()
		w.targets()
		w.others()
		all = append(all, RoleChange{f.role, f.plain.Version, w.lines})
	}
	return all
}

// words are the differences between two files of a role; was is nil for the first.
type words struct {
	p       *Proposal
	was, is *admission.Doc
	lines   []string
}

func (w *words) add(format string, args ...any) {
	w.lines = append(w.lines, fmt.Sprintf(format, args...))
}

func (w *words) expiry() {
	if w.was == nil {
		w.add("new, expires %s", sayTime(w.is.Expires))
		return
	}
	w.add("version %d → %d, expires %s (before: %s)", w.was.Version, w.is.Version, sayTime(w.is.Expires), sayTime(w.was.Expires))
}

// key names a key whose keyid is known to the reader: the name is a claim.
func (w *words) key(id string) string {
	return fmt.Sprintf("%s (%.12s…)", called(w.p.names, id), say(id))
}

// newKey names a key whose keyid people must compare.
func (w *words) newKey(id string, k admission.Key) string {
	return fmt.Sprintf("%s, %s, keyid %s", called(w.p.names, id), say(k.Type), say(id))
}

// keys tells which keys are trusted for what.
func (w *words) keys() {
	had := map[string]delegatedRole{}
	if w.was != nil {
		for _, r := range delegatedBy(w.was) {
			had[r.name] = r
		}
	}
	for _, role := range delegatedBy(w.is) {
		before, known := had[role.name]
		delete(had, role.name)
		if known && before.bins == role.bins {
			w.sameRole(role, before)
		} else {
			w.newRole(role)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(had)) {
		w.add("does not delegate to %s any more", say(name))
	}
	w.order()
}

func (w *words) newRole(role delegatedRole) {
	listed, r, _ := w.is.Delegated(role.ask)
	if w.is.Root == nil {
		w.add("delegates %s to the new role %s", w.scope(w.is, role), say(role.name))
	}
	w.add("%s: %s must sign", say(role.name), sayQuorum(r.Threshold, len(r.KeyIDs)))
	for _, id := range r.KeyIDs {
		w.add("%s: key added: %s", say(role.name), w.newKey(id, listed[id]))
	}
}

// scope says which target paths a delegation is for.
func (w *words) scope(doc *admission.Doc, role delegatedRole) string {
	if role.bins {
		return fmt.Sprintf("all targets, in %d hash bins,", doc.Delegations.Succinct.Bins())
	}
	d := delegationOf(doc, role.name)
	text := sayAll(d.Paths)
	if d.PathHashPrefixes != nil {
		text = "the targets whose SHA-256 begins with " + sayAll(d.PathHashPrefixes)
	}
	if text == "" {
		text = "nothing"
	}
	if !d.Terminating {
		text += ", not terminating,"
	}
	return text
}

func delegationOf(doc *admission.Doc, name string) *admission.DelegatedRole {
	i := slices.IndexFunc(doc.Delegations.Roles, func(r admission.DelegatedRole) bool { return r.Name == name })
	return &doc.Delegations.Roles[i]
}

func (w *words) sameRole(role, before delegatedRole) {
	had, was, _ := w.was.Delegated(before.ask)
	has, is, _ := w.is.Delegated(role.ask)
	if w.is.Root == nil {
		if a, b := w.scope(w.was, before), w.scope(w.is, role); a != b {
			w.add("%s: speaks for %s (before: %s)", say(role.name), b, a)
		}
	}
	if was.Threshold != is.Threshold || len(was.KeyIDs) != len(is.KeyIDs) {
		w.add("%s: %s must sign (before: %s)", say(role.name), sayQuorum(is.Threshold, len(is.KeyIDs)), sayQuorum(was.Threshold, len(was.KeyIDs)))
	}
	for _, id := range is.KeyIDs {
		if !slices.Contains(was.KeyIDs, id) {
			w.add("%s: key added: %s", say(role.name), w.newKey(id, has[id]))
		} else if had[id] != has[id] {
			w.add("%s: key CHANGED under its keyid: %s", say(role.name), w.newKey(id, has[id]))
		}
	}
	for _, id := range without(was.KeyIDs, is.KeyIDs) {
		w.add("%s: key removed: %s", say(role.name), w.key(id))
	}
}

// order tells if delegations change places: the first that matches a target
// speaks for it.
func (w *words) order() {
	if w.was == nil || w.was.Delegations == nil || w.is.Delegations == nil {
		return
	}
	names := func(a, b *admission.Doc) (list []string) {
		for _, r := range a.Delegations.Roles {
			if slices.ContainsFunc(b.Delegations.Roles, func(o admission.DelegatedRole) bool { return o.Name == r.Name }) {
				list = append(list, r.Name)
			}
		}
		return list
	}
	if is := names(w.is, w.was); !slices.Equal(is, names(w.was, w.is)) {
		w.add("the order of the delegations changes: %s", sayAll(is))
	}
}

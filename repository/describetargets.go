package repository

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/plugin"
)

// targets tells which targets are listed, and what is said of them.
func (w *words) targets() {
	was := map[string][]byte{}
	if w.was != nil {
		was = maps.Collect(w.was.Targets.All())
	}
	for path, raw := range w.is.Targets.All() {
		old, known := was[path]
		delete(was, path)
		if bytes.Equal(old, raw) {
			continue
		}
		is := w.is.Targets.Find(path)
		switch {
		case !known:
			w.add("adds %s: %d bytes, %s%s", say(path), is.Length, sayHashes(is), sayRelease(is.Custom))
		default:
			before := w.was.Targets.Find(path)
			if before.Length != is.Length || !maps.Equal(before.Hashes, is.Hashes) {
				w.add("REPLACES THE BYTES of %s: %d bytes, %s (before: %d bytes, %s)", say(path), is.Length, sayHashes(is), before.Length, sayHashes(before))
			}
			w.custom(path, w.members(before.Custom), w.members(is.Custom))
		}
		w.differing(say(path), w.members(old), w.members(raw), "length", "hashes", "custom")
	}
	for _, path := range slices.Sorted(maps.Keys(was)) {
		w.add("REMOVES %s", say(path))
	}
}

func sayHashes(t *admission.Target) string {
	var all []string
	for _, algorithm := range slices.Sorted(maps.Keys(t.Hashes)) {
		all = append(all, say(algorithm)+" "+say(t.Hashes[algorithm]))
	}
	return strings.Join(all, ", ")
}

// sayRelease says in which channel a new target is, if it is a plugin.
func sayRelease(custom []byte) string {
	_, said, err := plugin.ParseCustom(custom)
	if err != nil {
		return ""
	}
	text := ", channel " + say(string(said.Channel))
	if said.Yanked != nil {
		text += ", withdrawn: " + quote(said.Yanked.Reason)
	}
	return text + sayLatest(said.Latest)
}

func sayLatest(of []plugin.Channel) string {
	var names []string
	for _, c := range of {
		names = append(names, string(c))
	}
	if names == nil {
		return ""
	}
	return ", the latest of " + sayAll(names)
}

// custom tells what is said differently of a target.
func (w *words) custom(path string, was, is map[string]jsontext.Value) {
	_, before, errBefore := plugin.ParseCustom(encodeMembers(was))
	_, after, errAfter := plugin.ParseCustom(encodeMembers(is))
	if errBefore != nil || errAfter != nil {
		w.differing(say(path)+": custom", was, is)
		return
	}
	switch {
	case after.Yanked != nil && (before.Yanked == nil || *before.Yanked != *after.Yanked):
		w.add("withdraws %s: %s", say(path), quote(after.Yanked.Reason))
	case after.Yanked == nil && before.Yanked != nil:
		w.add("%s is not withdrawn any more", say(path))
	}
	if before.Channel != after.Channel {
		w.add("%s moves from channel %s to %s", say(path), say(string(before.Channel)), say(string(after.Channel)))
	}
	if latest := sayLatest(after.Latest); !slices.Equal(before.Latest, after.Latest) {
		if latest == "" {
			latest = ", not the latest any more"
		}
		w.add("%s is now%s", say(path), strings.TrimPrefix(latest, ","))
	}
	w.differing(say(path)+": custom", was, is, "release")
	w.differing(say(path)+": release", w.members(was["release"]), w.members(is["release"]), "channel", "latest", "yanked")
}

// others tells of members that this package does not write.
func (w *words) others() {
	var was map[string]jsontext.Value
	if w.was != nil {
		was = w.signed(w.was)
	}
	is := w.signed(w.is)
	w.differing("the file", was, is, "_type", "version", "expires", "keys", "roles", "delegations", "targets", "spec_version")
	if w.was != nil && w.was.SpecVersion != w.is.SpecVersion {
		w.add("spec_version: %s (before: %s)", say(w.is.SpecVersion), say(w.was.SpecVersion))
	}
	if w.is.Root != nil {
		w.roles(w.members(was["roles"]), w.members(is["roles"]))
		w.keyObjects(w.members(was["keys"]), w.members(is["keys"]))
		return
	}
	before, after := w.members(was["delegations"]), w.members(is["delegations"])
	w.differing("the delegations", before, after, "keys", "roles", "succinct_roles")
	w.roles(w.byName(before), w.byName(after))
	w.keyObjects(w.members(before["keys"]), w.members(after["keys"]))
}

// roles tells of members of roles that have no words of their own.
func (w *words) roles(was, is map[string]jsontext.Value) {
	for _, name := range slices.Sorted(maps.Keys(is)) {
		w.differing("the role "+say(name), w.members(was[name]), w.members(is[name]),
			"name", "keyids", "threshold", "paths", "path_hash_prefixes", "terminating", "bit_length", "name_prefix")
	}
}

// byName returns the delegated roles by their names.
func (w *words) byName(delegations map[string]jsontext.Value) map[string]jsontext.Value {
	all := map[string]jsontext.Value{}
	var list []jsontext.Value
	// What cannot be read here was refused when the file was parsed.
	_ = json.Unmarshal(delegations["roles"], &list)
	for _, raw := range append(list, delegations["succinct_roles"]) {
		var name string
		m := w.members(raw)
		if json.Unmarshal(m["name"], &name) == nil || json.Unmarshal(m["name_prefix"], &name) == nil {
			all[name] = raw
		}
	}
	return all
}

func (w *words) keyObjects(was, is map[string]jsontext.Value) {
	for _, id := range slices.Sorted(maps.Keys(is)) {
		before, after := w.members(was[id]), w.members(is[id])
		label := fmt.Sprintf("the key %.12s", say(id))
		w.differing(label, before, after, "keytype", "scheme", "keyval")
		w.differing(label, w.members(before["keyval"]), w.members(after["keyval"]), "public")
	}
}

// differing tells which members differ, but for those that are told elsewhere.
func (w *words) differing(label string, was, is map[string]jsontext.Value, known ...string) {
	names := slices.Sorted(maps.Keys(is))
	names = append(names, without(slices.Sorted(maps.Keys(was)), names)...)
	for _, name := range without(names, known) {
		before, after := was[name], is[name]
		switch {
		case bytes.Equal(compact(before), compact(after)):
		case after == nil:
			w.add("%s: %s is gone", label, say(name))
		case before == nil:
			w.add("%s: %s is %s", label, say(name), excerpt(after))
		default:
			w.add("%s: %s becomes %s (before: %s)", label, say(name), excerpt(after), excerpt(before))
		}
	}
}

// maxExcerpt bounds how much of a value is shown, in bytes.
const maxExcerpt = 400

func excerpt(v jsontext.Value) string {
	text := string(compact(v))
	if len(text) > maxExcerpt {
		text = text[:maxExcerpt]
		return quote(text) + fmt.Sprintf(" and %d bytes more", len(v)-maxExcerpt)
	}
	if quote(text) != `"`+text+`"` && strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return quote(text)
	}
	return text
}

// compact is a value without white space, its members in order.
func compact(v jsontext.Value) jsontext.Value {
	if v == nil {
		return nil
	}
	c := v.Clone()
	if c.Format(jsontext.ReorderRawObjects(true)) != nil {
		return v
	}
	return c
}

// signed returns the members of the signed part.
func (w *words) signed(doc *admission.Doc) map[string]jsontext.Value {
	return w.members(w.members(doc.Raw)["signed"])
}

// members returns the members of an object. What cannot be told is said.
func (w *words) members(raw []byte) map[string]jsontext.Value {
	all := map[string]jsontext.Value{}
	if len(raw) > 0 && json.Unmarshal(raw, &all, jsontext.AllowInvalidUTF8(true)) != nil {
		w.add("ATTENTION: a part of the file cannot be told in words: %s", excerpt(raw))
		return map[string]jsontext.Value{}
	}
	return all
}

func encodeMembers(m map[string]jsontext.Value) []byte {
	data, err := json.Marshal(m, json.Deterministic(true))
	if err != nil {
		return nil
	}
	return data
}

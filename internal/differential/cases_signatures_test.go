package differential

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

// signedIn is the step of the workflow that checks a role's signatures.
var signedIn = map[string]string{"root": "5.3.4", "timestamp": "5.4.2", "snapshot": "5.5.3", "targets": "5.6.3", "team": "5.6.7"}

// stranger is the keyid of a key that nobody lists.
var stranger = tuftest.NewKey(tuftest.Ed25519, 1000).ID

var junk = strings.Repeat("5a", 64)

func first(list []any) tuftest.Map { return list[0].(tuftest.Map) }

// entry makes an oddity that adds signature entries at the end.
func entry(entries ...any) func([]any) []any {
	return func(list []any) []any { return append(list, entries...) }
}

// change makes an oddity that changes the one honest signature entry.
func change(field string, f func(sig string) any) func([]any) []any {
	return func(list []any) []any {
		first(list)[field] = f(first(list)[field].(string))
		return list
	}
}

var signatureOddities = []struct {
	name, spec, why string
	goCannot        bool
	want            Expect
	edit            func([]any) []any
}{
	{"entry of an unknown keyid", "", "only listed keys count, others do no harm", false, accept,
		entry(tuftest.Map{"keyid": stranger, "sig": junk})},
	{"entry of an unknown keyid first", "", "the order of signatures means nothing", false, accept,
		func(list []any) []any { return append([]any{tuftest.Map{"keyid": stranger, "sig": junk}}, list...) }},
	{"entry of an unknown keyid with an empty signature", "", "it counts for nothing", false, accept,
		entry(tuftest.Map{"keyid": stranger, "sig": ""})},
	{"entry of an unknown keyid that is not hex", "", "it counts for nothing", true, accept,
		entry(tuftest.Map{"keyid": stranger, "sig": "not hex"})},
	{"entry with an empty keyid", "", "it counts for nothing", false, accept,
		entry(tuftest.Map{"keyid": "", "sig": junk})},
	{"twenty entries of unknown keyids", "", "they count for nothing", false, accept, func(list []any) []any {
		for i := range 20 {
			list = append(list, tuftest.Map{"keyid": fmt.Sprintf("%064x", i), "sig": junk})
		}
		return list
	}},
	{"unknown field in a signature", "4", "formats may be extended by fields", false, accept,
		func(list []any) []any { first(list)["method"] = "x"; return list }},
	{"signature in upper case", "4.2.1", "hex has no case", false, accept,
		change("sig", func(s string) any { return strings.ToUpper(s) })},
	{"entry whose signature is a number", "4.2.1", "the format is broken, the threshold is met", true, either,
		entry(tuftest.Map{"keyid": stranger, "sig": 5})},
	{"entry whose signature is null", "4.2.1", "the format is broken, the threshold is met", true, either,
		entry(tuftest.Map{"keyid": stranger, "sig": nil})},
	{"entry whose keyid is a number", "4.2.1", "the format is broken, the threshold is met", true, either,
		entry(tuftest.Map{"keyid": 5, "sig": junk})},
	{"entry without a keyid", "4.2.1", "the format is broken, the threshold is met", true, either,
		entry(tuftest.Map{"sig": junk})},
	{"entry that is null", "4.2.1", "the format is broken, the threshold is met", true, either, entry(nil)},
	{"entry that is a string", "4.2.1", "the format is broken, the threshold is met", true, either, entry("x")},
	{"signature with spaces in the hex", "4.2.1", "whether that is hex is open", true, either,
		change("sig", func(s string) any { return s[:8] + " " + s[8:] })},
	{"the same entry twice", "4.2.1", "keyids must be unique in signatures", false, refuse,
		func(list []any) []any { return append(list, list[0]) }},
	{"a second, wrong signature of the same keyid", "4.2.1", "keyids must be unique in signatures", false, refuse,
		func(list []any) []any { return append(list, tuftest.Map{"keyid": first(list)["keyid"], "sig": junk}) }},
	{"an unknown keyid twice", "4.2.1", "keyids must be unique in signatures", false, refuse,
		entry(tuftest.Map{"keyid": stranger, "sig": junk}, tuftest.Map{"keyid": stranger, "sig": junk})},
	{"no signature", "", "the threshold is not met", false, refuse, func([]any) []any { return []any{} }},
	{"a signature that is wrong", "", "the threshold is not met", false, refuse,
		change("sig", func(string) any { return junk })},
	{"a signature cut short", "", "the threshold is not met", false, refuse,
		change("sig", func(s string) any { return s[:64] })},
	{"a signature with a byte too many", "", "the threshold is not met", false, refuse,
		change("sig", func(s string) any { return s + "00" })},
	{"an empty signature", "", "the threshold is not met", false, refuse,
		change("sig", func(string) any { return "" })},
	{"the right signature under a wrong keyid", "", "the threshold is not met", false, refuse,
		change("keyid", func(string) any { return stranger })},
	{"the right signature under the keyid in upper case", "", "another string is another keyid", false, refuse,
		change("keyid", func(s string) any { return strings.ToUpper(s) })},
	{"a signature that is null", "", "the threshold is not met", false, refuse,
		change("sig", func(string) any { return nil })},
}

func signatureCases() []Case {
	var cases []Case
	for _, role := range roles {
		for _, o := range signatureOddities {
			spec := o.spec
			if spec == "" {
				spec = signedIn[role]
			}
			cases = append(cases, Case{
				Group: "signatures", Name: role + ": " + o.name, Spec: spec, Why: o.why, GoCannot: o.goCannot,
				Run: func(w *World) {
					w.Accept(targetOf(role))
					w.Role(role).EditSignatures = o.edit
					w.renew(role)
					o.want(w, targetOf(role))
					w.repair(role)
					w.Accept(targetOf(role))
				},
			})
		}
		cases = append(cases, forgeryCases(role)...)
	}
	return cases
}

// forgeryCases are signatures by the wrong key, or over other bytes.
func forgeryCases(role string) []Case {
	make := func(name, why string, forge func(w *World, r *tuftest.Role)) Case {
		return Case{Group: "signatures", Name: role + ": " + name, Spec: signedIn[role], Why: why, Run: func(w *World) {
			w.Accept(targetOf(role))
			r := w.Role(role)
			honest := slices.Clone(r.Signers)
			forge(w, r)
			w.renew(role)
			w.Refuse(targetOf(role))
			r.Signers = honest
			w.repair(role)
			w.Accept(targetOf(role))
		}}
	}
	return []Case{
		make("signed by a stranger", "only listed keys count", func(_ *World, r *tuftest.Role) {
			r.EditSignatures = func([]any) []any {
				return tuftest.SignatureList([]byte("whatever"), tuftest.NewKey(tuftest.Ed25519, 1000))
			}
		}),
		make("signed by a stranger who takes the keyid", "only listed keys count", func(_ *World, r *tuftest.Role) {
			thief := tuftest.NewKey(tuftest.Ed25519, 1000).As(r.Signers[0].ID)
			r.EditSigned = func(signed tuftest.Map) {
				message := tuftest.Canonical(signed)
				r.EditSignatures = func([]any) []any { return tuftest.SignatureList(message, thief) }
			}
		}),
		make("signed by another role's key", "each role has its own keys", func(w *World, r *tuftest.Role) {
			other := w.Timestamp.Signers[0]
			if role == "timestamp" {
				other = w.Targets.Signers[0]
			}
			r.EditSigned = func(signed tuftest.Map) {
				message := tuftest.Canonical(signed)
				r.EditSignatures = func([]any) []any { return tuftest.SignatureList(message, other) }
			}
		}),
		make("changed after signing", "the signature is over other bytes", func(_ *World, r *tuftest.Role) {
			r.EditRaw = func(raw []byte) []byte {
				return []byte(strings.Replace(string(raw), `"expires":"2099`, `"expires":"2098`, 1))
			}
		}),
		make("carries the signature of the version before", "the signature is over other bytes", func(_ *World, r *tuftest.Role) {
			old := r.Copy()
			r.EditSignatures = func(list []any) []any {
				first(list)["sig"] = hex.EncodeToString(old.Signers[0].Sign(tuftest.Canonical(old.Signed)))
				return list
			}
		}),
	}
}

// setKeys lists keys for a role in its delegator, and publishes that. The first
// keys of the list, as many as signers says, sign from now on.
func (w *World) setKeys(role string, threshold any, listed []*tuftest.Key, signers ...*tuftest.Key) {
	ids := make([]any, len(listed))
	for i, k := range listed {
		ids[i] = k.ID
	}
	if role == "team" {
		d := w.Targets.Signed["delegations"].(tuftest.Map)
		setRole(d["keys"].(tuftest.Map), d["roles"].([]any)[0].(tuftest.Map), listed, ids, threshold)
		w.Role(role).Signers = slices.Clone(signers)
		w.Publish("targets", "team")
		return
	}
	entry := w.Root.Signed["roles"].(tuftest.Map)[role].(tuftest.Map)
	setRole(w.Root.Signed["keys"].(tuftest.Map), entry, listed, ids, threshold)
	if role == "root" {
		w.Root.Signers = slices.Concat(signers, w.Root.Signers)
		w.PublishRoot()
		return
	}
	w.Role(role).Signers = slices.Clone(signers)
	w.PublishRoot()
	w.renew(role)
}

func setRole(keys, role tuftest.Map, listed []*tuftest.Key, ids []any, threshold any) {
	for _, k := range listed {
		keys[k.ID] = k.JSON()
	}
	role["keyids"], role["threshold"] = ids, threshold
}

// spellings write one key in another way, under the keyid of that spelling.
var spellings = []struct {
	name, kind string
	edit       func(*tuftest.Key)
}{
	{"with a line feed more", tuftest.ECDSA, func(k *tuftest.Key) { k.Public += "\n" }},
	{"with a line feed less", tuftest.RSA, func(k *tuftest.Key) { k.Public = strings.TrimSpace(k.Public) }},
	{"with CRLF line ends", tuftest.RSA, func(k *tuftest.Key) { k.Public = strings.ReplaceAll(k.Public, "\n", "\r\n") }},
	{"in upper-case hex", tuftest.Ed25519, func(k *tuftest.Key) { k.Public = strings.ToUpper(k.Public) }},
	{"under the other keytype", tuftest.ECDSA, func(k *tuftest.Key) { k.Type = "ecdsa-sha2-nistp256" }},
	{"with a field more", tuftest.Ed25519, func(k *tuftest.Key) { k.Extra = tuftest.Map{"note": "x"} }},
	{"with a field more in keyval", tuftest.Ed25519, func(k *tuftest.Key) {
		k.Extra = tuftest.Map{"keyval": tuftest.Map{"public": k.Public, "private": ""}}
	}},
	{"under a free keyid", tuftest.Ed25519, func(k *tuftest.Key) { k.ID = "another" }},
}

func thresholdCases() []Case {
	var cases []Case
	for _, role := range roles {
		add := func(name, spec, why string, run func(w *World)) {
			if spec == "" {
				spec = signedIn[role]
			}
			cases = append(cases, Case{Group: "thresholds", Name: role + ": " + name, Spec: spec, Why: why, Run: run})
		}
		keys := tuftest.Keys(50, 3)
		set := func(threshold any, listed, signers []*tuftest.Key, want Expect) func(*World) {
			return func(w *World) {
				w.setKeys(role, threshold, listed, signers...)
				want(w, targetOf(role))
			}
		}
		for _, s := range spellings {
			key := tuftest.NewKey(s.kind, 3)
			twice := []*tuftest.Key{key, key.With(s.edit)}
			add("one key, again "+s.name, "", "a key may only contribute one signature", set(2, twice, twice, refuse))
		}
		other := tuftest.NewKey(tuftest.Ed25519, 51).With(spellings[5].edit)
		add("two keys, one of them listed twice", "", "two distinct keys signed",
			set(2, []*tuftest.Key{keys[0], keys[1], other}, []*tuftest.Key{keys[0], keys[1], other}, accept))
		add("two of three keys", "", "the threshold is met", set(2, keys, keys[1:], accept))
		add("one of two keys, the other one's signature is wrong", "", "the threshold is met",
			set(1, keys[:2], []*tuftest.Key{keys[0], keys[2].As(keys[1].ID)}, accept))
		add("one of two required signatures", "", "the threshold is not met", set(2, keys, keys[:1], refuse))
		add("more required than keys listed", "", "the threshold cannot be met", set(4, keys, keys, refuse))
		add("a keyid without a key", "", "the threshold is met by the others", func(w *World) {
			w.editRole(role, func(entry tuftest.Map) { entry["keyids"] = append(entry["keyids"].([]any), stranger) })
			w.Accept(targetOf(role))
		})
		add("a keyid listed twice for the role, threshold 2", "", "it is one key", func(w *World) {
			w.editRole(role, func(entry tuftest.Map) {
				id := entry["keyids"].([]any)[0]
				entry["keyids"], entry["threshold"] = []any{id, id}, 2
			})
			w.Refuse(targetOf(role))
		})
		add("a keyid listed twice for the role, threshold 1", "4.3", "whether the list is a set is open", func(w *World) {
			w.editRole(role, func(entry tuftest.Map) {
				id := entry["keyids"].([]any)[0]
				entry["keyids"] = []any{id, id}
			})
			w.Either(targetOf(role))
		})
		for _, threshold := range []any{0, -1, "1", true, nil, tuftest.Verbatim("1.0")} {
			add(fmt.Sprintf("threshold %s", show(threshold)), "4.3", "a threshold is an integer of at least 1", func(w *World) {
				w.editRole(role, func(entry tuftest.Map) { entry["threshold"] = threshold })
				w.Refuse(targetOf(role))
			})
		}
	}
	return cases
}

// editRole changes the entry of a role in its delegator, and publishes that.
func (w *World) editRole(role string, edit func(entry tuftest.Map)) {
	if role == "team" {
		edit(w.Targets.Signed["delegations"].(tuftest.Map)["roles"].([]any)[0].(tuftest.Map))
		w.Publish("targets")
		return
	}
	w.Root.EditSigned = func(signed tuftest.Map) { edit(signed["roles"].(tuftest.Map)[role].(tuftest.Map)) }
	w.PublishRoot()
}

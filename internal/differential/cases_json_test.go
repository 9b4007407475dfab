package differential

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf16"

	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

// replaceOnce changes the first occurrence of a piece of the file.
func replaceOnce(old, now string) func([]byte) []byte {
	return func(raw []byte) []byte {
		if !bytes.Contains(raw, []byte(old)) {
			panic("nothing to replace: " + old)
		}
		return bytes.Replace(raw, []byte(old), []byte(now), 1)
	}
}

// fixed is a whole file.
func fixed(text string) func([]byte) []byte { return func([]byte) []byte { return []byte(text) } }

func addTail(tail string) func([]byte) []byte {
	return func(raw []byte) []byte { return append(raw, tail...) }
}

// split returns the raw values of signatures and signed.
func split(raw []byte) (signatures, signed string) {
	var doc struct {
		Signatures, Signed json.RawMessage
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		panic(err)
	}
	return string(doc.Signatures), string(doc.Signed)
}

// joined makes a file from a template in which $G stands for the signatures
// and $S for the signed part.
func joined(template string) func([]byte) []byte {
	return func(raw []byte) []byte {
		signatures, signed := split(raw)
		return []byte(strings.NewReplacer("$G", signatures, "$S", signed).Replace(template))
	}
}

var rawOddities = []struct {
	name, spec, why string
	goCannot        bool
	want            Expect
	edit            func([]byte) []byte
}{
	{"indented", "4.1", "white space means nothing", false, accept, func(raw []byte) []byte {
		var b bytes.Buffer
		_ = json.Indent(&b, raw, "\t", "  ")
		return b.Bytes()
	}},
	{"white space around", "4.1", "white space means nothing", false, accept, func(raw []byte) []byte { return []byte(" \r\n\t" + string(raw) + " \n\n") }},
	{"signed before signatures", "4.1", "order means nothing", false, accept, joined(`{"signed":$S,"signatures":$G}`)},
	{"names escaped", "4.1", "an escape is only a spelling", false, accept, replaceOnce(`"expires"`, `"\u0065xpires"`)},
	{"outer names escaped", "4.1", "an escape is only a spelling", false, accept, replaceOnce(`"signed"`, `"si\u0067ned"`)},
	{"slashes escaped", "4.1", "an escape is only a spelling", false, accept, replaceOnce(`"_type"`, `"_\u0074ype"`)},
	{"a field more outside", "4", "formats may be extended by fields", false, accept, joined(`{"signatures":$G,"signed":$S,"note":{"a":[1]}}`)},
	{"a null more outside", "4", "formats may be extended by fields", false, accept, joined(`{"note":null,"signatures":$G,"signed":$S}`)},
	{"a second signed in capitals, after", "4", "another name is another field", true, accept, joined(`{"signatures":$G,"signed":$S,"SIGNED":{"_type":"other"}}`)},
	{"second signatures in capitals, after", "4", "another name is another field", true, accept, joined(`{"signatures":$G,"signed":$S,"Signatures":[]}`)},
	{"signed only in capitals", "4.2.1", "another name is another field", false, refuse, joined(`{"signatures":$G,"Signed":$S}`)},
	{"signatures only in capitals", "4.2.1", "another name is another field", false, refuse, joined(`{"Signatures":$G,"signed":$S}`)},
	{"signed twice, the second changed", "4.1", "not without ambiguity", false, refuse, func(raw []byte) []byte {
		signatures, signed := split(raw)
		return []byte(`{"signatures":` + signatures + `,"signed":` + signed + `,"signed":` + strings.Replace(signed, "2099", "2098", 1) + `}`)
	}},
	{"signed twice, the first changed", "4.1", "not without ambiguity", false, refuse, func(raw []byte) []byte {
		signatures, signed := split(raw)
		return []byte(`{"signatures":` + signatures + `,"signed":` + strings.Replace(signed, "2099", "2098", 1) + `,"signed":` + signed + `}`)
	}},
	{"signatures twice", "4.1", "not without ambiguity", false, refuse, joined(`{"signatures":[],"signatures":$G,"signed":$S}`)},
	{"version twice", "4.1", "not without ambiguity", false, refuse, replaceOnce(`"expires":`, `"version":1,"expires":`)},
	{"a name twice in an unsigned field", "4.1", "not without ambiguity", false, refuse, joined(`{"signatures":$G,"signed":$S,"x":{"a":1,"a":2}}`)},
	{"a name twice, once escaped", "4.1", "not without ambiguity", false, refuse, replaceOnce(`"expires":`, `"\u0076ersion":1,"expires":`)},
	{"NaN in an unsigned field", "4.1", "that is not JSON", false, refuse, joined(`{"signatures":$G,"signed":$S,"x":NaN}`)},
	{"Infinity in an unsigned field", "4.1", "that is not JSON", false, refuse, joined(`{"signatures":$G,"signed":$S,"x":-Infinity}`)},
	{"a comment", "4.1", "that is not JSON", false, refuse, joined(`{"signatures":$G,/* x */"signed":$S}`)},
	{"a comma too many", "4.1", "that is not JSON", false, refuse, joined(`{"signatures":$G,"signed":$S,}`)},
	{"single quotes", "4.1", "that is not JSON", false, refuse, joined(`{'signatures':$G,"signed":$S}`)},
	{"a leading zero", "4.1", "that is not JSON", false, refuse, joined(`{"signatures":$G,"signed":$S,"x":01}`)},
	{"an unescaped control character", "4.1", "that is not JSON", false, refuse, joined("{\"signatures\":$G,\"signed\":$S,\"x\":\"\x01\"}")},
	{"bytes that are not UTF-8", "4.1", "that is not JSON", false, refuse, joined("{\"signatures\":$G,\"signed\":$S,\"x\":\"\xff\xfe\"}")},
	{"garbage after it", "4.1", "that is not JSON", false, refuse, addTail("x")},
	{"a brace after it", "4.1", "that is not JSON", false, refuse, addTail("}")},
	{"a NUL after it", "4.1", "that is not JSON", false, refuse, addTail("\x00")},
	{"a second document after it", "4.1", "not without ambiguity", false, refuse, func(raw []byte) []byte { return append(bytes.Clone(raw), raw...) }},
	{"a byte order mark", "4.1", "parsers may skip it", false, either, func(raw []byte) []byte { return append([]byte("\xef\xbb\xbf"), raw...) }},
	{"UTF-16", "4.1", "JSON is UTF-8", false, refuse, func(raw []byte) []byte {
		var b []byte
		for _, u := range utf16.Encode([]rune(string(raw))) {
			b = append(b, byte(u), byte(u>>8))
		}
		return b
	}},
	{"an unpaired surrogate in an unsigned field", "4.1", "whether that is JSON is open", true, either, joined(`{"signatures":$G,"signed":$S,"x":"\ud800"}`)},
	{"an exponent without bounds in an unsigned field", "4", "a field that nobody reads", true, either, joined(`{"signatures":$G,"signed":$S,"x":1e999999}`)},
	{"10,000 digits in an unsigned field", "4", "a field that nobody reads", true, either, joined(`{"signatures":$G,"signed":$S,"x":` + strings.Repeat("9", 10000) + `}`)},
	{"fifty levels deep", "4", "a field that nobody reads", false, either, joined(`{"signatures":$G,"signed":$S,"x":` + strings.Repeat("[", 50) + strings.Repeat("]", 50) + `}`)},
	{"5,000 levels deep", "4", "a bound is the application's", true, either, joined(`{"signatures":$G,"signed":$S,"x":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`)},
	{"5,000 levels deep and never closed", "4.1", "that is not JSON", false, refuse, fixed(strings.Repeat("[", 5000))},
	{"cut in the middle", "4.1", "that is not JSON", false, refuse, func(raw []byte) []byte { return raw[:len(raw)/2] }},
	{"cut by the last byte", "4.1", "that is not JSON", false, refuse, func(raw []byte) []byte { return raw[:len(raw)-1] }},
	{"empty", "4.1", "that is not JSON", false, refuse, fixed("")},
	{"white space only", "4.1", "that is not JSON", false, refuse, fixed(" \n")},
	{"HTML", "4.1", "that is not JSON", false, refuse, fixed("<!DOCTYPE html><html></html>")},
	{"null", "4.2.1", "an object is required", false, refuse, fixed("null")},
	{"an empty object", "4.2.1", "both fields are required", false, refuse, fixed("{}")},
	{"an empty list", "4.2.1", "an object is required", false, refuse, fixed("[]")},
	{"a number", "4.2.1", "an object is required", false, refuse, fixed("7")},
	{"a string", "4.2.1", "an object is required", false, refuse, fixed(`"signed"`)},
	{"a list around it", "4.2.1", "an object is required", false, refuse, func(raw []byte) []byte { return []byte("[" + string(raw) + "]") }},
	{"signed missing", "4.2.1", "the field is required", false, refuse, joined(`{"signatures":$G}`)},
	{"signed null", "4.2.1", "an object is required", false, refuse, joined(`{"signatures":$G,"signed":null}`)},
	{"signed a list", "4.2.1", "an object is required", false, refuse, joined(`{"signatures":$G,"signed":[$S]}`)},
	{"signed a string", "4.2.1", "an object is required", false, refuse, joined(`{"signatures":$G,"signed":"x"}`)},
	{"signatures missing", "4.2.1", "the field is required", false, refuse, joined(`{"signed":$S}`)},
	{"signatures null", "4.2.1", "a list is required", false, refuse, joined(`{"signatures":null,"signed":$S}`)},
	{"signatures an object", "4.2.1", "a list is required", false, refuse, joined(`{"signatures":{"0":$G},"signed":$S}`)},
	{"signatures a string", "4.2.1", "a list is required", false, refuse, joined(`{"signatures":"x","signed":$S}`)},
}

// signedOddities are signed parts that a publisher may well write and sign.
var signedOddities = []struct {
	name, spec, why string
	goCannot        bool
	want            Expect
	value           any
}{
	{"an object", "4", "formats may be extended by fields", false, accept, tuftest.Map{"b": []any{1, "x", nil, true}, "a": tuftest.Map{}}},
	{"an empty list", "4", "formats may be extended by fields", false, accept, []any{}},
	{"null", "4", "formats may be extended by fields", false, accept, nil},
	{"the empty string", "4", "formats may be extended by fields", false, accept, ""},
	{"2^53+1", "4", "integers have no bound", true, accept, int64(1)<<53 + 1},
	{"-(2^53+1)", "4", "integers have no bound", true, accept, -(int64(1)<<53 + 1)},
	{"2^64", "4", "integers have no bound", true, accept, json.Number("18446744073709551616")},
	{"a googol", "4", "integers have no bound", true, accept, json.Number("1" + strings.Repeat("0", 100))},
	{"10^21", "4", "integers have no bound", true, accept, json.Number("1000000000000000000000")},
	{"a negative number", "4", "an integer like any", false, accept, -7},
	{"1.5", "4.1", "canonical JSON has no fractions", true, either, tuftest.Verbatim("1.5")},
	{"1e3", "4.1", "canonical JSON has no exponents", true, either, tuftest.Verbatim("1e3")},
	{"-0", "4.1", "canonical JSON has one zero", true, either, tuftest.Verbatim("-0")},
	{"NaN", "4.1", "that is not JSON", false, refuse, tuftest.Verbatim("NaN")},
	{"a name twice", "4.1", "not without ambiguity", false, refuse, tuftest.Verbatim(`{"a":1,"a":1}`)},
	{"control characters", "4.1", "canonical JSON leaves them as they are", false, accept, "\x00\x01\b\t\n\f\r\x1f\x7f"},
	{"quotes and backslashes", "4.1", "the two that canonical JSON escapes", false, accept, `"\"\\"/`},
	{"HTML characters", "4.1", "nobody may escape them in the canonical form", false, accept, "<script>&amp;'</script>"},
	{"line separators", "4.1", "nobody may escape them in the canonical form", false, accept, "\u2028\u2029\u0085"},
	{"an emoji and an accent that combines", "4.1", "no normalisation", false, accept, "\U0001F40D e\u0301 \u00e9 \ufeff"},
	{"names in an odd order", "4.1", "names are sorted by code point", false, accept, tuftest.Map{"\uffff": 1, "\U0001F40D": 2, "z": 3, "": 4, "é": 5, "A": 6, "a": 7, "\x7f": 8}},
	{"thirty levels", "4", "formats may be extended by fields", false, accept, nested(30)},
	{"300 fields", "4", "formats may be extended by fields", false, accept, many(300)},
}

// show names a value in a case.
func show(v any) string { return string(tuftest.Text(v)) }

func nested(depth int) any {
	var v any = "core"
	for range depth {
		v = []any{v}
	}
	return v
}

func many(n int) tuftest.Map {
	m := tuftest.Map{}
	for i := range n {
		m[fmt.Sprintf("field %d", i)] = i
	}
	return m
}

func jsonCases() []Case {
	var cases []Case
	for _, role := range []string{"root", "timestamp", "targets"} {
		for _, o := range rawOddities {
			cases = append(cases, Case{Group: "JSON", Name: role + ": " + o.name, Spec: o.spec, Why: o.why, GoCannot: o.goCannot, Run: func(w *World) {
				w.Accept(plugin)
				w.Role(role).EditRaw = o.edit
				w.renew(role)
				o.want(w, plugin)
				w.repair(role)
				w.Accept(plugin)
			}})
		}
		for _, o := range signedOddities {
			cases = append(cases, Case{Group: "JSON", Name: role + ": unknown field: " + o.name, Spec: o.spec, Why: o.why, GoCannot: o.goCannot, Run: func(w *World) {
				w.Role(role).Signed["x-field"] = o.value
				w.renew(role)
				o.want(w, plugin)
			}})
		}
		for _, name := range []string{"Version", "EXPIRES", "_Type", "Spec_Version", "ſpec_version"} {
			cases = append(cases, Case{Group: "JSON", Name: role + ": unknown field: called " + name, Spec: "4", Why: "another name is another field", GoCannot: true, Run: func(w *World) {
				w.Role(role).Signed[name] = "7"
				w.renew(role)
				w.Accept(plugin)
			}})
		}
	}
	return cases
}

func shapeCases() []Case {
	var cases []Case
	add := func(role, name, spec, why string, want Expect, edit func(signed tuftest.Map)) {
		cases = append(cases, Case{Group: "shape", Name: role + ": " + name, Spec: spec, Why: why, Run: func(w *World) {
			w.Role(role).EditSigned = edit
			w.renew(role)
			want(w, targetOf(role))
		}})
	}
	set := func(field string, value any) func(tuftest.Map) {
		return func(s tuftest.Map) { s[field] = value }
	}
	for _, role := range roles {
		for _, value := range []any{"", "Targets", "mirrors", nil, 1, []any{"targets"}, "targets2"} {
			add(role, fmt.Sprintf("_type %s", show(value)), "4.2.1", "the type must be the role's", refuse, set("_type", value))
		}
		other := "snapshot"
		if role == "snapshot" {
			other = "timestamp"
		}
		add(role, "_type of another role", "4.2.1", "the type must be the role's", refuse, set("_type", other))
		add(role, "no _type", "4.2.1", "the field is required", refuse, func(s tuftest.Map) { delete(s, "_type") })
		for _, value := range []any{"2.0.0", "0.9.0", "10.0.0", "", "x", "1.x.0", "v1.0.0", nil, 1, tuftest.Verbatim("1.0"), []any{"1.0.0"}} {
			add(role, fmt.Sprintf("spec_version %s", show(value)), "4.3", "it must match the major version 1", refuse, set("spec_version", value))
		}
		add(role, "no spec_version", "4.3", "the field is required", refuse, func(s tuftest.Map) { delete(s, "spec_version") })
		add(role, "spec_version 1.0.0", "4.3", "it matches the major version 1", accept, set("spec_version", "1.0.0"))
		add(role, "spec_version 1.99.7", "4.3", "it matches the major version 1", accept, set("spec_version", "1.99.7"))
		for _, value := range []any{"1.0", "1", "1.0.0-rc.1", "1.0.0+build", "01.0.0", "1.0.0.0", " 1.0.0"} {
			add(role, fmt.Sprintf("spec_version %s", show(value)), "4.3", "what matches is the adopter's choice", either, set("spec_version", value))
		}
	}
	metaShapeCases(add)
	return append(cases, targetsShapeCases()...)
}

// metaShapeCases are about the meta of timestamp and snapshot.
func metaShapeCases(add func(role, name, spec, why string, want Expect, edit func(tuftest.Map))) {
	for role, file := range map[string]string{"timestamp": "snapshot.json", "snapshot": "targets.json"} {
		add(role, "no meta", "4.4", "the field is required", refuse, func(s tuftest.Map) { delete(s, "meta") })
		for _, value := range []any{nil, []any{}, "x", tuftest.Map{}} {
			add(role, fmt.Sprintf("meta %s", show(value)), "4.4", "it must describe "+file, refuse, func(s tuftest.Map) { s["meta"] = value })
		}
		for _, value := range []any{nil, 1, "x", []any{}, tuftest.Map{}} {
			add(role, fmt.Sprintf("%s is %s", file, show(value)), "4.4", "an object with a version is required", refuse,
				func(s tuftest.Map) { s["meta"].(tuftest.Map)[file] = value })
		}
		edit := func(f func(entry tuftest.Map)) func(tuftest.Map) { return func(s tuftest.Map) { f(meta(s, file)) } }
		for _, value := range []any{-1, "5", tuftest.Verbatim("1.0"), true} {
			add(role, fmt.Sprintf("length %s", show(value)), "4.4", "a length is an integer in bytes", refuse, edit(func(e tuftest.Map) { e["length"] = value }))
		}
		for _, value := range []any{"x", []any{}, tuftest.Map{"sha256": 5}, tuftest.Map{"sha256": nil}} {
			add(role, fmt.Sprintf("hashes %s", show(value)), "4.4", "hashes are hex strings by algorithm", refuse, edit(func(e tuftest.Map) { e["hashes"] = value }))
		}
		add(role, "hashes null", "4.4", "absent or broken, both can be said", either, edit(func(e tuftest.Map) { e["hashes"] = nil }))
		add(role, "hashes empty", "4.4", "one or more are asked for", either, edit(func(e tuftest.Map) { e["hashes"] = tuftest.Map{} }))
		add(role, "length null", "4.4", "absent or broken, both can be said", either, edit(func(e tuftest.Map) { e["length"] = nil }))
		add(role, "only the length", "4.4", "hashes are optional", accept, edit(func(e tuftest.Map) { delete(e, "hashes") }))
		add(role, "only the hashes", "4.4", "the length is optional", accept, edit(func(e tuftest.Map) { delete(e, "length") }))
		add(role, "a wrong hash", "5.5.2", "the file does not match", refuse, edit(func(e tuftest.Map) { e["hashes"] = tuftest.Map{"sha256": tuftest.SHA256(nil)} }))
		add(role, "a hash cut short", "5.5.2", "the file does not match", refuse, edit(func(e tuftest.Map) {
			e["hashes"] = tuftest.Map{"sha256": e["hashes"].(tuftest.Map)["sha256"].(string)[:62]}
		}))
		add(role, "a hash that is not hex", "5.5.2", "the file does not match", refuse, edit(func(e tuftest.Map) { e["hashes"] = tuftest.Map{"sha256": "zz"} }))
		add(role, "an empty hash", "5.5.2", "the file does not match", refuse, edit(func(e tuftest.Map) { e["hashes"] = tuftest.Map{"sha256": ""} }))
		add(role, "a right and a wrong hash", "5.5.2", "the hashes must match", refuse, edit(func(e tuftest.Map) {
			e["hashes"].(tuftest.Map)["sha512"] = tuftest.SHA512(nil)
		}))
		add(role, "a right and an unknown hash", "5.5.2", "one cannot be checked", either, edit(func(e tuftest.Map) { e["hashes"].(tuftest.Map)["whirlpool"] = "00" }))
		add(role, "a length one too low", "5.5.1", "the file is longer", refuse, edit(func(e tuftest.Map) { e["length"] = e["length"].(int) - 1 }))
		add(role, "a length one too high", "5.5.1", "the length is a bound", either, edit(func(e tuftest.Map) { e["length"] = e["length"].(int) + 1 }))
		add(role, "length 0", "5.5.1", "the file is longer", refuse, edit(func(e tuftest.Map) { e["length"] = 0 }))
		add(role, "a field more", "4", "formats may be extended by fields", accept, edit(func(e tuftest.Map) { e["note"] = []any{tuftest.Map{"x": 1}} }))
	}
	add("timestamp", "describes another file too", "4.6", "only snapshot.json may be described", either, func(s tuftest.Map) {
		s["meta"].(tuftest.Map)["targets.json"] = tuftest.Map{"version": 1}
	})
	add("snapshot", "describes root too", "4.4", "older repositories do", either, func(s tuftest.Map) {
		s["meta"].(tuftest.Map)["root.json"] = tuftest.Map{"version": 1}
	})
}

func targetsShapeCases() []Case {
	var cases []Case
	for _, role := range []string{"targets", "team"} {
		target := targetOf(role)
		add := func(name, spec, why string, want Expect, edit func(signed tuftest.Map)) *Case {
			cases = append(cases, Case{Group: "shape", Name: role + ": " + name, Spec: spec, Why: why, Run: func(w *World) {
				w.Role(role).EditSigned = edit
				w.renew(role)
				want(w, target)
			}})
			return &cases[len(cases)-1]
		}
		item := func(f func(t tuftest.Map)) func(tuftest.Map) {
			return func(s tuftest.Map) { f(s["targets"].(tuftest.Map)[target].(tuftest.Map)) }
		}
		add("no targets", "4.5", "the field is required", refuse, func(s tuftest.Map) { delete(s, "targets") })
		for _, value := range []any{nil, []any{}, "x"} {
			add(fmt.Sprintf("targets %s", show(value)), "4.5", "an object is required", refuse, func(s tuftest.Map) { s["targets"] = value })
		}
		if role == "targets" {
			cases = append(cases, Case{Group: "shape", Name: "targets: targets null, a delegated target asked for", Spec: "4.5", Why: "an object is required", Run: func(w *World) {
				w.Targets.EditSigned = func(s tuftest.Map) { s["targets"] = nil }
				w.renew("targets")
				w.Refuse(tool)
			}})
		}
		add("targets empty", "4.5", "no files are available", notFound, func(s tuftest.Map) { s["targets"] = tuftest.Map{} })
		for _, value := range []any{nil, 1, "x", []any{}, tuftest.Map{}} {
			add(fmt.Sprintf("target %s", show(value)), "4.5", "an object is required", refuse, func(s tuftest.Map) { s["targets"].(tuftest.Map)[target] = value })
			add(fmt.Sprintf("another target %s", show(value)), "4.5", "the format is broken where nobody looks", either, func(s tuftest.Map) { s["targets"].(tuftest.Map)["other"] = value })
		}
		for _, value := range []any{nil, -1, "5", tuftest.Verbatim("1.5"), true} {
			add(fmt.Sprintf("length %s", show(value)), "4.5", "a length is an integer in bytes", refuse, item(func(t tuftest.Map) { t["length"] = value }))
		}
		add("no length", "4.5", "the field is required", refuse, item(func(t tuftest.Map) { delete(t, "length") }))
		add("no hashes", "4.5", "the field is required", refuse, item(func(t tuftest.Map) { delete(t, "hashes") }))
		for _, value := range []any{nil, tuftest.Map{}, "x", []any{}, tuftest.Map{"sha256": nil}, tuftest.Map{"sha256": 5}, tuftest.Map{"sha256": ""}} {
			add(fmt.Sprintf("hashes %s", show(value)), "4.5", "one or more hashes are required", refuse, item(func(t tuftest.Map) { t["hashes"] = value }))
		}
		for _, value := range []any{"x", 1, []any{}, nil} {
			add(fmt.Sprintf("custom %s", show(value)), "4.5", "custom should be an object", either, item(func(t tuftest.Map) { t["custom"] = value }))
		}
		add("custom empty", "4.5", "an object like any", accept, item(func(t tuftest.Map) { t["custom"] = tuftest.Map{} }))
		add("custom with 2^60", "4.5", "custom is opaque", accept, item(func(t tuftest.Map) { t["custom"] = tuftest.Map{"n": 1 << 60} }))
		add("custom with names in every case", "4.5", "custom is opaque", accept, item(func(t tuftest.Map) { t["custom"] = tuftest.Map{"a": 1, "A": 2, "Hashes": nil} }))
		add("a field more in the target", "4", "formats may be extended by fields", accept, item(func(t tuftest.Map) { t["note"] = tuftest.Map{"x": nil} }))
		c := add("a field called Length in the target", "4", "another name is another field", accept, item(func(t tuftest.Map) { t["Length"] = 3 }))
		c.GoCannot = true
		for _, value := range []any{nil, tuftest.Map{}, []any{}, "x"} {
			add(fmt.Sprintf("delegations %s", show(value)), "4.5", "the format is broken where nobody looks", either, func(s tuftest.Map) { s["delegations"] = value })
		}
	}
	return cases
}

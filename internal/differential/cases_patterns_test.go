package differential

import (
	"fmt"
	"strings"

	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

// patterns are globs after glob(7), and what they must match.
var patterns = []struct {
	pattern, path string
	want          Expect
}{
	{"foo.tgz", "foo.tgz", accept},
	{"foo.tgz", "foo.tgzz", notFound},
	{"foo.tgz", "xfoo.tgz", notFound},
	{"foo.tgz", "dir/foo.tgz", notFound},
	{"*.tgz", "foo.tgz", accept},
	{"*.tgz", ".tgz", either},
	{"*.tgz", "foo.txt", notFound},
	{"*.tgz", "targets/foo.tgz", notFound},
	{"targets/*.tgz", "targets/foo.tgz", accept},
	{"targets/*.tgz", "targets/foo.txt", notFound},
	{"targets/*.tgz", "targets/sub/foo.tgz", notFound},
	{"foo-version-?.tgz", "foo-version-2.tgz", accept},
	{"foo-version-?.tgz", "foo-version-a.tgz", accept},
	{"foo-version-?.tgz", "foo-version-alpha.tgz", notFound},
	{"foo-version-?.tgz", "foo-version-.tgz", notFound},
	{"a?b", "a/b", notFound},
	{"*", "file", accept},
	{"*", "dir/file", notFound},
	{"*/*", "dir/file", accept},
	{"*/*", "file", notFound},
	{"*/*/*", "a/b/c", accept},
	{"a*c", "abbbc", accept},
	{"a*c", "ac", accept},
	{"a*b*c", "axbxbxc", accept},
	{"a*c", "a/c", notFound},
	{"**", "file", accept},
	{"**", "dir/file", notFound},
	{"a/**/b", "a/x/b", accept},
	{"a/**/b", "a/x/y/b", notFound},
	{"a/**", "a/x/y", notFound},
	{"a/**", "a/x", accept},
	{"?.txt", "é.txt", accept},
	{"??.txt", "é.txt", notFound},
	{"*", "été", accept},
	{"[abc].txt", "b.txt", accept},
	{"[abc].txt", "d.txt", notFound},
	{"[abc].txt", "abc.txt", notFound},
	{"[a-c].txt", "b.txt", accept},
	{"[a-c].txt", "d.txt", notFound},
	{"[a-c].txt", "-.txt", notFound},
	{"[A-Fa-f0-9].txt", "9.txt", accept},
	{"[A-Fa-f0-9].txt", "g.txt", notFound},
	{"[!a].txt", "b.txt", accept},
	{"[!a].txt", "a.txt", notFound},
	{"[!a].txt", "!.txt", accept},
	{"[!a-c].txt", "b.txt", notFound},
	{"[!a-c].txt", "d.txt", accept},
	{"[^a].txt", "b.txt", either},
	{"[^a].txt", "a.txt", either},
	{"[]a].txt", "].txt", accept},
	{"[]a].txt", "a.txt", accept},
	{"[]a].txt", "b.txt", notFound},
	{"[!]a].txt", "b.txt", accept},
	{"[!]a].txt", "].txt", notFound},
	{"[a-].txt", "-.txt", accept},
	{"[-a].txt", "-.txt", accept},
	{"[a-].txt", "b.txt", notFound},
	{"[[*].txt", "*.txt", accept},
	{"[[*].txt", "[.txt", accept},
	{"[[*].txt", "x.txt", notFound},
	{`[*\].txt`, "*.txt", accept},
	{`[*\].txt`, "].txt", notFound},
	{"[c-a].txt", "b.txt", either},
	{"[é].txt", "é.txt", accept},
	{"[à-ü].txt", "é.txt", accept},
	{"a[/]b", "a/b", notFound},
	{"a[!x]b", "a/b", notFound},
	{"a[.-0]b", "a/b", notFound},
	{"[a.txt", "[a.txt", either},
	{"[a.txt", "a.txt", notFound},
	{"[!a", "b", notFound},
	{"[", "[", either},
	{"[]", "[]", either},
	{"[[:digit:]].txt", "1.txt", either},
	{`\*.txt`, "*.txt", accept},
	{`\*.txt`, "a.txt", notFound},
	{`\[a].txt`, "[a].txt", accept},
	{`\[a].txt`, "a.txt", notFound},
	{`a\`, "a", notFound},
	{`\a.txt`, "a.txt", either},
	{`a\*b/*`, "a*b/c", accept},
	{"{a,b}.txt", "a.txt", notFound},
	{"{a,b}.txt", "{a,b}.txt", accept},
	{"+(a).txt", "aa.txt", notFound},
	{"a.c", "abc", notFound},
	{"a+", "aa", notFound},
	{"(a)", "a", notFound},
	{"^a$", "a", notFound},
	{"a|b", "a", notFound},
	{"TEAM/*", "team/x", notFound},
	{"Team/[a-z]", "Team/X", notFound},
	{"", "a", notFound},
	{"team", "team/x", notFound},
	{"team/", "team/x", notFound},
	{"/foo", "foo", notFound},
	{"./foo", "foo", notFound},
	{"foo*", "foo", accept},
	{"*foo", "foo", accept},
	{"a//b", "a/b", notFound},
}

func patternCases() []Case {
	var cases []Case
	pathCase := func(name, spec, why, target string, want Expect, d tuftest.Delegation) {
		d.Name = "matched"
		cases = append(cases, Case{Group: "patterns", Name: name, Spec: spec, Why: why, Run: func(w *World) {
			w.Delegate("targets", d)
			w.add("matched", target)
			w.Publish("targets", "matched")
			want(w, target)
		}})
	}
	for _, p := range patterns {
		why := "the glob decides whom to trust"
		pathCase(fmt.Sprintf("%s against %s", p.pattern, p.path), "4.5", why, p.path, p.want, tuftest.Delegation{Paths: []string{p.pattern}})
	}
	pathCase("the second of two globs", "4.5", "any of them will do", "x/a", accept, tuftest.Delegation{Paths: []string{"y/*", "x/*"}})
	pathCase("no globs", "4.5", "no path is trusted", "a", notFound, tuftest.Delegation{Paths: []string{}})
	pathCase("no hash prefixes", "4.5", "no path is trusted", "a", notFound, tuftest.Delegation{HashPrefixes: []string{}})
	pathCase("neither globs nor prefixes", "4.5", "the fields are optional", "a", either, tuftest.Delegation{})
	for _, path := range []string{"one.txt", "two/three.bin", "Ünï.txt", "d"} {
		hash := tuftest.PathHash(path)
		other := fmt.Sprintf("%x", 15-strings.Index("0123456789abcdef", hash[:1]))
		prefix := func(name, why string, want Expect, prefixes ...string) {
			pathCase(fmt.Sprintf("%s: %s", path, name), "4.5", why, path, want, tuftest.Delegation{HashPrefixes: prefixes})
		}
		for _, n := range []int{1, 2, 3, 8, 63, 64} {
			prefix(fmt.Sprintf("%d digits of the hash", n), "the hex digest shares the prefix", accept, hash[:n])
		}
		prefix("other digits", "the hex digest does not share the prefix", notFound, other)
		prefix("other digits, then the right ones", "any of them will do", accept, other, hash[:2])
		prefix("digits from the middle", "a prefix is at the front", notFound, "x", hash[60:]+hash[:8])
		prefix("65 digits", "the hex digest is shorter", notFound, hash+"0")
		prefix("upper case", "the case of hex digests is open", either, strings.ToUpper(hash[:12]))
		prefix("the empty prefix", "every digest shares it", either, "")
		prefix("a glob", "prefixes are not globs", notFound, "*", "[0-9a-f]*")
		for n := 1; n <= 4; n++ {
			code := base64Digest(path)[:n]
			if !strings.HasPrefix(hash, code) {
				prefix(fmt.Sprintf("%d characters of the base64 digest", n), "the digest is in hex", notFound, code)
			}
		}
	}
	cases = append(cases, Case{Group: "patterns", Name: "256 bins of hash prefixes", Spec: "4.5", Why: "the bin of the digest has it", Run: func(w *World) {
		names := []string{"targets"}
		for i := range 256 {
			bin := fmt.Sprintf("%02x", i)
			w.Delegate("targets", tuftest.Delegation{Name: "bin-" + bin, HashPrefixes: []string{bin}, Keys: []*tuftest.Key{ed(70)}})
			names = append(names, "bin-"+bin)
		}
		w.add("bin-"+tuftest.PathHash("x/y")[:2], "x/y")
		w.Publish(names...)
		w.Accept("x/y")
		w.NotFound("x/z")
	}}, Case{Group: "patterns", Name: "a role lists what is outside its path, a later one what is inside", Spec: "4.5", Why: "all roles of a chain must be trusted for the path", Run: func(w *World) {
		w.Delegate("targets", tuftest.Delegation{Name: "greedy", Paths: []string{"greedy/*"}})
		w.addEvil("greedy", tool)
		w.Publish("targets", "greedy")
		w.Accept(tool)
	}}, Case{Group: "patterns", Name: "the path is outside the chain above", Spec: "4.5", Why: "all roles of a chain must be trusted for the path", Run: func(w *World) {
		w.Delegate("team", tuftest.Delegation{Name: "inner", Paths: []string{"other/*"}})
		w.add("inner", "other/x")
		w.Publish("team", "inner")
		w.NotFound("other/x")
	}}, Case{Group: "patterns", Name: "both globs and prefixes", Spec: "4.5", Why: "exactly one should be set", Run: func(w *World) {
		w.Delegate("targets", tuftest.Delegation{Name: "both", Paths: []string{"both"}, HashPrefixes: []string{tuftest.PathHash("both")[:4]}})
		w.add("both", "both")
		w.Publish("targets", "both")
		w.Either("both")
	}})
	return cases
}

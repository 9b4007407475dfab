package differential

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

// names are target paths, with the answer to whether they must work.
var names = []struct {
	name, why string
	want      Expect
}{
	{"a", "a path like any", accept},
	{"deep/er/and/deeper/still/file.tar.gz", "a path like any", accept},
	{".hidden", "a path like any", accept},
	{"dir/.hidden", "a path like any", accept},
	{"two..dots", "a path like any", accept},
	{"ends.", "a path like any", accept},
	{"-dash", "a path like any", accept},
	{"~tilde", "a path like any", accept},
	{"UPPER.txt", "case matters", accept},
	{"root.json", "a target, not metadata", accept},
	{"1.root.json", "a target, not metadata", accept},
	{"metadata/timestamp.json", "a target, not metadata", accept},
	{"dir/a+b&c=d@e$f!(g),h;'i'.txt", "characters that a URL path may hold", accept},
	{strings.Repeat("n", 180) + ".txt", "a long name", accept},
	{strings.Repeat("long-directory/", 12) + "f", "a long path", accept},
	{"déjà/vu.txt", "a path-relative URL may hold letters of any script", accept},
	{"with space.txt", "needs escaping in a URL", either},
	{"percent%41.txt", "not a path-relative URL", either},
	{"percent%zz.txt", "not a path-relative URL", either},
	{"query?x=1", "not a path-relative URL", either},
	{"fragment#x", "not a path-relative URL", either},
	{"scheme:x", "not a path-relative URL", either},
	{`back\slash`, "not a path-relative URL", either},
	{"control\x01", "not a path-relative URL", either},
	{"line\nfeed", "not a path-relative URL", either},
	{"nul\x00", "not a path-relative URL", either},
	{"double//slash", "not a plain path", either},
	{"./dot", "not a plain path", either},
	{"dot/./dot", "not a plain path", either},
	{"ends/", "not a plain path", either},
	{"/absolute", "not recommended", either},
	{"up/../down", "not a plain path", either},
	{"../outside", "not a plain path", either},
	{"../../../../../../outside", "not a plain path", either},
	{"dir/../../outside", "not a plain path", either},
	{"..", "not a plain path", either},
	{".", "not a plain path", either},
	{strings.Repeat("n", 300), "longer than a file name may be", either},
}

func targetCases() []Case {
	var cases []Case
	add := func(name, spec, why string, run func(w *World)) {
		cases = append(cases, Case{Group: "targets", Name: name, Spec: spec, Why: why, Run: run})
	}
	for _, n := range names {
		add(fmt.Sprintf("path %.40q of %d bytes", n.name, len(n.name)), "4.5", n.why, func(w *World) {
			w.add("targets", n.name)
			w.Publish("targets")
			n.want(w, n.name)
			n.want(w, n.name)
			w.Accept(plugin)
		})
	}
	add("names that differ in case only", "4.5", "they are two", func(w *World) {
		w.add("targets", "file.txt")
		w.add("targets", "FILE.txt")
		w.Publish("targets")
		w.Accept("file.txt")
		w.Accept("FILE.txt")
		w.Accept("file.txt")
	})
	add("one in a directory called like another", "4.5", "they are two", func(w *World) {
		w.add("targets", "x")
		w.add("targets", "x/y")
		w.Publish("targets")
		w.Accept("x")
		w.Accept("x/y")
	})
	add("nothing of that name", "5.7.2", "there is no such target", func(w *World) { w.NotFound("nothing"); w.Accept(plugin) })
	add("nothing of that name in a delegated role", "5.7.2", "there is no such target", func(w *World) { w.NotFound("team/nothing") })
	add("withdrawn", "5.7.2", "there is no such target any more", func(w *World) {
		w.Accept(plugin)
		delete(w.Targets.Signed["targets"].(tuftest.Map), plugin)
		w.Publish("targets")
		w.NotFound(plugin)
	})
	add("empty file", "4.5", "a length of 0 is an integer", func(w *World) {
		w.AddTarget("targets", "empty", nil, nil)
		w.published["empty"] = ""
		w.Publish("targets")
		w.Accept("empty")
	})
	add("a megabyte", "5.7.3", "a target like any", func(w *World) {
		content := strings.Repeat("0123456789abcdef", 1<<16)
		w.AddTarget("targets", "big", []byte(content), nil)
		w.published["big"] = content
		w.Publish("targets")
		w.Accept("big")
	})
	add("6 MB", "5.7.3", "bounds of metadata do not hold for targets", func(w *World) {
		content := strings.Repeat("0123456789abcdef", 6<<16)
		w.AddTarget("targets", "big", []byte(content), nil)
		w.published["big"] = content
		w.Publish("targets")
		w.Accept("big")
	})
	return append(append(cases, hashCases()...), contentCases()...)
}

func hashCases() []Case {
	var cases []Case
	for _, consistent := range []bool{true, false} {
		kind := map[bool]string{true: "consistent", false: "not consistent"}[consistent]
		algorithms := func(name string, hashes ...string) {
			cases = append(cases, Case{Group: "targets", Name: kind + ": " + name, Spec: "4.5", Why: "known hashes that match",
				Config: tuftest.Config{Inconsistent: !consistent, TargetHashes: hashes}, Run: func(w *World) { w.Accept(plugin); w.Accept(tool) }})
		}
		algorithms("sha256", "sha256")
		algorithms("sha512", "sha512")
		algorithms("sha256 and sha512", "sha256", "sha512")
		edit := func(name, why string, want Expect, f func(hashes tuftest.Map, content []byte)) {
			cases = append(cases, Case{Group: "targets", Name: kind + ": " + name, Spec: "5.7.3", Why: why,
				Config: tuftest.Config{Inconsistent: !consistent}, Run: func(w *World) {
					content := []byte(w.published[plugin])
					hashes := w.Targets.Signed["targets"].(tuftest.Map)[plugin].(tuftest.Map)["hashes"].(tuftest.Map)
					f(hashes, content)
					for _, h := range hashes {
						w.Put(fmt.Sprintf("targets/%s.%s", h, plugin), content)
					}
					w.Publish("targets")
					want(w, plugin)
				}})
		}
		edit("md5 alone", "too weak to count", refuse, func(h tuftest.Map, c []byte) { clear(h); h["md5"] = md5Hex(c) })
		edit("sha1 alone", "too weak to count", refuse, func(h tuftest.Map, c []byte) { clear(h); h["sha1"] = sha1Hex(c) })
		edit("an unknown hash alone", "it cannot be checked", refuse, func(h tuftest.Map, _ []byte) { clear(h); h["whirlpool"] = strings.Repeat("0", 128) })
		edit("an unknown hash beside sha256", "one cannot be checked", either, func(h tuftest.Map, _ []byte) { h["whirlpool"] = strings.Repeat("0", 128) })
		edit("md5 beside sha256", "whether weak ones are checked is open", either, func(h tuftest.Map, c []byte) { h["md5"] = md5Hex(c) })
		edit("sha256 right, sha512 wrong", "the hashes must match", refuse, func(h tuftest.Map, _ []byte) { h["sha512"] = tuftest.SHA512([]byte("x")) })
		edit("sha256 wrong, sha512 right", "the hashes must match", refuse, func(h tuftest.Map, c []byte) {
			h["sha256"], h["sha512"] = tuftest.SHA256([]byte("x")), tuftest.SHA512(c)
		})
		edit("sha256 in upper case", "whether hex digests have a case is open", either, func(h tuftest.Map, c []byte) { h["sha256"] = strings.ToUpper(tuftest.SHA256(c)) })
		edit("sha256 cut short", "it does not match", refuse, func(h tuftest.Map, c []byte) { h["sha256"] = tuftest.SHA256(c)[:32] })
		edit("sha256 under the name SHA256", "that is another algorithm name", either, func(h tuftest.Map, c []byte) { clear(h); h["SHA256"] = tuftest.SHA256(c) })
		edit("a sha512 digest called sha256", "it does not match", refuse, func(h tuftest.Map, c []byte) { h["sha256"] = tuftest.SHA512(c) })
	}
	return cases
}

// contentCases send other bytes than the publisher signed.
func contentCases() []Case {
	var cases []Case
	for name, tamper := range map[string]func(content []byte) []byte{
		"other bytes of the same length": func(c []byte) []byte { return []byte(fmt.Sprintf("%-*s", len(c), evil)) },
		"one bit changed":                func(c []byte) []byte { c[3] ^= 1; return c },
		"a byte too many":                func(c []byte) []byte { return append(c, 'x') },
		"a byte too few":                 func(c []byte) []byte { return c[:len(c)-1] },
		"no bytes":                       func([]byte) []byte { return nil },
		"HTML":                           func([]byte) []byte { return []byte("<html>" + evil + "</html>") },
		"a megabyte more":                func(c []byte) []byte { return append(c, strings.Repeat(evil, 1<<18)...) },
	} {
		for _, target := range []string{plugin, tool} {
			cases = append(cases, Case{Group: "targets", Name: target + ": " + name, Spec: "5.7.3", Why: "the hash must match", Run: func(w *World) {
				name := targetFile(w, target)
				w.Server.On(name, func(x *tuftest.Exchange) {
					content, _ := x.File()
					tuftest.Body(tamper(append([]byte(nil), content...)))(x)
				})
				w.Refuse(target)
				w.Server.Heal()
				w.Accept(target)
			}})
		}
	}
	length := func(name, why string, want Expect, change int) {
		cases = append(cases, Case{Group: "targets", Name: name, Spec: "5.7.3", Why: why, Run: func(w *World) {
			entry := w.Targets.Signed["targets"].(tuftest.Map)[plugin].(tuftest.Map)
			entry["length"] = entry["length"].(int) + change
			w.Publish("targets")
			want(w, plugin)
		}})
	}
	length("signed length one too low", "more bytes than the length are never read", refuse, -1)
	length("signed length one too high", "the length is a bound, the hash decides", either, 1)
	length("signed length of 2^40", "the length is a bound, the hash decides", either, 1<<40)
	return append(cases, Case{Group: "targets", Name: "the cached file is damaged", Spec: "5.7.3", Why: "what is cached is verified again", Run: func(w *World) {
		w.Accept(plugin)
		w.damageCache()
		w.Accept(plugin)
		w.Accept(plugin)
	}}, Case{Group: "targets", Name: "the cached file is damaged and the server sends other bytes", Spec: "5.7.3", Why: "what is cached is verified again", Run: func(w *World) {
		w.Accept(plugin)
		w.damageCache()
		w.Server.On(targetFile(w, plugin), tuftest.Body([]byte(evil)))
		w.strict = false // the damage itself carries the attacker's mark
		w.Refuse(plugin)
	}}, Case{Group: "targets", Name: "new content under the old name", Spec: "5.7.3", Why: "the signed hash has changed", Run: func(w *World) {
		w.Accept(plugin)
		w.renew("targets")
		w.Accept(plugin)
	}}, Case{Group: "targets", Name: "the old content comes back", Spec: "5.7.3", Why: "the publisher may say so", Run: func(w *World) {
		w.Accept(plugin)
		was := w.published[plugin]
		w.renew("targets")
		w.Accept(plugin)
		w.AddTarget("targets", plugin, []byte(was), nil)
		w.published[plugin] = was
		w.Publish("targets")
		w.Accept(plugin)
	}})
}

// targetFile is the name under which the server keeps a published target.
func targetFile(w *World, target string) string {
	if w.Inconsistent {
		return "targets/" + target
	}
	dir, base := filepath.Split(target)
	return "targets/" + dir + tuftest.SHA256([]byte(w.published[target])) + "." + base
}

// damageCache overwrites every cached target with as many other bytes.
func (w *World) damageCache() {
	err := filepath.Walk(w.cacheDir(), func(path string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		if err := os.Chmod(path, 0o600); err != nil {
			return err
		}
		return os.WriteFile(path, []byte(fmt.Sprintf("%-*s", info.Size(), evil)[:info.Size()]), 0o600)
	})
	if err != nil {
		panic(err)
	}
}

package differential

import (
	"strings"

	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

// attacks must be refused, whatever happens at the same time. Each starts from
// a repository that the client has seen once.
var attacks = []struct {
	name, spec, why string
	target          string
	play            func(w *World)
}{
	{"one key listed twice, threshold 2", "5.6.3", "a key may only contribute one signature", plugin, func(w *World) {
		key := ed(90)
		w.setKeys("targets", 2, []*tuftest.Key{key, key.With(spellings[3].edit)}, key, key.With(spellings[3].edit))
	}},
	{"one key listed twice for a delegated role, threshold 2", "5.6.7", "a key may only contribute one signature", tool, func(w *World) {
		key := ed(90)
		w.setKeys("team", 2, []*tuftest.Key{key, key.With(spellings[5].edit)}, key, key.With(spellings[5].edit))
	}},
	{"targets forged", "5.6.3", "the threshold is not met", plugin, func(w *World) {
		w.Targets.Signers = []*tuftest.Key{ed(1000).As(ed(3).ID)}
		w.Targets.Signed["x-note"] = evil
		w.addEvil("targets", plugin)
		w.Publish("targets")
	}},
	{"target replaced", "5.7.3", "the hash must match", plugin, func(w *World) {
		w.renew("targets")
		w.Server.On(targetFile(w, plugin), tuftest.Body([]byte(strings.Replace(w.published[plugin], "content", "EVILent", 1))))
	}},
	{"timestamp expired", "5.4.4", "freeze", plugin, func(w *World) {
		w.Timestamp.Signed["expires"] = "2031-05-06T07:08:09Z"
		w.renew("targets")
	}},
	{"a role outside its glob", "4.5", "it is not trusted for the path", "a.txt", func(w *World) {
		w.Delegate("targets", to("guest", "[!a].txt"))
		w.addEvil("guest", "a.txt")
		w.Publish("targets", "guest")
	}},
	{"a role outside its hash prefix", "4.5", "it is not trusted for the path", "one.txt", func(w *World) {
		// The digest of one.txt begins with this in base64, not in hex.
		w.Delegate("targets", tuftest.Delegation{Name: "guest", HashPrefixes: []string{base64Digest("one.txt")[:3]}})
		w.addEvil("guest", "one.txt")
		w.Publish("targets", "guest")
	}},
	{"snapshot forgets a role", "5.5.5", "listed files must stay listed", plugin, func(w *World) {
		w.Snapshot.EditSigned = func(s tuftest.Map) { delete(s["meta"].(tuftest.Map), "team.json") }
		w.renew("targets")
	}},
	{"mix and match: an older targets", "5.6.2", "the hash in the snapshot must match", plugin, func(w *World) {
		old, _ := w.Get("metadata/2.targets.json")
		w.renew("targets")
		w.Server.On(w.MetadataName("targets", w.Targets.Version), tuftest.Body(old))
	}},
	{"RSA of 1024 bits", "4.2.2", "the key cannot count", plugin, func(w *World) {
		w.setKeys("targets", 1, []*tuftest.Key{tuftest.NewKey(tuftest.RSA1024, 0)}, tuftest.NewKey(tuftest.RSA1024, 0))
	}},
	{"a root signed by one of two", "5.3.4", "the threshold is not met", plugin, func(w *World) {
		w.SetKeys("root", 2, ed(0), ed(91))
		w.PublishRoot()
		w.Root.Signers = []*tuftest.Key{ed(0)}
		w.PublishRoot()
	}},
	{"a root version skipped", "5.3.5", "it must be precisely the next version", plugin, func(w *World) {
		w.Root.EditSigned = func(s tuftest.Map) { s["version"] = s["version"].(int) + 1 }
		w.PublishRoot()
	}},
	{"spec_version 2", "4.3", "it must match the major version 1", plugin, func(w *World) {
		w.Targets.Signed["spec_version"] = "2.0.0"
		w.renew("targets")
	}},
	{"a null target in a file that nobody signed", "5.6.3", "the threshold is not met", plugin, func(w *World) {
		w.NoHashes = true
		w.Targets.Signed["targets"].(tuftest.Map)["null"] = nil
		w.Targets.EditSignatures = func([]any) []any { return []any{} }
		w.renew("targets")
	}},
	{"a rollback of targets", "5.5.5", "rollback", plugin, func(w *World) {
		w.Targets.SetVersion(w.Targets.Version - 1)
		w.Publish()
	}},
	{"a shared role that one delegator has not signed for", "5.6.7", "each delegator verifies it with its own keys", "1/file", func(w *World) {
		w.Delegate("targets", to("one", "1/*"))
		w.Delegate("targets", to("two", "2/*"))
		w.Delegate("one", tuftest.Delegation{Name: "shared", Paths: []string{"*/*"}, Keys: []*tuftest.Key{ed(81)}})
		w.Delegate("two", tuftest.Delegation{Name: "shared", Paths: []string{"*/*"}, Keys: []*tuftest.Key{ed(82)}})
		w.addEvil("shared", "1/file")
		w.Role("shared").Signers = []*tuftest.Key{ed(82)}
		w.Publish("targets", "one", "two", "shared")
	}},
}

// covers are harmless by themselves. Whoever sits on the wire, or the disk,
// uses them to choose the engine that judges. They are in place before the
// attack is published.
var covers = []struct {
	name string
	play func(w *World)
}{
	{"nothing else", func(*World) {}},
	{"403 for the next root", func(w *World) {
		w.Server.On("", func(x *tuftest.Exchange) {
			if _, ok := x.File(); ok {
				tuftest.File(x)
				return
			}
			tuftest.Status(403)(x)
		})
	}},
	{"a reset of the timestamp", func(w *World) {
		w.Server.On("metadata/timestamp.json", tuftest.Then(1, tuftest.Reset, tuftest.File))
	}},
	{"a 503 for the timestamp", func(w *World) {
		w.Server.On("metadata/timestamp.json", tuftest.Then(1, tuftest.Status(503), tuftest.File))
	}},
	{"an odd signature on the timestamp", func(w *World) {
		w.Timestamp.EditSignatures = entry(tuftest.Map{"keyid": stranger, "sig": "not hex"})
	}},
	{"an odd signature on targets", func(w *World) {
		w.Targets.EditSignatures = entry(tuftest.Map{"keyid": stranger, "sig": "not hex"})
	}},
	{"a large number in the timestamp", func(w *World) { w.Timestamp.Signed["x-n"] = 1 << 60 }},
	{"a field in another case in targets", func(w *World) { w.Targets.Signed["Version"] = 1 }},
	{"a second Signed outside the timestamp", func(w *World) {
		w.Timestamp.EditRaw = joined(`{"signatures":$G,"signed":$S,"SIGNED":{}}`)
	}},
	{"an unknown key in targets", func(w *World) {
		key := ed(92).With(func(k *tuftest.Key) { k.Type, k.Scheme = "sphincs", "sphincs" })
		w.Targets.Signed["delegations"].(tuftest.Map)["keys"].(tuftest.Map)[key.ID] = key.JSON()
	}},
	{"a damaged local timestamp", func(w *World) { w.write("timestamp", []byte("garbage")) }},
	{"damaged local targets", func(w *World) { w.write("targets", []byte("garbage")) }},
	{"a damaged local root", func(w *World) { w.write("root", []byte("garbage")) }},
}

func attackCases() []Case {
	var cases []Case
	for _, a := range attacks {
		for _, c := range covers {
			cases = append(cases, Case{Group: "attacks", Name: a.name + ", with " + c.name, Spec: a.spec, Why: a.why, Run: func(w *World) {
				w.Accept(plugin)
				w.Accept(tool)
				c.play(w)
				a.play(w)
				w.Refuse(a.target)
				w.Refuse(a.target)
			}})
		}
	}
	return cases
}

package differential

import (
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

func rootCases() []Case {
	var cases []Case
	add := func(name, spec, why string, run func(w *World)) {
		cases = append(cases, Case{Group: "root", Name: name, Spec: spec, Why: why, Run: run})
	}
	add("a chain of five, new keys each time", "5.3.9", "every version is signed by the one before", func(w *World) {
		for i := range 5 {
			w.SetKeys("root", 1, ed(100+i))
			w.PublishRoot()
		}
		w.Accept(plugin)
		w.SetKeys("root", 1, ed(110))
		w.PublishRoot()
		w.Accept(plugin)
	})
	add("signed by the new keys only", "5.3.4", "the old keys must sign too", func(w *World) {
		w.Accept(plugin)
		w.ListKeys("root", 1, ed(100))
		w.Root.Signers = []*tuftest.Key{ed(100)}
		w.PublishRoot()
		w.Refuse(plugin)
	})
	add("signed by the old keys only", "5.3.4", "the new keys must sign too", func(w *World) {
		w.Accept(plugin)
		w.ListKeys("root", 1, ed(100))
		w.PublishRoot()
		w.Refuse(plugin)
	})
	add("new threshold not met", "5.3.4", "the new threshold counts", func(w *World) {
		w.SetKeys("root", 2, ed(0), ed(100))
		w.Root.Signers = []*tuftest.Key{ed(0)}
		w.PublishRoot()
		w.Refuse(plugin)
	})
	add("old threshold not met", "5.3.4", "the old threshold counts", func(w *World) {
		w.SetKeys("root", 2, ed(0), ed(100))
		w.PublishRoot()
		w.Accept(plugin)
		w.ListKeys("root", 1, ed(0))
		w.Root.Signers = []*tuftest.Key{ed(0)}
		w.PublishRoot()
		w.Refuse(plugin)
	})
	addChainCases(add)
	return append(append(cases, rotationCases()...), rootShapeCases()...)
}

// addChainCases are about the versions of the chain.
func addChainCases(add adder) {
	for _, version := range []int{1, 3, 9} {
		add("the next file carries version "+string(rune('0'+version)), "5.3.5", "it must be precisely the next version", func(w *World) {
			w.Accept(plugin)
			w.Root.EditSigned = func(signed tuftest.Map) { signed["version"] = version }
			w.PublishRoot()
			w.Refuse(plugin)
			w.repair("root")
			w.Accept(plugin)
		})
	}
	add("a gap in the chain", "5.3.3", "what is not available ends the chain", func(w *World) {
		w.PublishRoot()
		w.PublishRoot()
		w.Remove("metadata/2.root.json")
		w.Accept(plugin)
	})
	add("the server forgets a root", "5.3.2", "the trusted root stays", func(w *World) {
		w.SetKeys("timestamp", 1, ed(101))
		w.PublishRoot()
		w.renew("timestamp")
		w.Accept(plugin)
		w.Remove("metadata/2.root.json")
		w.Accept(plugin)
	})
	add("the application ships an older root than the trusted one", "5.3.2", "the trusted root stays", func(w *World) {
		w.SetKeys("timestamp", 1, ed(101))
		w.PublishRoot()
		w.PublishRoot()
		w.renew("timestamp")
		w.Accept(plugin)
		w.Remove("metadata/2.root.json")
		w.Remove("metadata/3.root.json")
		w.renew("timestamp")
		w.Accept(plugin)
	})
	add("the application ships a newer root than the trusted one", "5.2", "the shipped root is trusted", func(w *World) {
		w.Accept(plugin)
		w.PublishRoot()
		w.SetKeys("timestamp", 1, ed(101))
		w.PublishRoot()
		w.renew("timestamp")
		w.Shipped = w.RootBytes(3)
		w.Accept(plugin)
	})
	add("thirty versions", "5.3.9", "a chain may be long", func(w *World) {
		for range 29 {
			w.PublishRoot()
		}
		w.Accept(plugin)
	})
	add("260 versions", "5.3.3", "the bound is the application's", func(w *World) {
		for range 259 {
			w.PublishRoot()
		}
		w.SetKeys("timestamp", 1, ed(101))
		w.PublishRoot()
		w.renew("timestamp")
		w.Either(plugin)
	})
}

// rotationCases are about keys of other roles that a new root replaces.
func rotationCases() []Case {
	var cases []Case
	for _, role := range []string{"timestamp", "snapshot", "targets"} {
		cases = append(cases,
			Case{Group: "root", Name: role + ": new key", Spec: signedIn[role], Why: "the new root lists it", Run: func(w *World) {
				w.Accept(plugin)
				w.SetKeys(role, 1, ed(101))
				w.PublishRoot()
				w.renew(role)
				w.Accept(plugin)
			}},
			Case{Group: "root", Name: role + ": the old key after its replacement", Spec: signedIn[role], Why: "it is no longer listed", Run: func(w *World) {
				w.Accept(plugin)
				w.ListKeys(role, 1, ed(101))
				w.PublishRoot()
				w.renew(role)
				w.Refuse(plugin)
			}})
	}
	return append(append(cases, forwardCases()...), changedKeyCases()...)
}

// forwardCases are fast-forward attacks and the recovery from them.
func forwardCases() []Case {
	var cases []Case
	forward := func(name string, want Expect, ahead []string, rotated ...string) {
		why := "the rotation clears timestamp and snapshot"
		cases = append(cases, Case{Group: "root", Name: "fast-forward: " + name, Spec: "5.3.11", Why: why, Run: func(w *World) {
			w.Accept(plugin)
			for _, role := range ahead {
				w.Role(role).SetVersion(1000)
			}
			w.renew("targets")
			w.Accept(plugin)
			for _, role := range ahead {
				w.Role(role).SetVersion(20)
			}
			for _, role := range rotated {
				w.SetKeys(role, 1, ed(101))
			}
			w.PublishRoot()
			w.renew("targets")
			w.forgetVersions()
			want(w, plugin)
			w.renew("targets")
			want(w, plugin)
		}})
	}
	forward("timestamp, its key replaced", accept, []string{"timestamp"}, "timestamp")
	forward("snapshot, its key replaced", accept, []string{"snapshot"}, "snapshot")
	forward("timestamp and snapshot, both keys replaced", accept, []string{"timestamp", "snapshot"}, "timestamp", "snapshot")
	forward("timestamp, snapshot key replaced", accept, []string{"timestamp"}, "snapshot")
	forward("snapshot, timestamp key replaced", accept, []string{"snapshot"}, "timestamp")
	forward("targets, snapshot key replaced", accept, []string{"targets"}, "snapshot")
	forward("targets, timestamp key replaced", accept, []string{"targets"}, "timestamp")
	forward("timestamp, targets key replaced", refuse, []string{"timestamp"}, "targets")
	forward("snapshot, targets key replaced", refuse, []string{"snapshot"}, "targets")
	forward("targets, its own key replaced", refuse, []string{"targets"}, "targets")
	forward("timestamp, no key replaced", refuse, []string{"timestamp"})
	return cases
}

// changedKeyCases are changes of keys that are less than a replacement.
func changedKeyCases() []Case {
	return []Case{
		Case{Group: "root", Name: "fast-forward: timestamp gets a second key and keeps the first", Spec: "5.3.11", Why: "whether an addition is a rotation is open", Run: func(w *World) {
			w.Timestamp.SetVersion(1000)
			w.renew("targets")
			w.Accept(plugin)
			w.Timestamp.SetVersion(20)
			w.SetKeys("timestamp", 1, ed(1), ed(101))
			w.PublishRoot()
			w.renew("targets")
			w.forgetVersions()
			w.Either(plugin)
		}},
		Case{Group: "root", Name: "fast-forward: threshold of timestamp raised, keys kept", Spec: "5.3.11", Why: "no key was rotated", Run: func(w *World) {
			w.SetKeys("timestamp", 1, ed(1), ed(101))
			w.PublishRoot()
			w.Timestamp.SetVersion(1000)
			w.renew("targets")
			w.Accept(plugin)
			w.Timestamp.SetVersion(20)
			w.SetKeys("timestamp", 2, ed(1), ed(101))
			w.PublishRoot()
			w.renew("targets")
			w.Refuse(plugin)
		}},
		Case{Group: "root", Name: "fast-forward: the key replaced and put back two roots later", Spec: "5.3.11", Why: "it was rotated in the chain", Run: func(w *World) {
			w.Accept(plugin)
			w.Timestamp.SetVersion(1000)
			w.renew("targets")
			w.Accept(plugin)
			w.Timestamp.SetVersion(20)
			w.SetKeys("timestamp", 1, ed(101))
			w.PublishRoot()
			w.SetKeys("timestamp", 1, ed(1))
			w.PublishRoot()
			w.renew("targets")
			w.forgetVersions()
			w.Either(plugin)
		}},
	}
}

func rootShapeCases() []Case {
	var cases []Case
	shape := func(name, spec, why string, want Expect, edit func(signed tuftest.Map)) *Case {
		cases = append(cases, Case{Group: "root", Name: name, Spec: spec, Why: why, Run: func(w *World) {
			w.Root.EditSigned = edit
			w.PublishRoot()
			want(w, plugin)
		}})
		return &cases[len(cases)-1]
	}
	inRoles := func(f func(roles tuftest.Map)) func(tuftest.Map) {
		return func(signed tuftest.Map) { f(signed["roles"].(tuftest.Map)) }
	}
	for _, role := range []string{"root", "timestamp", "snapshot", "targets"} {
		shape("no role "+role, "4.3", "four roles must be specified", refuse, inRoles(func(r tuftest.Map) { delete(r, role) }))
		shape("role "+role+" is null", "4.3", "four roles must be specified", refuse, inRoles(func(r tuftest.Map) { r[role] = nil }))
		shape("role "+role+" without keyids", "4.3", "the field is required", refuse, inRoles(func(r tuftest.Map) { delete(r[role].(tuftest.Map), "keyids") }))
		shape("role "+role+" without a threshold", "4.3", "the field is required", refuse, inRoles(func(r tuftest.Map) { delete(r[role].(tuftest.Map), "threshold") }))
	}
	for _, field := range []string{"keys", "roles"} {
		shape("no "+field, "4.3", "the field is required", refuse, func(s tuftest.Map) { delete(s, field) })
		shape(field+" is null", "4.3", "an object is required", refuse, func(s tuftest.Map) { s[field] = nil })
		shape(field+" is a list", "4.3", "an object is required", refuse, func(s tuftest.Map) { s[field] = []any{} })
	}
	shape("a mirrors role", "4.3", "the role is optional", accept, inRoles(func(r tuftest.Map) {
		r["mirrors"] = tuftest.Map{"keyids": []any{ed(0).ID}, "threshold": 1}
	})).PythonCannot = true
	shape("a fifth role of another name", "4.3", "not foreseen, not forbidden as a field", either, inRoles(func(r tuftest.Map) {
		r["auditors"] = tuftest.Map{"keyids": []any{ed(0).ID}, "threshold": 1}
	}))
	shape("a field more in a role", "4", "formats may be extended by fields", accept, inRoles(func(r tuftest.Map) {
		r["targets"].(tuftest.Map)["note"] = tuftest.Map{"a": []any{1}}
	}))
	for name, value := range map[string]any{"a string": "true", "null": nil, "a number": 1} {
		shape("consistent_snapshot is "+name, "4.3", "it is a boolean", either, func(s tuftest.Map) { s["consistent_snapshot"] = value })
	}
	cases = append(cases, Case{Group: "root", Name: "consistent_snapshot is absent", Spec: "4.3", Why: "the field is optional", GoCannot: true,
		Config: tuftest.Config{Inconsistent: true}, Run: func(w *World) {
			w.Root.EditSigned = func(s tuftest.Map) { delete(s, "consistent_snapshot") }
			w.PublishRoot()
			w.Accept(plugin)
			w.renew("team")
			w.Accept(tool)
		}},
		Case{Group: "root", Name: "the shipped root has no consistent_snapshot", Spec: "4.3", Why: "the field is optional", GoCannot: true,
			Config: tuftest.Config{Inconsistent: true}, Run: func(w *World) {
				r := w.Root.Copy()
				delete(r.Signed, "consistent_snapshot")
				w.Shipped = r.Bytes()
				w.Put("metadata/1.root.json", w.Shipped)
				w.Accept(plugin)
				w.Accept(tool)
			}},
		Case{Group: "root", Name: "not consistent", Spec: "5.5.1", Why: "names carry no version", Config: tuftest.Config{Inconsistent: true},
			Run: func(w *World) { w.Accept(tool); w.renew("team"); w.Accept(tool) }},
		consistencyChange("becomes consistent", true), consistencyChange("stops being consistent", false))
	return cases
}

func consistencyChange(name string, consistent bool) Case {
	return Case{Group: "root", Name: name, Spec: "5.3.12", Why: "the new root decides", Config: tuftest.Config{Inconsistent: consistent}, Run: func(w *World) {
		w.Accept(tool)
		w.Inconsistent = !consistent
		w.Root.Signed["consistent_snapshot"] = consistent
		w.PublishRoot()
		w.add("targets", plugin)
		w.add("team", tool)
		w.Publish("targets", "team")
		w.Accept(tool)
		w.Accept(plugin)
	}}
}

package differential

import (
	"fmt"
	"strings"

	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

// to makes a delegation for one glob.
func to(name string, globs ...string) tuftest.Delegation {
	return tuftest.Delegation{Name: name, Paths: globs}
}

func terminating(d tuftest.Delegation) tuftest.Delegation { d.Terminating = true; return d }

func delegationCases() []Case {
	var cases []Case
	add := func(name, spec, why string, run func(w *World)) {
		cases = append(cases, Case{Group: "delegations", Name: name, Spec: spec, Why: why, Run: run})
	}
	addOrderCases(add)
	addGraphCases(add)
	return append(append(append(cases, brokenDelegations()...), diamondCases()...), nameCases()...)
}

// adder adds a case to a group.
type adder = func(name, spec, why string, run func(w *World))

// addOrderCases are about who comes first.
func addOrderCases(add adder) {
	const x = "x/file"
	add("two roles list the same target", "5.6.7.2", "the first in order wins", func(w *World) {
		w.Delegate("targets", to("one", "x/*"))
		w.Delegate("targets", to("two", "x/*"))
		w.addEvil("two", x)
		w.add("one", x)
		w.Publish("targets", "one", "two")
		w.Accept(x)
	})
	add("the delegator lists it too", "5.6.7.1", "the delegator comes before", func(w *World) {
		w.Delegate("targets", to("one", "x/*"))
		w.addEvil("one", x)
		w.add("targets", x)
		w.Publish("targets", "one")
		w.Accept(x)
	})
	add("the first role has nothing", "5.6.7.2.2", "the search goes on", func(w *World) {
		w.Delegate("targets", to("one", "x/*"))
		w.Delegate("targets", to("two", "x/*"))
		w.add("two", x)
		w.Publish("targets", "one", "two")
		w.Accept(x)
	})
	add("the first role has nothing and terminates", "5.6.7.2.1", "the search ends", func(w *World) {
		w.Delegate("targets", terminating(to("one", "x/*")))
		w.Delegate("targets", to("two", "x/*"))
		w.add("two", x)
		w.Publish("targets", "one", "two")
		w.NotFound(x)
	})
	add("a terminating role for another path", "5.6.7.2.1", "it is not on the way", func(w *World) {
		w.Delegate("targets", terminating(to("one", "y/*")))
		w.Delegate("targets", to("two", "x/*"))
		w.add("two", x)
		w.Publish("targets", "one", "two")
		w.Accept(x)
	})
	add("a terminating role that delegates on", "5.6.7.2.1", "its own delegations are searched", func(w *World) {
		w.Delegate("targets", terminating(to("one", "x/*")))
		w.Delegate("one", to("deeper", "x/*"))
		w.add("deeper", x)
		w.Publish("targets", "one", "deeper")
		w.Accept(x)
	})
	add("a terminating role two levels down", "5.6.7.2.1", "the search ends for all", func(w *World) {
		w.Delegate("targets", to("one", "x/*"))
		w.Delegate("targets", to("two", "x/*"))
		w.Delegate("one", terminating(to("deeper", "x/*")))
		w.add("two", x)
		w.Publish("targets", "one", "two", "deeper")
		w.NotFound(x)
	})
	add("depth before breadth", "5.6.7", "pre-order, depth first", func(w *World) {
		w.Delegate("targets", to("one", "x/*"))
		w.Delegate("targets", to("two", "x/*"))
		w.Delegate("one", to("deeper", "x/*"))
		w.add("deeper", x)
		w.addEvil("two", x)
		w.Publish("targets", "one", "two", "deeper")
		w.Accept(x)
	})
}

// addGraphCases are about long and circular ways.
func addGraphCases(add adder) {
	const x = "x/file"
	add("a cycle of two", "5.6.7.1", "a role is visited once", func(w *World) {
		w.Delegate("targets", to("one", "x/*"))
		w.Delegate("one", to("two", "x/*"))
		w.Delegate("two", to("one", "x/*"))
		w.add("two", x)
		w.Publish("targets", "one", "two")
		w.Accept(x)
		w.NotFound("x/none")
	})
	add("a role that delegates to itself", "5.6.7.1", "a role is visited once", func(w *World) {
		w.Delegate("targets", to("one", "x/*"))
		w.Delegate("one", to("one", "x/*"))
		w.add("one", x)
		w.Publish("targets", "one")
		w.Accept(x)
		w.NotFound("x/none")
	})
	add("a chain of ten", "5.6.7", "a chain may be long", func(w *World) {
		names, parent := []string{"targets"}, "targets"
		for i := range 10 {
			name := fmt.Sprint("level", i)
			w.Delegate(parent, to(name, "x/*"))
			names, parent = append(names, name), name
		}
		w.add(parent, x)
		w.Publish(names...)
		w.Accept(x)
	})
	add("200 roles for one path, the last one has it", "5.6.7.1", "the bound is the application's", func(w *World) {
		names := []string{"targets"}
		for i := range 200 {
			name := fmt.Sprint("role", i)
			w.Delegate("targets", tuftest.Delegation{Name: name, Paths: []string{"x/*"}, Keys: []*tuftest.Key{ed(70)}})
			names = append(names, name)
		}
		w.add("role199", x)
		w.Publish(names...)
		w.Either(x)
	})
	add("200 roles, only the last one for the path", "5.6.7.1", "the others are not visited", func(w *World) {
		names := []string{"targets"}
		for i := range 200 {
			name := fmt.Sprint("role", i)
			w.Delegate("targets", tuftest.Delegation{Name: name, Paths: []string{name + "/*"}, Keys: []*tuftest.Key{ed(70)}})
			names = append(names, name)
		}
		w.add("role199", "role199/f")
		w.Publish(names...)
		w.Accept("role199/f")
	})
}

// brokenDelegations have a role on the way that cannot be verified.
func brokenDelegations() []Case {
	const x = "x/file"
	var cases []Case
	for name, breakIt := range map[string]func(w *World){
		"is signed by a stranger": func(w *World) { w.Role("one").Signers = tuftest.Keys(1000, 1) },
		"has expired":             func(w *World) { w.Role("one").Signed["expires"] = "2020-01-01T00:00:00Z" },
		"is missing on the server": func(w *World) {
			w.Server.On("metadata/1.one.json", tuftest.Status(404))
		},
		"is garbage": func(w *World) { w.Role("one").EditRaw = fixed("garbage") },
		"is missing in the snapshot": func(w *World) {
			w.Snapshot.EditSigned = func(s tuftest.Map) { delete(s["meta"].(tuftest.Map), "one.json") }
		},
		"lists targets: null": func(w *World) { w.Role("one").Signed["targets"] = nil },
		"is of type snapshot": func(w *World) { w.Role("one").Signed["_type"] = "snapshot" },
		"has a key that cannot count": func(w *World) {
			keys := w.Targets.Signed["delegations"].(tuftest.Map)["keys"].(tuftest.Map)
			keys[w.Role("one").Signers[0].ID].(tuftest.Map)["scheme"] = "none"
		},
	} {
		cases = append(cases, Case{Group: "delegations", Name: "the first role " + name + ", the second has the target", Spec: "5.6.7",
			Why: "what cannot be verified ends the search", Run: func(w *World) {
				w.Delegate("targets", to("one", "x/*"))
				w.Delegate("targets", to("two", "x/*"))
				w.add("two", x)
				breakIt(w)
				w.Publish("targets", "one", "two")
				w.Refuse(x)
				w.Accept(plugin)
			}}, Case{Group: "delegations", Name: "a role for another path " + name, Spec: "5.6.7",
			Why: "nobody asks for it", Run: func(w *World) {
				w.Delegate("targets", to("one", "y/*"))
				w.Delegate("targets", to("two", "x/*"))
				w.add("two", x)
				breakIt(w)
				w.Publish("targets", "one", "two")
				w.Accept(x)
			}})
	}
	return cases
}

// diamondCases have one role name under two delegators.
func diamondCases() []Case {
	// diamond lets one and two delegate to shared with keys of their own; the
	// file is signed by both signers.
	diamond := func(signers ...*tuftest.Key) func(w *World) {
		return func(w *World) {
			w.Delegate("targets", to("one", "1/*"))
			w.Delegate("targets", to("two", "2/*"))
			for i, parent := range []string{"one", "two"} {
				w.Delegate(parent, tuftest.Delegation{Name: "shared", Paths: []string{"*/*"}, Keys: []*tuftest.Key{ed(81 + i)}})
			}
			w.add("shared", "1/file")
			w.add("shared", "2/file")
			w.Role("shared").Signers = signers
			w.Publish("targets", "one", "two", "shared")
		}
	}
	add := func(name, why string, run func(w *World)) Case {
		return Case{Group: "delegations", Name: "shared role: " + name, Spec: "5.6.7", Why: why, Run: run}
	}
	both, onlyTwo := diamond(ed(81), ed(82)), diamond(ed(82))
	return []Case{
		add("signed for both delegators", "each delegator's keys signed", func(w *World) {
			both(w)
			w.Accept("1/file")
			w.Accept("2/file")
		}),
		add("signed for the second delegator only", "each delegator verifies it with its own keys", func(w *World) {
			onlyTwo(w)
			w.Accept("2/file")
			w.Refuse("1/file")
			w.Accept("2/file")
		}),
		add("signed for the second delegator only, the first asked first", "each delegator verifies it with its own keys", func(w *World) {
			onlyTwo(w)
			w.Refuse("1/file")
			w.Accept("2/file")
		}),
		add("the second delegator's key no longer signs", "each delegator verifies it with its own keys", func(w *World) {
			both(w)
			w.Accept("2/file")
			w.Role("shared").Signers = []*tuftest.Key{ed(81)}
			w.Publish("shared")
			w.Accept("1/file")
			w.Refuse("2/file")
		}),
		add("a delegator replaces its key", "the cached file is not signed by the new key", func(w *World) {
			w.Accept(tool)
			d := w.Targets.Signed["delegations"].(tuftest.Map)
			key := ed(83)
			d["keys"].(tuftest.Map)[key.ID] = key.JSON()
			d["roles"].([]any)[0].(tuftest.Map)["keyids"] = []any{key.ID}
			w.Publish("targets")
			w.Refuse(tool)
			w.Role("team").Signers = []*tuftest.Key{key}
			w.renew("team")
			w.Accept(tool)
		}),
		add("a delegator takes the delegation back", "it is no longer trusted", func(w *World) {
			w.Accept(tool)
			delete(w.Targets.Signed, "delegations")
			w.Publish("targets")
			w.NotFound(tool)
		}),
		add("a delegator narrows the path", "it is no longer trusted", func(w *World) {
			w.Accept(tool)
			d := w.Targets.Signed["delegations"].(tuftest.Map)
			d["roles"].([]any)[0].(tuftest.Map)["paths"] = []any{"elsewhere/*"}
			w.Publish("targets")
			w.NotFound(tool)
		}),
	}
}

// nameCases are about names of roles and the shape of delegations.
func nameCases() []Case {
	var cases []Case
	role := func(name, spec, why string, want Expect) {
		cases = append(cases, Case{Group: "delegations", Name: fmt.Sprintf("role called %.40q of %d bytes", name, len(name)), Spec: spec, Why: why, Run: func(w *World) {
			w.Delegate("targets", to(name, "x/*"))
			w.add(name, "x/file")
			w.Publish("targets", name)
			want(w, "x/file")
			w.renew("targets")
			want(w, "x/file")
		}})
	}
	for _, name := range []string{"team/a", "a.b.c", "TEAM", "with space", "équipe", "1.targets", "2.team", "root2", "-", "targets.json", "x@y", "a:b", "a+b=c$&", "snapshot-bins", "tab\tname"} {
		role(name, "4.5", "any string names a role", accept)
	}
	for _, name := range []string{"..", ".", "../evil", "../../../../evil", "/etc/evil", "a/../../b", "a%2Fb", "%2e%2e", `..\evil`, "nul\x00", "", strings.Repeat("r", 300), "root_history/1.root", ".tmp", "1.root", "line\nfeed", "a?b", "a#b"} {
		role(name, "4.5", "no file outside, whether it works is open", either)
	}
	for _, name := range []string{"root", "timestamp", "snapshot", "targets"} {
		cases = append(cases, Case{Group: "delegations", Name: "role called " + name, Spec: "4.5", Why: "the name is taken", Run: func(w *World) {
			w.Delegate("targets", to("stand-in", "x/*"))
			w.add("stand-in", "x/file")
			w.Targets.EditSigned = func(s tuftest.Map) {
				s["delegations"].(tuftest.Map)["roles"].([]any)[1].(tuftest.Map)["name"] = name
			}
			w.Publish("targets", "stand-in")
			w.Refuse("x/file")
		}})
	}
	shape := func(name, why string, want Expect, target string, edit func(d, entry tuftest.Map)) {
		cases = append(cases, Case{Group: "delegations", Name: name, Spec: "4.5", Why: why, Run: func(w *World) {
			w.Targets.EditSigned = func(s tuftest.Map) {
				d := s["delegations"].(tuftest.Map)
				edit(d, d["roles"].([]any)[0].(tuftest.Map))
			}
			w.renew("targets")
			want(w, target)
		}})
	}
	shape("one name twice", "names must be unique", refuse, tool, func(d, e tuftest.Map) { d["roles"] = []any{e, tuftest.Clone(e)} })
	shape("one name twice, for another path", "names must be unique", refuse, tool, func(d, e tuftest.Map) {
		twin := tuftest.Clone(e)
		twin["paths"] = []any{"elsewhere/*"}
		d["roles"] = []any{e, twin}
	})
	shape("a field more in a delegation", "formats may be extended by fields", accept, tool, func(_, e tuftest.Map) { e["note"] = tuftest.Map{"a": nil} })
	shape("a field more in delegations", "formats may be extended by fields", accept, tool, func(d, _ tuftest.Map) { d["note"] = []any{1} })
	shape("a delegation is null", "an object is required", refuse, tool, func(d, _ tuftest.Map) { d["roles"] = []any{nil} })
	shape("roles is null", "a list is required", refuse, tool, func(d, _ tuftest.Map) { d["roles"] = nil })
	shape("roles is an object", "a list is required", refuse, tool, func(d, e tuftest.Map) { d["roles"] = tuftest.Map{"team": e} })
	shape("keys is null", "an object is required", refuse, tool, func(d, _ tuftest.Map) { d["keys"] = nil })
	shape("no keys", "the field is required", refuse, tool, func(d, _ tuftest.Map) { delete(d, "keys") })
	shape("keys is empty", "the threshold cannot be met", refuse, tool, func(d, _ tuftest.Map) { d["keys"] = tuftest.Map{} })
	shape("keys is empty, a target above asked for", "nobody asks for the role", accept, plugin, func(d, _ tuftest.Map) { d["keys"] = tuftest.Map{} })
	shape("no roles", "one of two forms is required", refuse, tool, func(d, _ tuftest.Map) { delete(d, "roles") })
	shape("no name", "the field is required", refuse, tool, func(_, e tuftest.Map) { delete(e, "name") })
	shape("name is null", "a string is required", refuse, tool, func(_, e tuftest.Map) { e["name"] = nil })
	shape("name is a number", "a string is required", refuse, tool, func(_, e tuftest.Map) { e["name"] = 7 })
	shape("no keyids", "the field is required", refuse, tool, func(_, e tuftest.Map) { delete(e, "keyids") })
	shape("no terminating", "required in the text, absent in its example", either, tool, func(_, e tuftest.Map) { delete(e, "terminating") })
	shape("terminating is a string", "a boolean is required", either, tool, func(_, e tuftest.Map) { e["terminating"] = "false" })
	shape("paths is a string", "a list is required", refuse, tool, func(_, e tuftest.Map) { e["paths"] = "team/*" })
	shape("paths has a number", "strings are required", either, tool, func(_, e tuftest.Map) { e["paths"] = []any{7, "team/*"} })
	shape("paths is null", "a list is required", either, tool, func(_, e tuftest.Map) { e["paths"] = nil })
	shape("paths is empty", "no path is trusted", notFound, tool, func(_, e tuftest.Map) { e["paths"] = []any{} })
	shape("roles is empty", "no role is trusted", notFound, tool, func(d, _ tuftest.Map) { d["roles"] = []any{} })
	return append(cases, succinctCases()...)
}

func succinctCases() []Case {
	var cases []Case
	add := func(name, why string, run func(w *World)) {
		cases = append(cases, Case{Group: "delegations", Name: "succinct bins: " + name, Spec: "TAP 15", Why: why, Run: run})
	}
	publish := func(w *World, bits int, prefix, target string, shift int, keys ...*tuftest.Key) {
		delete(w.Targets.Signed, "delegations")
		bins := w.DelegateSuccinct("targets", bits, prefix, keys...)
		n := (tuftest.BinOf(bits, target) + shift) % len(bins)
		w.add(bins[n].Name, target)
		names := []string{"targets"}
		for _, b := range bins {
			names = append(names, b.Name)
		}
		w.Publish(names...)
	}
	for _, bits := range []int{1, 2, 3, 4, 5, 8} {
		add(fmt.Sprintf("%d bits", bits), "the bin of the digest has it", func(w *World) {
			publish(w, bits, "bin", "some/file", 0)
			w.Accept("some/file")
			w.NotFound("some/other")
		})
		add(fmt.Sprintf("%d bits, listed in the wrong bin", bits), "only the bin of the digest is trusted", func(w *World) {
			publish(w, bits, "bin", "some/file", 1)
			w.NotFound("some/file")
		})
	}
	add("RSA keys", "a key like any", func(w *World) {
		publish(w, 2, "bin", "some/file", 0, tuftest.NewKey(tuftest.RSA, 3))
		w.Accept("some/file")
	})
	add("a prefix with a slash", "any string names a role", func(w *World) {
		publish(w, 2, "a/b", "some/file", 0)
		w.Accept("some/file")
		w.Accept("some/file")
	})
	for _, bits := range []any{0, -1, 33, "2", nil, tuftest.Verbatim("2.0")} {
		add(fmt.Sprintf("bit_length %s", show(bits)), "1 to 32", func(w *World) {
			w.Targets.EditSigned = func(s tuftest.Map) {
				s["delegations"].(tuftest.Map)["succinct_roles"].(tuftest.Map)["bit_length"] = bits
			}
			publish(w, 2, "bin", "some/file", 0)
			w.Refuse("some/file")
		})
	}
	add("beside roles", "whether both may be there is open", func(w *World) {
		publish(w, 2, "bin", "some/file", 0)
		w.Delegate("targets", to("one", "x/*"))
		w.Publish("targets", "one")
		w.Either("some/file")
	})
	add("signed by a stranger", "the threshold is not met", func(w *World) {
		publish(w, 2, "bin", "some/file", 0)
		for _, r := range w.Delegated {
			r.Signers = tuftest.Keys(1000, 1)
		}
		name := tuftest.BinName(2, "bin", tuftest.BinOf(2, "some/file"))
		w.Publish(name)
		w.Refuse("some/file")
	})
	return cases
}

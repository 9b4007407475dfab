package differential

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

// damage is what may happen to a file between two runs.
var damage = []struct {
	name string
	// rootIsOpen says that the damage leaves well-formed root metadata: another
	// root than the trusted one may be an attack on the trust anchor, and whether
	// to heal it or to stop is open.
	rootIsOpen bool
	do         func(raw []byte) []byte
}{
	{"garbage", false, fixed("garbage")},
	{"empty", false, fixed("")},
	{"NUL bytes", false, func(raw []byte) []byte { return make([]byte, len(raw)) }},
	{"cut in the middle", false, func(raw []byte) []byte { return raw[:len(raw)/2] }},
	{"an empty list", false, fixed("[]")},
	{"an empty object", false, fixed("{}")},
	{"null", false, fixed("null")},
	{"signatures removed", true, joined(`{"signatures":[],"signed":$S}`)},
	{"a signature twice", false, func(raw []byte) []byte {
		signatures, signed := split(raw)
		one := strings.Trim(signatures, "[]")
		return []byte(`{"signatures":[` + one + "," + one + `],"signed":` + signed + `}`)
	}},
	{"of another type", false, func(raw []byte) []byte {
		return []byte(strings.Replace(string(raw), `"_type":"`, `"_type":"x`, 1))
	}},
	{"a higher version, not signed", true, func(raw []byte) []byte {
		return []byte(strings.Replace(string(raw), `"version":`, `"version":99`, 1))
	}},
	{"a bit changed", true, func(raw []byte) []byte { raw[len(raw)/2] ^= 1; return raw }},
	{"expires null", false, func(raw []byte) []byte {
		return []byte(strings.Replace(string(raw), `"`+tuftest.Expires+`"`, "null", 1))
	}},
	{"a terabyte of nesting, begun", false, fixed(strings.Repeat("[", 100000))},
}

// write puts a file into the metadata directory, instead of what is there.
func (w *World) write(role string, raw []byte) {
	file := w.localFile(role)
	if err := os.RemoveAll(file); err != nil {
		panic(err)
	}
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		panic(err)
	}
	w.forgetVersions()
}

func (w *World) current(role string) []byte {
	raw, ok := w.Get(w.MetadataName(role, w.Role(role).Version))
	if !ok {
		panic("not published: " + role)
	}
	return append([]byte(nil), raw...)
}

func localCases() []Case {
	var cases []Case
	add := func(name, spec, why string, run func(w *World)) {
		cases = append(cases, Case{Group: "local state", Name: name, Spec: spec, Why: why, Run: run,
			Config: tuftest.Config{NoHashes: true}}) // so that damage is not told by a hash
	}
	for _, role := range roles {
		addDamageCases(add, role)
	}
	addDirectoryCases(add)
	addThiefCases(add)
	return cases
}

// addDamageCases damage one file.
func addDamageCases(add adder, role string) {
	for _, d := range damage {
		add(role+".json: "+d.name, "5", "an error must not leave the client unrecoverable", func(w *World) {
			w.Accept(tool)
			w.write(role, d.do(w.current(role)))
			if d.rootIsOpen && role == "root" {
				w.Either(tool)
				return
			}
			w.Accept(tool)
			w.renew(role)
			w.Accept(tool)
		})
	}
	add(role+".json: removed", "5", "an error must not leave the client unrecoverable", func(w *World) {
		w.Accept(tool)
		_ = os.Remove(w.localFile(role))
		w.forgetVersions()
		w.Accept(tool)
	})
	add(role+".json: the version before", "5", "what is older is updated", func(w *World) {
		w.Accept(tool)
		old := w.current(role)
		w.renew(role)
		w.Accept(tool)
		w.write(role, old)
		w.Accept(tool)
	})
	add(role+".json: a directory", "5", "what is open to a client in such a case", func(w *World) {
		w.Accept(tool)
		_ = os.RemoveAll(w.localFile(role))
		_ = os.MkdirAll(filepath.Join(w.localFile(role), "inside"), 0o700)
		w.forgetVersions()
		w.Either(tool)
	})
	add(role+".json: a link that leads outside", "5", "no file outside is changed", func(w *World) {
		w.Accept(tool)
		outside := w.dir + "-outside"
		_ = os.WriteFile(outside, []byte("untouched"), 0o600)
		_ = os.Remove(w.localFile(role))
		_ = os.Symlink(outside, w.localFile(role))
		w.forgetVersions()
		w.renew(role)
		w.Either(tool)
		if raw, err := os.ReadFile(outside); w.strict && (err != nil || string(raw) != "untouched") {
			w.deviate(BrokeInvariant, "a file outside the client's directories was changed")
		}
	})
}

// addDirectoryCases are about the directory as a whole.
func addDirectoryCases(add adder) {
	add("all files removed", "5", "the shipped root is enough", func(w *World) {
		w.Accept(tool)
		for _, role := range roles {
			_ = os.Remove(w.localFile(role))
		}
		w.forgetVersions()
		w.Accept(tool)
	})
	add("all files garbage", "5", "the shipped root is enough", func(w *World) {
		w.Accept(tool)
		for _, role := range roles {
			w.write(role, []byte("garbage"))
		}
		w.Accept(tool)
	})
	add("strange files beside", "5", "nobody asked for them", func(w *World) {
		w.Accept(tool)
		for _, name := range []string{"other", "timestamp.json.tmp", "tmp123", ".x"} {
			w.write(name, []byte("garbage"))
		}
		w.Accept(tool)
		w.renew("team")
		w.Accept(tool)
	})
	add("an old state of the directory comes back", "5", "it is updated", func(w *World) {
		w.Accept(tool)
		old := map[string][]byte{}
		for _, role := range roles {
			old[role] = w.current(role)
		}
		w.renew("team")
		w.renew("targets")
		w.PublishRoot()
		w.Accept(tool)
		for _, role := range roles {
			w.write(role, old[role])
		}
		w.Accept(tool)
	})
	add("the directory as python-tuf leaves it", "5", "other tools write it too", func(w *World) {
		history := filepath.Join(w.metadataDir(), "root_history")
		_ = os.MkdirAll(history, 0o755)
		_ = os.WriteFile(filepath.Join(history, "1.root.json"), w.current("root"), 0o600)
		_ = os.Symlink(filepath.Join("root_history", "1.root.json"), w.localFile("root"))
		for _, role := range roles[1:] {
			w.write(role, w.current(role))
		}
		w.Accept(tool)
		w.PublishRoot()
		w.renew("team")
		w.Accept(tool)
	})
	add("the directory as go-tuf leaves it", "5", "other tools write it too", func(w *World) {
		for _, role := range roles {
			w.write(role, w.current(role))
		}
		w.Accept(tool)
		w.PublishRoot()
		w.renew("team")
		w.Accept(tool)
	})
	add("the directory as another tool leaves it, and a rollback", "5.4.3.1", "what it verified is trusted", func(w *World) {
		old := w.Files()
		w.renew("targets")
		for _, role := range roles {
			w.write(role, w.current(role))
		}
		w.SetFiles(old)
		w.Refuse(plugin)
	})
	add("the repository is gone, everything is cached", "5", "whether that is an error is open", func(w *World) {
		w.Accept(plugin)
		w.Server.Close()
		w.Either(plugin)
	})
}

// addThiefCases put the attacker's files into the directory.
func addThiefCases(add adder) {
	add("the attacker's root with a higher version, and his repository", "5.2", "it is not signed by the trusted one", func(w *World) {
		w.Accept(plugin)
		thief := tuftest.NewRepo(tuftest.Config{Kind: tuftest.ECDSA})
		thief.Root.Signed["x-note"] = evil
		thief.PublishRoot()
		thief.AddTarget("targets", plugin, []byte(evil), nil)
		thief.Timestamp.SetVersion(100)
		thief.Snapshot.SetVersion(100)
		thief.Publish("targets")
		w.write("root", thief.RootBytes(2))
		w.SetFiles(thief.Files())
		w.strict = false // the damage itself carries the attacker's mark
		w.Refuse(plugin)
	})
	add("the attacker's timestamp, snapshot and targets, not signed", "5.4.2", "they are not signed", func(w *World) {
		w.Accept(plugin)
		thief := tuftest.NewRepo(tuftest.Config{Kind: tuftest.ECDSA})
		thief.AddTarget("targets", plugin, []byte(evil), nil)
		thief.Publish("targets")
		for _, role := range []string{"timestamp", "snapshot", "targets"} {
			raw, _ := thief.Get(thief.MetadataName(role, thief.Role(role).Version))
			w.write(role, raw)
		}
		w.Accept(plugin)
	})
}

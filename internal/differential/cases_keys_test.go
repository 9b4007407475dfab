package differential

import (
	"fmt"
	"strings"

	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

// useless are keys that cannot count: the file that lists them is fine.
var useless = []struct {
	name, spec string
	key        func() *tuftest.Key
}{
	{"unknown keytype", "4.2.2", func() *tuftest.Key {
		return ed(60).With(func(k *tuftest.Key) { k.Type, k.Scheme = "sphincs", "sphincs-shake-128s" })
	}},
	{"unknown scheme", "4.2.2", func() *tuftest.Key {
		return ed(60).With(func(k *tuftest.Key) { k.Scheme = "ed25519-batch" })
	}},
	{"scheme of another keytype", "4.2.2", func() *tuftest.Key {
		return ed(60).With(func(k *tuftest.Key) { k.Scheme = "rsassa-pss-sha256" })
	}},
	{"RSA with the scheme of ECDSA", "4.2.2", func() *tuftest.Key {
		return tuftest.NewKey(tuftest.RSA, 3).With(func(k *tuftest.Key) { k.Scheme = "ecdsa-sha2-nistp256" })
	}},
	{"PSS signature under an unknown RSA scheme", "4.2.2", func() *tuftest.Key {
		return tuftest.NewKey(tuftest.RSA, 3).With(func(k *tuftest.Key) { k.Scheme = "rsa-oaep" })
	}},
	{"RSA of 1024 bits", "4.2.2", func() *tuftest.Key { return tuftest.NewKey(tuftest.RSA1024, 0) }},
	{"ed25519 one byte short", "4.2.2", func() *tuftest.Key {
		return ed(60).With(func(k *tuftest.Key) { k.Public = k.Public[:62] })
	}},
	{"ed25519 one byte long", "4.2.2", func() *tuftest.Key {
		return ed(60).With(func(k *tuftest.Key) { k.Public += "00" })
	}},
	{"ed25519 not in hex", "4.2.2", func() *tuftest.Key {
		return ed(60).With(func(k *tuftest.Key) { k.Public = strings.Repeat("z", 64) })
	}},
	{"ed25519 without a value", "4.2.2", func() *tuftest.Key {
		return ed(60).With(func(k *tuftest.Key) { k.Public = "" })
	}},
	{"RSA with a broken PEM", "4.2.2", func() *tuftest.Key {
		return tuftest.NewKey(tuftest.RSA, 3).With(func(k *tuftest.Key) { k.Public = k.Public[:200] })
	}},
	{"RSA with an ECDSA key inside", "4.2.2", func() *tuftest.Key {
		return tuftest.NewKey(tuftest.ECDSA, 60).With(func(k *tuftest.Key) { k.Type, k.Scheme = "rsa", "rsassa-pss-sha256" })
	}},
	{"ECDSA with an RSA key inside", "4.2.2", func() *tuftest.Key {
		return tuftest.NewKey(tuftest.RSA, 3).With(func(k *tuftest.Key) { k.Type, k.Scheme = "ecdsa", "ecdsa-sha2-nistp256" })
	}},
	{"ECDSA without PEM armour", "4.2.2", func() *tuftest.Key {
		return tuftest.NewKey(tuftest.ECDSA, 60).With(func(k *tuftest.Key) { k.Public = "00ff" })
	}},
}

func ed(n int) *tuftest.Key { return tuftest.NewKey(tuftest.Ed25519, n) }

func keyCases() []Case {
	var cases []Case
	add := func(name, spec, why string, run func(w *World)) {
		cases = append(cases, Case{Group: "keys", Name: name, Spec: spec, Why: why, Run: run})
	}
	for _, kind := range []string{tuftest.Ed25519, tuftest.ECDSA, tuftest.RSA, tuftest.ECDSAP384} {
		cases = append(cases, Case{Group: "keys", Name: "all of kind " + kind, Spec: "4.2.2", Why: "a usual kind of key",
			Config: tuftest.Config{Kind: kind}, Run: func(w *World) { w.Accept(plugin); w.Accept(tool) }})
	}
	for _, role := range []string{"root", "targets", "team"} {
		for _, u := range useless {
			key, good := u.key(), ed(61)
			add(fmt.Sprintf("%s: %s, alone", role, u.name), u.spec, "the key cannot count", func(w *World) {
				w.setKeys(role, 1, []*tuftest.Key{key}, key)
				w.Refuse(targetOf(role))
			})
			add(fmt.Sprintf("%s: %s, beside a good key", role, u.name), u.spec, "the threshold is met without it", func(w *World) {
				w.setKeys(role, 1, []*tuftest.Key{key, good}, good)
				w.Accept(targetOf(role))
			})
			add(fmt.Sprintf("%s: %s, both required", role, u.name), u.spec, "the key cannot count", func(w *World) {
				w.setKeys(role, 2, []*tuftest.Key{good, key}, key, good)
				w.Refuse(targetOf(role))
			})
			if role == "targets" {
				continue // the list of keys is root's
			}
			add(fmt.Sprintf("%s: %s, listed for no role", role, u.name), u.spec, "nobody needs the key", func(w *World) {
				w.listKey(role, key.ID, key.JSON())
				w.Accept(targetOf(role))
			})
		}
	}
	return append(cases, keyShapeCases()...)
}

// listKey lists a key, or what stands in its place, for no role.
func (w *World) listKey(role, id string, value any) {
	if role == "team" {
		w.Targets.Signed["delegations"].(tuftest.Map)["keys"].(tuftest.Map)[id] = value
		w.Publish("targets")
		return
	}
	w.Root.Signed["keys"].(tuftest.Map)[id] = value
	w.PublishRoot()
}

func keyShapeCases() []Case {
	var cases []Case
	for _, role := range []string{"root", "team"} {
		for name, value := range map[string]any{
			"null": nil, "a string": "x", "an empty object": tuftest.Map{},
			"without keyval":          tuftest.Map{"keytype": "ed25519", "scheme": "ed25519"},
			"with keyval null":        tuftest.Map{"keytype": "ed25519", "scheme": "ed25519", "keyval": nil},
			"with a numeric public":   tuftest.Map{"keytype": "ed25519", "scheme": "ed25519", "keyval": tuftest.Map{"public": 5}},
			"with a numeric keytype":  tuftest.Map{"keytype": 5, "scheme": "ed25519", "keyval": tuftest.Map{"public": "00"}},
			"without a public":        tuftest.Map{"keytype": "ed25519", "scheme": "ed25519", "keyval": tuftest.Map{}},
			"without a scheme":        tuftest.Map{"keytype": "ed25519", "keyval": tuftest.Map{"public": "00"}},
			"with a null keytype":     tuftest.Map{"keytype": nil, "scheme": "ed25519", "keyval": tuftest.Map{"public": "00"}},
			"with keyval as an array": tuftest.Map{"keytype": "ed25519", "scheme": "ed25519", "keyval": []any{}},
		} {
			cases = append(cases, Case{Group: "keys", Name: role + ": unused key, " + name, Spec: "4.2.2",
				Why: "the format is broken where nobody needs it", Run: func(w *World) {
					w.listKey(role, stranger, value)
					w.Either(targetOf(role))
				}})
		}
		for name, edit := range map[string]func(*tuftest.Key){
			"a field more":                  func(k *tuftest.Key) { k.Extra = tuftest.Map{"name": "Ada", "n": 1} },
			"keyid_hash_algorithms":         func(k *tuftest.Key) { k.Extra = tuftest.Map{"keyid_hash_algorithms": []any{"sha256"}} },
			"a field more in keyval":        func(k *tuftest.Key) { k.Extra = tuftest.Map{"keyval": tuftest.Map{"public": k.Public, "x": "y"}} },
			"public in upper case":          func(k *tuftest.Key) { k.Public = strings.ToUpper(k.Public) },
			"unicode in a field more":       func(k *tuftest.Key) { k.Extra = tuftest.Map{"x": "é\n\t\"\\"} },
			"a field that is null":          func(k *tuftest.Key) { k.Extra = tuftest.Map{"x": nil} },
			"a list and an object in extra": func(k *tuftest.Key) { k.Extra = tuftest.Map{"x": []any{tuftest.Map{"y": 1}}} },
		} {
			key := ed(62).With(edit)
			cases = append(cases, Case{Group: "keys", Name: role + ": key with " + name, Spec: "4",
				Why: "the key is good", Run: func(w *World) {
					w.setKeys(role, 1, []*tuftest.Key{key}, key)
					w.Accept(targetOf(role))
				}})
		}
		key := ed(62).As("not-the-digest")
		cases = append(cases, Case{Group: "keys", Name: role + ": keyid that is not the digest", Spec: "4.3",
			Why: "the text asks for the digest, common practice does not", Run: func(w *World) {
				w.setKeys(role, 1, []*tuftest.Key{key}, key)
				w.Either(targetOf(role))
			}})
		alias := tuftest.NewKey(tuftest.ECDSA, 62).With(func(k *tuftest.Key) { k.Type = "ecdsa-sha2-nistp256" })
		cases = append(cases, Case{Group: "keys", Name: role + ": ECDSA under its older keytype", Spec: "4.2.2",
			Why: "the keytype of earlier editions", Run: func(w *World) {
				w.setKeys(role, 1, []*tuftest.Key{alias}, alias)
				w.Accept(targetOf(role))
			}})
	}
	return append(cases, Case{Group: "keys", Name: "one key for every role", Spec: "4.3", Why: "nothing forbids it", Run: func(w *World) {
		for _, role := range []string{"timestamp", "snapshot", "targets"} {
			w.SetKeys(role, 1, ed(0))
		}
		w.PublishRoot()
		w.renew("targets")
		w.Accept(plugin)
	}})
}

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/draft"
	"github.com/ragnos-labs/vault-tuf/internal/keyfile"
	"github.com/ragnos-labs/vault-tuf/internal/keys"
)

// attack is a thief with keys and a copy of what is served.
type attack struct {
	ts      *testscript.TestScript
	dir     string
	keys    []*keyfile.Key
	version int64
	docs    map[string]*admission.Doc
	forged  []string
}

func newAttack(ts *testscript.TestScript, dir, keyDir string, version int64) *attack {
	list, err := keyfile.List(keyDir)
	ts.Check(err)
	a := &attack{ts: ts, dir: dir, keys: list, version: version, docs: map[string]*admission.Doc{}}
	a.docs["timestamp"] = a.read("timestamp", "timestamp.json")
	a.docs["snapshot"] = a.described("snapshot", a.docs["timestamp"])
	a.docs["targets"] = a.described("targets", a.docs["snapshot"])
	if _, ok := a.docs["snapshot"].Meta["acme.json"]; ok {
		a.docs["acme"] = a.described("acme", a.docs["snapshot"])
	}
	for v := 1; ; v++ {
		name := fmt.Sprintf("%d.root.json", v)
		if _, err := os.Stat(filepath.Join(dir, "metadata", name)); err != nil {
			return a
		}
		a.docs["root"] = a.read("root", name)
	}
}

func (a *attack) read(role, name string) *admission.Doc {
	data, err := os.ReadFile(filepath.Join(a.dir, "metadata", name))
	a.ts.Check(err)
	doc, err := admission.Parse(admission.KindOf(role), data, admission.DefaultLimits())
	a.ts.Check(err)
	return doc
}

func (a *attack) described(role string, by *admission.Doc) *admission.Doc {
	return a.read(role, fmt.Sprintf("%d.%s.json", by.Meta[role+".json"].Version, role))
}

// forge writes the next file of a role, signed with the stolen keys that are
// listed for it.
func (a *attack) forge(role string) {
	later := time.Now().Add(10 * 365 * 24 * time.Hour)
	var signed []byte
	var err error
	switch role {
	case "root":
		signed, err = a.root(later)
	case "timestamp", "snapshot":
		var m *draft.Meta
		m, err = draft.EditMeta(a.docs[role])
		a.ts.Check(err)
		m.Version, m.Expires = a.version, later
		for _, changed := range a.forged {
			if (changed == "snapshot") == (role == "timestamp") && changed != "root" {
				a.ts.Check(m.Describe(changed+".json", a.docs[changed]))
			}
		}
		signed, err = m.Encode()
	default:
		var d *draft.Targets
		d, err = draft.EditTargets(a.docs[role])
		a.ts.Check(err)
		d.Version, d.Expires = a.version, later
		publisher := "ragnos"
		if role != "targets" {
			publisher = role
		}
		a.plant(d, publisher)
		signed, err = d.Encode()
	}
	a.ts.Check(err)
	a.write(role, draft.Seal(admission.KindOf(role), signed))
	a.forged = append(a.forged, role)
}

// root trusts only the keys of the thief, which are called mallory.
func (a *attack) root(later time.Time) ([]byte, error) {
	d, err := draft.EditRoot(a.docs["root"])
	a.ts.Check(err)
	d.Expires = later
	for _, role := range d.Names() {
		for id := range a.docs["root"].Root.Keys {
			d.RemoveKey(role, id)
		}
		d.Role(role).Threshold = 1
		for _, k := range a.keys {
			if k.Name == "mallory" {
				a.ts.Check(d.AddKey(role, k.Public.ID, k.Public.Key))
			}
		}
	}
	return d.Encode()
}

// plant lists a plugin that nobody but the thief wants.
func (a *attack) plant(d *draft.Targets, publisher string) {
	evil := []byte("evil")
	digest := sha256.Sum256(evil)
	sum := hex.EncodeToString(digest[:])
	a.ts.Check(d.Set("plugins/"+publisher+"/evil.1.0.0.tar.gz", draft.Target{Length: int64(len(evil)), SHA256: sum}))
	dir := filepath.Join(a.dir, "targets", "plugins", publisher)
	a.ts.Check(os.MkdirAll(dir, 0o755))
	a.ts.Check(os.WriteFile(filepath.Join(dir, sum+".evil.1.0.0.tar.gz"), evil, 0o644))
}

func (a *attack) write(role string, e *draft.Envelope) {
	kind := admission.KindOf(role)
	plain, err := admission.Parse(kind, e.Bytes(), admission.DefaultLimits())
	a.ts.Check(err)
	by := []*admission.Doc{a.docs["root"]}
	switch role {
	case "root":
		by = append(by, plain)
	case "acme":
		by[0] = a.docs["targets"]
	}
	for _, authority := range by {
		listed, r, _ := authority.Delegated(role)
		for _, id := range r.KeyIDs {
			public, err := keys.Decode(listed[id])
			a.ts.Check(err)
			for _, k := range a.keys {
				if k.Public.Fingerprint == public.Fingerprint {
					s, err := k.Signer(context.Background(), nil)
					a.ts.Check(err)
					sig, err := s.SignMessage(bytes.NewReader(plain.Canonical))
					a.ts.Check(err)
					e.Add(admission.Signature{KeyID: id, Sig: sig})
				}
			}
		}
	}
	name := fmt.Sprintf("%d.%s.json", plain.Version, role)
	if role == "timestamp" {
		name = "timestamp.json"
	}
	a.ts.Check(os.WriteFile(filepath.Join(a.dir, "metadata", name), e.Bytes(), 0o644))
	a.docs[role], err = admission.Parse(kind, e.Bytes(), admission.DefaultLimits())
	a.ts.Check(err)
}

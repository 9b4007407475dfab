package interop

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// TestGenerate writes the repositories of go-tuf's API when -generate asks for
// it, and otherwise only holds that there are some.
func TestGenerate(t *testing.T) {
	if !*generate {
		require.FileExists(t, fixtures+"/go-tuf-consistent/case.json")
		return
	}
	for _, write := range []func(*testing.T){
		ordinary, keyTypes, thresholds, rotations, delegations, hashBins, fields, refusals,
	} {
		write(t)
	}
}

func ordinary(t *testing.T) {
	r := newRepo(t, "consistent", "consistent snapshots", true)
	r.hello("targets", "hello.txt")
	r.add("targets", "dir/empty", nil, "")
	r.add("targets", "dir/both", []byte("both\n"), "", "sha256", "sha512")
	r.add("targets", "dir/sha512", []byte("sha512\n"), "", "sha512")
	r.absent("dir/other")
	r.publish()
	r = newRepo(t, "inconsistent", "no consistent snapshots, indented JSON", false)
	r.pretty, r.hashed = true, true
	r.hello("targets", "dir/hello.txt")
	r.publish()
}

func keyTypes(t *testing.T) {
	for name, about := range map[string]string{
		"rsa2048-0": "RSA-PSS for all roles", "p256-0": "ECDSA P-256 for all roles",
	} {
		r := newRepo(t, name, about, true)
		for _, role := range []string{"root", "timestamp", "snapshot", "targets"} {
			r.authorize(role, 1, r.signer(name))
		}
		r.hello("targets", "hello.txt")
		r.publish()
	}
	r := newRepo(t, "p384-mislabelled", "go-tuf's API writes scheme ecdsa-sha2-nistp256 for a key on P-384: it counts for nothing", true)
	r.expect(Expect{Code: "unsigned", Spec: "5.6.3"})
	r.authorize("targets", 1, r.signer("p384-0"))
	r.hello("targets", "hello.txt")
	r.publish()
}

func thresholds(t *testing.T) {
	r := newRepo(t, "threshold", "2 of 3 keys, Ed25519, RSA and ECDSA; signed by two", true)
	three := []signer{r.signer("ed25519-4"), r.signer("rsa2048-0"), r.signer("p256-0")}
	r.authorize("root", 2, three...)
	r.authorize("targets", 2, three...)
	r.signers["root"], r.signers["targets"] = three[:2], three[1:]
	r.hello("targets", "hello.txt")
	r.publish()
	r = newRepo(t, "threshold-missed", "2 of 3 keys; the snapshot is signed by one", true)
	r.expect(Expect{Code: "unsigned", Spec: "5.5.3"})
	r.authorize("snapshot", 2, three...)
	r.signers["snapshot"] = three[:1]
	r.hello("targets", "hello.txt")
	r.publish()
}

func rotations(t *testing.T) {
	r := newRepo(t, "rotation", "root v1 to v4: new root keys twice, a new timestamp key", true)
	r.publishRoot()
	r.authorize("root", 1, r.signer("p256-0"))
	r.publishRoot(r.signer("ed25519-0"))
	r.authorize("timestamp", 1, r.signer("rsa2048-0"))
	r.publishRoot()
	r.authorize("root", 2, r.signer("ed25519-4"), r.signer("ed25519-5"))
	r.publishRoot(r.signer("p256-0"))
	r.hello("targets", "hello.txt")
	r.publish()
}

func delegations(t *testing.T) {
	r := newRepo(t, "delegations", "path patterns, three levels, one terminating, a role name with a slash", true)
	r.hashed = true
	r.delegate("targets", metadata.DelegatedRole{Name: "team/acme", Paths: []string{"acme/*", "acme/*/*"}}, r.signer("ed25519-4"))
	r.delegate("team/acme", metadata.DelegatedRole{Name: "acme-tools", Paths: []string{"acme/tools/?*.zip"}}, r.signer("p256-0"))
	r.delegate("acme-tools", metadata.DelegatedRole{Name: "acme-beta", Paths: []string{"acme/tools/*-beta.zip"}}, r.signer("rsa2048-0"))
	r.delegate("targets", metadata.DelegatedRole{Name: "closed", Terminating: true, Paths: []string{"closed/*"}}, r.signer("p256-0"))
	r.delegate("targets", metadata.DelegatedRole{Name: "last", Paths: []string{"*/*"}}, r.signer("p256-0"))
	r.hello("team/acme", "acme/one.zip")
	r.hello("acme-tools", "acme/tools/two.zip")
	r.hello("acme-beta", "acme/tools/three-beta.zip")
	r.hello("last", "any/where.zip")
	for _, name := range []string{"closed/x", "a/b/c"} {
		r.roles["last"].Signed.Targets[name] = r.roles["last"].Signed.Targets["any/where.zip"]
		r.absent(name)
	}
	r.publish()
}

func hashBins(t *testing.T) {
	bin := func(name string) int {
		sum := sha256.Sum256([]byte(name))
		return int(sum[0] >> 5)
	}
	names := []string{"packages/a", "packages/b", "packages/c", "packages/d"}
	r := newRepo(t, "hash-prefixes", "256 hash prefixes, 8 bins", false)
	for i := range 8 {
		d := metadata.DelegatedRole{Name: "bin-" + strconv.Itoa(i)}
		for n := range 32 {
			d.PathHashPrefixes = append(d.PathHashPrefixes, fmt.Sprintf("%02x", 32*i+n))
		}
		r.delegate("targets", d, r.signer("ed25519-4"))
	}
	for _, name := range names {
		r.hello("bin-"+strconv.Itoa(bin(name)), name)
	}
	r.publish()

	r = newRepo(t, "succinct", "succinct hash bins, 3 bits", true)
	r.c.Spec = "TAP 15"
	s := r.signer("p256-0")
	succinct := &metadata.SuccinctRoles{KeyIDs: []string{}, Threshold: 1, BitLength: 3, NamePrefix: "bin"}
	r.roles["targets"].Signed.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}, SuccinctRoles: succinct}
	require.NoError(t, r.roles["targets"].Signed.AddKey(s.key, "bin-0"))
	for _, name := range succinct.GetRoles() {
		r.role(name)
		r.signers[name] = []signer{s}
	}
	for _, name := range names {
		r.hello("bin-"+strconv.Itoa(bin(name)), name)
	}
	r.publish()
}

func fields(t *testing.T) {
	r := newRepo(t, "unknown-fields", "unknown fields, custom, and text outside ASCII", true)
	r.pretty = true
	extra := map[string]any{"x-note": map[string]any{"list": []any{1, nil, true, "zwei"}}, "ключ": "значение <&>"}
	r.delegate("targets", metadata.DelegatedRole{Name: "équipe", Paths: []string{"été/*"}, UnrecognizedFields: extra}, r.signer("ed25519-4"))
	r.add("targets", "größe/日本語.zip", []byte("one\n"), `{"übung": ["日本語 🔒", "tab\t newline\n \" \\ <&>"], "big": 9007199254740991, "n": null}`).UnrecognizedFields = extra
	r.hello("équipe", "été/x")
	r.root.Signed.UnrecognizedFields, r.timestamp.Signed.UnrecognizedFields = extra, extra
	r.snapshot.Signed.UnrecognizedFields, r.roles["targets"].Signed.UnrecognizedFields = extra, extra
	r.root.Signed.Roles["root"].UnrecognizedFields, r.snapshot.UnrecognizedFields = extra, extra
	r.publish()
}

func refusals(t *testing.T) {
	r := newRepo(t, "fractional-seconds", "expires with nanoseconds, as go-tuf writes a time that is not truncated", true)
	r.expect(Expect{Code: "malformed", Spec: "4"})
	r.timestamp.Signed.Expires = expires.Add(123456789 * time.Nanosecond)
	r.hello("targets", "hello.txt")
	r.publish()

	r = newRepo(t, "not-in-snapshot", "a delegated role that the snapshot does not list", true)
	r.expect(Expect{Code: "not_in_snapshot", Spec: "5.6.1"})
	r.delegate("targets", metadata.DelegatedRole{Name: "lost", Paths: []string{"*"}}, r.signer("ed25519-4"))
	r.hello("lost", "hello.txt")
	r.order = r.order[:1]
	r.publish()

	r = newRepo(t, "unsigned-in-part", "targets changed after they were signed", true)
	r.expect(Expect{Code: "unsigned", Spec: "5.6.3"})
	r.hello("targets", "hello.txt")
	r.publish()
	var file map[string]any
	require.NoError(t, json.Unmarshal(r.files["metadata/1.targets.json"], &file))
	file["signed"].(map[string]any)["x"] = "added later"
	raw, err := json.Marshal(file)
	require.NoError(t, err)
	r.files["metadata/1.targets.json"] = raw
	r.write()
}

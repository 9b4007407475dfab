package world

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ragnos-labs/vault-tuf/internal/bench/loop"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

// listed is the n-th target of a large repository.
func listed(n int) string {
	return fmt.Sprintf("plugins/vendor-%03d/plugin-%06d.1.0.0.tar.gz", n%1000, n)
}

// wanted is the number of the one target that is really there.
const wanted = 77_777

// entries writes the targets object of a role as signed text: a tree of a
// million targets would take minutes.
func entries(names []string) tuftest.Verbatim {
	slices.Sort(names)
	var b strings.Builder
	b.WriteByte('{')
	for i, name := range names {
		if i > 0 {
			b.WriteByte(',')
		}
		digest := tuftest.PathHash(name) // of nothing that exists
		if name == listed(wanted) {
			digest = tuftest.SHA256(pluginBytes(name))
		}
		fmt.Fprintf(&b, `"%s":{"hashes":{"sha256":"%s"},"length":%d}`, name, digest, PluginBytes)
	}
	b.WriteByte('}')
	return tuftest.Verbatim(b.String())
}

// index lists 100,000 targets in one file.
func index(dir string) (*Repo, error) {
	names := make([]string, 100_000)
	for n := range names {
		names[n] = listed(n)
	}
	r := tuftest.NewRepo(tuftest.Config{})
	r.Targets.Signed["targets"] = entries(names)
	r.StoreTarget(listed(wanted), pluginBytes(listed(wanted)))
	r.Publish("targets")
	raw, err := json.Marshal(names[:1000])
	if err != nil {
		return nil, err
	}
	return target(listed(wanted)), errors.Join(store(dir, r), os.WriteFile(filepath.Join(dir, loop.NamesFile), raw, 0o644))
}

// bins spreads the targets over 2^bits roles by the hash of their names. As
// large repositories do, snapshot gives the versions of the bins alone.
func bins(dir string, count, bits int, delegate func(*tuftest.Repo, int) []*tuftest.Role) (*Repo, error) {
	names := make([][]string, 1<<bits)
	for n := range count {
		i := tuftest.BinOf(bits, listed(n))
		names[i] = append(names[i], listed(n))
	}
	r := tuftest.NewRepo(tuftest.Config{NoHashes: true})
	published := []string{"targets"}
	for i, role := range delegate(r, bits) {
		role.Signed["targets"] = entries(names[i])
		published = append(published, role.Name)
	}
	r.StoreTarget(listed(wanted), pluginBytes(listed(wanted)))
	r.Publish(published...)
	return target(listed(wanted)), store(dir, r)
}

func succinct(r *tuftest.Repo, bits int) []*tuftest.Role {
	return r.DelegateSuccinct("targets", bits, "bin")
}

// prefixes delegates to one role for each hash prefix of bits/4 hex digits.
func prefixes(r *tuftest.Repo, bits int) []*tuftest.Role {
	key := tuftest.NewKey(tuftest.Ed25519, 100)
	roles := make([]*tuftest.Role, 1<<bits)
	for i := range roles {
		roles[i] = r.Delegate("targets", tuftest.Delegation{
			Name: tuftest.BinName(bits, "bin", i), Keys: []*tuftest.Key{key}, Terminating: true,
			HashPrefixes: []string{fmt.Sprintf("%0*x", bits/4, i)},
		})
	}
	return roles
}

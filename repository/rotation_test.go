package repository

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/keyfile"
)

// newFast makes a repository whose keys are cheap, with one plugin.
func newFast(t *testing.T, o InitOptions) *Repository {
	t.Helper()
	o.Keys, o.Algorithm = plainKeys, keyfile.Ed25519
	r, err := Init(t.Context(), filepath.Join(t.TempDir(), "repo"), o)
	require.NoError(t, err)
	_, p, err := r.Publish(t.Context(), helloArchive, helloManifest, PublishOptions{})
	require.NoError(t, err)
	require.Nil(t, p)
	return r
}

// delegate gives acme a role of its own, with a key of that name.
func delegate(t *testing.T, r *Repository) {
	t.Helper()
	k, err := keyfile.Generate(t.Context(), filepath.Join(r.Dir(), keysName), "acme", keyfile.Ed25519, keyfile.Plain)
	require.NoError(t, err)
	p, err := r.change(t.Context(), func(c *change) error {
		d, err := c.editRole(roleTargets, roleRoot)
		if err != nil {
			return err
		}
		if err := d.Delegate("acme", 1, "plugins/acme/*"); err != nil {
			return err
		}
		c.newRole("acme", roleTargets)
		cfg, err := c.editConfig()
		if err != nil {
			return err
		}
		cfg.KeyNames[k.Public.ID] = "acme"
		return d.Delegations.AddKey("acme", k.Public.ID, k.Public.Key)
	})
	require.NoError(t, err)
	require.Nil(t, p)
	_, p, err = r.Publish(t.Context(), helloArchive, writeManifest(t, "acme", "tool", "1.0.0"), PublishOptions{})
	require.NoError(t, err)
	require.Nil(t, p)
}

// rotate replaces the only key of a role, or the named one.
func rotate(t *testing.T, r *Repository, role, old string) Rotation {
	t.Helper()
	done, p, err := r.RotateKeys(t.Context(), Rotate{Role: role, Old: old})
	require.NoError(t, err)
	require.Nil(t, p, "all keys are at hand")
	return done[0]
}

func lose(t *testing.T, path string) {
	t.Helper()
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Remove(strings.TrimSuffix(path, ".key")+".pub"))
}

func TestClientsFollowTheRotationOfEveryRole(t *testing.T) {
	r := newFast(t, InitOptions{})
	delegate(t, r)
	a := attend(t, r)
	a.get(toolPath, "before")
	for _, role := range []string{"timestamp", "snapshot", "targets", "acme", "root"} {
		done := rotate(t, r, role, "")
		require.FileExists(t, done.OldFile, "nobody deletes a key")
		a.get(toolPath, role+" rotated")
		a.get(helloPath, role+" rotated")
		lose(t, done.OldFile)
		rotate(t, r, role, "")
		a.get(toolPath, role+" rotated again")
	}
}

// Bins have the keys of their role, and get its new ones with it.
func TestClientsFollowTheRotationOfBins(t *testing.T) {
	r := newFast(t, InitOptions{})
	delegate(t, r)
	_, p, err := r.MakeBins(t.Context(), "acme", 2)
	require.NoError(t, err)
	require.Nil(t, p)
	a := attend(t, r)
	a.get(toolPath, "before")
	keys := func() map[string]string {
		list, err := r.Keys(t.Context())
		require.NoError(t, err)
		all := map[string]string{}
		for _, k := range list.Roles {
			all[k.Role] = k.Keys[0].KeyID
		}
		return all
	}
	bins := binPrefix + "acme"
	require.Equal(t, keys()["acme"], keys()[bins])
	done := rotate(t, r, "acme", "")
	require.Equal(t, map[string]string{"acme": done.New.KeyID, bins: done.New.KeyID},
		map[string]string{"acme": keys()["acme"], bins: keys()[bins]})
	a.get(toolPath, "acme rotated")
	lose(t, done.OldFile)
	rotate(t, r, bins, "")
	require.NotEqual(t, keys()["acme"], keys()[bins])
	a.get(toolPath, "the bins' own key")
}

// A role other than root does not need its old key to get a new one.
func TestARoleIsRotatedWhenItsOldKeyIsLost(t *testing.T) {
	r := newFast(t, InitOptions{})
	delegate(t, r)
	a := attend(t, r)
	a.get(toolPath, "before")
	for _, role := range []string{"timestamp", "snapshot", "targets", "acme"} {
		lose(t, keyPath(r.Dir(), role))
		rotate(t, r, role, "")
		a.get(toolPath, "the key of "+role+" lost")
	}
}

func TestAllRolesAreRotatedAtOnce(t *testing.T) {
	r := newFast(t, InitOptions{})
	delegate(t, r)
	a := attend(t, r)
	a.get(toolPath, "before")
	for range 2 {
		_, p, err := r.RotateKeys(t.Context(), Rotate{Role: "root"}, Rotate{Role: "targets"}, Rotate{Role: "snapshot"},
			Rotate{Role: "timestamp"}, Rotate{Role: "acme"})
		require.NoError(t, err)
		require.Nil(t, p)
		a.get(toolPath, "all at once")
	}
}

func TestFiftyRotations(t *testing.T) {
	r := newFast(t, InitOptions{})
	a := attend(t, r)
	a.get(helloPath, "before")
	roles := []string{"timestamp", "root", "snapshot", "targets"}
	for n := range 50 {
		rotate(t, r, roles[n%len(roles)], "")
	}
	a.get(helloPath, "50 rotations")
	list, err := r.Keys(t.Context())
	require.NoError(t, err)
	require.Len(t, list.Unused, 50)
}

// From one root key to two of three, to three others, each step signed by people
// on machines of their own.
func TestRootKeysChangeHands(t *testing.T) {
	r := newFast(t, InitOptions{})
	a := attend(t, r)
	a.get(helloPath, "before")
	people := map[string]string{}
	for n := range 6 {
		name := fmt.Sprintf("p%d", n)
		dir := filepath.Join(t.TempDir(), "keys")
		k, err := keyfile.Generate(t.Context(), dir, name, keyfile.Ed25519, keyfile.Plain)
		require.NoError(t, err)
		people[name] = strings.TrimSuffix(k.Path, ".key") + ".pub"
	}
	sign := func(p *Proposal, dirs ...string) *Proposal {
		path := filepath.Join(t.TempDir(), "p.proposal")
		require.NoError(t, WriteProposal(path, p))
		var copies []*Proposal
		for _, dir := range dirs {
			signed, err := ReadProposal(path)
			require.NoError(t, err)
			require.NoError(t, signed.RestsOn(a.anchor))
			made, err := signed.Sign(t.Context(), Keys{Dirs: []string{dir}})
			require.NoError(t, err)
			require.NotEmpty(t, made)
			copies = append(copies, signed)
		}
		_, err := copies[0].Merge(copies[1:]...)
		require.NoError(t, err)
		return copies[0]
	}
	of := func(name string) string { return filepath.Dir(people[name]) }

	p, err := r.ProposeRoot(t.Context(), RoleKeys{Role: "root", Add: []string{people["p0"], people["p1"], people["p2"]}, Remove: []string{"root"}, Threshold: 2})
	require.NoError(t, err)
	own := filepath.Join(r.Dir(), keysName)
	half := sign(p, of("p0"), of("p1"))
	require.False(t, half.Status().Complete, "the old key must sign too")
	require.NoError(t, r.PublishProposal(t.Context(), sign(p, own, of("p0"), of("p2"))))
	a.get(helloPath, "2 of 3")

	p, err = r.ProposeRoot(t.Context(), RoleKeys{Role: "root", Add: []string{people["p3"], people["p4"], people["p5"]}, Remove: []string{"p0", "p1", "p2"}})
	require.NoError(t, err)
	require.Error(t, r.PublishProposal(t.Context(), sign(p, of("p3"), of("p4"), of("p5"))), "the old keys have not signed")
	require.Error(t, r.PublishProposal(t.Context(), sign(p, of("p0"), of("p1"), of("p5"))), "one of the new keys has not signed")
	require.NoError(t, r.PublishProposal(t.Context(), sign(p, of("p1"), of("p2"), of("p4"), of("p5"))))
	a.get(helloPath, "2 of 3 others")
}

package repository

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/keyfile"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestChangesThatLockPeopleOutAreRefused(t *testing.T) {
	r := newFast(t, InitOptions{Root: Quorum{2, 2}})
	delegate(t, r)
	before := listFiles(t, r.Dir())
	public := func(name string) string { return filepath.Join(r.Dir(), keysName, name+".pub") }
	for name, tt := range map[string]struct {
		change RoleKeys
		want   string
	}{
		"the last key":            {RoleKeys{Role: "timestamp", Remove: []string{"timestamp"}}, "would have 0"},
		"the last of a publisher": {RoleKeys{Role: "acme", Remove: []string{"acme"}}, "would have 0"},
		"below the threshold":     {RoleKeys{Role: "root", Remove: []string{"root-1"}}, "2 of its keys would have to sign, and it would have 1"},
		"a threshold too high":    {RoleKeys{Role: "targets", Threshold: 2}, "2 of its keys"},
		"the key twice":           {RoleKeys{Role: "root", Add: []string{public("root-1")}}, "signs for it already"},
		"online for people":       {RoleKeys{Role: "targets", Add: []string{public("timestamp")}}, "already signs for timestamp"},
		"people's online":         {RoleKeys{Role: "snapshot", Add: []string{public("root-1")}}, "already signs for root"},
		"a publisher's online":    {RoleKeys{Role: "snapshot", Add: []string{public("acme")}}, "already signs for acme"},
		"targets' for a publisher": {RoleKeys{Role: "acme", Add: []string{public("targets")}},
			"already signs for targets"},
		"no such role":         {RoleKeys{Role: "acne", Threshold: 1}, "there is no such role"},
		"no such key":          {RoleKeys{Role: "root", Remove: []string{"root-3"}}, "its keys are root-1 ("},
		"a key of another":     {RoleKeys{Role: "root", Remove: []string{"timestamp"}}, `no key of it is called "timestamp"`},
		"no such file":         {RoleKeys{Role: "root", Add: []string{"nowhere.pub"}}, "nowhere.pub"},
		"a private key":        {RoleKeys{Role: "targets", Add: []string{keyPath(r.Dir(), "acme")}}, "private key"},
		"a beginning too weak": {RoleKeys{Role: "root", Remove: []string{"0"}}, `no key of it is called "0"`},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := r.ChangeKeys(t.Context(), tt.change)
			require.Nil(t, p)
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, before, listFiles(t, r.Dir()))
		})
	}
	_, _, err := r.RotateKeys(t.Context(), Rotate{Role: "root"})
	require.ErrorContains(t, err, "it has 2 keys; say which one with --old: root-1 (")
	_, _, err = r.RotateKeys(t.Context(), Rotate{Role: "timestamp"}, Rotate{Role: "timestamp"})
	requireCode(t, err, protocol.CodeUsage)
	_, _, err = r.RotateKeys(t.Context(), Rotate{Role: "timestamp"}, Rotate{Role: "acme", New: public("targets")})
	require.ErrorContains(t, err, "already signs for targets")
	require.Equal(t, before, listFiles(t, r.Dir()), "no key is left of a change that failed")
	_, err = r.ProposeRoot(t.Context(), RoleKeys{Role: "acme", Threshold: 1})
	requireCode(t, err, protocol.CodeUsage)

	p, err := r.ChangeKeys(t.Context(), RoleKeys{Role: "root", Threshold: 1, Remove: []string{"root-1"}})
	require.NoError(t, err)
	require.Nil(t, p)
}

// Two publishers never share a key, nor do a key and its copy in other spelling.
func TestTwoPublishersNeverShareAKey(t *testing.T) {
	r := newFast(t, InitOptions{})
	delegate(t, r)
	_, err := r.change(t.Context(), func(c *change) error {
		d, err := c.editRole(roleTargets, roleRoot)
		if err != nil {
			return err
		}
		k, err := keyfile.ReadPublic(filepath.Join(r.Dir(), keysName, "acme.pub"))
		if err != nil {
			return err
		}
		if err := d.Delegate("mallory", 1, "plugins/mallory/*"); err != nil {
			return err
		}
		c.newRole("mallory", roleTargets)
		return d.Delegations.AddKey("mallory", "0123456789abcdef", k.Key)
	})
	require.ErrorContains(t, err, "already signs for acme: who steals it would have both")
}

package repository

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/draft"
	"github.com/ragnos-labs/vault-tuf/internal/keyfile"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// addRole delegates to a role with one new key in DIR/keys.
func addRole(t testing.TB, r *Repository, name string) {
	t.Helper()
	require.NoError(t, tryRole(t, r, name, "plugins/"+name+"/*"))
}

func tryRole(t testing.TB, r *Repository, name, pattern string) error {
	t.Helper()
	k, err := keyfile.Generate(t.Context(), filepath.Join(r.dir, keysName), name, keyfile.Ed25519, keyfile.Plain)
	require.NoError(t, err)
	p, err := r.change(t.Context(), func(c *change) error {
		d, err := c.editRole(roleTargets, roleRoot)
		if err != nil {
			return err
		}
		if err := d.Delegate(name, 1, pattern); err != nil {
			return err
		}
		c.newRole(name, roleTargets)
		return d.Delegations.AddKey(name, k.Public.ID, k.Public.Key)
	})
	require.Nil(t, p)
	return err
}

// addBins delegates from targets to hash bins with one new key.
func addBins(t testing.TB, r *Repository, bits int) {
	t.Helper()
	k, err := keyfile.Generate(t.Context(), filepath.Join(r.dir, keysName), "bin", keyfile.Ed25519, keyfile.Plain)
	require.NoError(t, err)
	p, err := r.change(t.Context(), func(c *change) error {
		d, err := c.editRole(roleTargets, roleRoot)
		if err != nil {
			return err
		}
		if err := d.DelegateBins("_targets", 1, bits); err != nil {
			return err
		}
		for n := range 1 << bits {
			c.newRole(fmt.Sprintf("_targets-%0*x", (bits+3)/4, n), roleTargets)
		}
		return d.Delegations.AddKey("_targets", k.Public.ID, k.Public.Key)
	})
	require.NoError(t, err)
	require.Nil(t, p)
}

func TestStatusOfPublishersAndBins(t *testing.T) {
	r, clock := newTestRepository(t)
	addRole(t, r, "acme")
	_, _, err := r.Publish(t.Context(), helloArchive, writeManifest(t, "acme", "tool", "1.0.0"), PublishOptions{})
	require.NoError(t, err)
	require.NoError(t, os.Remove(keyPath(r.Dir(), "acme")))
	st, err := r.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, Healthy, st.Status)
	require.Equal(t, RoleStatus{Role: "acme", Version: 2, Expires: clock.now.Truncate(time.Second).Add(90 * day), SecondsLeft: 90 * 86400,
		Targets: 1, Keys: &KeysAtHand{Threshold: 1, Listed: 1}}, st.Roles[4])
	list, err := r.Targets(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "acme", list[0].Role)
	require.Equal(t, []Channel{"stable", "beta"}, list[0].Latest)

	b, _ := newTestRepository(t)
	addBins(t, b, 3)
	_, _, err = b.Publish(t.Context(), helloArchive, helloManifest, PublishOptions{})
	require.NoError(t, err)
	st, err = b.Status(t.Context())
	require.NoError(t, err)
	require.Len(t, st.Roles, 4)
	require.Equal(t, []BinsStatus{{Prefix: "_targets", Delegator: "targets", Count: 8, Targets: 1,
		Expires: clock.now.Truncate(time.Second).Add(90 * day), SecondsLeft: 90 * 86400, Keys: &KeysAtHand{1, 1, 1}}}, st.Bins)
	require.Equal(t, 1, st.Targets)
}

func TestStatusWarnsPeopleEarly(t *testing.T) {
	r, clock := newTestRepository(t)
	addRole(t, r, "acme")
	require.NoError(t, os.Remove(keyPath(r.Dir(), "root")))
	start := clock.now
	resign := func(after time.Duration) Status {
		clock.now = start.Add(after)
		_, err := r.Resign(t.Context())
		require.NoError(t, err)
		st, err := r.Status(t.Context())
		require.NoError(t, err)
		return st
	}
	require.Equal(t, Healthy, resign(67*day).Status)
	st := resign(68 * day)
	require.Equal(t, Degraded, st.Status)
	require.NoError(t, st.Err())
	requireCode(t, st.Warning(), protocol.CodeStale)
	require.Equal(t, []string{
		"targets expires soon, on 2030-04-02T03:04:05Z: people must sign it within 21 days",
		"acme expires soon, on 2030-04-02T03:04:05Z: people must sign it within 21 days",
	}, st.Problems)
	require.True(t, st.Roles[1].Soon)

	// Targets is renewed; the publisher does not turn up.
	_, _, err := r.Publish(t.Context(), helloArchive, helloManifest, PublishOptions{})
	require.NoError(t, err)
	st = resign(91 * day)
	require.Equal(t, Degraded, st.Status, "other plugins can be installed")
	requireCode(t, st.Err(), protocol.CodeExpired)
	require.Equal(t, []string{"acme expired on 2030-04-02T03:04:05Z"}, st.Problems)

	st = resign(300 * day)
	require.Equal(t, Down, st.Status)
	require.Contains(t, st.Problems, "root expires soon, on 2031-01-02T03:04:05Z: people must sign it within 64 days, with 1 keys of which 0 are here")
}

func TestStatusNamesWhatWaits(t *testing.T) {
	r, _ := newTestRepository(t)
	require.NoError(t, os.MkdirAll(filepath.Join(r.Dir(), proposalsName, "folder"), 0o755))
	for _, name := range []string{"root-2.proposal", ".hidden"} {
		require.NoError(t, os.WriteFile(filepath.Join(r.Dir(), proposalsName, name), nil, 0o600))
	}
	require.NoError(t, os.Mkdir(filepath.Join(r.Dir(), stagedName), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(r.Dir(), stagedName, journalName), []byte("{}"), 0o600))
	require.NoError(t, os.Chmod(keyPath(r.Dir(), "root"), 0o644))
	st, err := r.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, Degraded, st.Status)
	require.Len(t, st.Proposals, 1)
	require.Contains(t, st.Proposals[0].String(), "root-2.proposal: ")
	require.Contains(t, st.Proposals[0].Problem, "not a proposal")
	require.Len(t, st.Problems, 1)
	require.Contains(t, st.Problems[0], "not complete")
	require.Len(t, st.Hints, 1)
	require.Contains(t, st.Hints[0], "root.key")
	require.Zero(t, st.Roles[0].Keys.AtHand)
}

func TestStatusOfProposals(t *testing.T) {
	r := newQuickRepository(t)
	addRole(t, r, "acme")
	key := keyPath(r.Dir(), "acme")
	hidden := filepath.Join(t.TempDir(), "acme.key")
	require.NoError(t, os.Rename(key, hidden))
	_, p, err := r.Publish(t.Context(), helloArchive, writeManifest(t, "acme", "tool", "1.0.0"), PublishOptions{})
	require.NoError(t, err)
	path, err := r.KeepProposal(p)
	require.NoError(t, err)
	waiting := func() string {
		st, err := r.Status(t.Context())
		require.NoError(t, err)
		require.Len(t, st.Proposals, 1)
		return st.Proposals[0].String()
	}
	require.Equal(t, "acme-2.proposal (acme 2): signatures missing: 1", waiting())

	require.NoError(t, os.Rename(hidden, key))
	_, err = p.Sign(t.Context(), Keys{Dirs: []string{filepath.Dir(key)}})
	require.NoError(t, err)
	require.NoError(t, WriteProposal(path, p))
	require.Equal(t, "acme-2.proposal (acme 2): signed, can be published", waiting())

	_, _, err = r.Publish(t.Context(), helloArchive, writeManifest(t, "acme", "other", "1.0.0"), PublishOptions{})
	require.NoError(t, err)
	require.Contains(t, waiting(), "outdated")

	require.NoError(t, os.Truncate(path, maxProposalLooked+1))
	require.Equal(t, "acme-2.proposal is too large to be looked into", waiting())
}

// TestStatusReadsOnlyWhatChanged: what is remembered is believed while its file
// stays as it was, and not longer.
func TestStatusReadsOnlyWhatChanged(t *testing.T) {
	r := newQuickRepository(t)
	addRole(t, r, "acme")
	addRole(t, r, "bestco")
	m := newMemory()
	m.settled = 0
	status := func() Status {
		st, err := r.status(t.Context(), m, nil)
		require.NoError(t, err)
		return st
	}
	require.Zero(t, status().Targets)
	require.Len(t, m.known, 3)
	for e, rem := range m.known { // No other mark than this tells who was read.
		rem.targets = 1000
		m.known[e] = rem
	}
	require.Equal(t, 3000, status().Targets)

	_, _, err := r.Publish(t.Context(), helloArchive, writeManifest(t, "acme", "tool", "1.0.0"), PublishOptions{})
	require.NoError(t, err)
	require.Equal(t, 2001, status().Targets, "a new version of acme")

	path := r.metadataPath("1.bestco.json")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, append(data, ' '), 0o600))
	_, err = r.status(t.Context(), m, nil)
	requireCode(t, err, protocol.CodeMismatch)
	require.NoError(t, os.WriteFile(path, data, 0o600))
	require.Equal(t, 1001, status().Targets)

	addRole(t, r, "third")
	require.Equal(t, 1, status().Targets, "a new version of targets: all that it delegates to is verified again")

	m.settled = time.Hour
	status()
	for e, rem := range m.known {
		rem.targets = 1000
		m.known[e] = rem
	}
	require.Equal(t, 1, status().Targets, "files that have only just changed are read")
}

// BenchmarkHealth asks for the status of a repository of 100,000 targets, as the
// server does.
func BenchmarkHealth(b *testing.B) {
	r, err := Init(b.Context(), b.TempDir(), InitOptions{Options: Options{Keys: plainKeys}})
	require.NoError(b, err)
	_, err = r.change(b.Context(), func(c *change) error {
		d, err := c.editRole(roleTargets, roleRoot)
		for n := range 100_000 {
			if err == nil {
				err = d.Set(fmt.Sprintf("plugins/acme/p%06d.1.0.0.tar.gz", n), draft.Target{Length: 1, SHA256: hash([]byte{byte(n)}), Custom: []byte(`{"name":"p"}`)})
			}
		}
		return err
	})
	require.NoError(b, err)
	for name, m := range map[string]*memory{"first": nil, "again": {known: map[edge]remembered{}}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				st, err := r.status(b.Context(), m, nil)
				require.NoError(b, err)
				require.Equal(b, 100_000, st.Targets)
			}
		})
	}
}

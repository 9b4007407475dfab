package repository

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/draft"
	"github.com/ragnos-labs/vault-tuf/internal/keyfile"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestAddPublisherMovesWhatIsPublished(t *testing.T) {
	r, _ := newFastRepository(t)
	first := publishAs(t, r, "acme", "tool", "1.0.0")
	second := publishAs(t, r, "acme", "tool", "1.1.0-rc.1")
	other := publishAs(t, r, "acme-labs", "tool", "1.0.0")
	before, err := r.load(t.Context())
	require.NoError(t, err)
	listed, err := before.targets()
	require.NoError(t, err)

	added := addPublisher(t, r, "acme")
	require.Equal(t, []string{"plugins/acme/*"}, added.Paths)
	require.Equal(t, 2, added.Targets)
	require.Equal(t, []KeyRef{{added.Keys[0].KeyID, "acme"}}, added.Keys)

	s, err := r.load(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.all(t.Context()))
	targets, role := s.roles["targets"].doc, s.roles["acme"].doc
	require.Equal(t, []string{other}, slices.Collect(targets.Targets.Paths()))
	require.Equal(t, []string{first, second}, slices.Collect(role.Targets.Paths()))
	for _, path := range []string{first, second} {
		require.Equal(t, listed.Targets.Find(path), role.Targets.Find(path))
	}
	require.True(t, targets.Delegations.Roles[0].Terminating)

	third := publishAs(t, r, "acme", "tool", "1.1.0")
	requireInstalls(t, r, "acme", first, second, third)
	requireInstalls(t, r, "targets", other)
	list, err := r.Publishers(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, 3, list[0].Targets)
	require.Equal(t, "acme", list[0].Keys[0].Name)
	require.EqualValues(t, 2, list[0].Version)
}

func TestPublisherWithSeveralNewKeys(t *testing.T) {
	r, _ := newFastRepository(t)
	added, p, err := r.AddPublisher(t.Context(), "acme", PublisherOptions{Threshold: 2, Algorithm: keyfile.ECDSA})
	require.NoError(t, err)
	require.Nil(t, p)
	require.Equal(t, []string{"acme-1", "acme-2"}, []string{added.Keys[0].Name, added.Keys[1].Name})
	requireInstalls(t, r, "acme", publishAs(t, r, "acme", "tool", "1.0.0"))
}

// newKey makes a key elsewhere and returns the path of its public half.
func newKey(t *testing.T, dir, name string) string {
	t.Helper()
	k, err := keyfile.Generate(t.Context(), dir, name, keyfile.Ed25519, keyfile.Plain)
	require.NoError(t, err)
	return filepath.Join(dir, k.Name+".pub")
}

func TestPublisherWhoseKeysAreElsewhere(t *testing.T) {
	r, clock := newFastRepository(t)
	path := publishAs(t, r, "acme", "tool", "1.0.0")
	elsewhere := filepath.Join(t.TempDir(), "keys")
	o := PublisherOptions{Keys: []string{newKey(t, elsewhere, "alice"), newKey(t, elsewhere, "bob")}, Threshold: 2}
	metadata := listFiles(t, filepath.Join(r.Dir(), metadataName))
	_, p, err := r.AddPublisher(t.Context(), "acme", o)
	require.NoError(t, err)
	require.NotNil(t, p, "the publisher must sign")
	require.Equal(t, metadata, listFiles(t, filepath.Join(r.Dir(), metadataName)))
	requireInstalls(t, r, "targets", path)

	with, err := Open(r.Dir(), Options{Keys: Keys{Dirs: []string{elsewhere}}, Clock: clock.Now})
	require.NoError(t, err)
	added, p, err := with.AddPublisher(t.Context(), "acme", o)
	require.NoError(t, err)
	require.Nil(t, p)
	require.Equal(t, []string{"alice", "bob"}, []string{added.Keys[0].Name, added.Keys[1].Name})
	requireInstalls(t, r, "acme", path)
}

func TestAddPublisherAgainAfterAnInterruption(t *testing.T) {
	r, _ := newFastRepository(t)
	key := newKey(t, filepath.Join(r.Dir(), keysName), "acme")
	public, err := keyfile.ReadPublic(key)
	require.NoError(t, err)
	require.Equal(t, public.ID, addPublisher(t, r, "acme").Keys[0].KeyID, "the key that is there is the publisher's")
}

func TestAddPublisherRefuses(t *testing.T) {
	r, _ := newFastRepository(t)
	addPublisher(t, r, "taken")
	keys := filepath.Join(r.Dir(), keysName)
	fresh := newKey(t, filepath.Join(t.TempDir(), "keys"), "fresh")
	before := listFiles(t, r.Dir())
	for name, tc := range map[string]struct {
		publisher string
		o         PublisherOptions
		says      string
	}{
		"root":              {"root", PublisherOptions{}, "cannot be a publisher"},
		"targets":           {"targets", PublisherOptions{}, "cannot be a publisher"},
		"snapshot":          {"snapshot", PublisherOptions{}, "cannot be a publisher"},
		"timestamp":         {"timestamp", PublisherOptions{}, "cannot be a publisher"},
		"no name":           {"", PublisherOptions{}, "cannot be a publisher"},
		"capitals":          {"Acme", PublisherOptions{}, "cannot be a publisher"},
		"a path":            {"a/b", PublisherOptions{}, "cannot be a publisher"},
		"a pattern":         {"*", PublisherOptions{}, "cannot be a publisher"},
		"a bin":             {"_acme-0", PublisherOptions{}, "cannot be a publisher"},
		"delegated already": {"taken", PublisherOptions{}, "there is, or was"},
		"threshold":         {"acme", PublisherOptions{Keys: []string{fresh}, Threshold: 2}, "2 of 1 keys cannot sign"},
		"negative":          {"acme", PublisherOptions{Threshold: -1}, "at least 1"},
		"many":              {"acme", PublisherOptions{Threshold: maxQuorum + 1}, "at most 16 keys"},
		"twice":             {"acme", PublisherOptions{Keys: []string{fresh, fresh}, Threshold: 2}, "given twice"},
		"another's key":     {"acme", PublisherOptions{Keys: []string{filepath.Join(keys, "taken.pub")}}, "signs for taken already"},
		"root's key":        {"acme", PublisherOptions{Keys: []string{filepath.Join(keys, "root.pub")}}, "signs for root already"},
		"targets' key":      {"acme", PublisherOptions{Keys: []string{filepath.Join(keys, "targets.pub")}}, "signs for targets already"},
		"an online key":     {"acme", PublisherOptions{Keys: []string{filepath.Join(keys, "timestamp.pub")}}, "signs for timestamp already"},
		"a private key":     {"acme", PublisherOptions{Keys: []string{keyPath(r.Dir(), "taken")}}, "private"},
		"a kind of key":     {"acme", PublisherOptions{Algorithm: "dsa"}, "unknown kind"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := r.AddPublisher(t.Context(), tc.publisher, tc.o)
			e := requireCode(t, err, protocol.CodeUsage)
			require.Equal(t, "publisher add", e.Op)
			require.ErrorContains(t, err, tc.says)
			require.Equal(t, before, listFiles(t, r.Dir()))
		})
	}
}

// TestDelegationsThatOverlap: what somebody else is trusted with already is no
// room for a publisher.
func TestDelegationsThatOverlap(t *testing.T) {
	for name, tc := range map[string]struct {
		role admission.DelegatedRole
		want bool
	}{
		"the same":       {admission.DelegatedRole{Paths: []string{"plugins/acme/*"}}, true},
		"one plugin":     {admission.DelegatedRole{Paths: []string{"x", "plugins/acme/tool.*"}}, true},
		"every":          {admission.DelegatedRole{Paths: []string{"plugins/*/*"}}, true},
		"some":           {admission.DelegatedRole{Paths: []string{"p*/a??[a-z]/*.gz"}}, true},
		"hashes":         {admission.DelegatedRole{PathHashPrefixes: []string{"0"}}, true},
		"another":        {admission.DelegatedRole{Paths: []string{"plugins/acme-labs/*"}}, false},
		"another tree":   {admission.DelegatedRole{Paths: []string{"themes/acme/*"}}, false},
		"not that deep":  {admission.DelegatedRole{Paths: []string{"plugins/*"}}, false},
		"nothing at all": {admission.DelegatedRole{}, false},
	} {
		require.Equal(t, tc.want, overlaps(&tc.role, "acme"), name)
	}
}

// TestTheThiefIsAThief: with bob's key too, all that the next test tries works.
func TestTheThiefIsAThief(t *testing.T) {
	r, _ := newFastRepository(t)
	addPublisher(t, r, "bob")
	th := newThief(t, r, "bob", roleSnapshot, roleTimestamp)
	const evil = "plugins/bob/evil.1.0.0.tar.gz"
	loot := []byte("evil")
	d := th.edit("bob")
	require.NoError(t, d.Set(evil, draft.Target{Length: int64(len(loot)), SHA256: hash(loot)}))
	e := th.seal(d)
	th.sign(e, "bob", "")
	th.publish(map[string][]byte{"bob": e.Bytes()})
	th.store(evil, loot)
	s := serveRepository(t, r)
	for _, mode := range []hybrid.Mode{hybrid.ModeGo, hybrid.ModePython, hybrid.ModeAuto, hybrid.ModeDual} {
		data, _, err := s.install(t, mode, evil)
		require.NoError(t, err, mode)
		require.Equal(t, loot, data)
	}
}

// TestAStolenKeyRefSignsNothingElse is the threat that delegated roles are
// for: somebody has the key of publisher mallory and both online keys, and can
// write what is served.
func TestAStolenKeyRefSignsNothingElse(t *testing.T) {
	pristine, _ := newFastRepository(t)
	addPublisher(t, pristine, "mallory")
	bobs := addPublisher(t, pristine, "bob").Keys[0].KeyID
	const evil = "plugins/bob/evil.1.0.0.tar.gz"
	known := publishAs(t, pristine, "bob", "tool", "1.0.0")
	loot := []byte("evil")
	lists := func(t *testing.T, d *draft.Targets) *draft.Targets {
		for _, path := range []string{evil, known} {
			require.NoError(t, d.Set(path, draft.Target{Length: int64(len(loot)), SHA256: hash(loot)}))
		}
		return d
	}
	delegates := func(th *thief, d *draft.Targets, role, pattern string) *draft.Targets {
		require.NoError(th, d.Delegate(role, 1, pattern))
		public := th.keys["mallory"].Public
		require.NoError(th, d.Delegations.AddKey(role, public.ID, public.Key))
		return d
	}
	signed := func(th *thief, d *draft.Targets, ids ...string) []byte {
		e := th.seal(d)
		for _, id := range append(ids, "") {
			th.sign(e, "mallory", id)
		}
		return e.Bytes()
	}
	for name, forge := range map[string]func(th *thief) map[string][]byte{
		"bob's role": func(th *thief) map[string][]byte {
			return map[string][]byte{"bob": signed(th, lists(th.T, th.edit("bob")))}
		},
		"bob's role under bob's keyid": func(th *thief) map[string][]byte {
			return map[string][]byte{"bob": signed(th, lists(th.T, th.edit("bob")), bobs)}
		},
		"mallory's role lists bob's": func(th *thief) map[string][]byte {
			return map[string][]byte{"mallory": signed(th, lists(th.T, th.edit("mallory")))}
		},
		"mallory's file in bob's place": func(th *thief) map[string][]byte {
			d := lists(th.T, th.edit("mallory"))
			d.Version = th.state.roles["bob"].doc.Version + 1
			raw := signed(th, d)
			return map[string][]byte{"bob": raw, "mallory": raw}
		},
		"top-level targets": func(th *thief) map[string][]byte {
			return map[string][]byte{"targets": signed(th, lists(th.T, th.edit("targets")))}
		},
		"top-level targets trusts mallory": func(th *thief) map[string][]byte {
			return map[string][]byte{
				"targets": signed(th, delegates(th, th.edit("targets"), "extra", "plugins/bob/*")),
				"extra":   signed(th, lists(th.T, draft.NewTargets())),
			}
		},
		"mallory trusts another with bob's": func(th *thief) map[string][]byte {
			return map[string][]byte{
				"mallory": signed(th, delegates(th, th.edit("mallory"), "extra", "plugins/bob/*")),
				"extra":   signed(th, lists(th.T, draft.NewTargets())),
			}
		},
		"mallory trusts a role called bob": func(th *thief) map[string][]byte {
			return map[string][]byte{
				"mallory": signed(th, delegates(th, th.edit("mallory"), "bob", "plugins/bob/*")),
				"bob":     signed(th, lists(th.T, th.edit("bob"))),
			}
		},
		"mallory has bins": func(th *thief) map[string][]byte {
			d := th.edit("mallory")
			require.NoError(th, d.DelegateBins("bob", 1, 1))
			public := th.keys["mallory"].Public
			require.NoError(th, d.Delegations.AddKey("bob", public.ID, public.Key))
			bin := signed(th, lists(th.T, draft.NewTargets()))
			return map[string][]byte{"mallory": signed(th, d), "bob-0": bin, "bob-1": bin}
		},
		"a root": func(th *thief) map[string][]byte {
			root, err := draft.EditRoot(th.state.root)
			require.NoError(th, err)
			public := th.keys["mallory"].Public
			require.NoError(th, root.AddKey(roleTargets, public.ID, public.Key))
			raw, err := root.Encode()
			require.NoError(th, err)
			e := draft.Seal(admission.KindRoot, raw)
			th.sign(e, "mallory", "")
			require.NoError(th, os.WriteFile(th.r.metadataPath("2.root.json"), e.Bytes(), 0o600))
			return map[string][]byte{"targets": signed(th, lists(th.T, th.edit("targets")))}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := copyOf(t, pristine)
			th := newThief(t, r, "mallory", roleSnapshot, roleTimestamp)
			th.publish(forge(th))
			for _, path := range []string{evil, known} {
				th.store(path, loot)
			}
			s := serveRepository(t, r)
			for _, mode := range []hybrid.Mode{hybrid.ModeGo, hybrid.ModePython, hybrid.ModeAuto, hybrid.ModeDual} {
				_, result, err := s.install(t, mode, evil)
				require.Error(t, err, mode)
				require.Nil(t, result)
				data, _, err := s.install(t, mode, known)
				require.NotEqual(t, loot, data)
				if err == nil {
					require.Equal(t, readText(t, helloArchive), string(data), "what bob has signed")
				}
			}
		})
	}
}

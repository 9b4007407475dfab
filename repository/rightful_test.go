package repository

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/draft"
	"github.com/ragnos-labs/vault-tuf/internal/keyfile"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// forger makes proposals by hand, as nobody's command would.
type forger struct {
	t *testing.T
	r *Repository
	s *state
	p *Proposal
}

func newForger(t *testing.T, r *Repository) *forger {
	t.Helper()
	s, err := r.load(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.all(t.Context()))
	f := &forger{t: t, r: r, s: s, p: &Proposal{made: s.now, chain: s.roots}}
	f.p.before = []*verifiedFile{{roleTargets, roleRoot, s.roles[roleTargets].doc}}
	if acme := s.roles["acme"]; acme != nil {
		f.p.before = append(f.p.before, &verifiedFile{"acme", roleTargets, acme.doc})
	}
	return f
}

// edit is the next version of a role.
func (f *forger) edit(role string) *draft.Targets {
	f.t.Helper()
	d, err := draft.EditTargets(f.s.roles[role].doc)
	require.NoError(f.t, err)
	return d
}

func (f *forger) propose(role, delegator string, d *draft.Targets) {
	f.t.Helper()
	d.Expires = f.s.now.Add(24 * time.Hour)
	signed, err := d.Encode()
	require.NoError(f.t, err)
	e := draft.Seal(admission.KindTargets, signed)
	plain, err := admission.Parse(admission.KindTargets, e.Bytes(), ownLimits)
	require.NoError(f.t, err)
	f.p.files = append(f.p.files, &proposed{role, delegator, e, plain})
}

// publish carries the proposal as a file, signs it with keys, and publishes it.
func (f *forger) publish(keys Keys) error {
	f.t.Helper()
	path := filepath.Join(f.t.TempDir(), "forged.proposal")
	require.NoError(f.t, WriteProposal(path, f.p))
	p, err := ReadProposal(path)
	require.NoError(f.t, err)
	_, err = p.Sign(f.t.Context(), keys)
	require.NoError(f.t, err)
	return f.r.PublishProposal(f.t.Context(), p)
}

func newKeyAt(t *testing.T, name string) (dir string, k *keyfile.Key) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), name)
	k, err := keyfile.Generate(t.Context(), dir, name, keyfile.Ed25519, keyfile.Plain)
	require.NoError(t, err)
	return dir, k
}

// TestARoleHasOneDelegator: whoever holds a publisher's key cannot give the name
// of another role, present or future, to somebody, nor replace its files.
func TestARoleHasOneDelegator(t *testing.T) {
	for _, name := range []string{"zeta", "future", "acme", "_zeta"} {
		t.Run(name, func(t *testing.T) {
			r, _ := newFastRepository(t)
			addPublisher(t, r, "acme")
			addPublisher(t, r, "zeta")
			before := readText(t, r.metadataPath("1.zeta.json"))
			f := newForger(t, r)
			dir, evil := newKeyAt(t, "evil")
			d := f.edit("acme")
			require.NoError(t, d.Delegate(name, 1, "plugins/acme/never"))
			require.NoError(t, d.Delegations.AddKey(name, evil.Public.ID, evil.Public.Key))
			f.propose("acme", roleTargets, d)
			if name != "acme" {
				f.propose(name, "acme", draft.NewTargets())
			}
			err := f.publish(Keys{Dirs: []string{filepath.Join(r.Dir(), keysName), dir}})
			require.ErrorContains(t, err, "delegates to nobody else")
			require.Equal(t, before, readText(t, r.metadataPath("1.zeta.json")))
		})
	}
}

func TestPublishedMetadataIsNeverReplaced(t *testing.T) {
	r, _ := newFastRepository(t)
	path := r.metadataPath("2.targets.json")
	require.NoError(t, os.WriteFile(path, []byte("from a backup"), 0o600))
	_, _, err := r.Publish(t.Context(), helloArchive, helloManifest, PublishOptions{})
	require.ErrorContains(t, err, "never replaced")
	require.Equal(t, "from a backup", readText(t, path))
	require.NoError(t, os.Remove(path))
	_, _, err = r.Publish(t.Context(), helloArchive, helloManifest, PublishOptions{})
	require.NoError(t, err)
}

// TestNobodySignsUnread: publishing a proposal adds no signature to it, although
// the keys are at hand.
func TestNobodySignsUnread(t *testing.T) {
	r, _ := newFastRepository(t)
	f := newForger(t, r)
	dir, evil := newKeyAt(t, "evil")
	d := f.edit(roleTargets)
	require.NoError(t, d.Delegate("evil", 1, "plugins/*/*"))
	require.NoError(t, d.Delegations.AddKey("evil", evil.Public.ID, evil.Public.Key))
	f.propose(roleTargets, roleRoot, d)
	f.propose("evil", roleTargets, draft.NewTargets())
	requireCode(t, f.publish(Keys{Dirs: []string{dir}}), protocol.CodeUnsigned)
}

// TestIdleKeysAreRefused: a key under the keyid of another, for nobody to see.
func TestIdleKeysAreRefused(t *testing.T) {
	r, _ := newFastRepository(t)
	addPublisher(t, r, "acme")
	f := newForger(t, r)
	_, evil := newKeyAt(t, "evil")
	_, good := newKeyAt(t, "good")
	d := f.edit(roleTargets)
	require.NoError(t, d.Delegations.AddKey("acme", good.Public.ID, evil.Public.Key))
	role := d.Delegations.Role("acme")
	role.KeyIDs = role.KeyIDs[:1]
	f.propose(roleTargets, roleRoot, d)
	require.ErrorContains(t, f.publish(Keys{Dirs: []string{filepath.Join(r.Dir(), keysName)}}), "signs for no role")
}

// TestLatestAcrossBins: proposals for different bins do not make each other stale,
// but what they say of the latest version does.
func TestLatestAcrossBins(t *testing.T) {
	r, _ := newFastRepository(t)
	addPublisher(t, r, "acme")
	makeBins(t, r, "acme", 4)
	away := filepath.Join(t.TempDir(), "away")
	require.NoError(t, os.Mkdir(away, 0o700))
	for _, ext := range []string{".key", ".pub"} {
		require.NoError(t, os.Rename(filepath.Join(r.Dir(), keysName, "acme"+ext), filepath.Join(away, "acme"+ext)))
	}
	var proposals []*Proposal
	for _, version := range []string{"1.0.0", "1.1.0"} {
		_, p, err := r.Publish(t.Context(), helloArchive, writeManifest(t, "acme", "tool", version), PublishOptions{})
		require.NoError(t, err)
		_, err = p.Sign(t.Context(), Keys{Dirs: []string{away}})
		require.NoError(t, err)
		proposals = append(proposals, p)
	}
	require.NoError(t, r.PublishProposal(t.Context(), proposals[1]))
	require.ErrorContains(t, r.PublishProposal(t.Context(), proposals[0]), "propose the change again")
}

// TestAKeyOfBinsIsTheirRoles: it signs for no other publisher.
func TestAKeyOfBinsIsTheirRoles(t *testing.T) {
	r, _ := newFastRepository(t)
	addPublisher(t, r, "acme")
	addPublisher(t, r, "zeta")
	makeBins(t, r, "acme", 1)
	done, _, err := r.RotateKeys(t.Context(), Rotate{Role: "_acme"})
	require.NoError(t, err)
	public := strings.TrimSuffix(done[0].NewFile, ".key") + ".pub"
	_, err = r.ChangeKeys(t.Context(), RoleKeys{Role: "zeta", Add: []string{public}})
	require.ErrorContains(t, err, "already signs for")
}

// TestWhatIsListedAnywhereIsPublished: also by a role that the chain of
// delegations goes past.
func TestWhatIsListedAnywhereIsPublished(t *testing.T) {
	f := tuftest.NewRepo(tuftest.Config{})
	f.Delegate("targets", tuftest.Delegation{Name: "team", Paths: []string{"plugins/acme/*"}})
	f.AddTarget("targets", "plugins/acme/tool.1.0.0.tar.gz", []byte("old"), nil)
	f.Publish("targets", "team")
	r, _, _, err := adoptFrom(t, onDisk(t, f))
	require.NoError(t, err)
	_, _, err = r.Publish(t.Context(), helloArchive, writeManifest(t, "acme", "tool", "1.0.0"), PublishOptions{})
	require.ErrorIs(t, err, ErrPublished)
}

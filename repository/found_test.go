package repository

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/keyfile"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// founders are people with a key each, on a medium of their own.
func founders(t *testing.T, names ...string) (media, public map[string]string) {
	t.Helper()
	media, public = map[string]string{}, map[string]string{}
	for _, name := range names {
		media[name] = filepath.Join(t.TempDir(), name)
		_, err := keyfile.Generate(t.Context(), media[name], name, keyfile.Ed25519, keyfile.Plain)
		require.NoError(t, err)
		public[name] = filepath.Join(media[name], name+".pub")
	}
	return media, public
}

// toBeFounded is a repository of Alice, Bob and Dana, of whom nobody is there.
func toBeFounded(t *testing.T) (*Repository, *Proposal, map[string]string) {
	t.Helper()
	media, public := founders(t, "alice", "bob", "dana")
	r, p, err := Found(t.Context(), filepath.Join(t.TempDir(), "repo"), InitOptions{Options: Options{Keys: plainKeys}, Algorithm: keyfile.Ed25519,
		Root: Quorum{2, 2}, RootKeys: []string{public["alice"], public["bob"]}, TargetsKeys: []string{public["dana"]}})
	require.NoError(t, err)
	require.NotNil(t, p)
	return r, p, media
}

func TestFoundedByPeopleElsewhere(t *testing.T) {
	r, p, media := toBeFounded(t)
	require.True(t, p.Founds())
	require.NoDirExists(t, filepath.Join(r.dir, metadataName))
	require.NoFileExists(t, keyPath(r.dir, roleRoot))
	require.Regexp(t, `(?s)^root
  new, expires 20.*
  root: 2 of 2 keys must sign
  root: key added: alice, ed25519, keyid [0-9a-f]{64}
  root: key added: bob, .*
targets
  new, expires `, allWords(p))

	// Until then nothing works, and it says why.
	_, err := r.Status(t.Context())
	require.Contains(t, requireCode(t, err, protocol.CodeUnsigned).Hint, "proposal publish")
	_, err = r.Verify(t.Context(), VerifyOptions{})
	requireCode(t, err, protocol.CodeUnsigned)
	_, _, err = r.Publish(t.Context(), helloArchive, helloManifest, PublishOptions{})
	requireCode(t, err, protocol.CodeUnsigned)
	_, err = Init(t.Context(), r.dir, InitOptions{Options: Options{Keys: plainKeys}})
	require.ErrorIs(t, err, ErrExists)

	// It is signed by file, and no signature is made up for by others.
	path := filepath.Join(r.dir, proposalsName, "root-1-and-targets-1.proposal")
	for _, name := range []string{"alice", "dana", "bob"} {
		p, err = ReadProposal(path)
		require.NoError(t, err)
		require.False(t, p.Status().Complete)
		e := requireCode(t, r.PublishProposal(t.Context(), p), protocol.CodeUnsigned)
		require.Contains(t, e.Hint, "nothing was changed")
		require.True(t, awaited(r.dir))
		made, err := p.Sign(t.Context(), Keys{Dirs: []string{media[name]}})
		require.NoError(t, err)
		require.Len(t, made, 1)
		require.NoError(t, AddSignatures(t.Context(), path, p))
	}
	p, err = ReadProposal(path)
	require.NoError(t, err)
	require.True(t, p.Status().Complete)
	require.NoError(t, r.PublishProposal(t.Context(), p))
	require.NoFileExists(t, path)
	require.Empty(t, verified(t, r, VerifyOptions{}).Problems)
	require.Contains(t, requireCode(t, r.PublishProposal(t.Context(), p), protocol.CodeUsage).Msg, "founded already")

	r.keys.Dirs = []string{media["dana"]}
	publishAs(t, r, "ragnos", "tool", "1.0.0")
	_, _, err = serveRepository(t, r).install(t, hybrid.ModeDual, "plugins/ragnos/tool.1.0.0.tar.gz")
	require.NoError(t, err)
	list, err := r.Keys(t.Context())
	require.NoError(t, err)
	require.Equal(t, "alice", list.Roles[0].Keys[0].Name)
}

// TestFoundedAtOnce where all who must sign are there.
func TestFoundedAtOnce(t *testing.T) {
	media, public := founders(t, "alice", "bob", "dana")
	keys := plainKeys
	keys.Dirs = []string{media["alice"], media["dana"]}
	r, p, err := Found(t.Context(), filepath.Join(t.TempDir(), "repo"), InitOptions{Options: Options{Keys: keys}, Algorithm: keyfile.Ed25519,
		Root: Quorum{1, 2}, RootKeys: []string{public["alice"], public["bob"]}, TargetsKeys: []string{public["dana"]}})
	require.NoError(t, err)
	require.Nil(t, p)
	require.Empty(t, verified(t, r, VerifyOptions{}).Problems)
}

func TestFoundRefuses(t *testing.T) {
	_, public := founders(t, "alice", "bob")
	for name, o := range map[string]InitOptions{
		"say how many of them must sign: --root M/2": {RootKeys: []string{public["alice"], public["bob"]}},
		"--root M/1":               {RootKeys: []string{public["alice"]}, Root: Quorum{1, 2}},
		"each must be another one": {TargetsKeys: []string{public["alice"], public["alice"]}, Targets: Quorum{1, 2}},
		"":                         {RootKeys: []string{filepath.Join(t.TempDir(), "none.pub")}},
	} {
		o.Keys, o.Algorithm = plainKeys, keyfile.Ed25519
		dir := filepath.Join(t.TempDir(), "repo")
		_, _, err := Found(t.Context(), dir, o)
		require.Error(t, err)
		require.Contains(t, err.Error(), name)
		require.NoFileExists(t, filepath.Join(dir, configName))
		_, err = Init(t.Context(), dir, o)
		require.ErrorContains(t, err, "Found")
	}
}

// TestAnotherFounding: a proposal founds the repository that it was made with, and
// rests on no root; one without root or targets is none.
func TestAnotherFounding(t *testing.T) {
	_, p, media := toBeFounded(t)
	other, _, _ := toBeFounded(t)
	_, err := p.Sign(t.Context(), Keys{Dirs: []string{media["alice"], media["bob"], media["dana"]}})
	require.NoError(t, err)
	requireCode(t, other.PublishProposal(t.Context(), p), protocol.CodeRootConflict)
	there, _ := newFastRepository(t)
	requireCode(t, there.PublishProposal(t.Context(), p), protocol.CodeRootConflict)
	anchor, err := os.ReadFile(filepath.Join(there.dir, anchorName))
	require.NoError(t, err)
	requireCode(t, p.RestsOn(anchor), protocol.CodeRootConflict)
	renewal, err := there.ProposeRoot(t.Context())
	require.NoError(t, err)
	requireCode(t, other.PublishProposal(t.Context(), renewal), protocol.CodeUnsigned)
	_, err = p.Merge(renewal)
	requireCode(t, err, protocol.CodeMismatch)

	p.files = p.files[:1]
	path := filepath.Join(t.TempDir(), "a.proposal")
	require.NoError(t, WriteProposal(path, p))
	_, err = ReadProposal(path)
	requireCode(t, err, protocol.CodeMalformed)
}

// TestFoundingDiesAtEveryStep: the repository is founded or waits, and can be
// founded.
func TestFoundingDiesAtEveryStep(t *testing.T) {
	made, p, media := toBeFounded(t)
	_, err := p.Sign(t.Context(), Keys{Dirs: []string{media["alice"], media["bob"], media["dana"]}})
	require.NoError(t, err)
	for step := int64(1); ; step++ {
		r := copyOf(t, made)
		var n atomic.Int64
		r.disk.before = func(string, string) error {
			if n.Add(1) >= step {
				return syscall.ENOSPC
			}
			return nil
		}
		err := r.PublishProposal(t.Context(), p)
		if n.Load() < step {
			require.NoError(t, err)
			require.Greater(t, step, int64(20))
			return
		}
		require.ErrorIs(t, err, syscall.ENOSPC)
		r.disk.before = nil
		if err := r.PublishProposal(t.Context(), p); err != nil {
			require.ErrorContains(t, err, "founded already")
		}
		require.Empty(t, verified(t, r, VerifyOptions{}).Problems)
		require.FileExists(t, filepath.Join(r.dir, anchorName))
	}
}

package audit

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func newKey(t testing.TB, name string) (note.Signer, string, string) {
	t.Helper()
	private, public, err := note.GenerateKey(rand.Reader, name)
	require.NoError(t, err)
	signer, err := note.NewSigner(private)
	require.NoError(t, err)
	return signer, private, public
}

func TestKeys(t *testing.T) {
	dir := newDir(t)
	l := open(t, dir, Options{})
	name := l.signer.Name()
	require.Contains(t, name, "/audit/")
	other := open(t, newDir(t), Options{})
	require.NotEqual(t, name, other.signer.Name())
	_, err := Open(dir, Options{Name: "another"})
	requireCode(t, err, protocol.CodeLocalIO)
	_, err = Open(newDir(t), Options{Name: "a name+"})
	requireCode(t, err, protocol.CodeUsage)
	require.NoError(t, os.Remove(filepath.Join(dir, PublicName)))
	require.Equal(t, name, open(t, dir, Options{Name: name}).signer.Name())
	require.FileExists(t, filepath.Join(dir, PublicName))
}

func TestKeysThatAreNone(t *testing.T) {
	_, private, public := newKey(t, "test/log")
	for name, change := range map[string]func(t *testing.T, key, pub string){
		"readable": func(t *testing.T, key, _ string) {
			if runtime.GOOS == "windows" {
				require.NoError(t, os.Remove(key))
			}
			require.NoError(t, os.Chmod(key, 0o640))
		},
		"damaged":        func(t *testing.T, key, _ string) { put(t, key, "PRIVATE+KEY+x") },
		"another":        func(t *testing.T, key, _ string) { put(t, key, private+"\n") },
		"missing":        func(t *testing.T, key, _ string) { require.NoError(t, os.Remove(key)) },
		"public damaged": func(t *testing.T, _, pub string) { put(t, pub, "x") },
		"public empty":   func(t *testing.T, _, pub string) { put(t, pub, "\n") },
		"public another": func(t *testing.T, _, pub string) { put(t, pub, public) },
		"a link":         func(t *testing.T, key, _ string) { link(t, key) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := newDir(t)
			require.NoError(t, open(t, dir, quiet()).Close(background))
			change(t, filepath.Join(dir, KeyName), filepath.Join(dir, PublicName))
			_, err := Open(dir, quiet())
			code := protocol.CodeLocalIO
			if name == "readable" && runtime.GOOS != "windows" {
				code = protocol.CodePermissions
			}
			requireCode(t, err, code)
			require.NotEmpty(t, tuferr.As(err).Hint)
		})
	}
}

func put(t testing.TB, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

// TestNewKey: who replaces the key adds a line, and all checkpoints still count.
func TestNewKey(t *testing.T) {
	dir := newDir(t)
	l := open(t, dir, quiet())
	add(t, l, 2)
	require.NoError(t, l.Close(background))
	_, private, public := newKey(t, "test/log")
	put(t, filepath.Join(dir, KeyName), private+"\n")
	_, err := Open(dir, quiet())
	require.Contains(t, tuferr.As(err).Hint, public)
	put(t, filepath.Join(dir, PublicName), string(filesOf(t, dir)[PublicName])+public+"\n")
	l = open(t, dir, quiet())
	add(t, l, 2)
	require.NoError(t, l.Close(background))
	rep, err := Verify(background, dir, VerifyOptions{})
	require.NoError(t, err)
	require.Empty(t, rep.Problems)
	require.EqualValues(t, 2, rep.Checkpoints)
}

// TestKeyTwice: a key that is there more than once still verifies.
func TestKeyTwice(t *testing.T) {
	dir := newDir(t)
	l := open(t, dir, quiet())
	add(t, l, 2)
	require.NoError(t, l.Close(background))
	path := filepath.Join(dir, PublicName)
	text := string(filesOf(t, dir)[PublicName])
	put(t, path, text+"\n"+text)
	keys, err := ReadKeys(path, path)
	require.NoError(t, err)
	require.Len(t, keys, 1)
	for _, opts := range []VerifyOptions{{}, {Verifiers: keys}} {
		rep, err := Verify(background, dir, opts)
		require.NoError(t, err)
		require.Empty(t, rep.Problems)
		require.EqualValues(t, 2, rep.Covered)
	}
	require.NoError(t, os.Remove(filepath.Join(dir, stateName)))
	require.NoError(t, os.Truncate(filepath.Join(dir, fileName(1)), 0))
	_, err = Open(dir, quiet())
	requireCode(t, err, protocol.CodeLocalIO)
}

// TestNewName: a key with another name goes on as well.
func TestNewName(t *testing.T) {
	dir := newDir(t)
	_, _, old := newKey(t, "unused")
	for _, name := range []string{"one", "two", "three"} {
		signer, _, public := newKey(t, name)
		old += "\n" + public
		opts := quiet()
		opts.Name, opts.Signer = "", signer // without verifiers
		l := open(t, dir, opts)
		for range 2 {
			_, err := l.Checkpoint(background)
			require.NoError(t, err)
		}
		add(t, l, 2)
		require.NoError(t, l.Close(background))
	}
	put(t, filepath.Join(dir, PublicName), old)
	rep, err := Verify(background, dir, VerifyOptions{})
	require.NoError(t, err)
	require.Empty(t, rep.Problems)
	require.EqualValues(t, 6, rep.Covered)
	require.EqualValues(t, 9, rep.Checkpoints)
}

// TestForgedCheckpoints: what is wrong with a checkpoint, stored or given, is said.
func TestForgedCheckpoints(t *testing.T) {
	s := newSample(t, 6, 100)
	stored := string(s.files[CheckpointsName])
	real, _, _ := newKey(t, "test/log")
	elsewhere, _, _ := newKey(t, "elsewhere")
	forged, err := sign(checkpoint{"test/log", 7, [32]byte{1}}, real)
	require.NoError(t, err)
	foreign, err := sign(checkpoint{"elsewhere", 7, [32]byte{1}}, elsewhere)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		kind          Kind
		stored, given string
	}{
		"forged":       {KindCheckpointForged, stored + string(forged) + "\n", ""},
		"foreign":      {KindCheckpointForeign, stored + string(foreign) + "\n", ""},
		"none":         {KindCheckpointForged, "hello\n\n— hello world\n\n" + stored, ""},
		"twice":        {KindCheckpointOrder, stored + stored, ""},
		"given forged": {KindCheckpointForged, stored, string(forged)},
		"given other":  {KindCheckpointForeign, stored, string(foreign)},
		"missing":      {KindCheckpointMissing, "", string(s.anchor)},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s.verify(t, dir, nil, false)
			put(t, filepath.Join(dir, CheckpointsName), c.stored)
			rep, err := Verify(background, dir, VerifyOptions{Verifiers: s.keys, Checkpoints: []byte(c.given)})
			require.NoError(t, err)
			find(t, rep, c.kind)
			for _, p := range rep.Problems {
				require.Equal(t, c.kind, p.Kind)
			}
			require.EqualValues(t, 6, rep.Covered)
		})
	}
}

// TestTwoHistories: a checkpoint of other lines, signed with the log's own key.
func TestTwoHistories(t *testing.T) {
	s := newSample(t, 6, 100)
	dir := newDir(t)
	l := open(t, dir, quiet())
	add(t, l, 2)
	root := [32]byte{7}
	odd, err := sign(checkpoint{"test/log", 2, root}, l.signer)
	require.NoError(t, err)
	add(t, l, 2)
	cp, err := l.Checkpoint(background)
	require.NoError(t, err)
	put(t, filepath.Join(dir, CheckpointsName), string(odd)+"\n"+string(cp)+"\n")
	rep, err := Verify(background, dir, VerifyOptions{})
	require.NoError(t, err)
	require.Equal(t, KindCheckpointForged, rep.Problems[0].Kind)
	require.EqualValues(t, 4, rep.Covered)
	rep, err = Verify(background, dir, VerifyOptions{Checkpoints: odd})
	require.NoError(t, err)
	p := find(t, rep, KindEdited)
	require.EqualValues(t, 1, p.Seq)
	require.EqualValues(t, 2, p.Through)
	rep, err = Verify(background, dir, VerifyOptions{Verifiers: s.keys, Checkpoints: s.anchor})
	require.NoError(t, err)
	find(t, rep, KindTruncated)
	find(t, rep, KindCheckpointForged)
}

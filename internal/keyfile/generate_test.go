package keyfile

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

func requireMode(t *testing.T, want fs.FileMode, path string) {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, want, info.Mode().Perm(), "%s has mode %s", path, info.Mode())
}

// TestGenerate: every kind of key, encrypted and plain, is made, found, opened
// and signs; sigstore's own library reads it.
func TestGenerate(t *testing.T) {
	for _, alg := range []Algorithm{RSA, Ed25519, ECDSA} {
		for how, pass := range map[string]Passphrase{"encrypted": says(secret), "plain": Plain} {
			t.Run(string(alg)+" "+how, func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "keys")
				made, err := Generate(t.Context(), dir, "root-1", alg, pass)
				require.NoError(t, err)
				require.Equal(t, "root-1", made.Name)
				require.Equal(t, filepath.Join(dir, "root-1.key"), made.Path)
				requireMode(t, 0o700, dir)
				requireMode(t, 0o600, made.Path)
				requireMode(t, 0o644, filepath.Join(dir, "root-1.pub"))

				list, err := List(dir)
				require.NoError(t, err)
				require.Equal(t, []*Key{made}, list)
				public, err := ReadPublic(filepath.Join(dir, "root-1.pub"))
				require.NoError(t, err)
				require.Equal(t, made.Public, public)
				if how == "plain" {
					pass = nil
				}
				signer, err := list[0].Signer(t.Context(), pass)
				require.NoError(t, err)
				requireSigns(t, signer, public)
				same, err := PublicOfSigner(signer)
				require.NoError(t, err)
				require.Equal(t, public, same)

				data := get(t, made.Path)
				require.Equal(t, how == "encrypted", strings.HasPrefix(string(data), "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n"))
				private, err := cryptoutils.UnmarshalPEMToPrivateKey(data, cryptoutils.StaticPasswordFunc([]byte(secret)))
				require.NoError(t, err)
				other, err := signerOf(private.(crypto.Signer))
				require.NoError(t, err)
				requireSigns(t, other, public)
			})
		}
	}
}

// TestGenerateRefuses: what cannot be is refused before anybody is asked, and
// leaves nothing.
func TestGenerateRefuses(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "root": true, "root-2": true, "acme.release_1": true, "com": true, "nul1": true, "console": true,
		strings.Repeat("a", 64): true,
		"":                      false, ".": false, "..": false, "-a": false, "a-": false, ".a": false, "a.": false, "a..b": false,
		"Root": false, "a b": false, "a/b": false, `a\b`: false, "../a": false, "/a": false, "a:b": false, "a*": false,
		"con": false, "nul": false, "aux.x": false, "com1": false, "lpt9.key": false, "rооt": false, "a\x00": false, "a\n": false,
		strings.Repeat("a", 65): false,
	} {
		err := checkName(name)
		if ok {
			require.NoError(t, err, "%q", name)
			continue
		}
		dir := filepath.Join(t.TempDir(), "keys")
		_, err = Generate(t.Context(), dir, name, Ed25519, never(t))
		requireError(t, err, protocol.CodeUsage, ErrName)
		require.NoDirExists(t, dir)
	}
	dir := filepath.Join(t.TempDir(), "keys")
	_, err := Generate(t.Context(), dir, "a", "dsa", never(t))
	requireError(t, err, protocol.CodeUsage, nil)
	require.NoDirExists(t, dir)

	_, err = Generate(t.Context(), filepath.Join(dir, "deeper"), "a", Ed25519, never(t))
	requireError(t, err, protocol.CodeLocalIO, fs.ErrNotExist)

	open := filepath.Join(t.TempDir(), "keys")
	require.NoError(t, os.Mkdir(open, 0o700))
	require.NoError(t, os.Chmod(open, 0o750))
	_, err = Generate(t.Context(), open, "a", Ed25519, never(t))
	e := requireError(t, err, protocol.CodePermissions, nil)
	require.Contains(t, e.Hint, "chmod 700 "+open)

	file := put(t, filepath.Join(t.TempDir(), "file"), nil)
	_, err = Generate(t.Context(), file, "a", Ed25519, never(t))
	requireError(t, err, protocol.CodeLocalIO, nil)
}

// TestGenerateWithoutPassphrase: without one, or with an empty one, there is no
// key, and never a plain one by accident.
func TestGenerateWithoutPassphrase(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tt := range map[string]struct {
		ctx  context.Context
		pass Passphrase
		code protocol.Code
	}{
		"none":      {t.Context(), nil, protocol.CodeUsage},
		"no source": {t.Context(), FirstOf(), protocol.CodeUsage},
		"empty":     {t.Context(), says(""), protocol.CodeUsage},
		"nil": {t.Context(), func(context.Context, string, bool) ([]byte, error) { return nil, nil },
			protocol.CodeUsage},
		"too long":  {t.Context(), says(strings.Repeat("x", maxPassphrase+1)), protocol.CodeUsage},
		"cancelled": {cancelled, never(t), protocol.CodeCancelled},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "keys")
			_, err := Generate(tt.ctx, dir, "a", Ed25519, tt.pass)
			requireError(t, err, tt.code, nil)
			list, err := List(dir)
			require.NoError(t, err)
			require.Empty(t, list)
		})
	}
	_, err := Generate(t.Context(), keyDir(t), "a", Ed25519, FirstOf())
	require.ErrorIs(t, err, ErrNoPassphrase)
	for _, way := range []string{"--passphrase-file", "RAGNOS_TUF_PASSPHRASE", "terminal", "--plain-keys"} {
		require.ErrorContains(t, err, way)
	}
}

func TestParseAlgorithm(t *testing.T) {
	for s, want := range map[string]Algorithm{"": RSA, "rsa": RSA, "ed25519": Ed25519, "ecdsa": ECDSA} {
		got, err := ParseAlgorithm(s)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, s := range []string{"RSA", "rsa ", "p384", "dsa"} {
		_, err := ParseAlgorithm(s)
		requireError(t, err, protocol.CodeUsage, nil)
	}
}

// TestNothingIsOverwritten, whatever of a key is there.
func TestNothingIsOverwritten(t *testing.T) {
	for _, ext := range []string{".key", ".pem", ".pub"} {
		dir := keyDir(t)
		path := put(t, filepath.Join(dir, "a"+ext), []byte("mine"))
		_, err := Generate(t.Context(), dir, "a", Ed25519, never(t))
		e := requireError(t, err, protocol.CodeUsage, ErrExists)
		require.Equal(t, path, e.Path)
		require.Equal(t, "mine", string(get(t, path)))
		require.NoError(t, os.Remove(path))
		require.NoError(t, os.Symlink("nowhere", path))
		_, err = Generate(t.Context(), dir, "a", Ed25519, never(t))
		requireError(t, err, protocol.CodeUsage, ErrExists)
	}
}

// TestOneWins: of several keys of one name made at once there is one, whole.
func TestOneWins(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	var mu sync.Mutex
	var winners []*Key
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			k, err := Generate(t.Context(), dir, "a", Ed25519, Plain)
			if err != nil {
				requireError(t, err, protocol.CodeUsage, ErrExists)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			winners = append(winners, k)
		})
	}
	group.Wait()
	require.Len(t, winners, 1)
	list, err := List(dir)
	require.NoError(t, err)
	require.Equal(t, winners, list)
	requireTidy(t, dir)
}

// TestWaitingForTheLockEnds with the context.
func TestWaitingForTheLockEnds(t *testing.T) {
	dir := keyDir(t)
	ctx, cancel := context.WithCancel(t.Context())
	holds := disk{before: func(op, _ string) error {
		if op != "rename" {
			return nil
		}
		_, err := generate(ctx, disk{before: func(op, _ string) error {
			if op == "lock" {
				cancel()
			}
			return nil
		}}, dir, "b", Ed25519, Plain)
		requireError(t, err, protocol.CodeCancelled, context.Canceled)
		return err
	}}
	_, err := generate(t.Context(), holds, dir, "a", Ed25519, Plain)
	requireError(t, err, protocol.CodeCancelled, nil)
	requireTidy(t, dir)
}

// requireTidy: only keys and the lock are left.
func requireTidy(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		require.False(t, e.Name() != lockName && strings.HasPrefix(e.Name(), "."), "%s is left", e.Name())
	}
}

// TestEncryptedAsStrongAsPromised: the file says so, and holds the plain key
// nowhere.
func TestEncryptedAsStrongAsPromised(t *testing.T) {
	_, file, err := newKey(Ed25519, []byte(secret))
	require.NoError(t, err)
	block, rest := pem.Decode(file)
	require.Contains(t, string(block.Bytes), `"params":{"N":131072,"r":8,"p":1}`)
	public, err := parsePublic(rest)
	require.NoError(t, err)
	c, err := parseContainer(file)
	require.NoError(t, err)
	private, err := c.open([]byte(secret))
	require.NoError(t, err)
	seed := private.(ed25519.PrivateKey).Seed()
	require.NotContains(t, string(block.Bytes), string(seed))
	own, err := PublicOf(private.Public())
	require.NoError(t, err)
	require.Equal(t, own, public)
}

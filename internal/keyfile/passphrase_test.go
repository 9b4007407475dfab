package keyfile

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestFromFile(t *testing.T) {
	long := strings.Repeat("x", maxPassphrase)
	for content, want := range map[string]string{
		secret: secret, secret + "\n": secret, secret + "\r\n": secret, secret + "\nsecond line\n": secret,
		" with spaces ": " with spaces ", "ünï": "ünï", long + "\r\n": long, long + "\n" + long: long,
		"\xff\xfex\x00\n\x00": "", "": "", "\n": "", "\r\n": "", "\n" + secret: "", long + "x": "", long + "x\n": "", strings.Repeat(long, 100): "",
	} {
		path := put(t, filepath.Join(t.TempDir(), "phrase"), []byte(content))
		phrase, err := FromFile(path)(t.Context(), "a.key", false)
		if want == "" {
			e := requireError(t, err, protocol.CodeUsage, nil)
			require.Equal(t, path, e.Path)
			require.NotContains(t, err.Error(), "xxx")
			continue
		}
		require.NoError(t, err)
		require.Equal(t, want, string(phrase))
	}
	_, err := FromFile(filepath.Join(t.TempDir(), "nowhere"))(t.Context(), "a.key", false)
	requireError(t, err, protocol.CodeLocalIO, os.ErrNotExist)
	_, err = FromFile("")(t.Context(), "a.key", false)
	require.ErrorIs(t, err, ErrNoPassphrase)
}

func TestFromEnv(t *testing.T) {
	const name = "RAGNOS_KEYFILE_TEST_PASSPHRASE"
	_, err := FromEnv(name)(t.Context(), "a.key", false)
	require.ErrorIs(t, err, ErrNoPassphrase)
	t.Setenv(name, secret+"\n")
	phrase, err := FromEnv(name)(t.Context(), "a.key", false)
	require.NoError(t, err)
	require.Equal(t, secret+"\n", string(phrase))
	for _, bad := range []string{"", strings.Repeat("x", maxPassphrase+1)} {
		t.Setenv(name, bad)
		_, err = FromEnv(name)(t.Context(), "a.key", false)
		requireError(t, err, protocol.CodeUsage, nil)
		require.NotErrorIs(t, err, ErrNoPassphrase, "a variable that is set is an answer")
		require.ErrorContains(t, err, name)
	}
}

func TestFirstOf(t *testing.T) {
	broken := func(context.Context, string, bool) ([]byte, error) { return nil, errors.New("broken") }
	phrase, err := FirstOf(FromFile(""), FromEnv("RAGNOS_KEYFILE_TEST_UNSET"), says("third"), never(t))(t.Context(), "a.key", true)
	require.NoError(t, err)
	require.Equal(t, "third", string(phrase))
	_, err = FirstOf(FromFile(""), broken, never(t))(t.Context(), "a.key", true)
	require.EqualError(t, err, "broken", "a source that fails is not passed over")
	_, err = FirstOf(Plain, never(t))(t.Context(), "a.key", true)
	require.ErrorIs(t, err, errPlain)
	phrase, err = FirstOf(Plain, says("second"))(t.Context(), "a.key", false)
	require.NoError(t, err)
	require.Equal(t, "second", string(phrase))
	_, err = FirstOf(FromFile(""))(t.Context(), "a.key", false)
	e := requireError(t, err, protocol.CodeUsage, ErrNoPassphrase)
	require.Equal(t, "a.key", e.Path)
}

// TestOnce: each key is asked for once, whoever asks, and what was given is
// overwritten in the end.
func TestOnce(t *testing.T) {
	var asked atomic.Int64
	once, forget := Once(func(_ context.Context, path string, _ bool) ([]byte, error) {
		asked.Add(1)
		return []byte("phrase of " + path), nil
	})
	var group sync.WaitGroup
	for range 20 {
		for _, path := range []string{"a", "b"} {
			group.Go(func() {
				phrase, err := once(t.Context(), path, false)
				if err != nil || string(phrase) != "phrase of "+path {
					t.Errorf("%q, %v", phrase, err)
				}
				clear(phrase) // The caller's own.
			})
		}
	}
	group.Wait()
	require.EqualValues(t, 2, asked.Load())
	forget()
	phrase, err := once(t.Context(), "a", false)
	require.NoError(t, err)
	require.Equal(t, "phrase of a", string(phrase))
	require.EqualValues(t, 3, asked.Load())
}

// TestOnceRemembersNoError, and a waiting caller may give up.
func TestOnceRemembersNoError(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan error)
	once, forget := Once(func(context.Context, string, bool) ([]byte, error) {
		asked <- struct{}{}
		return []byte(secret), <-answer
	})
	defer forget()
	failed := make(chan error)
	go func() {
		_, err := once(context.Background(), "a", false)
		failed <- err
	}()
	<-asked
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := once(ctx, "b", false)
	requireError(t, err, protocol.CodeCancelled, context.Canceled)
	answer <- errors.New("broken")
	require.EqualError(t, <-failed, "broken")

	go func() { <-asked; answer <- nil }()
	phrase, err := once(t.Context(), "a", false)
	require.NoError(t, err)
	require.Equal(t, secret, string(phrase))
}

// TestPassphraseIsOverwritten by whoever asked for it.
func TestPassphraseIsOverwritten(t *testing.T) {
	var given []byte
	source := func(context.Context, string, bool) ([]byte, error) {
		given = []byte(secret)
		return given, nil
	}
	zeroes := make([]byte, len(secret))
	dir := keyDir(t)
	k, err := Generate(t.Context(), dir, "a", Ed25519, source)
	require.NoError(t, err)
	require.Equal(t, zeroes, given)
	_, err = k.Signer(t.Context(), source)
	require.NoError(t, err)
	require.Equal(t, zeroes, given)
}

// TestShortPassphrase: a new key gets a good one, and keys that are there are
// opened whatever theirs is.
func TestShortPassphrase(t *testing.T) {
	for phrase, ok := range map[string]bool{"seven77": false, "üüüüüüü": false, " ": false, "eight888": true, "üüüüüüüü": true, "        ": true} {
		dir := keyDir(t)
		_, err := Generate(t.Context(), dir, "a", Ed25519, says(phrase))
		if ok {
			require.NoError(t, err)
			continue
		}
		e := requireError(t, err, protocol.CodeUsage, nil)
		require.Equal(t, "the passphrase of a new key needs at least 8 characters", e.Msg)
		require.Equal(t, filepath.Join(dir, "a.key"), e.Path)
		require.NotContains(t, e.Hint, phrase+";")
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, entries)

		phrase, err := ask(t.Context(), says(phrase), "old.key", false)
		require.NoError(t, err)
		require.NotEmpty(t, phrase)
	}
}

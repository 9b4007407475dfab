package repository

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	helloArchive  = "../testdata/plugins/hello-world.1.0.0.tar.gz"
	helloManifest = "../testdata/plugins/hello-world.1.0.0.json"
	helloPath     = "plugins/ragnos/hello-world.1.0.0.tar.gz"
)

// testClock is a clock that stands still until it is moved.
type testClock struct{ now time.Time }

func (c *testClock) Now() time.Time { return c.now }

func newTestRepository(t *testing.T) (*Repository, *testClock) {
	t.Helper()
	clock := &testClock{time.Date(2030, 1, 2, 3, 4, 5, 678, time.UTC)}
	r, err := Init(t.Context(), filepath.Join(t.TempDir(), "repo"), InitOptions{Options: Options{Keys: plainKeys, Clock: clock.Now}})
	require.NoError(t, err)
	return r, clock
}

func requireCode(t *testing.T, err error, code protocol.Code) *Error {
	t.Helper()
	require.ErrorIs(t, err, tuferr.OfCode(code), "%v", err)
	return tuferr.As(err)
}

var plainKeys = Keys{Passphrase: PlainKeys}

func keyPath(dir, name string) string { return filepath.Join(dir, keysName, name+".key") }

func listFiles(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	require.NoError(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, p)
			all = append(all, rel)
		}
		return err
	}))
	return all
}

func TestInitMakesAWholeRepository(t *testing.T) {
	r, clock := newTestRepository(t)
	require.Equal(t, []string{
		".lock", "keys/.lock", "keys/root.key", "keys/root.pub", "keys/snapshot.key", "keys/snapshot.pub",
		"keys/targets.key", "keys/targets.pub", "keys/timestamp.key", "keys/timestamp.pub",
		"metadata/1.root.json", "metadata/1.snapshot.json", "metadata/1.targets.json", "metadata/timestamp.json",
		"repository.json", "root.json",
	}, listFiles(t, r.Dir()))
	anchor, err := os.ReadFile(filepath.Join(r.Dir(), "root.json"))
	require.NoError(t, err)
	first, err := os.ReadFile(r.metadataPath("1.root.json"))
	require.NoError(t, err)
	require.Equal(t, first, anchor)

	s, err := r.load(t.Context())
	require.NoError(t, err)
	targets, err := s.targets()
	require.NoError(t, err)
	require.True(t, s.root.Root.ConsistentSnapshot)
	require.Len(t, s.root.Root.Keys, 4, "a different key for each role")
	require.Equal(t, "1.0.31", s.root.SpecVersion)
	for _, role := range topLevel {
		info, err := os.Stat(keyPath(r.Dir(), role))
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	}
	day := 24 * time.Hour
	start := clock.now.Truncate(time.Second)
	require.Equal(t, start.Add(365*day), s.root.Expires)
	require.Equal(t, start.Add(90*day), targets.Expires)
	require.Equal(t, start.Add(7*day), s.snapshot.Expires)
	require.Equal(t, start.Add(day), s.timestamp.Expires)
}

func TestInitRefuses(t *testing.T) {
	r, _ := newTestRepository(t)
	before := listFiles(t, r.Dir())
	_, err := Init(t.Context(), r.Dir(), InitOptions{Options: Options{Keys: plainKeys}})
	require.ErrorIs(t, err, ErrExists)
	requireCode(t, err, protocol.CodeUsage)
	require.Equal(t, before, listFiles(t, r.Dir()))

	foreign := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(foreign, "thesis.txt"), nil, 0o600))
	_, err = Init(t.Context(), foreign, InitOptions{Options: Options{Keys: plainKeys}})
	requireCode(t, err, protocol.CodeUsage)
	require.Equal(t, []string{"thesis.txt"}, listFiles(t, foreign), "a refused directory is left as it was")

	torn := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(torn, "keys"), 0o700))
	_, err = Init(t.Context(), torn, InitOptions{Options: Options{Keys: plainKeys}})
	require.ErrorContains(t, err, "interrupted")

	_, err = Init(t.Context(), t.TempDir(), InitOptions{Lifetimes: Lifetimes{Snapshot: time.Second}})
	require.Equal(t, "snapshot", requireCode(t, err, protocol.CodeUsage).Role)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	stopped := t.TempDir()
	_, err = Init(ctx, stopped, InitOptions{Options: Options{Keys: plainKeys}})
	requireCode(t, err, protocol.CodeCancelled)
	require.Subset(t, []string{".lock"}, listFiles(t, stopped))

	file := filepath.Join(foreign, "thesis.txt")
	_, err = Init(t.Context(), filepath.Join(file, "repo"), InitOptions{Options: Options{Keys: plainKeys}})
	requireCode(t, err, protocol.CodeLocalIO)
}

func TestInitSweepsWhatAKilledOneLeft(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, tempPrefix+"1", "keys"), 0o700))
	_, err := Init(t.Context(), dir, InitOptions{Options: Options{Keys: plainKeys}})
	require.NoError(t, err)
	require.NoDirExists(t, filepath.Join(dir, tempPrefix+"1"))
}

func TestOpen(t *testing.T) {
	_, err := Open(t.TempDir(), Options{})
	require.Contains(t, requireCode(t, err, protocol.CodeUsage).Hint, "local-tuf init")

	for name, config := range map[string]string{
		"no JSON": "{", "other format": `{"format":2}`, "odd role": `{"format":1,"lifetimes":{"mirrors":"1h"}}`, "odd member": `{"format":1,"x":1}`,
		"short":    `{"format":1,"lifetimes":{"root":"1s","targets":"1h","snapshot":"1h","timestamp":"1h"}}`,
		"too long": strings.Repeat(" ", 1<<20+1),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "repository.json"), []byte(config), 0o600))
			_, err := Open(dir, Options{})
			require.Error(t, err)
			require.Equal(t, "open", tuferr.As(err).Op)
		})
	}
}

func TestLifetimesAreKept(t *testing.T) {
	want := Lifetimes{Root: time.Hour, Targets: 50 * time.Minute, Snapshot: 30 * time.Second, Timestamp: 2 * time.Second, Publishers: time.Hour}
	r, err := Init(t.Context(), t.TempDir(), InitOptions{Options: Options{Keys: plainKeys}, Lifetimes: want})
	require.NoError(t, err)
	again, err := Open(r.Dir(), Options{})
	require.NoError(t, err)
	require.Equal(t, want, again.config.Lifetimes)
}

func TestKeysThatOthersCanReachAreRefused(t *testing.T) {
	for _, tc := range []struct {
		path string
		mode fs.FileMode
	}{
		{"keys/targets.key", 0o644}, {"keys/targets.key", 0o620}, {"keys/timestamp.key", 0o604}, {"keys", 0o750},
	} {
		t.Run(tc.path+tc.mode.String(), func(t *testing.T) {
			r, _ := newTestRepository(t)
			before := listFiles(t, r.Dir())
			require.NoError(t, os.Chmod(filepath.Join(r.Dir(), tc.path), tc.mode))
			_, _, err := r.Publish(t.Context(), helloArchive, helloManifest, PublishOptions{})
			e := requireCode(t, err, protocol.CodePermissions)
			require.Contains(t, e.Hint, "chmod")
			require.Equal(t, before, listFiles(t, r.Dir()))
		})
	}
}

func TestBadKeyFiles(t *testing.T) {
	secret := "c2VjcmV0IGtleQ=="
	for name, content := range map[string]string{
		"empty":     "",
		"no PEM":    secret,
		"other PEM": "-----BEGIN RSA PRIVATE KEY-----\n" + secret + "\n-----END RSA PRIVATE KEY-----\n",
		"damaged":   "-----BEGIN PRIVATE KEY-----\n" + secret + "\n-----END PRIVATE KEY-----\n",
		"ed25519":   "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n",
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := newTestRepository(t)
			require.NoError(t, os.WriteFile(keyPath(r.Dir(), "targets"), []byte(content), 0o600))
			_, _, err := r.Publish(t.Context(), helloArchive, helloManifest, PublishOptions{})
			require.Contains(t, []protocol.Code{protocol.CodeLocalIO, protocol.CodeUsage}, tuferr.CodeOf(err))
			require.Contains(t, tuferr.As(err).Path, "targets.key")
			require.NotContains(t, err.Error(), secret)
		})
	}
	t.Run("of another role", func(t *testing.T) {
		r, _ := newTestRepository(t)
		require.NoError(t, os.Rename(keyPath(r.Dir(), "root"), keyPath(r.Dir(), "snapshot")))
		_, _, err := r.Publish(t.Context(), helloArchive, helloManifest, PublishOptions{})
		require.ErrorContains(t, err, "another key")
		st, err := r.Status(t.Context())
		require.NoError(t, err)
		require.Zero(t, st.Targets)
	})
}

func TestTheRootKeyIsNotNeededAfterInit(t *testing.T) {
	r, _ := newTestRepository(t)
	require.NoError(t, os.Remove(keyPath(r.Dir(), "root")))
	_, _, err := r.Publish(t.Context(), helloArchive, helloManifest, PublishOptions{})
	require.NoError(t, err)
}

func TestStatus(t *testing.T) {
	r, clock := newTestRepository(t)
	_, _, err := r.Publish(t.Context(), helloArchive, helloManifest, PublishOptions{})
	require.NoError(t, err)
	st, err := r.Status(t.Context())
	require.NoError(t, err)
	require.NoError(t, st.Err())
	require.Equal(t, Healthy, st.Status)
	require.Equal(t, 1, st.Targets)
	require.Equal(t, int64(326), st.Bytes)
	require.Equal(t, RoleStatus{Role: "timestamp", Version: 2, Expires: clock.now.Truncate(time.Second).Add(24 * time.Hour), SecondsLeft: 86400,
		Keys: &KeysAtHand{Threshold: 1, Listed: 1, AtHand: 1}}, st.Roles[3])

	clock.now = clock.now.Add(19 * time.Hour)
	st, err = r.Status(t.Context())
	require.NoError(t, err)
	require.NoError(t, st.Err())
	require.Equal(t, Degraded, st.Status)
	require.Equal(t, []string{"timestamp expires soon, on 2030-01-03T03:04:05Z"}, st.Problems)

	clock.now = clock.now.Add(5 * time.Hour)
	st, err = r.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, Down, st.Status)
	require.Contains(t, requireCode(t, st.Err(), protocol.CodeExpired).Hint, "publish renews")

	_, _, err = r.Publish(t.Context(), helloArchive, writeManifest(t, "ragnos", "again", "1.0.0"), PublishOptions{})
	require.NoError(t, err, "an expired repository can be renewed")
	st, err = r.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, Healthy, st.Status)

	clock.now = clock.now.Add(366 * day)
	st, err = r.Status(t.Context())
	require.NoError(t, err)
	require.Contains(t, requireCode(t, st.Err(), protocol.CodeExpired).Hint, "root propose", "publish would refuse")
}

func TestChangedMetadataIsNeverBuiltOn(t *testing.T) {
	for name, code := range map[string]protocol.Code{
		"1.root.json": protocol.CodeUnsigned, "timestamp.json": protocol.CodeUnsigned,
		"1.snapshot.json": protocol.CodeMismatch, "1.targets.json": protocol.CodeMismatch,
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := newTestRepository(t)
			path := r.metadataPath(name)
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			changed := strings.Replace(string(data), `"expires":"20`, `"expires":"21`, 1)
			require.NotEqual(t, string(data), changed)
			require.NoError(t, os.WriteFile(path, []byte(changed), 0o600))
			_, _, err = r.Publish(t.Context(), helloArchive, helloManifest, PublishOptions{})
			requireCode(t, err, code)
			st, err := r.Status(t.Context())
			require.Error(t, err)
			require.Equal(t, Down, st.Status)

			require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
			_, err = r.Status(t.Context())
			requireCode(t, err, protocol.CodeMalformed)
			require.NoError(t, os.Remove(path))
			_, err = r.Status(t.Context())
			requireCode(t, err, protocol.CodeLocalIO)
		})
	}
}

func TestARootOutOfItsPlaceIsRefused(t *testing.T) {
	r, _ := newTestRepository(t)
	data, err := os.ReadFile(r.metadataPath("1.root.json"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(r.metadataPath("2.root.json"), data, 0o600))
	_, err = r.Status(t.Context())
	requireCode(t, err, protocol.CodeRollback)
}

func TestResign(t *testing.T) {
	r, clock := newTestRepository(t)
	start := clock.now.Truncate(time.Second)
	versions := func() [2]int64 {
		s, err := r.load(t.Context())
		require.NoError(t, err)
		return [2]int64{s.snapshot.Version, s.timestamp.Version}
	}
	for _, step := range []struct {
		after time.Duration
		want  [2]int64
		due   time.Duration
	}{
		{0, [2]int64{1, 1}, 12 * time.Hour},
		{11 * time.Hour, [2]int64{1, 1}, 12 * time.Hour},
		{12 * time.Hour, [2]int64{1, 2}, 24 * time.Hour},
		{80 * time.Hour, [2]int64{1, 3}, 84 * time.Hour},
		{84 * time.Hour, [2]int64{2, 4}, 96 * time.Hour},
		{1000 * time.Hour, [2]int64{3, 5}, 1012 * time.Hour},
	} {
		clock.now = start.Add(step.after)
		due, err := r.Resign(t.Context())
		require.NoError(t, err)
		require.Equal(t, start.Add(step.due), due, "%s", step.after)
		require.Equal(t, step.want, versions(), "%s", step.after)
	}
	require.NoError(t, os.Chmod(keyPath(r.Dir(), "timestamp"), 0o644))
	clock.now = clock.now.Add(24 * time.Hour)
	_, err := r.Resign(t.Context())
	require.Equal(t, "re-sign", requireCode(t, err, protocol.CodePermissions).Op)
}

func TestKeepFreshReportsAndStops(t *testing.T) {
	r, clock := newTestRepository(t)
	require.NoError(t, os.Remove(keyPath(r.Dir(), "timestamp")))
	clock.now = clock.now.Add(24 * time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	reported := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.KeepFresh(ctx, func(err error) { reported <- err })
	}()
	require.ErrorContains(t, <-reported, "0 of 1 signatures")
	cancel()
	<-done
}

// TestKeepFreshTellsOfSignatures: of those that it made, and of no look besides.
func TestKeepFreshTellsOfSignatures(t *testing.T) {
	r, clock := newTestRepository(t)
	clock.now = clock.now.Add(13 * time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	signed, done := make(chan struct{}, 2), make(chan struct{})
	go func() {
		defer close(done)
		r.KeepFresh(ctx, func(error) {}, func() { signed <- struct{}{} })
	}()
	<-signed
	cancel()
	<-done
	require.Empty(t, signed)
}

// TestKeepFreshTellsWhoKeepsItWaiting: a command that asks for a passphrase, and is
// not answered, has the lock.
func TestKeepFreshTellsWhoKeepsItWaiting(t *testing.T) {
	r, clock := newTestRepository(t)
	clock.now = clock.now.Add(13 * time.Hour)
	release, err := lock(t.Context(), r.dir)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var told error
	r.keepFresh(ctx, 50*time.Millisecond, func(err error) {
		if err == nil { // It is over.
			cancel()
			return
		}
		told = err
		release()
	})
	require.ErrorContains(t, requireCode(t, told, protocol.CodeTimeout), "another process that is changing the repository")
}

func TestIOErrorCodes(t *testing.T) {
	for cause, code := range map[error]protocol.Code{
		context.Canceled: protocol.CodeCancelled, context.DeadlineExceeded: protocol.CodeTimeout,
		fs.ErrPermission: protocol.CodePermissions, errors.New("odd"): protocol.CodeLocalIO,
	} {
		require.Equal(t, code, ioError("x", cause).Code)
	}
	readOnly := ioError("x", syscall.EROFS)
	require.Equal(t, protocol.CodePermissions, readOnly.Code)
	require.Contains(t, readOnly.Hint, "mount", "no other user could write there")
	require.NoError(t, during("x", nil))
	requireCode(t, during("x", errors.New("odd")), protocol.CodeInternal)
}

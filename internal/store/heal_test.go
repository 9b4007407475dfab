package store

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// damages are ways to spoil a file.
var damages = map[string]func(t *testing.T, path string){
	"garbage":    spoil([]byte("garbage")),
	"empty":      spoil(nil),
	"nul":        spoil(make([]byte, 4096)),
	"list":       spoil([]byte("[]")),
	"null":       spoil([]byte("null")),
	"wrong type": spoil(acme.sign("snapshot", 1, object{"meta": object{"odd": object{"version": 1}}}).Raw),
	"truncated": func(t *testing.T, path string) {
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, raw[:len(raw)/2], 0o600))
	},
	"endless": spoil(bytes.Repeat([]byte(" "), 64<<20)),
	"directory": func(t *testing.T, path string) {
		require.NoError(t, os.Remove(path))
		require.NoError(t, os.MkdirAll(filepath.Join(path, "inside"), 0o700))
	},
	"pipe": func(t *testing.T, path string) {
		require.NoError(t, os.Remove(path))
		require.NoError(t, syscall.Mkfifo(path, 0o600))
	},
	"dangling link": func(t *testing.T, path string) {
		require.NoError(t, os.Remove(path))
		require.NoError(t, os.Symlink("nowhere", path))
	},
	"link to itself": func(t *testing.T, path string) {
		require.NoError(t, os.Remove(path))
		require.NoError(t, os.Symlink(filepath.Base(path), path))
	},
}

func spoil(content []byte) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		require.NoError(t, os.WriteFile(path, content, 0o600))
	}
}

// TestDamageHeals spoils every file of the store in every way: the store works
// on in the process that had it open and in another, nothing goes back, and the
// same refresh as before restores every file.
func TestDamageHeals(t *testing.T) {
	files := map[string]EventCode{
		"root.json": EventQuarantined, "timestamp.json": EventQuarantined, "targets.json": EventQuarantined, "team.json": EventQuarantined,
		".ragnos/anchor.json": EventRootRepaired, ".ragnos/floors": EventFloorsRebuilt, ".ragnos/clock": EventClockLost,
		".ragnos/history/1.root.json": "", ".ragnos/history/2.root.json": EventRootBehind, ".ragnos/history/3.root.json": EventRootRepaired,
	}
	for file, code := range files {
		for how, damage := range damages {
			for _, fresh := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%s/%v", file, how, fresh), func(t *testing.T) {
					t.Parallel()
					s, seen, dir := pinned(t)
					out := acme.all(3, acme.root(2), acme.root(3))
					commit(t, s, out)
					before := view(t, s).Floors
					path := filepath.Join(dir, file)
					damage(t, path)
					if fresh {
						s, seen = open(t, dir)
					}
					v := view(t, s)
					require.Equal(t, before, v.Floors)
					v.Role("targets")
					v.Role("team")
					roots := []*admission.Doc{acme.root(2), acme.root(3)}[v.Root.Version-1:]
					require.NoError(t, tryCommit(t.Context(), s, v, acme.all(3, roots...), complete))
					if code != "" && fresh {
						require.Contains(t, seen.codes(), code)
					}
					floors, files, err := fsck(dir)
					require.NoError(t, err)
					require.Equal(t, before, floors)
					require.Equal(t, before, files)
					require.Equal(t, int64(3), view(t, s).Root.Version)
				})
			}
		}
	}
}

func TestSnapshotHeals(t *testing.T) {
	s, seen, dir := pinned(t)
	commit(t, s, acme.all(3))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "snapshot.json"), []byte("{"), 0o600))
	require.Nil(t, view(t, s).Snapshot)
	require.Equal(t, []EventCode{EventQuarantined}, seen.codes())
	commit(t, s, acme.all(3))
	requireFile(t, filepath.Join(dir, "snapshot.json"), acme.all(3).Snapshot)
}

func TestFloorsAreRebuiltFromWhatVerifies(t *testing.T) {
	for name, c := range map[string]struct {
		spoil map[string][]byte
		want  Floors
	}{
		"all there":   {nil, Floors{Root: 2, Timestamp: 3, Snapshot: 3, Roles: map[string]int64{"targets.json": 3, "team.json": 3}}},
		"no snapshot": {map[string][]byte{"snapshot.json": nil}, Floors{Root: 2, Timestamp: 3, Snapshot: 3, Roles: map[string]int64{"targets.json": 3}}},
		"forged timestamp": {map[string][]byte{"timestamp.json": maker{name: "x"}.timestamp(99, 99).Raw},
			Floors{Root: 2, Snapshot: 3, Roles: map[string]int64{"targets.json": 3, "team.json": 3}}},
	} {
		t.Run(name, func(t *testing.T) {
			s, seen, dir := pinned(t)
			commit(t, s, acme.all(3, acme.root(2)))
			require.NoError(t, os.Remove(filepath.Join(dir, ".ragnos", "floors")))
			for file, raw := range c.spoil {
				require.NoError(t, os.WriteFile(filepath.Join(dir, file), raw, 0o600))
			}
			require.Equal(t, c.want, view(t, s).Floors)
			require.Contains(t, seen.codes(), EventFloorsRebuilt)
		})
	}
}

func TestFloorsFromTheFutureAreNotDamage(t *testing.T) {
	s, _, dir := pinned(t)
	commit(t, s, acme.all(1))
	path := filepath.Join(dir, ".ragnos", "floors")
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, bytes.Replace(raw, []byte(" 1 "), []byte(" 2 "), 1), 0o600))
	_, err = s.View(t.Context())
	require.NotEmpty(t, requireCode(t, err, protocol.CodeLocalIO).Hint)
	require.FileExists(t, path)
}

func TestAnotherRootOfTheSameVersionIsRefused(t *testing.T) {
	s, seen, dir := pinned(t)
	commit(t, s, acme.all(1, acme.root(2)))
	changed := acme
	changed.epoch = "second"
	for _, root := range []*admission.Doc{changed.root(2), changed.root(1)} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "root.json"), root.Raw, 0o600))
		_, err := s.View(t.Context())
		e := requireCode(t, err, protocol.CodeRootConflict)
		require.Equal(t, root.SHA256, e.Digest)
		require.Equal(t, []EventCode{EventRootConflict}, seen.codes())
		require.True(t, tuferr.Told(e))
		requireCode(t, s.Pin(t.Context(), acme.root(1).Raw, false), protocol.CodeRootConflict)
		_, err = s.View(t.Context())
		require.False(t, tuferr.Told(requireCode(t, err, protocol.CodeRootConflict)), "who asks may tell of it")
		require.Empty(t, seen.codes(), "it is told of once")
		require.NoError(t, s.Pin(t.Context(), acme.root(1).Raw, true))
		require.Equal(t, []EventCode{EventQuarantined}, seen.codes())
		requireFile(t, filepath.Join(dir, "root.json"), acme.root(2))
		require.Equal(t, int64(1), view(t, s).Floors.Timestamp)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "root.json"), root.Raw, 0o600))
		_, err = s.View(t.Context())
		require.True(t, tuferr.Told(requireCode(t, err, protocol.CodeRootConflict)), "as new")
		require.Equal(t, []EventCode{EventRootConflict}, seen.codes())
		require.NoError(t, s.Pin(t.Context(), acme.root(1).Raw, true))
		seen.codes()
	}
}

// TestALostRootHistoryMustReachItsFloor: what was lost is fetched again, and a
// refresh that ends below the root floor commits roots and nothing else.
func TestALostRootHistoryMustReachItsFloor(t *testing.T) {
	s, _, dir := pinned(t)
	next := acme
	next.epoch = "second"
	commit(t, s, next.all(7, acme.root(2), next.root(3), next.root(4)))
	require.NoError(t, os.RemoveAll(filepath.Join(dir, ".ragnos", "history", "2.root.json")))
	s, seen := open(t, dir)
	v := view(t, s)
	require.Equal(t, []EventCode{EventRootBehind}, seen.codes())
	require.Equal(t, int64(1), v.Root.Version)
	require.Equal(t, int64(4), v.Floors.Root)
	requireFile(t, filepath.Join(dir, "root.json"), next.root(4))

	for _, info := range []CommitInfo{{}, complete} {
		e := requireCode(t, tryCommit(t.Context(), s, v, acme.all(9), info), protocol.CodeRollback)
		require.Equal(t, "root", e.Role)
		require.Equal(t, int64(4), e.Trusted)
	}
	require.NoError(t, s.Pin(t.Context(), acme.root(1).Raw, false))
	require.NoError(t, s.Pin(t.Context(), next.root(4).Raw, false), "cannot be judged now, and is not harmful")
	requireFile(t, filepath.Join(dir, "timestamp.json"), next.timestamp(7, 7))

	require.NoError(t, tryCommit(t.Context(), s, v, &engine.Outcome{Roots: []*admission.Doc{acme.root(2)}}, CommitInfo{}))
	requireFile(t, filepath.Join(dir, "root.json"), next.root(4))
	w := view(t, s)
	require.Equal(t, int64(4), w.Root.Version, "3 and 4 were there all the time")
	require.Equal(t, int64(7), w.Floors.Timestamp, "an old rotation does not count twice")
	commit(t, s, next.all(8))
}

func TestAHistoryThatDoesNotFollowIsCutBack(t *testing.T) {
	s, _, dir := pinned(t)
	commit(t, s, acme.all(1, acme.root(2)))
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".ragnos", "history", "3.root.json"), maker{name: "forged"}.root(3).Raw, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "root.json"), maker{name: "forged"}.root(3).Raw, 0o600))
	for _, s := range []*Store{s, func() *Store { o, _ := open(t, dir); return o }()} {
		require.Equal(t, int64(2), view(t, s).Root.Version)
	}
	requireFile(t, filepath.Join(dir, "root.json"), acme.root(2))
}

func TestQuarantineIsBounded(t *testing.T) {
	s, _, dir := pinned(t)
	for range 3 * maxQuarantined {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "timestamp.json"), []byte("x"), 0o600))
		view(t, s)
	}
	kept, err := os.ReadDir(filepath.Join(dir, ".ragnos", "quarantine"))
	require.NoError(t, err)
	require.Len(t, kept, maxQuarantined)
	require.Equal(t, fmt.Sprintf("%08d-timestamp.json", 3*maxQuarantined), kept[maxQuarantined-1].Name())

	big := filepath.Join(dir, ".ragnos", "quarantine", "00000001-big")
	require.NoError(t, os.WriteFile(big, nil, 0o600))
	require.NoError(t, os.Truncate(big, maxQuarantineBytes+1))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "timestamp.json"), []byte("x"), 0o600))
	view(t, s)
	require.NoFileExists(t, big)
}

func TestADeletedLockFileExcludesNobody(t *testing.T) {
	s, _, dir := pinned(t)
	other, _ := open(t, dir)
	require.NoError(t, os.Remove(filepath.Join(dir, ".ragnos", "lock")))
	require.NoError(t, s.locked(t.Context(), func(x *session) error {
		_, err := x.load()
		return err
	}))
	view(t, other)
}

// TestCachedFilesAreReadAgainWhenTheyChange: also when size and time of last
// change are the same as before.
func TestCachedFilesAreReadAgainWhenTheyChange(t *testing.T) {
	s, _, dir := pinned(t)
	commit(t, s, acme.all(1))
	path := filepath.Join(dir, "timestamp.json")
	old := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(path, old, old))
	first := view(t, s).Timestamp
	same := path + ".same"
	require.NoError(t, os.WriteFile(same, acme.timestamp(2, 1).Raw, 0o600))
	require.NoError(t, os.Chtimes(same, old, old))
	require.NoError(t, os.Rename(same, path))
	require.Len(t, acme.timestamp(2, 1).Raw, len(first.Raw))
	require.Equal(t, int64(2), view(t, s).Timestamp.Version)
}

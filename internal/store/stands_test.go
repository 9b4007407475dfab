package store

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
)

// aged makes every file of a store old enough for a look to tell it from a later one.
func aged(t *testing.T, dir string) {
	t.Helper()
	old := time.Now().Add(-time.Hour)
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		require.NoError(t, err)
		return os.Chtimes(path, old, old)
	}))
}

// settledStore is a store at rest, with the view that another process has of it.
func settledStore(t *testing.T) (s *Store, v *View, dir string) {
	t.Helper()
	_, _, dir = pinned(t)
	other, _ := open(t, dir)
	commit(t, other, acme.all(1, acme.root(2)))
	aged(t, dir)
	s, _ = open(t, dir)
	v = view(t, s)
	require.True(t, v.Stands())
	return s, v, dir
}

func TestStandsUntilSomethingChanges(t *testing.T) {
	files := []string{"root.json", "timestamp.json", "snapshot.json", ".ragnos/anchor.json", ".ragnos/floors", ".ragnos/clock",
		".ragnos/history/1.root.json", ".ragnos/history/2.root.json"}
	changes := map[string]func(*testing.T, string){
		"removed": func(t *testing.T, path string) { require.NoError(t, os.Remove(path)) },
		"touched": func(t *testing.T, path string) { require.NoError(t, os.Chtimes(path, time.Now(), time.Now())) },
		"same size and time": func(t *testing.T, path string) {
			fi, err := os.Stat(path)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path+".new", make([]byte, fi.Size()), 0o600))
			require.NoError(t, os.Chtimes(path+".new", fi.ModTime(), fi.ModTime()))
			require.NoError(t, os.Rename(path+".new", path))
		},
	}
	for how, damage := range damages {
		changes[how] = damage
	}
	for how, change := range changes {
		for _, file := range files {
			t.Run(how+"/"+file, func(t *testing.T) {
				_, v, dir := settledStore(t)
				change(t, filepath.Join(dir, file))
				require.False(t, v.Stands())
			})
		}
	}
	t.Run("next root", func(t *testing.T) {
		_, v, dir := settledStore(t)
		require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, ".ragnos", "history", "3.root.json")))
		require.False(t, v.Stands())
	})
	t.Run("all gone", func(t *testing.T) {
		_, v, dir := settledStore(t)
		require.NoError(t, os.RemoveAll(dir))
		require.False(t, v.Stands())
	})
}

func TestStandsAfterCommits(t *testing.T) {
	s, v, dir := settledStore(t)
	other, _ := open(t, dir)
	commit(t, other, acme.all(2))
	require.False(t, v.Stands(), "another process has committed")

	after, err := s.Commit(t.Context(), view(t, s), acme.all(3, acme.root(3)), complete)
	require.NoError(t, err)
	require.False(t, after.Stands(), "too fresh to tell")
	aged(t, dir)
	v = view(t, s)
	require.True(t, v.Stands())
	require.Equal(t, after.ID(), v.ID())
	require.Equal(t, after.Floors, v.Floors)
	require.Equal(t, after.LastRefresh, v.LastRefresh)

	unchanged := &engine.Outcome{Timestamp: v.Timestamp, Snapshot: v.Snapshot, Targets: acme.all(3).Targets}
	after, err = s.Commit(t.Context(), v, unchanged, complete)
	require.NoError(t, err)
	require.True(t, after.Stands(), "nothing was written")
	require.True(t, v.Stands())
}

// TestCommitReturnsWhatViewWould also where the history that is being fetched
// again goes on behind what was committed.
func TestCommitReturnsWhatViewWould(t *testing.T) {
	s, _, dir := pinned(t)
	commit(t, s, acme.all(1, acme.root(2), acme.root(3)))
	require.NoError(t, os.Remove(filepath.Join(dir, ".ragnos", "history", "2.root.json")))
	s, _ = open(t, dir)
	v := view(t, s)
	require.Equal(t, int64(1), v.Root.Version)
	after, err := s.Commit(t.Context(), v, &engine.Outcome{Roots: []*admission.Doc{acme.root(2)}}, CommitInfo{})
	require.NoError(t, err)
	require.Equal(t, int64(3), after.Root.Version)
	require.Equal(t, view(t, s).ID(), after.ID())
}

// TestQuietRefreshesWriteSeldom: the clock on disk lags behind by less than
// clockLag, is never ahead, and goes along with whatever else is written.
func TestQuietRefreshesWriteSeldom(t *testing.T) {
	onDisk := func(dir string) clock {
		raw, err := os.ReadFile(filepath.Join(dir, ".ragnos", "clock"))
		require.NoError(t, err)
		c, err := unseal[clock](raw)
		require.NoError(t, err)
		return c
	}
	for name, refresh := range map[string]func(*Store, *View, time.Time) (*View, error){
		"touch": func(s *Store, v *View, start time.Time) (*View, error) {
			return s.Touch(t.Context(), v, start, v.Role("targets"))
		},
		"commit": func(s *Store, v *View, start time.Time) (*View, error) {
			out := &engine.Outcome{Timestamp: v.Timestamp, Snapshot: v.Snapshot, Targets: acme.all(1).Targets}
			return s.Commit(t.Context(), v, out, CommitInfo{Start: start, Complete: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, v, dir := settledStore(t)
			var steps atomic.Int64
			s.disk.before = func(string, string) error { steps.Add(1); return nil }
			for _, ahead := range []time.Duration{time.Second, 30 * time.Second, clockLag - 1} {
				w, err := refresh(s, v, noon.Add(ahead))
				require.NoError(t, err)
				require.True(t, w.ClockFloor.Equal(noon.Add(ahead)))
				require.True(t, w.LastRefresh.Equal(noon.Add(ahead)))
				require.True(t, v.ClockFloor.Equal(noon), "a view does not change")
				require.True(t, view(t, s).Start(noon).Equal(noon.Add(ahead)), "in this process nothing lags")
				require.True(t, onDisk(dir).Floor.Equal(noon))
			}
			require.Zero(t, steps.Load())
			w, err := refresh(s, v, noon)
			require.NoError(t, err)
			require.True(t, w.ClockFloor.Equal(noon.Add(clockLag-1)), "it never goes back")

			w, err = refresh(s, v, noon.Add(clockLag))
			require.NoError(t, err)
			require.True(t, w.ClockFloor.Equal(noon.Add(clockLag)))
			require.True(t, onDisk(dir).equal(clock{Floor: noon.Add(clockLag), LastRefresh: noon.Add(clockLag)}))

			_, err = refresh(s, w, noon.Add(clockLag+time.Second))
			require.NoError(t, err)
			require.NoError(t, tryCommit(t.Context(), s, view(t, s), &engine.Outcome{Timestamp: acme.timestamp(2, 1)}, CommitInfo{}))
			require.True(t, onDisk(dir).Floor.Equal(noon.Add(clockLag+time.Second)), "written along")
		})
	}
}

func TestTouchStaysBelowTheEarliestExpiry(t *testing.T) {
	soon := acme
	soon.expires = noon.Add(time.Hour)
	s, _, _ := pinned(t)
	out := acme.all(1)
	out.Targets[0].Doc = soon.targets(1)
	v, err := s.Commit(t.Context(), view(t, s), out, complete)
	require.NoError(t, err)
	for _, v := range []*View{v, view(t, s)} {
		w, err := s.Touch(t.Context(), v, noon.Add(2*time.Hour), v.Role("targets"))
		require.NoError(t, err)
		require.True(t, w.ClockFloor.Equal(soon.expires))
		require.True(t, w.LastRefresh.Equal(noon.Add(2*time.Hour)))
	}
}

// TestTouchOfAMovedStore: what another process has disproved or written counts,
// not what this one remembers.
func TestTouchOfAMovedStore(t *testing.T) {
	s, _, dir := pinned(t)
	wrong := time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)
	v, err := s.Commit(t.Context(), view(t, s), acme.all(1), CommitInfo{Start: wrong, Complete: true})
	require.NoError(t, err)
	v, err = s.Touch(t.Context(), v, wrong.Add(time.Second), v.Role("targets"))
	require.NoError(t, err)
	require.True(t, v.ClockFloor.Equal(wrong.Add(time.Second)))

	soon := acme
	soon.expires = noon.Add(48 * time.Hour)
	other, _ := open(t, dir)
	lowered, err := other.DisproveClock(t.Context(), noon, "timestamp", soon.timestamp(2, 2))
	require.NoError(t, err)
	require.True(t, lowered)
	require.True(t, view(t, s).Start(noon).Equal(noon))

	commit(t, other, acme.all(2))
	_, err = s.Touch(t.Context(), v, wrong.Add(time.Hour), v.Role("targets"))
	requireCode(t, err, "contention")
}

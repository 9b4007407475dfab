package store

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestNothingIsCreatedBeforePin(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "metadata")
	s, _ := open(t, dir)
	_, err := s.View(t.Context())
	require.NotEmpty(t, requireCode(t, err, protocol.CodeNoRoot).Hint)
	require.NoDirExists(t, dir)
	for _, raw := range [][]byte{nil, []byte("{}"), acme.timestamp(1, 1).Raw, maker{name: "x"}.sign("root", 1, object{"consistent_snapshot": true,
		"keys": object{}, "roles": object{"root": object{"keyids": []any{"00"}, "threshold": 1}, "timestamp": object{"keyids": []any{"00"}, "threshold": 1},
			"snapshot": object{"keyids": []any{"00"}, "threshold": 1}, "targets": object{"keyids": []any{"00"}, "threshold": 1}}}).Raw} {
		requireCode(t, s.Pin(t.Context(), raw, true), protocol.CodeBadRoot)
	}
	require.NoDirExists(t, dir)
}

func TestCommitThenView(t *testing.T) {
	s, seen, dir := pinned(t)
	v := view(t, s)
	require.Nil(t, v.Timestamp)
	require.Nil(t, v.Role("targets"))
	require.Equal(t, int64(1), v.Root.Version)
	require.Equal(t, Floors{Root: 1}, v.Floors)

	out := acme.all(3, acme.root(2), acme.root(3))
	require.NoError(t, tryCommit(t.Context(), s, v, out, complete))
	for _, other := range []*Store{s, func() *Store { o, _ := open(t, dir); return o }()} {
		w := view(t, other)
		require.NotEqual(t, v.ID(), w.ID())
		require.Equal(t, int64(3), w.Root.Version)
		require.Equal(t, int64(1), w.Anchor.Version)
		require.Equal(t, out.Timestamp.Raw, w.Timestamp.Raw)
		require.Equal(t, out.Snapshot.Raw, w.Snapshot.Raw)
		require.Equal(t, out.Targets[0].Doc.Raw, w.Role("targets").Raw)
		require.Equal(t, out.Targets[1].Doc.Raw, w.Role("team").Raw)
		require.Nil(t, w.Role("root"))
		require.Equal(t, Floors{Root: 3, Timestamp: 3, Snapshot: 3, Roles: map[string]int64{"targets.json": 3, "team.json": 3}}, w.Floors)
		require.True(t, w.LastRefresh.Equal(noon))
	}
	require.Nil(t, v.Timestamp, "a view does not change")
	require.Empty(t, seen.codes())
	requireFile(t, filepath.Join(dir, "root.json"), acme.root(3))
	fi, err := os.Stat(filepath.Join(dir, "root.json"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), fi.Mode())
	fi, err = os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), fi.Mode().Perm())
}

func TestUnchangedFilesAreNotParsedAgain(t *testing.T) {
	s, _, _ := pinned(t)
	commit(t, s, acme.all(1))
	a, b := view(t, s), view(t, s)
	require.Same(t, a.Timestamp, b.Timestamp)
	require.Same(t, a.Root, b.Root)
	require.Same(t, a.Role("targets"), b.Role("targets"))
}

func TestRollbackIsRefusedAndTheRestKept(t *testing.T) {
	old := acme.all(2)
	for name, c := range map[string]struct {
		out    *engine.Outcome
		role   string
		spec   string
		ts     int64
		snap   int64 // as the timestamp that was kept announces it
		remove string
	}{
		"timestamp":          {acme.all(1), "timestamp", "5.4.3.1", 2, 2, "timestamp.json"},
		"announced snapshot": {&engine.Outcome{Timestamp: acme.timestamp(3, 1)}, "timestamp", "5.4.3.2", 2, 2, "timestamp.json"},
		"snapshot": {&engine.Outcome{Timestamp: acme.timestamp(3, 2), Snapshot: acme.snapshot(1, map[string]int64{"targets": 2, "team": 2})},
			"snapshot", "5.5.5", 3, 2, "snapshot.json"},
		"listed role": {&engine.Outcome{Timestamp: acme.timestamp(3, 3), Snapshot: acme.snapshot(3, map[string]int64{"targets": 3, "team": 1})},
			"snapshot", "5.5.5", 3, 3, "snapshot.json"},
		"vanished role": {&engine.Outcome{Timestamp: acme.timestamp(3, 3), Snapshot: acme.snapshot(3, map[string]int64{"targets": 3})},
			"snapshot", "5.5.5", 3, 3, "snapshot.json"},
		"role": {&engine.Outcome{Timestamp: acme.timestamp(3, 2), Snapshot: old.Snapshot,
			Targets: []engine.Verified{{Role: "team", Delegator: "targets", Doc: acme.targets(1)}}}, "team", "5.5.5", 3, 2, "team.json"},
	} {
		for _, damaged := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				s, seen, dir := pinned(t)
				commit(t, s, old)
				if damaged {
					require.NoError(t, os.WriteFile(filepath.Join(dir, c.remove), []byte("{"), 0o600))
				}
				err := tryCommit(t.Context(), s, view(t, s), c.out, CommitInfo{})
				e := requireCode(t, err, protocol.CodeRollback)
				require.Equal(t, c.role, e.Role)
				require.Equal(t, c.spec, e.Spec)
				require.NotEmpty(t, e.Digest)
				require.Contains(t, seen.codes(), EventRollback)
				v := view(t, s)
				require.Equal(t, c.ts, v.Floors.Timestamp)
				require.Equal(t, c.snap, v.Floors.Snapshot)
				require.Equal(t, int64(2), v.Floors.Roles["team.json"])
				commit(t, s, acme.all(4))
			})
		}
	}
}

func TestContention(t *testing.T) {
	for name, c := range map[string]struct {
		first, second *engine.Outcome
		code          protocol.Code
	}{
		"same":            {acme.all(2, acme.root(2)), acme.all(2, acme.root(2)), ""},
		"slow writer":     {acme.all(3), acme.all(2), protocol.CodeContention},
		"newer":           {acme.all(2), acme.all(3), protocol.CodeContention},
		"root":            {&engine.Outcome{Roots: []*admission.Doc{acme.root(2)}}, acme.all(2), protocol.CodeContention},
		"other snapshot":  {&engine.Outcome{Timestamp: acme.timestamp(2, 2), Snapshot: acme.snapshot(2, map[string]int64{"targets": 2, "team": 1})}, acme.all(2), protocol.CodeContention},
		"only a new root": {acme.all(2), &engine.Outcome{Roots: []*admission.Doc{acme.root(2)}}, protocol.CodeContention},
	} {
		t.Run(name, func(t *testing.T) {
			s, _, dir := pinned(t)
			commit(t, s, acme.all(1))
			v := view(t, s)
			other, _ := open(t, dir)
			require.NoError(t, tryCommit(t.Context(), other, view(t, other), c.first, CommitInfo{}))
			before := view(t, s).ID()
			err := tryCommit(t.Context(), s, v, c.second, CommitInfo{})
			if c.code == "" {
				require.NoError(t, err)
			} else {
				requireCode(t, err, c.code)
			}
			require.Equal(t, before, view(t, s).ID())
		})
	}
}

func TestRotationForgets(t *testing.T) {
	s, seen, dir := pinned(t)
	commit(t, s, acme.all(9))
	next := acme
	next.epoch = "second"
	v := view(t, s)
	require.NoError(t, tryCommit(t.Context(), s, v, &engine.Outcome{Roots: []*admission.Doc{next.root(2)}}, CommitInfo{}))
	require.Equal(t, []EventCode{EventRotated}, seen.codes())
	require.NoFileExists(t, filepath.Join(dir, "timestamp.json"))
	require.NoFileExists(t, filepath.Join(dir, "snapshot.json"))
	w := view(t, s)
	require.Equal(t, Floors{Root: 2}, w.Floors)
	require.Nil(t, w.Timestamp)
	commit(t, s, next.all(1))
	require.Equal(t, int64(1), view(t, s).Floors.Roles["targets.json"])
	requireFile(t, filepath.Join(dir, "targets.json"), next.targets(1))

	// In one commit, from a root history that is already behind.
	third := acme
	third.epoch = "third"
	require.NoError(t, tryCommit(t.Context(), s, view(t, s), third.all(1, next.root(3), third.root(4)), complete))
	require.Equal(t, int64(4), view(t, s).Floors.Root)
	requireFile(t, filepath.Join(dir, "timestamp.json"), third.timestamp(1, 1))
	// A root that keeps the keys keeps the floors.
	require.NoError(t, tryCommit(t.Context(), s, view(t, s), &engine.Outcome{Roots: []*admission.Doc{third.root(5)}}, CommitInfo{}))
	require.Equal(t, int64(1), view(t, s).Floors.Timestamp)
}

func TestPin(t *testing.T) {
	other := maker{name: "other"}
	chained := acme
	chained.epoch = "second"
	for name, c := range map[string]struct {
		root     *admission.Doc
		replace  bool
		code     protocol.Code
		after    int64
		anchor   int64
		replaced bool
	}{
		"same again":                 {root: acme.root(2), after: 3, anchor: 2},
		"older, an ancestor":         {root: acme.root(1), after: 3, anchor: 2},
		"older, replace":             {root: acme.root(1), replace: true, after: 3, anchor: 2},
		"on the chain":               {root: acme.root(3), after: 3, anchor: 2},
		"continues":                  {root: acme.root(4), after: 4, anchor: 2},
		"newer, not on the chain":    {root: other.root(7), after: 7, anchor: 7, replaced: true},
		"next version, foreign":      {root: other.root(4), after: 4, anchor: 4, replaced: true},
		"newer, unknown lineage":     {root: acme.root(7), after: 7, anchor: 7, replaced: true},
		"same version, other bytes":  {root: chained.root(3), code: protocol.CodeRootConflict, after: 3, anchor: 2},
		"anchor version, other":      {root: other.root(2), code: protocol.CodeRootConflict, after: 3, anchor: 2},
		"older, foreign":             {root: other.root(1), code: protocol.CodeRootConflict, after: 3, anchor: 2},
		"older, foreign, replace":    {root: other.root(1), replace: true, after: 1, anchor: 1, replaced: true},
		"same version, replace":      {root: chained.root(3), replace: true, after: 3, anchor: 3, replaced: true},
		"on the chain, replace":      {root: acme.root(3), replace: true, after: 3, anchor: 2},
		"newer, foreign, replace it": {root: other.root(9), replace: true, after: 9, anchor: 9, replaced: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, seen := open(t, dir)
			require.NoError(t, s.Pin(t.Context(), acme.root(2).Raw, false))
			commit(t, s, acme.all(5, acme.root(3)))
			require.Empty(t, seen.codes())

			again, seen := open(t, dir)
			err := again.Pin(t.Context(), c.root.Raw, c.replace)
			if c.code != "" {
				requireCode(t, err, c.code)
				require.Equal(t, []EventCode{EventRootConflict}, seen.codes())
			} else {
				require.NoError(t, err)
			}
			v := view(t, again)
			require.Equal(t, c.after, v.Root.Version)
			require.Equal(t, c.anchor, v.Anchor.Version)
			requireFile(t, filepath.Join(dir, "root.json"), v.Root)
			if !c.replaced {
				require.Equal(t, int64(5), v.Floors.Timestamp)
				require.NotNil(t, v.Timestamp)
				return
			}
			require.Equal(t, []EventCode{EventAnchorReplaced}, seen.codes())
			require.Equal(t, Floors{Root: c.after}, v.Floors)
			require.Nil(t, v.Timestamp)
			require.NoFileExists(t, filepath.Join(dir, "team.json"))
			require.True(t, v.ClockFloor.Equal(noon))
			require.True(t, v.LastRefresh.IsZero())
			kept, err := filepath.Glob(filepath.Join(dir, ".ragnos", "quarantine", "*", "*"))
			require.NoError(t, err)
			require.Len(t, kept, 6)
		})
	}
}

func TestReplaceRightAfterThePin(t *testing.T) {
	other := maker{name: "other"}
	for _, version := range []int64{1, 7} {
		s, seen, dir := pinned(t)
		require.NoError(t, s.Pin(t.Context(), other.root(version).Raw, true))
		require.Equal(t, []EventCode{EventAnchorReplaced}, seen.codes())
		requireFile(t, filepath.Join(dir, "root.json"), other.root(version))
		require.Equal(t, Floors{Root: version}, view(t, s).Floors)
	}
}

func TestPinWhereAnotherToolWas(t *testing.T) {
	other := maker{name: "other"}
	for name, c := range map[string]struct {
		there   []byte
		replace bool
		code    protocol.Code
		root    int64
		events  []EventCode
	}{
		"same":             {there: acme.root(2).Raw, root: 2},
		"next":             {there: acme.root(3).Raw, root: 3, events: []EventCode{EventRootRepaired, EventFloorsRebuilt}},
		"older":            {there: acme.root(1).Raw, root: 2, events: []EventCode{EventQuarantined}},
		"far ahead":        {there: acme.root(9).Raw, root: 2, events: []EventCode{EventQuarantined}},
		"garbage":          {there: []byte("garbage"), root: 2, events: []EventCode{EventQuarantined}},
		"other":            {there: other.root(2).Raw, code: protocol.CodeRootConflict, events: []EventCode{EventRootConflict}},
		"other, replacing": {there: other.root(2).Raw, replace: true, root: 2, events: []EventCode{EventQuarantined}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "root.json"), c.there, 0o600))
			s, seen := open(t, dir)
			err := s.Pin(t.Context(), acme.root(2).Raw, c.replace)
			require.Equal(t, c.events, seen.codes())
			if c.code != "" {
				requireCode(t, err, c.code)
				requireFile(t, filepath.Join(dir, "root.json"), other.root(2))
				_, err := s.View(t.Context())
				requireCode(t, err, protocol.CodeNoRoot)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.root, view(t, s).Root.Version)
		})
	}
}

func TestFloorsOfAnotherToolsFiles(t *testing.T) {
	dir := t.TempDir()
	out := acme.all(4)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "timestamp.json"), out.Timestamp.Raw, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "snapshot.json"), maker{name: "forged"}.snapshot(99, nil).Raw, 0o600))
	s, _ := open(t, dir)
	require.NoError(t, s.Pin(t.Context(), acme.root(1).Raw, false))
	require.Equal(t, Floors{Root: 1, Timestamp: 4, Snapshot: 4}, view(t, s).Floors)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "snapshot.json"), out.Snapshot.Raw, 0o600))
	require.Equal(t, int64(4), view(t, s).Floors.Roles["team.json"])
	back := acme.snapshot(5, map[string]int64{"targets": 1})
	require.NoError(t, os.WriteFile(filepath.Join(dir, "snapshot.json"), back.Raw, 0o600))
	v := view(t, s)
	require.Nil(t, v.Snapshot)
	require.Equal(t, int64(4), v.Floors.Snapshot)
}

func TestLockHonoursTheContext(t *testing.T) {
	s, _, dir := pinned(t)
	other, _ := open(t, dir)
	for name, waiting := range map[string]*Store{"same store": s, "other store": other} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			require.NoError(t, s.locked(t.Context(), func(*session) error {
				cancel()
				_, err := waiting.View(ctx)
				requireCode(t, err, protocol.CodeCancelled)
				require.ErrorIs(t, err, context.Canceled)

				late, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
				defer stop()
				_, err = waiting.View(late)
				e := requireCode(t, err, protocol.CodeLocked)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.NotEmpty(t, e.Hint)
				_, err = waiting.View(late)
				requireCode(t, err, protocol.CodeTimeout)
				return nil
			}))
			view(t, waiting)
		})
	}
}

func TestClock(t *testing.T) {
	s, seen, _ := pinned(t)
	refresh := func(out *engine.Outcome, start time.Time, done bool) {
		t.Helper()
		require.NoError(t, tryCommit(t.Context(), s, view(t, s), out, CommitInfo{Start: start, Complete: done}))
	}
	refresh(acme.all(1), noon, true)
	require.Equal(t, noon, view(t, s).Start(noon.Add(-time.Hour)).UTC(), "a clock set back")
	require.Equal(t, noon.Add(time.Hour), view(t, s).Start(noon.Add(time.Hour)))

	refresh(acme.all(2), noon.Add(-time.Hour), true)
	require.True(t, view(t, s).ClockFloor.Equal(noon), "the floor never goes back")
	refresh(&engine.Outcome{Timestamp: acme.timestamp(3, 2)}, noon.Add(time.Hour), false)
	require.True(t, view(t, s).ClockFloor.Equal(noon), "not a complete refresh")
	refresh(acme.all(4), time.Time{}, true)
	require.True(t, view(t, s).ClockFloor.Equal(noon), "a commit without a time of its own")

	// The clock says 2099, and everything is valid until 2100.
	wrong := time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)
	refresh(acme.all(5), wrong, true)
	require.True(t, view(t, s).Start(noon).Equal(wrong))
	soon := acme
	soon.expires = noon.Add(48 * time.Hour)
	for name, c := range map[string]struct {
		role string
		doc  *admission.Doc
		now  time.Time
	}{
		"old version":        {"timestamp", soon.timestamp(5, 5), noon},
		"forged":             {"timestamp", maker{name: "forged", expires: soon.expires}.timestamp(6, 6), noon},
		"expired now":        {"timestamp", soon.timestamp(6, 6), soon.expires},
		"not expired then":   {"timestamp", acme.timestamp(6, 6), noon},
		"not the root":       {"root", soon.root(2), noon},
		"clock is not below": {"timestamp", soon.timestamp(6, 6), wrong},
		"unknown role":       {"team", soon.targets(6), noon},
	} {
		lowered, err := s.DisproveClock(t.Context(), c.now, c.role, c.doc)
		require.NoError(t, err)
		require.False(t, lowered, name)
	}
	require.Empty(t, seen.codes())
	lowered, err := s.DisproveClock(t.Context(), noon, "timestamp", soon.timestamp(6, 6))
	require.NoError(t, err)
	require.True(t, lowered)
	require.Equal(t, []EventCode{EventClockLowered}, seen.codes())
	require.True(t, view(t, s).Start(noon).Equal(noon))
	refresh(soon.all(6), noon, true)

	// What expires in the refresh bounds the floor, whatever the caller says.
	refresh(soon.all(7), wrong, true)
	require.True(t, view(t, s).ClockFloor.Equal(soon.expires))
}

func TestClockDisprovedByARoot(t *testing.T) {
	s, _, _ := pinned(t)
	wrong := time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)
	require.NoError(t, tryCommit(t.Context(), s, view(t, s), acme.all(1), CommitInfo{Start: wrong, Complete: true}))
	soon := acme
	soon.expires = noon.Add(48 * time.Hour)
	soon.epoch = "second"
	require.NoError(t, tryCommit(t.Context(), s, view(t, s), &engine.Outcome{Roots: []*admission.Doc{soon.root(2)}}, CommitInfo{}))
	// A rotation starts the versions again: version 1 is newer than version 1 before it.
	for role, doc := range map[string]*admission.Doc{"root": soon.root(2), "timestamp": soon.timestamp(1, 1),
		"snapshot": soon.snapshot(1, nil), "targets": soon.targets(1)} {
		require.NoError(t, s.locked(t.Context(), func(x *session) error {
			st, err := x.load()
			require.NoError(t, err)
			require.True(t, st.disproves(noon, role, doc), role)
			return nil
		}))
	}
}

func TestFileName(t *testing.T) {
	for role, want := range map[string]string{
		"targets": "targets.json", "a b": "a%20b.json", "../x": "..%2Fx.json", "?": "%3F.json", "#": "%23.json",
		"/abs": "%2Fabs.json", "..": "...json", ".ragnos": ".ragnos.json", "é": "%C3%A9.json", "1.targets": "1.targets.json",
		"a:b@c&d=e+f$g": "a%3Ab%40c%26d%3De%2Bf%24g.json", "nul\x00": "nul%00.json", "~": "~.json", "%41": "%2541.json",
	} {
		require.Equal(t, want, FileName(role, false))
	}
	long := FileName(string(make([]byte, 100)), false)
	require.Len(t, long, len("@")+64+len(".json"))
	require.NotEqual(t, FileName("a", true), FileName("A", true))
	names := newFileNames(Floors{Roles: map[string]int64{"targets.json": 1, "A.json": 1, "a.json": 1, "B.json": 1, "Root.json": 1, "snapshot.json": 2}})
	require.Equal(t, "targets.json", names.of("targets"))
	require.Equal(t, "B.json", names.of("B"))
	for _, role := range []string{"A", "a", "Root"} {
		require.Equal(t, FileName(role, true), names.of(role))
	}
}

func FuzzFileName(f *testing.F) {
	for _, s := range []string{"", "..", "a/b", "\x00", "@"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, role string) {
		name := FileName(role, false)
		require.Equal(t, name, filepath.Base(name))
		require.LessOrEqual(t, len(name), 255)
		require.NotContains(t, name, "\\")
		require.Equal(t, filepath.Join("dir", name), filepath.Join("dir", filepath.Clean("/"+name)))
	})
}

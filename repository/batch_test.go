package repository

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/plugin"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// batchOf makes a directory with plugins, each "PUBLISHER/NAME/VERSION".
func batchOf(t testing.TB, plugins ...string) string {
	t.Helper()
	dir := t.TempDir()
	archive, err := os.ReadFile(helloArchive)
	require.NoError(t, err)
	for _, p := range plugins {
		parts := strings.Split(p, "/")
		stem := filepath.Join(dir, strings.Join(parts, "-"))
		require.NoError(t, os.WriteFile(stem+".tar.gz", archive, 0o600))
		manifest, err := os.ReadFile(writeManifest(t, parts[0], parts[1], parts[2]))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(stem+".json", manifest, 0o600))
	}
	return dir
}

func publishBatch(t testing.TB, r *Repository, plugins ...string) Batch {
	t.Helper()
	b, p, err := r.PublishBatch(t.Context(), batchOf(t, plugins...), BatchOptions{})
	require.NoError(t, err)
	require.Nil(t, p)
	return b
}

// latestOf says what the repository says of the versions of a plugin.
func latestOf(t *testing.T, r *Repository, publisher, name string) map[string][]Channel {
	t.Helper()
	s, err := r.load(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.all(t.Context()))
	latest := map[string][]Channel{}
	for _, role := range s.roles {
		for path := range role.doc.Targets.Paths() {
			m, said, err := plugin.ParseCustom(role.doc.Targets.Find(path).Custom)
			require.NoError(t, err)
			if m.Publisher == publisher && m.Name == name {
				latest[m.Version] = said.Latest
			}
		}
	}
	return latest
}

func TestBatch(t *testing.T) {
	r, _ := newFastRepository(t)
	addPublisher(t, r, "acme")
	publishAs(t, r, "acme", "tool", "1.0.0")
	before := versions(t, r)
	dir := batchOf(t, "acme/tool/1.1.0", "acme/tool/2.0.0-rc.1", "acme/tool.kit/1.0.0", "bob/tool/1.0.0", "bob/tool/0.9.0")
	deep := filepath.Join(dir, "some", "where")
	require.NoError(t, os.MkdirAll(deep, 0o700))
	for _, ext := range []string{".tar.gz", ".json"} {
		require.NoError(t, os.Rename(filepath.Join(dir, "bob-tool-0.9.0"+ext), filepath.Join(deep, "any name"+ext)))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".hidden"), nil, 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, ".git"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".git", "config"), nil, 0o600))
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(dir, link))

	var steps []int
	b, p, err := r.PublishBatch(t.Context(), link, BatchOptions{Progress: func(done, total int) {
		require.Equal(t, 5, total)
		steps = append(steps, done)
	}})
	require.NoError(t, err)
	require.Nil(t, p)
	require.Equal(t, Batch{Plugins: 5, Bytes: 5 * 326, Roles: []string{"acme", "targets"}}, b)
	require.Equal(t, []int{1, 2, 3, 4, 5}, steps)
	after := versions(t, r)
	for role, version := range before {
		require.Equal(t, version+1, after[role], "one signature of %s", role)
	}
	require.Equal(t, map[string][]Channel{"1.0.0": nil, "1.1.0": {"stable"}, "2.0.0-rc.1": {"beta"}}, latestOf(t, r, "acme", "tool"))
	require.Equal(t, map[string][]Channel{"0.9.0": nil, "1.0.0": {"stable", "beta"}}, latestOf(t, r, "bob", "tool"))
	requireInstalls(t, r, "acme", plugin.Path("acme", "tool", "2.0.0-rc.1"), plugin.Path("acme", "tool.kit", "1.0.0"))
	requireInstalls(t, r, "targets", plugin.Path("bob", "tool", "0.9.0"))
}

// TestBatchOfManyPlugins: more than are looked for one by one, into bins.
func TestBatchOfManyPlugins(t *testing.T) {
	r, _ := newFastRepository(t)
	addPublisher(t, r, "acme")
	var first, second []string
	for n := range few + 4 {
		first = append(first, fmt.Sprintf("acme/p%d/1.0.0", n))
		second = append(second, fmt.Sprintf("acme/p%d/1.0.1", n), fmt.Sprintf("acme/p%d.1/0.0.1", n))
	}
	publishBatch(t, r, first...)
	makeBins(t, r, "acme", 4)
	b := publishBatch(t, r, second...)
	require.Equal(t, len(second), b.Plugins)
	for n := range few + 4 {
		require.Equal(t, map[string][]Channel{"1.0.0": nil, "1.0.1": {"stable", "beta"}}, latestOf(t, r, "acme", fmt.Sprintf("p%d", n)))
		require.Equal(t, map[string][]Channel{"0.0.1": {"stable", "beta"}}, latestOf(t, r, "acme", fmt.Sprintf("p%d.1", n)))
	}
	requireInstalls(t, r, "", plugin.Path("acme", "p3", "1.0.0"), plugin.Path("acme", "p3", "1.0.1"))
}

func TestEveryProblemOfABatchIsTold(t *testing.T) {
	r, _ := newFastRepository(t)
	publishAs(t, r, "acme", "old", "1.0.0")
	dir := batchOf(t, "acme/fine/1.0.0", "acme/old/1.0.0", "acme/evil/1.0.0", "acme/twice/1.0.0", "acme/large/1.0.0", "acme/dir/1.0.0", "acme/pipe/1.0.0")
	in := func(name string) string { return filepath.Join(dir, name) }
	write := func(name string, data []byte) { require.NoError(t, os.WriteFile(in(name), data, 0o600)) }
	write("acme-evil-1.0.0.tar.gz", packed(t, "../x", "x"))
	write("acme-large-1.0.0.tar.gz", make([]byte, 5000))
	require.NoError(t, os.Remove(in("acme-dir-1.0.0.tar.gz")))
	require.NoError(t, os.Mkdir(in("acme-dir-1.0.0.tar.gz"), 0o700))
	require.NoError(t, os.Remove(in("acme-pipe-1.0.0.tar.gz")))
	require.NoError(t, syscall.Mkfifo(in("acme-pipe-1.0.0.tar.gz"), 0o600))
	write("again.tar.gz", packed(t, "x", "x"))
	twice, err := os.ReadFile(in("acme-twice-1.0.0.json"))
	require.NoError(t, err)
	write("again.json", twice)
	write("bad.tar.gz", packed(t, "x", "x"))
	write("bad.json", []byte("{"))
	write("lone.tar.gz", nil)
	write("widow.json", nil)
	write("README.md", nil)
	r.limits.Size = 4000
	before := listFiles(t, r.Dir())
	_, _, err = r.PublishBatch(t.Context(), dir, BatchOptions{})
	e := requireCode(t, err, protocol.CodeUsage)
	require.Equal(t, dir, e.Path)
	var all *BatchError
	require.ErrorAs(t, err, &all)
	require.False(t, all.More)
	var files []string
	for _, p := range all.Problems {
		files = append(files, filepath.Base(p.Path))
		require.Contains(t, err.Error(), p.Path)
	}
	require.True(t, slices.IsSorted(files))
	require.Equal(t, []string{"README.md", "acme-dir-1.0.0.json", "acme-evil-1.0.0.tar.gz", "acme-large-1.0.0.tar.gz", "acme-old-1.0.0.json",
		"acme-pipe-1.0.0.tar.gz", "again.json", "bad.json", "lone.tar.gz", "widow.json"}, files)
	require.Equal(t, before, listFiles(t, r.Dir()), "all of it or nothing")
}

func TestProblemsOfABatchAreBounded(t *testing.T) {
	r, _ := newFastRepository(t)
	dir := t.TempDir()
	for n := range MaxProblems + 1 {
		stem := filepath.Join(dir, fmt.Sprint(n))
		require.NoError(t, errors.Join(os.WriteFile(stem+".tar.gz", nil, 0o600), os.WriteFile(stem+".json", nil, 0o600)))
	}
	_, _, err := r.PublishBatch(t.Context(), dir, BatchOptions{})
	var all *BatchError
	require.ErrorAs(t, err, &all)
	require.True(t, all.More)
	require.Len(t, all.Problems, MaxProblems)
	require.ErrorContains(t, err, "more than 100 problems")
}

func TestBatchesThatCannotBe(t *testing.T) {
	r, _ := newFastRepository(t)
	before := listFiles(t, r.Dir())
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tc := range map[string]struct {
		ctx  context.Context
		dir  string
		o    BatchOptions
		code protocol.Code
	}{
		"nothing there": {t.Context(), filepath.Join(t.TempDir(), "none"), BatchOptions{}, protocol.CodeLocalIO},
		"a file":        {t.Context(), helloArchive, BatchOptions{}, protocol.CodeLocalIO},
		"empty":         {t.Context(), t.TempDir(), BatchOptions{}, protocol.CodeUsage},
		"no channel":    {t.Context(), batchOf(t, "acme/tool/1.0.0"), BatchOptions{Channel: "nightly"}, protocol.CodeUsage},
		"cancelled":     {cancelled, batchOf(t, "acme/tool/1.0.0"), BatchOptions{}, protocol.CodeCancelled},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := r.PublishBatch(tc.ctx, tc.dir, tc.o)
			require.Equal(t, "publish", requireCode(t, err, tc.code).Op)
			require.Equal(t, before, listFiles(t, r.Dir()))
		})
	}
}

func TestABatchThatIsCancelledLeavesNothing(t *testing.T) {
	r, _ := newFastRepository(t)
	before := listFiles(t, r.Dir())
	ctx, cancel := context.WithCancel(t.Context())
	var plugins []string
	for n := range 4 * runtime.GOMAXPROCS(0) {
		plugins = append(plugins, fmt.Sprintf("acme/p%d/1.0.0", n))
	}
	_, _, err := r.PublishBatch(ctx, batchOf(t, plugins...), BatchOptions{Progress: func(int, int) { cancel() }})
	requireCode(t, err, protocol.CodeCancelled)
	require.Equal(t, before, listFiles(t, r.Dir()))
}

func TestABatchWithoutTheKeysIsAProposal(t *testing.T) {
	r, _ := newFastRepository(t)
	addPublisher(t, r, "acme")
	require.NoError(t, os.Remove(keyPath(r.Dir(), "acme")))
	before := versions(t, r)
	_, p, err := r.PublishBatch(t.Context(), batchOf(t, "acme/tool/1.0.0", "bob/tool/1.0.0"), BatchOptions{})
	require.NoError(t, err)
	require.NotNil(t, p)
	require.Equal(t, before, versions(t, r))
}

// TestABatchOnAFullDisk: enough files that they are synced together, and the disk
// fails at every kind of step.
func TestABatchOnAFullDisk(t *testing.T) {
	pristine, _ := newFastRepository(t)
	var plugins []string
	for n := range many {
		plugins = append(plugins, fmt.Sprintf("acme/p%03d/1.0.0", n))
	}
	dir := batchOf(t, plugins...)
	// failAt lets the disk be full from a step on.
	failAt := func(r *Repository, n int64) *atomic.Int64 {
		var steps atomic.Int64
		r.disk.before = func(string, string) error {
			if steps.Add(1) > n {
				return syscall.ENOSPC
			}
			return nil
		}
		return &steps
	}
	r := copyOf(t, pristine)
	steps := failAt(r, math.MaxInt64)
	_, _, err := r.PublishBatch(t.Context(), dir, BatchOptions{})
	require.NoError(t, err)
	total := steps.Load() - 1 // The last one tidies up, and may fail.
	for n := int64(0); n < total; n++ {
		if n > 3 && n < total-3 && n%29 != 0 && (n < 2*many || n > 2*many+15) {
			continue // Of a kind: one file more or less has been written or renamed.
		}
		r := copyOf(t, pristine)
		failAt(r, n)
		_, _, err := r.PublishBatch(t.Context(), dir, BatchOptions{})
		requireCode(t, err, protocol.CodeDiskFull)
		r.disk.before = nil
		require.NoError(t, r.recover())
		s, err := r.load(t.Context())
		require.NoError(t, err)
		targets, err := s.targets()
		require.NoError(t, err)
		require.Contains(t, []int{0, many}, targets.Targets.Len(), "all or nothing at step %d", n)
		if targets.Targets.Len() == many {
			for path := range targets.Targets.Paths() {
				require.FileExists(t, filepath.Join(r.Dir(), targetsName, hashedPath(path, targets.Targets.Find(path).Hashes["sha256"])))
			}
		}
	}
}

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// scenario is something that changes a store. prepare makes a directory, act
// does the work and may be repeated; done checks what must hold afterwards.
type scenario struct {
	prepare func(t *testing.T, dir string)
	act     func(t testing.TB, s *Store) error
	want    Floors
	// forgets says that floors may drop, as another root came into force.
	forgets bool
}

var (
	rotatedAcme = maker{name: "acme", epoch: "second"}
	// The timestamp key stays, but not what it has signed.
	halfRotated = maker{name: "acme", epoch: "second", only: "snapshot"}
	foreignRepo = maker{name: "foreign"}
)

func refreshed(m maker, version int64, roots ...*admission.Doc) func(testing.TB, *Store) error {
	return func(t testing.TB, s *Store) error {
		v, err := s.View(t.Context())
		if err != nil {
			return err
		}
		out := m.all(version)
		for _, r := range roots {
			if r.Version > v.Root.Version {
				out.Roots = append(out.Roots, r)
			}
		}
		return tryCommit(t.Context(), s, v, out, complete)
	}
}

func atOne(t *testing.T, dir string) {
	s, err := Open(dir, Options{})
	require.NoError(t, err)
	require.NoError(t, s.Pin(t.Context(), acme.root(1).Raw, false))
	require.NoError(t, refreshed(acme, 1)(t, s))
}

func atNine(t *testing.T, dir string) {
	atOne(t, dir)
	s, err := Open(dir, Options{})
	require.NoError(t, err)
	require.NoError(t, refreshed(acme, 9)(t, s))
}

func floorsAt(root, version int64) Floors {
	return Floors{Root: root, Timestamp: version, Snapshot: version,
		Roles: map[string]int64{"targets.json": version, "team.json": version}}
}

var scenarios = map[string]scenario{
	"pin": {
		prepare: func(*testing.T, string) {},
		act:     func(t testing.TB, s *Store) error { return s.Pin(t.Context(), acme.root(1).Raw, false) },
		want:    Floors{Root: 1},
	},
	"commit": {prepare: atOne, act: refreshed(acme, 3, acme.root(2), acme.root(3)), want: floorsAt(3, 3)},
	"rotation": {
		prepare: atNine,
		act:     refreshed(rotatedAcme, 1, rotatedAcme.root(2)),
		want:    floorsAt(2, 1), forgets: true,
	},
	"half a rotation": {
		prepare: atNine,
		act:     refreshed(halfRotated, 1, halfRotated.root(2)),
		want:    floorsAt(2, 1), forgets: true,
	},
	"replace": {
		prepare: atOne,
		act:     func(t testing.TB, s *Store) error { return s.Pin(t.Context(), foreignRepo.root(1).Raw, true) },
		want:    Floors{Root: 1}, forgets: true,
	},
	"heal": {
		prepare: func(t *testing.T, dir string) {
			atOne(t, dir)
			spoil([]byte("x"))(t, filepath.Join(dir, ".ragnos", "floors"))
			spoil([]byte("x"))(t, filepath.Join(dir, ".ragnos", "clock"))
			spoil([]byte("x"))(t, filepath.Join(dir, "targets.json"))
			require.NoError(t, os.Remove(filepath.Join(dir, "root.json")))
			require.NoError(t, os.Mkdir(filepath.Join(dir, "root.json"), 0o700))
			require.NoError(t, os.RemoveAll(filepath.Join(dir, ".ragnos", "history")))
			spoil([]byte("x"))(t, filepath.Join(dir, ".ragnos", "history"))
			spoil([]byte("x"))(t, filepath.Join(dir, ".ragnos", "tmp", "7"))
		},
		act:  refreshed(acme, 1),
		want: floorsAt(1, 1),
	},
}

const (
	envScenario = "RAGNOS_STORE_TEST_SCENARIO"
	envDir      = "RAGNOS_STORE_TEST_DIR"
	envStep     = "RAGNOS_STORE_TEST_STEP"
)

// dieAt kills this process before step n of its changes to the disk.
func dieAt(n int64) func(op, path string) error {
	var step atomic.Int64
	return func(string, string) error {
		if step.Add(1) == n {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return nil
	}
}

// TestHelperCrash is the child of TestKilledAtEveryStep.
func TestHelperCrash(t *testing.T) {
	name := os.Getenv(envScenario)
	if name == "" {
		return
	}
	n, err := strconv.ParseInt(os.Getenv(envStep), 10, 64)
	require.NoError(t, err)
	s, err := Open(os.Getenv(envDir), Options{})
	require.NoError(t, err)
	s.disk.before = dieAt(n)
	require.NoError(t, scenarios[name].act(t, s))
}

// child re-executes this test binary as one of the helpers.
func child(t *testing.T, helper string, env ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^"+helper+"$", "-test.count=1")
	cmd.Env = append(os.Environ(), env...)
	return cmd
}

// survives checks a store after something went wrong in it, and that the work
// can simply be done again.
func survives(t *testing.T, sc scenario, dir string, before Floors) {
	t.Helper()
	floors, files, err := fsck(dir)
	if tuferr.CodeOf(err) != protocol.CodeNoRoot || before.Root > 0 {
		require.NoError(t, err)
		if !sc.forgets {
			require.NoError(t, notBelow(before, floors))
			require.NoError(t, notBelow(files, floors))
		}
	}
	s, err := Open(dir, Options{})
	require.NoError(t, err)
	require.NoError(t, sc.act(t, s))
	floors, files, err = fsck(dir)
	require.NoError(t, err)
	require.Equal(t, sc.want.Root, floors.Root)
	require.True(t, sc.want.equal(floors), "%+v", floors)
	require.Equal(t, floors.Timestamp, files.Timestamp)
	require.Equal(t, floors.Root, files.Root)
}

func TestKilledAtEveryStep(t *testing.T) {
	for name, sc := range scenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for step := 1; ; step++ {
				dir := filepath.Join(t.TempDir(), "metadata")
				sc.prepare(t, dir)
				before := peek(dir)
				out, err := child(t, "TestHelperCrash", envScenario+"="+name, envDir+"="+dir, fmt.Sprintf("%s=%d", envStep, step)).CombinedOutput()
				survives(t, sc, dir, before)
				if err == nil {
					require.Greater(t, step, 10)
					t.Logf("%d kill points", step-1)
					return
				}
				var exit *exec.ExitError
				require.ErrorAs(t, err, &exit, "%s", out)
				require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal(), "%s", out)
			}
		})
	}
}

// peek returns the floors of a store as they stand on disk; zero if they cannot
// be read.
func peek(dir string) Floors {
	raw, _, err := readBounded(filepath.Join(dir, ".ragnos", "floors"), maxRecord)
	if err != nil {
		return Floors{}
	}
	r, err := unseal[record](raw)
	if err != nil {
		return Floors{}
	}
	return r.Floors
}

func TestEveryStepMayFail(t *testing.T) {
	causes := []struct {
		err  error
		code protocol.Code
	}{
		{syscall.ENOSPC, protocol.CodeDiskFull}, {syscall.EIO, protocol.CodeLocalIO},
		{fs.ErrPermission, protocol.CodePermissions}, {syscall.EROFS, protocol.CodePermissions}, {syscall.EDQUOT, protocol.CodeDiskFull},
	}
	for name, sc := range scenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for step, more := int64(1), true; more; step++ {
				cause := causes[int(step)%len(causes)]
				dir := filepath.Join(t.TempDir(), "metadata")
				sc.prepare(t, dir)
				before := peek(dir)
				s, err := Open(dir, Options{})
				require.NoError(t, err)
				var n atomic.Int64
				s.disk.before = func(string, string) error {
					if n.Add(1) == step {
						return cause.err
					}
					return nil
				}
				err = sc.act(t, s)
				if more = n.Load() >= step; more {
					e := requireCode(t, err, cause.code)
					require.ErrorIs(t, err, cause.err)
					require.NotEmpty(t, e.Path)
					require.NotEmpty(t, e.Hint)
					s.disk.before = nil
					require.NoError(t, sc.act(t, s), "the same store works on")
				}
				survives(t, sc, dir, before)
			}
		})
	}
}

// TestAFullDiskStaysFull: as long as nothing can be written, errors are typed and
// nothing goes back.
func TestAFullDiskStaysFull(t *testing.T) {
	s, _, dir := pinned(t)
	commit(t, s, acme.all(1))
	s.disk.before = func(op, _ string) error {
		if op == "write" {
			return syscall.ENOSPC
		}
		return nil
	}
	for range 3 {
		requireCode(t, tryCommit(t.Context(), s, view(t, s), acme.all(2), complete), protocol.CodeDiskFull)
	}
	left, err := os.ReadDir(filepath.Join(dir, ".ragnos", "tmp"))
	require.NoError(t, err)
	require.Empty(t, left)
	s.disk.before = nil
	require.Equal(t, int64(1), view(t, s).Floors.Timestamp)
	commit(t, s, acme.all(2))
}

// TestErrorsAreTyped holds for what the seam cannot reach: a parent that is a file.
func TestErrorsAreTyped(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	s, _ := open(t, filepath.Join(file, "metadata"))
	requireCode(t, s.Pin(t.Context(), acme.root(1).Raw, false), protocol.CodeLocalIO)
	_, err := s.View(t.Context())
	require.NotNil(t, tuferr.As(err))
	require.False(t, errors.Is(err, fs.ErrNotExist))
}

// outcomeAt is what a refresh finds in the repository of the process test.
func outcomeAt(version int64, v *View) *engine.Outcome {
	out := acme.all(version)
	for r := v.Root.Version + 1; r <= 1+version/20; r++ {
		out.Roots = append(out.Roots, acme.root(r))
	}
	return out
}

package repository

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/keyfile"
	"github.com/ragnos-labs/vault-tuf/internal/pyenv/pyenvtest"
)

// scenario is something that changes a repository. prepare is done once, act may
// be repeated.
type scenario struct {
	prepare func(t *testing.T, r *Repository)
	act     func(ctx context.Context, r *Repository) error
	// torn: between two renames no client can use the repository, because a key
	// that signed for the old root is lost.
	torn bool
}

// again is act where the work may be done already.
func (s scenario) again(ctx context.Context, r *Repository) error {
	if err := s.act(ctx, r); err != nil && !errors.Is(err, ErrPublished) {
		return err
	}
	return nil
}

const toolPath = "plugins/acme/tool.1.0.0.tar.gz"

var scenarios = map[string]scenario{
	"publish": {
		prepare: func(t *testing.T, r *Repository) { mustPublish(t, r, "acme", "tool", "0.9.0") },
		act:     publishTool,
	},
	"batch": {
		prepare: func(t *testing.T, r *Repository) {
			require.NoError(t, os.CopyFS(batchBeside(r), os.DirFS(batchOf(t, "acme/tool/1.0.0", "bob/tool/1.0.0"))))
		},
		act: func(ctx context.Context, r *Repository) error {
			_, _, err := r.PublishBatch(ctx, batchBeside(r), BatchOptions{})
			return err
		},
	},
	"publisher": {
		prepare: func(t *testing.T, r *Repository) { mustPublish(t, r, "acme", "tool", "0.9.0") },
		act: unlessDone("there is, or was", func(ctx context.Context, r *Repository) error {
			_, _, err := r.AddPublisher(ctx, "acme", PublisherOptions{})
			return err
		}),
	},
	"bins": {
		act: unlessDone("bins already", func(ctx context.Context, r *Repository) error {
			_, _, err := r.MakeBins(ctx, roleTargets, 1)
			return err
		}),
	},
	"re-sign": {
		act: func(ctx context.Context, r *Repository) error {
			_, err := r.change(ctx, func(c *change) error {
				c.renew[roleSnapshot], c.renew[roleTimestamp] = true, true
				return nil
			})
			return err
		},
	},
	"new keys for every role": {act: rotateAll(topLevel...)},
	"the timestamp key was lost": {
		prepare: func(t *testing.T, r *Repository) { require.NoError(t, os.Remove(keyPath(r.Dir(), roleTimestamp))) },
		act:     rotateAll(roleTimestamp),
		torn:    true,
	},
}

func mustPublish(t *testing.T, r *Repository, publisher, name, version string) {
	t.Helper()
	_, _, err := r.Publish(t.Context(), helloArchive, writeManifest(t, publisher, name, version), PublishOptions{})
	require.NoError(t, err)
}

// toolManifest is written beside the repository, for the child to find.
func toolManifest(r *Repository) string { return filepath.Join(filepath.Dir(r.Dir()), "tool.json") }

func publishTool(ctx context.Context, r *Repository) error {
	_, _, err := r.Publish(ctx, helloArchive, toolManifest(r), PublishOptions{})
	return err
}

// batchBeside is a batch beside the repository, for the child to find.
func batchBeside(r *Repository) string { return filepath.Join(filepath.Dir(r.Dir()), "batch") }

// unlessDone forgives the error that says that it has been done.
func unlessDone(says string, act func(context.Context, *Repository) error) func(context.Context, *Repository) error {
	return func(ctx context.Context, r *Repository) error {
		if err := act(ctx, r); err != nil && !strings.Contains(err.Error(), says) {
			return err
		}
		return nil
	}
}

// rotateAll replaces the key of each role by a new one. Done again, it replaces
// it again.
func rotateAll(roles ...string) func(context.Context, *Repository) error {
	return func(ctx context.Context, r *Repository) error {
		var which []Rotate
		for _, role := range roles {
			which = append(which, Rotate{Role: role})
		}
		_, _, err := r.RotateKeys(ctx, which...)
		return err
	}
}

const (
	envScenario = "RAGNOS_REPOSITORY_TEST_SCENARIO"
	envDir      = "RAGNOS_REPOSITORY_TEST_DIR"
	envStep     = "RAGNOS_REPOSITORY_TEST_STEP"
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
	r, err := Open(os.Getenv(envDir), Options{Keys: plainKeys})
	require.NoError(t, err)
	r.disk.before = dieAt(n)
	require.NoError(t, scenarios[name].act(t.Context(), r))
}

// prepared makes a repository for a scenario, once.
func prepared(t *testing.T, sc scenario) string {
	t.Helper()
	base := t.TempDir()
	r, err := Init(t.Context(), filepath.Join(base, "repo"), InitOptions{Options: Options{Keys: plainKeys}, Algorithm: keyfile.Ed25519})
	require.NoError(t, err)
	require.NoError(t, os.Rename(writeManifest(t, "acme", "tool", "1.0.0"), toolManifest(r)))
	mustPublish(t, r, "ragnos", "hello", "1.0.0")
	if sc.prepare != nil {
		sc.prepare(t, r)
	}
	return base
}

// copied is a copy of a prepared repository, with the same owners and modes.
func copied(t *testing.T, base string) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "cp", "-a", base+"/.", dir).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return filepath.Join(dir, "repo")
}

// witness looks at repositories as a new client does whose two engines must agree.
// What it has seen once, byte for byte, it knows.
type witness struct {
	mu   sync.Mutex
	seen map[string][]string
}

func (w *witness) look(t *testing.T, r *Repository) ([]string, error) {
	t.Helper()
	sum := sha256.New()
	for _, f := range listFiles(t, r.Dir()) {
		if strings.HasPrefix(f, metadataName) || strings.HasPrefix(f, targetsName) {
			data, err := os.ReadFile(filepath.Join(r.Dir(), f))
			require.NoError(t, err)
			fmt.Fprintf(sum, "%s %d %s", f, len(data), data)
		}
	}
	served := hex.EncodeToString(sum.Sum(nil))
	w.mu.Lock()
	known, ok := w.seen[served]
	w.mu.Unlock()
	if ok {
		return known, nil
	}
	names, err := seenByClients(t, r)
	if err == nil {
		w.mu.Lock()
		w.seen[served] = names
		w.mu.Unlock()
	}
	return names, err
}

// seenByClients returns the names that a new client finds whose two engines must
// agree, and which bring their bytes.
func seenByClients(t *testing.T, r *Repository) ([]string, error) {
	t.Helper()
	s := httptest.NewServer(r.Handler())
	defer s.Close()
	root, err := os.ReadFile(filepath.Join(r.Dir(), anchorName))
	require.NoError(t, err)
	dir := t.TempDir()
	c, err := hybrid.New(hybrid.Options{RepositoryURL: s.URL, Root: root, Mode: hybrid.ModeDual, Python: pyenvtest.Python(t),
		MetadataDir: filepath.Join(dir, "metadata"), CacheDir: filepath.Join(dir, "cache")})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Shutdown(context.Background())) }()
	list, err := c.List(t.Context())
	if err != nil {
		return nil, err
	}
	var names []string
	for _, info := range list {
		names = append(names, info.Name)
		if _, err := c.VerifyAndDownloadPlugin(t.Context(), info.Name, hybrid.DownloadOptions{}); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// survives checks a repository after something went wrong in it: clients see the
// old or the new state, and the next command repairs what is left.
func survives(t *testing.T, sc scenario, w *witness, dir string) {
	t.Helper()
	r, err := Open(dir, Options{Keys: plainKeys})
	require.NoError(t, err)
	before, err := w.look(t, r)
	if !sc.torn || !r.unfinished() {
		require.NoError(t, err)
		require.Contains(t, before, "plugins/ragnos/hello.1.0.0.tar.gz")
	}
	require.NoError(t, sc.again(t.Context(), r))
	after, err := w.look(t, r)
	require.NoError(t, err)
	require.Subset(t, after, before)
	for _, f := range listFiles(t, dir) {
		require.False(t, strings.Contains(f, stagedName) || strings.Contains(f, tempPrefix), f)
	}
}

// TestKilledAtEveryStep kills a process before each of its changes to the disk.
func TestKilledAtEveryStep(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	for name, sc := range scenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base, w := prepared(t, sc), &witness{seen: map[string][]string{}}
			for step := 1; ; step++ {
				dir := copied(t, base)
				cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestHelperCrash$", "-test.count=1")
				cmd.Env = append(os.Environ(), envScenario+"="+name, envDir+"="+dir, fmt.Sprintf("%s=%d", envStep, step))
				out, err := cmd.CombinedOutput()
				survives(t, sc, w, dir)
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

// TestEveryStepMayFail makes each change to the disk fail in turn: disk full.
func TestEveryStepMayFail(t *testing.T) {
	for name, sc := range scenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base, w := prepared(t, sc), &witness{seen: map[string][]string{}}
			for step := int64(1); ; step++ {
				dir := copied(t, base)
				r, err := Open(dir, Options{Keys: plainKeys})
				require.NoError(t, err)
				var n atomic.Int64
				r.disk.before = func(string, string) error {
					if n.Add(1) == step {
						return syscall.ENOSPC
					}
					return nil
				}
				err = sc.act(t.Context(), r)
				if n.Load() < step {
					require.NoError(t, err)
					return
				}
				if err != nil {
					require.ErrorIs(t, err, syscall.ENOSPC)
					require.Equal(t, r.unfinished(), strings.Contains(err.Error(), "not complete"), "%v", err)
				}
				survives(t, sc, w, dir)
			}
		})
	}
}

package records

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ragnos-labs/vault-tuf/internal/plugin"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

const (
	envDir   = "RAGNOS_RECORDS_TEST_DIR"
	envStep  = "RAGNOS_RECORDS_TEST_STEP"
	envSeed  = "RAGNOS_RECORDS_TEST_SEED"
	attempts = 40
)

// child re-executes this test binary as one of the helpers.
func child(t *testing.T, helper string, env ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^"+helper+"$", "-test.count=1")
	cmd.Env = append(os.Environ(), env...)
	return cmd
}

// race adds random versions of two plugins, and says which ones got in. Whoever sees
// a mark go down fails.
func race(b *Book, random *rand.Rand, said func(name, version string)) error {
	low := map[string]string{}
	for range attempts {
		name := []string{"hello", "other"}[random.IntN(2)]
		r := hello(name, fmt.Sprintf("1.%d.0", random.IntN(1000)))
		switch err := b.Add(background, r, false); tuferr.CodeOf(err) {
		case "":
			said(name, r.Version)
		case protocol.CodeRollback:
		default:
			return err
		}
		now, err := b.Highest(background, "acme", name)
		if err != nil {
			return err
		}
		if plugin.Compare(now, low[name]) < 0 {
			return fmt.Errorf("%s went from %s down to %s", name, low[name], now)
		}
		low[name] = now
	}
	return nil
}

func TestManyGoroutines(t *testing.T) {
	b := Open(newDir(t))
	var g errgroup.Group
	added := make(chan [2]string, 8*attempts)
	for p := range 8 {
		book := b
		if p%2 == 1 {
			book = Open(b.dir)
		}
		g.Go(func() error {
			return race(book, rand.New(rand.NewPCG(uint64(p), 1)), func(name, version string) { added <- [2]string{name, version} })
		})
	}
	require.NoError(t, g.Wait())
	close(added)
	best := map[string]string{}
	for a := range added {
		_, ok, err := b.Find(background, plugin.Path("acme", a[0], a[1]))
		require.NoError(t, err)
		require.True(t, ok, "%v is lost", a)
		if plugin.Compare(a[1], best[a[0]]) > 0 {
			best[a[0]] = a[1]
		}
	}
	for name, version := range best {
		require.Equal(t, version, highest(t, b, name))
	}
}

// TestHelperRace is one process of TestManyProcesses.
func TestHelperRace(t *testing.T) {
	dir, seed := os.Getenv(envDir), os.Getenv(envSeed)
	if dir == "" || seed == "" {
		return
	}
	n, err := strconv.ParseUint(seed, 10, 64)
	require.NoError(t, err)
	require.NoError(t, race(Open(dir), rand.New(rand.NewPCG(n, 2)), func(name, version string) { fmt.Println("ADDED", name, version) }))
}

// TestManyProcesses lets processes add to one directory while half of them are killed
// at random: what one was told is there stays there.
func TestManyProcesses(t *testing.T) {
	b := Open(newDir(t))
	var g errgroup.Group
	added := make(chan [2]string, 6*attempts)
	for p := range 6 {
		cmd := child(t, "TestHelperRace", envDir+"="+b.dir, fmt.Sprintf("%s=%d", envSeed, p))
		stdout, err := cmd.StdoutPipe()
		require.NoError(t, err)
		left := rand.New(rand.NewPCG(uint64(p), 3)).IntN(6)
		g.Go(func() error {
			if err := cmd.Start(); err != nil {
				return err
			}
			text, killed := "", false
			for lines := bufio.NewScanner(stdout); lines.Scan(); {
				var name, version string
				if _, err := fmt.Sscanf(lines.Text(), "ADDED %s %s", &name, &version); err != nil {
					text += lines.Text() + "\n"
					continue
				}
				added <- [2]string{name, version}
				if left--; left < 0 && p%2 == 0 && !killed {
					killed = true
					_ = cmd.Process.Kill()
				}
			}
			if err := cmd.Wait(); err != nil && !killed {
				return fmt.Errorf("%w\n%s", err, text)
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	close(added)
	for a := range added {
		_, ok, err := b.Find(background, plugin.Path("acme", a[0], a[1]))
		require.NoError(t, err)
		require.True(t, ok, "%v is lost", a)
		require.LessOrEqual(t, plugin.Compare(a[1], highest(t, b, a[0])), 0)
	}
}

// TestHelperCrash is the child of TestKilledAtEveryStep.
func TestHelperCrash(t *testing.T) {
	if os.Getenv(envStep) == "" {
		return
	}
	n, err := strconv.Atoi(os.Getenv(envStep))
	require.NoError(t, err)
	b := Open(os.Getenv(envDir))
	b.before = func(string, string) error {
		if n--; n == 0 {
			self, _ := os.FindProcess(os.Getpid())
			_ = self.Kill()
			select {}
		}
		return nil
	}
	require.NoError(t, b.Add(background, hello("hello", "2.0.0"), false))
}

func TestKilledAtEveryStep(t *testing.T) {
	for step := 1; ; step++ {
		b := Open(newDir(t))
		add(t, b, hello("hello", "1.0.0"))
		out, err := child(t, "TestHelperCrash", envDir+"="+b.dir, fmt.Sprintf("%s=%d", envStep, step)).CombinedOutput()
		now := highest(t, b, "hello")
		require.Contains(t, []string{"1.0.0", "2.0.0"}, now)
		require.Equal(t, now == "2.0.0", len(list(t, b)) == 2, "the mark and the record are one")
		add(t, b, hello("hello", "2.0.0"))
		require.NoFileExists(t, b.dir+"/"+tempName)
		if err == nil {
			require.Equal(t, "2.0.0", now)
			require.Greater(t, step, 4)
			return
		}
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, "%s", out)
		if status, ok := exit.Sys().(syscall.WaitStatus); ok {
			require.True(t, status.Signaled(), "%s", out)
		}
	}
}

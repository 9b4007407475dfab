package audit

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

const (
	envDir  = "RAGNOS_AUDIT_TEST_DIR"
	envStep = "RAGNOS_AUDIT_TEST_STEP"
	envName = "RAGNOS_AUDIT_TEST_NAME"

	processes = 10
	perChild  = 60
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

// TestHelperWriter is one process of TestManyProcesses: it says which lines are on the
// disk.
func TestHelperWriter(t *testing.T) {
	dir, name := os.Getenv(envDir), os.Getenv(envName)
	if dir == "" || name == "" {
		return
	}
	l, err := Open(dir, Options{MaxFile: 20_000, Every: 16, Interval: time.Millisecond})
	require.NoError(t, err)
	var g errgroup.Group
	var mu sync.Mutex
	for i := range 3 {
		g.Go(func() error {
			for j := range perChild / 3 {
				id := fmt.Sprintf("%s-%d-%d", name, i, j)
				long := strings.Repeat("x", rand.IntN(3000))
				if err := l.Append(background, map[string]string{"id": id, "pad": long}); err != nil {
					return err
				}
				mu.Lock()
				fmt.Println("WRITTEN", id)
				mu.Unlock()
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	require.NoError(t, l.Close(background))
}

// run starts writers until as many have ended well, and kills the others after a random
// number of lines. It returns the lines that they were told are on the disk.
func run(t *testing.T, dir string, p int) (written []string, err error) {
	random := rand.New(rand.NewPCG(uint64(p), 1))
	for round := range 3 {
		cmd := child(t, "TestHelperWriter", envDir+"="+dir, fmt.Sprintf("%s=p%d.%d", envName, p, round))
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		left, text := random.IntN(perChild), ""
		var killed *time.Timer
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			id, ok := strings.CutPrefix(lines.Text(), "WRITTEN ")
			if !ok {
				text += lines.Text() + "\n"
				continue
			}
			written = append(written, id)
			if left--; left < 0 && round < 2 && killed == nil {
				killed = time.AfterFunc(time.Duration(random.IntN(3000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
			}
		}
		if err := cmd.Wait(); err != nil && killed == nil {
			return nil, fmt.Errorf("%w\n%s", err, text)
		}
		if killed != nil {
			killed.Stop()
		}
	}
	return written, nil
}

// TestManyProcesses lets ten processes write one log, and kills them at random: no
// line that was acknowledged is lost, and no torn one is in the chain.
func TestManyProcesses(t *testing.T) {
	dir := newDir(t)
	var g errgroup.Group
	var mu sync.Mutex
	var all []string
	for p := range processes {
		g.Go(func() error {
			written, err := run(t, dir, p)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, written...)
			return err
		})
	}
	require.NoError(t, g.Wait())
	l := open(t, dir, Options{})
	add(t, l, 1) // Whoever comes next moves aside what the last one left.
	cp, err := l.Checkpoint(background)
	require.NoError(t, err)

	rep, err := Verify(background, dir, VerifyOptions{Checkpoints: cp})
	require.NoError(t, err)
	require.Empty(t, rep.Problems)
	require.Nil(t, rep.Torn)
	require.Equal(t, rep.Lines, rep.Covered)
	require.Greater(t, rep.Files, 3)
	require.GreaterOrEqual(t, rep.Lines, int64(len(all)))
	t.Logf("%d lines acknowledged, %d lines, %d files, %d checkpoints, %d recovered", len(all), rep.Lines, rep.Files, rep.Checkpoints, rep.Recovered)
	there := map[string]int{}
	for e, err := range Entries(background, dir) {
		require.NoError(t, err)
		if e.Kind == "" {
			id, _, _ := strings.Cut(strings.TrimPrefix(string(e.Event), `{"id":"`), `"`)
			there[id]++
		}
	}
	for _, id := range all {
		require.Equal(t, 1, there[id], id)
	}
}

// TestHelperCrash is the child of TestKilledAtEveryStep.
func TestHelperCrash(t *testing.T) {
	if os.Getenv(envStep) == "" {
		return
	}
	n, err := strconv.Atoi(os.Getenv(envStep))
	require.NoError(t, err)
	l, err := openWith(background, os.Getenv(envDir), small(), func(string, string) error {
		if n--; n == 0 {
			self, _ := os.FindProcess(os.Getpid())
			_ = self.Kill()
			select {}
		}
		return nil
	})
	require.NoError(t, err)
	for i := range 6 {
		require.NoError(t, l.Append(background, event(i)))
		fmt.Println("WRITTEN", i)
	}
	require.NoError(t, l.Close(background))
}

// small are options that make every step happen soon.
func small() Options {
	opts := quiet()
	opts.Every, opts.MaxFile = 2, 400
	return opts
}

func TestKilledAtEveryStep(t *testing.T) {
	for step := 1; ; step++ {
		dir := newDir(t)
		if step%2 == 0 { // a torn line is there to begin with
			l := open(t, dir, small())
			add(t, l, 3)
			require.NoError(t, l.Close(background))
			tear(t, dir, 2, `{"event":{"name":"torn`)
		}
		out, err := child(t, "TestHelperCrash", envDir+"="+dir, fmt.Sprintf("%s=%d", envStep, step)).CombinedOutput()
		rep, verr := Verify(background, dir, VerifyOptions{})
		if verr == nil {
			for _, p := range rep.Problems {
				require.Equal(t, KindKeyMissing, p.Kind, "step %d", step)
			}
		}
		l := open(t, dir, small())
		add(t, l, 1)
		require.NoError(t, l.Close(background))
		rep, verr = Verify(background, dir, VerifyOptions{})
		require.NoError(t, verr)
		require.Empty(t, rep.Problems, "step %d", step)
		require.Nil(t, rep.Torn)
		require.False(t, rep.TornCheckpoint)
		require.Equal(t, rep.Lines, rep.Covered)
		require.GreaterOrEqual(t, rep.Lines, int64(strings.Count(string(out), "WRITTEN")+1))
		if step%2 == 0 {
			require.EqualValues(t, 1, rep.Recovered, "step %d", step)
		}
		if err == nil {
			require.Greater(t, step, 20)
			return
		}
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, "%s", out)
		if status, ok := exit.Sys().(syscall.WaitStatus); ok {
			require.True(t, status.Signaled(), "%s", out)
		}
	}
}

// tear writes bytes behind the end of a file.
func tear(t testing.TB, dir string, file int, bytes string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, fileName(file)), os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	_, err = f.WriteString(bytes)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

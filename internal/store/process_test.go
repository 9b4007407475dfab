package store

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

const envRounds = "RAGNOS_STORE_TEST_ROUNDS"

// TestHelperWriter is one process of TestManyProcesses: it refreshes again and
// again, each time to a version that is newer than what it sees, and says so.
// A negative number of rounds makes the slow writer: it waits for a line on its
// standard input between view and commit.
func TestHelperWriter(t *testing.T) {
	dir := os.Getenv(envDir)
	if dir == "" || os.Getenv(envRounds) == "" {
		return
	}
	rounds, err := strconv.Atoi(os.Getenv(envRounds))
	require.NoError(t, err)
	s, err := Open(dir, Options{})
	require.NoError(t, err)
	stdin := bufio.NewReader(os.Stdin)
	if rounds < 0 {
		v := view(t, s)
		fmt.Println("VIEW")
		_, err := stdin.ReadString('\n')
		require.NoError(t, err)
		requireCode(t, tryCommit(t.Context(), s, v, outcomeAt(v.Floors.Timestamp+1, v), complete), protocol.CodeContention)
		return
	}
	low := Floors{}
	for range rounds {
		v := view(t, s)
		require.NoError(t, notBelow(low, v.Floors))
		low = v.Floors
		err := tryCommit(t.Context(), s, v, outcomeAt(v.Floors.Timestamp+1+rand.Int64N(2), v), complete)
		if tuferr.CodeOf(err) != protocol.CodeContention {
			require.NoError(t, err)
			fmt.Println("ROUND")
		}
	}
}

// TestManyProcesses lets processes commit to one directory while they are killed
// at random and one slow writer tries to take everything back.
func TestManyProcesses(t *testing.T) {
	const (
		processes = 8
		lives     = 3
		rounds    = 20
	)
	dir := filepath.Join(t.TempDir(), "metadata")
	s, seen := open(t, dir)
	require.NoError(t, s.Pin(t.Context(), acme.root(1).Raw, false))
	commit(t, s, acme.all(1))

	slow := child(t, "TestHelperWriter", envDir+"="+dir, envRounds+"=-1")
	goOn, err := slow.StdinPipe()
	require.NoError(t, err)
	lines := startChild(t, slow)
	require.True(t, lines.Scan())
	require.Equal(t, "VIEW", lines.Text())

	var g errgroup.Group
	for p := range processes {
		g.Go(func() error {
			random := rand.New(rand.NewPCG(uint64(p), 42))
			for range lives {
				cmd := child(t, "TestHelperWriter", envDir+"="+dir, envRounds+"="+strconv.Itoa(rounds))
				if err := live(cmd, random.IntN(2*rounds)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	watched := make(chan error, 1)
	stop := make(chan struct{})
	go func() { watched <- watch(dir, stop) }()
	require.NoError(t, g.Wait())
	close(stop)
	require.NoError(t, <-watched)

	_, err = io.WriteString(goOn, "\n")
	require.NoError(t, err)
	for lines.Scan() {
	}
	require.NoError(t, slow.Wait(), "the slow writer must find contention")
	floors, files, err := fsck(dir)
	require.NoError(t, err)
	require.Greater(t, floors.Timestamp, int64(processes))
	t.Logf("ended at root %d, timestamp %d", floors.Root, floors.Timestamp)
	require.NoError(t, notBelow(files, floors))
	commit(t, s, outcomeAt(floors.Timestamp+1, view(t, s)))
	require.Empty(t, seen.codes())
}

func startChild(t *testing.T, cmd *exec.Cmd) *bufio.Scanner {
	t.Helper()
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return bufio.NewScanner(stdout)
}

// live runs a writer and kills it after it has said so many rounds, if it gets
// so far. Whatever it dies of but the kill is an error.
func live(cmd *exec.Cmd, rounds int) error {
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	killed := false
	var text string
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if lines.Text() == "ROUND" {
			rounds--
		} else {
			text += lines.Text() + "\n"
		}
		if rounds < 0 && !killed {
			killed = true
			if err := cmd.Process.Kill(); err != nil {
				return err
			}
		}
	}
	if err := cmd.Wait(); err != nil && !killed {
		return fmt.Errorf("%w\n%s", err, text)
	}
	return nil
}

// watch sees, all the time, that no file of the store goes back.
func watch(dir string, stop <-chan struct{}) error {
	s, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	var low Floors
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		now := Floors{Roles: map[string]int64{}}
		for file, version := range map[string]*int64{"root.json": &now.Root, "timestamp.json": &now.Timestamp, snapshotFile: &now.Snapshot} {
			doc, err := s.read(filepath.Join(dir, file), roleKind(file))
			if err != nil {
				return err
			}
			*version = doc.Version
		}
		if err := notBelow(low, now); err != nil {
			return err
		}
		low = now
	}
}

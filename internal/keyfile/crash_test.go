//go:build unix

package keyfile

import (
	"context"
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

	"github.com/ragnos-labs/vault-tuf/protocol"
)

const (
	envDir  = "RAGNOS_KEYFILE_TEST_DIR"
	envStep = "RAGNOS_KEYFILE_TEST_STEP"
)

// TestHelperGenerate is the child of the tests below: it makes a key and is
// killed before a step.
func TestHelperGenerate(t *testing.T) {
	dir := os.Getenv(envDir)
	if dir == "" {
		return
	}
	n, err := strconv.ParseInt(os.Getenv(envStep), 10, 64)
	require.NoError(t, err)
	var step atomic.Int64
	d := disk{before: func(string, string) error {
		if step.Add(1) == n {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return nil
	}}
	_, err = generate(t.Context(), d, dir, "a", Ed25519, Plain)
	require.NoError(t, err)
}

func child(t *testing.T, dir string, step int) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestHelperGenerate$", "-test.count=1")
	cmd.Env = append(os.Environ(), envDir+"="+dir, fmt.Sprintf("%s=%d", envStep, step))
	return cmd
}

// requireWholeOrNone: the directory has the key, and it signs, or it has none
// and one can be made. Either way the next key is no matter.
func requireWholeOrNone(t *testing.T, dir string) (whole bool) {
	t.Helper()
	if _, err := os.Stat(dir); err == nil {
		list, err := List(dir)
		require.NoError(t, err)
		for _, k := range list {
			require.Equal(t, "a", k.Name)
			whole = true
			signer, err := k.Signer(t.Context(), nil)
			require.NoError(t, err)
			requireSigns(t, signer, k.Public)
		}
	}
	_, err := Generate(t.Context(), dir, "a", Ed25519, Plain)
	if whole {
		requireError(t, err, protocol.CodeUsage, ErrExists)
	} else {
		require.NoError(t, err)
	}
	_, err = Generate(t.Context(), dir, "b", Ed25519, Plain)
	require.NoError(t, err)
	requireTidy(t, dir)
	list, err := List(dir)
	require.NoError(t, err)
	require.Len(t, list, 2)
	return whole
}

func TestKilledAtEveryStep(t *testing.T) {
	for step := 1; ; step++ {
		dir := filepath.Join(t.TempDir(), "keys")
		out, err := child(t, dir, step).CombinedOutput()
		whole := requireWholeOrNone(t, dir)
		if err == nil {
			require.True(t, whole)
			require.Greater(t, step, 10)
			t.Logf("%d kill points", step-1)
			return
		}
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, "%s", out)
		require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal(), "%s", out)
	}
}

// TestEveryStepMayFail: then there is a typed error and no key.
func TestEveryStepMayFail(t *testing.T) {
	causes := []struct {
		err  error
		code protocol.Code
	}{
		{syscall.ENOSPC, protocol.CodeDiskFull}, {syscall.EIO, protocol.CodeLocalIO}, {fs.ErrPermission, protocol.CodePermissions},
		{syscall.EROFS, protocol.CodePermissions}, {syscall.EDQUOT, protocol.CodeDiskFull}, {context.DeadlineExceeded, protocol.CodeTimeout},
	}
	for step, more := 1, true; more; step++ {
		dir := filepath.Join(t.TempDir(), "keys")
		cause := causes[step%len(causes)]
		n := 0
		d := disk{before: func(string, string) error {
			if n++; n == step {
				return cause.err
			}
			return nil
		}}
		_, err := generate(t.Context(), d, dir, "a", Ed25519, Plain)
		if more = n >= step; more {
			e := requireError(t, err, cause.code, cause.err)
			require.NotEmpty(t, e.Path)
			if _, err := os.Stat(dir); err == nil {
				requireTidy(t, dir)
			}
			require.False(t, requireWholeOrNone(t, dir))
			continue
		}
		require.NoError(t, err)
	}
}

// TestOneProcessWins: of several processes that make a key of one name, exactly
// one succeeds, and what it said is what is there.
func TestOneProcessWins(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	children := make([]*exec.Cmd, 6)
	for i := range children {
		children[i] = child(t, dir, 0)
		require.NoError(t, children[i].Start())
	}
	won := 0
	for _, c := range children {
		if c.Wait() == nil {
			won++
		}
	}
	require.Equal(t, 1, won)
	require.True(t, requireWholeOrNone(t, dir))
}

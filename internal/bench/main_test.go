//go:build linux

package main

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/bench/report"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest/plain"
)

// TestBench measures one small row once, from nothing to the table, over the
// wire as well where there may be one.
func TestBench(t *testing.T) {
	python, err := plain.Interpreter()
	require.NoError(t, err)
	cache := t.TempDir()
	var out bytes.Buffer
	args := []string{"-python", python, "-cache", cache, "-rounds", "1", "-only", "^(loopback|20 ms round trip): cold small$"}
	require.NoError(t, run(t.Context(), args, &out))
	for _, c := range clients {
		require.Contains(t, out.String(), "| "+c.name+" ")
	}
	require.Contains(t, out.String(), "| cold small, loopback ")
	requireClean(t, cache)
}

// TestBenchOfServers measures one row of the servers' own group.
func TestBenchOfServers(t *testing.T) {
	python, err := plain.Interpreter()
	require.NoError(t, err)
	cache := t.TempDir()
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-python", python, "-cache", cache, "-rounds", "1", "-only", "^serve: timestamp.json, 304$"}, &out))
	for _, name := range []string{report.LocalTUF, report.Floor} {
		require.Contains(t, out.String(), "| "+name+" ")
	}
	requireClean(t, cache)
}

// TestBenchInterrupted: nothing stays behind but what later runs can use.
func TestBenchInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cache := t.TempDir()
	require.ErrorIs(t, run(ctx, []string{"-cache", cache}, &bytes.Buffer{}), context.Canceled)
	requireClean(t, cache)
}

func requireClean(t *testing.T, cache string) {
	left, err := filepath.Glob(filepath.Join(cache, "work-*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestFlags(t *testing.T) {
	for _, args := range [][]string{{"-rounds", "0"}, {"-only", "("}, {"-only", "cold", "-docs", "docs"}} {
		require.Error(t, run(t.Context(), args, &bytes.Buffer{}))
	}
}

// TestListNamesAllGoals: a goal whose name is misspelt would never be measured.
func TestListNamesAllGoals(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-list"}, &out))
	for _, name := range report.Places() {
		require.Contains(t, strings.Split(out.String(), "\n"), name)
	}
}

// TestPlainClientIsPlain: go-tuf's client must not pay for anything of ours.
func TestPlainClientIsPlain(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "./plain-go").Output()
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(out), module+"/"))
}

// TestMeter: the exit code, the time and the memory are the command's and its
// child's, not the meter's.
func TestMeter(t *testing.T) {
	h := &harness{cache: t.TempDir(), work: t.TempDir()}
	require.NoError(t, h.build(t.Context(), []string{"internal/bench/meter"}))
	s := &sample{}
	cmd := h.command(t.Context(), h.bin("meter"), "-watch", "--", "sh", "-c", "sleep 0.2; echo why >&2; exit 3")
	require.NoError(t, output(cmd, &network{start: (*exec.Cmd).Start}, s))
	require.ErrorContains(t, s.failed(), "exit code 3: why")
	require.GreaterOrEqual(t, s.Wall, 200*time.Millisecond)
	require.Positive(t, s.Host)
	require.Positive(t, s.Worker)
}

//go:build linux

package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuftest/plain"
)

// TestPublishing measures the smallest repositories once, from nothing to the page.
func TestPublishing(t *testing.T) {
	python, err := plain.Interpreter()
	require.NoError(t, err)
	all := layouts
	defer func() { layouts = all }()
	layouts = []layout{{"one", 1, 0}, {"two", 2, 0}, {"bins", 1, 2}}
	cache, docs := t.TempDir(), t.TempDir()
	require.NoError(t, run(t.Context(), []string{"-python", python, "-cache", cache, "-sizes", "0,3", "-rounds", "1", "-docs", docs}, &bytes.Buffer{}))
	page, err := os.ReadFile(filepath.Join(docs, "publishing.md"))
	require.NoError(t, err)
	for _, l := range layouts {
		require.Equal(t, 3, strings.Count(string(page), "\n| "+l.name+" |"), "one into 0, one into 3, a batch of 3")
	}
	requireClean(t, cache)
}

func TestPublishingInterrupted(t *testing.T) {
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
	for _, args := range [][]string{{"-rounds", "0"}, {"-sizes", "many"}, {"-sizes", "-1"}, {"-unknown"}} {
		require.Error(t, run(t.Context(), args, &bytes.Buffer{}))
	}
}

// TestArchivesDiffer: or all would be one file in every cache.
func TestArchivesDiffer(t *testing.T) {
	a, err := archive(1)
	require.NoError(t, err)
	b, err := archive(2)
	require.NoError(t, err)
	require.NotEqual(t, a, b)
	require.Len(t, b, len(a))
	stems, err := writeBatch(t.TempDir(), 1001, 2)
	require.NoError(t, err)
	require.Len(t, stems, 1001)
	info, err := os.Stat(stems[1000] + extManifest)
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(120))
}

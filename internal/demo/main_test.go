package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest/plain"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

const testdata = "../../testdata"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func python(t *testing.T) string {
	path, err := plain.Interpreter()
	require.NoError(t, err)
	path, err = filepath.Abs(path)
	require.NoError(t, err)
	return path
}

// The demo is played as make demo does. It checks its claims itself; here it is
// seen to make all of them, and to leave nothing behind.
func TestDemo(t *testing.T) {
	bin, tmp := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", tmp)
	out, err := exec.Command("go", "build", "-o", bin, "../../cmd/ragnos-tuf", "../../cmd/local-tuf").CombinedOutput()
	require.NoError(t, err, "%s", out)

	var said strings.Builder
	err = run(context.Background(), []string{"-bin", bin, "-python", python(t), "-testdata", testdata, "-cool-down", "5s"}, &said)
	require.NoError(t, err, said.String())
	require.Equal(t, 7, strings.Count(said.String(), "   => "), said.String())
	left, err := os.ReadDir(tmp)
	require.NoError(t, err)
	require.Empty(t, left)
}

// A claim that does not hold ends the demo with an error.
func TestDemoFails(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	bin := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(bin, "local-tuf"), []byte("#!/bin/sh\nexit 3\n"), 0o700))
	err := run(context.Background(), []string{"-bin", bin, "-python", "python3", "-testdata", testdata}, new(strings.Builder))
	require.ErrorContains(t, err, "local-tuf ended with exit code 3 instead of 0")
}

func fallback(t *testing.T) *states {
	s, err := serveStates(filepath.Join(testdata, "fallback"))
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

// The fixture is what its README says: go-tuf's own client reads one state and
// not the other, python-tuf's reads both.
func TestPlainClients(t *testing.T) {
	py := plain.NewPython(python(t))
	defer py.Close()
	want, err := os.ReadFile(filepath.Join(testdata, "plugins", "hello-world.1.0.0.tar.gz"))
	require.NoError(t, err)
	for _, state := range []string{"unreadable", "readable"} {
		s := fallback(t)
		s.show(state)
		err := plainGoTUF(s.url, s.root, t.TempDir())
		if state == "readable" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, "hex")
		}
		got, err := py.Run(context.Background(), plain.Request{
			MetadataURL: s.url + "/metadata/", TargetsURL: s.url + "/targets/", Root: s.root,
			MetadataDir: filepath.Join(t.TempDir(), "metadata"), TargetsDir: filepath.Join(t.TempDir(), "targets"),
			Target: pluginName,
		})
		require.NoError(t, err, state)
		require.Equal(t, want, got, state)
	}
}

// What go-tuf cannot decode is a fault and never a forgery; only auto lets
// python-tuf answer for it.
func TestModes(t *testing.T) {
	for mode, want := range map[hybrid.Mode]struct {
		engine string
		code   protocol.Code
	}{
		hybrid.ModeAuto:   {engine: "python"},
		hybrid.ModePython: {engine: "python"},
		hybrid.ModeGo:     {code: protocol.CodeUnrepresentable},
		hybrid.ModeDual:   {code: protocol.CodeUnableInDual},
	} {
		t.Run(string(mode), func(t *testing.T) {
			s, dir := fallback(t), t.TempDir()
			client, err := hybrid.New(hybrid.Options{
				RepositoryURL: s.url, Root: s.root, Mode: mode, Python: python(t),
				MetadataDir: filepath.Join(dir, "metadata"), CacheDir: filepath.Join(dir, "cache"),
			})
			require.NoError(t, err)
			defer func() { require.NoError(t, client.Shutdown(context.Background())) }()
			r, err := client.VerifyAndDownloadPlugin(context.Background(), pluginName, hybrid.DownloadOptions{})
			if want.code != "" {
				var e *hybrid.Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, want.code, e.Code)
				require.NoDirExists(t, filepath.Join(dir, "cache", "plugins"))
				return
			}
			require.NoError(t, err)
			require.Equal(t, want.engine, r.Engine)
			require.Equal(t, mode == hybrid.ModeAuto, r.Fallback != "")
		})
	}
}

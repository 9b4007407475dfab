package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/telemetry"
	"github.com/ragnos-labs/vault-tuf/internal/telemetry/otlptest"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

// downloadWith runs "ragnos-tuf download" of a new repository in an environment, and
// wants that it works.
func downloadWith(t *testing.T, env []string, flags ...string) (stderr string) {
	t.Helper()
	dir := t.TempDir()
	repo := tuftest.NewRepo(tuftest.Config{})
	repo.AddTarget("targets", helloPath, []byte("hello"), map[string]any{})
	repo.Publish("targets")
	server := tuftest.NewServer(repo)
	defer server.Close()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "root.json"), repo.RootBytes(1), 0o600))
	cmd := exec.Command("ragnos-tuf", append(flags, "--client", "go", "--repo-url", server.URL, "--root", "root.json",
		"download", helloPath, "-o", "hello.tar.gz")...)
	cmd.Dir = dir
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); !strings.HasPrefix(name, "OTEL_") && !strings.HasPrefix(name, "RAGNOS_") && name != "DEBUG" {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	require.NoError(t, cmd.Run(), errs.String())
	got, err := os.ReadFile(filepath.Join(dir, "hello.tar.gz"))
	require.NoError(t, err)
	require.Equal(t, "hello", string(got))
	return errs.String()
}

// TestTelemetryOfACommand: what a collector gets of one run, by the environment alone.
func TestTelemetryOfACommand(t *testing.T) {
	r := otlptest.New(t)
	require.Empty(t, downloadWith(t, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + r.URL}))
	downloads := r.Spans(string(telemetry.Download))
	require.Len(t, downloads, 1)
	require.Equal(t, helloPath, otlptest.Attributes(downloads[0].Attributes)[string(telemetry.Target)])
	for _, op := range []telemetry.Operation{telemetry.Update, telemetry.Verify, telemetry.Commit} {
		spans := r.Spans(string(op))
		require.Len(t, spans, 1, op)
		require.Equal(t, downloads[0].TraceId, spans[0].TraceId)
	}
	m := r.Metrics()
	require.EqualValues(t, 1, otlptest.Sum(m[telemetry.TUFDuration], string(telemetry.TUFOperation), "download"))
	require.EqualValues(t, 1, otlptest.Sum(m[telemetry.Verifications], string(telemetry.Engine), "go"))
	require.EqualValues(t, 5, otlptest.Sum(m[telemetry.Bytes], string(telemetry.Content), "target"))
	require.Positive(t, otlptest.Sum(m[telemetry.TimeToExpiry], string(telemetry.Role), "timestamp"), "gauges are asked before the client ends")
	for _, about := range r.Resources() {
		require.Equal(t, "ragnos-tuf", about["service.name"])
	}

	// Nothing is exported unasked, or if that is forbidden.
	known := len(r.Resources())
	downloadWith(t, nil)
	downloadWith(t, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + r.URL, "OTEL_SDK_DISABLED=true"})
	require.Len(t, r.Resources(), known)
}

// TestTelemetryOfAVault: a vault's calls, and those on its repository.
func TestTelemetryOfAVault(t *testing.T) {
	r := otlptest.New(t)
	cmd := exec.Command("ragnos-tuf", "search", "--config", "config.yaml", "hello")
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "OTEL_EXPORTER_OTLP_ENDPOINT="+r.URL, "OTEL_SERVICE_NAME=own")
	repo := tuftest.NewRepo(tuftest.Config{})
	repo.AddTarget("targets", helloPath, []byte("hello"), map[string]any{})
	repo.Publish("targets")
	server := tuftest.NewServer(repo)
	defer server.Close()
	config := "repositories:\n  - {name: acme, url: '" + server.URL + "', root: root.json}\npolicy: {allow: {names: ['*']}}\nclient: go\n"
	require.NoError(t, os.WriteFile(filepath.Join(cmd.Dir, "config.yaml"), []byte(config), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(cmd.Dir, "root.json"), repo.RootBytes(1), 0o600))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Len(t, r.Spans(string(telemetry.VaultList)), 1)
	require.Positive(t, otlptest.Sum(r.Metrics()[telemetry.TimeToExpiry], string(telemetry.Repository), "acme"))
	require.Equal(t, "own", r.Resources()[0]["service.name"])
}

// TestTelemetryKeepsNobodyFromWorking: a collector that is down, or hangs, is said
// once, to those who debug.
func TestTelemetryKeepsNobodyFromWorking(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	over := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-over }))
	defer hanging.Close()
	defer close(over)
	for _, url := range []string{gone.URL, hanging.URL} {
		env := []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + url}
		require.Empty(t, downloadWith(t, env))
		said := downloadWith(t, append(env, "DEBUG=tuf:telemetry"))
		require.Equal(t, 1, strings.Count(said, "\n"), said)
		require.Contains(t, said, "telemetry cannot be delivered; this is said once")
	}
}

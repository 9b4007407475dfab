package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/otelsetup/promtest"
	"github.com/ragnos-labs/vault-tuf/internal/servemetrics"
	"github.com/ragnos-labs/vault-tuf/internal/telemetry/otlptest"
)

const metricsFlag = "--metrics-listen"

// TestMetrics: what Prometheus gets of a running server.
func TestMetrics(t *testing.T) {
	dir := newRepository(t, "--timestamp-lifetime", "4s")
	s := startServe(t, dir, metricsFlag, "127.0.0.1:0")
	require.Equal(t, "http", s.metrics[:4])
	client := oneByOne()
	scrape := func() promtest.Samples { return promtest.Scrape(t, client, s.metrics) }
	get(t, client, s.url+"/metadata/timestamp.json")
	get(t, client, s.url+"/metadata/99.root.json")
	get(t, client, s.url+"/health/tuf")
	all := scrape()
	count := func(labels ...string) float64 {
		return all.Sum("ragnos_server_request_duration_seconds_count", labels...)
	}
	require.EqualValues(t, 1, count("ragnos_server_kind=metadata", "ragnos_http_status_class=2xx"))
	require.EqualValues(t, 1, count("ragnos_server_kind=metadata", "ragnos_http_status_class=4xx"))
	require.EqualValues(t, 1, count("ragnos_server_kind=health"))
	require.EqualValues(t, 3, count(), "those for metrics are not among them")
	require.Positive(t, all.Sum("ragnos_server_sent_bytes_total", "ragnos_server_kind=metadata"))
	for _, role := range []string{"root", "targets", "snapshot", "timestamp"} {
		require.NotZero(t, all.Sum("ragnos_server_metadata_time_to_expiry_seconds", "ragnos_tuf_role="+role), role)
	}
	require.EqualValues(t, 1, all.Sum("ragnos_server_health"))
	require.Eventually(t, func() bool {
		return scrape().Sum("ragnos_server_renewals_total", "error_type=") >= 2
	}, time.Minute, 50*time.Millisecond)

	// The two addresses have nothing in common.
	code, _ := get(t, client, s.url+metricsPath)
	require.Equal(t, http.StatusNotFound, code)
	code, _ = get(t, client, s.metrics+"/../metadata/timestamp.json")
	require.Equal(t, http.StatusNotFound, code)
	require.Zero(t, s.stop(t))
}

// TestMetricsOfAServerThatCannotSign: failures are counted by their code.
func TestMetricsOfAServerThatCannotSign(t *testing.T) {
	dir := newRepository(t, "--timestamp-lifetime", "4s")
	require.NoError(t, os.Rename(filepath.Join(dir, "keys"), dir+"-keys"))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "keys"), 0o700))
	s := startServe(t, dir, metricsFlag, "127.0.0.1:0")
	client := oneByOne()
	require.Eventually(t, func() bool {
		all := promtest.Scrape(t, client, s.metrics)
		return all.Sum("ragnos_server_renewals_total") > 0 && all.Sum("ragnos_server_renewals_total", "error_type=") == 0
	}, time.Minute, 50*time.Millisecond)
	require.Eventually(t, func() bool {
		all := promtest.Scrape(t, client, s.metrics)
		return all.Sum("ragnos_server_health", "ragnos_server_health_status=down") == 1 &&
			all.Sum("ragnos_server_metadata_time_to_expiry_seconds", "ragnos_tuf_role=timestamp") < 0
	}, time.Minute, 50*time.Millisecond)
	require.Zero(t, s.stop(t))
}

// TestMetricsAreForReaders: who may not read the repository gets no metrics either.
func TestMetricsAreForReaders(t *testing.T) {
	dir := newRepository(t)
	tokens := filepath.Join(t.TempDir(), "tokens")
	require.NoError(t, os.WriteFile(tokens, []byte("the-token-of-the-scraper\n"), 0o600))
	s := startServe(t, dir, metricsFlag, "127.0.0.1:0", "--read-token-file", tokens)
	code, _ := get(t, oneByOne(), s.metrics)
	require.Equal(t, http.StatusUnauthorized, code)
	req, err := http.NewRequest(http.MethodGet, s.metrics, nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer the-token-of-the-scraper")
	resp, err := oneByOne().Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.True(t, promtest.Parse(t, string(body)).Has("ragnos_server_health"))
	require.Zero(t, s.stop(t))
}

// TestMetricsByOTLP: a collector gets them without a flag.
func TestMetricsByOTLP(t *testing.T) {
	r := otlptest.New(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", r.URL)
	s := startServe(t, newRepository(t))
	require.Empty(t, s.metrics)
	get(t, oneByOne(), s.url+"/health/tuf")
	require.Zero(t, s.stop(t))
	require.EqualValues(t, 1, otlptest.Sum(r.Metrics()[servemetrics.Duration], string(servemetrics.Kind), "health"))
	require.Positive(t, otlptest.Sum(r.Metrics()[servemetrics.TimeToExpiry], "ragnos.tuf.role", "root"))
}

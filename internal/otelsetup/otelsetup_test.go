package otelsetup_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/otelsetup"
	"github.com/ragnos-labs/vault-tuf/internal/telemetry"
	"github.com/ragnos-labs/vault-tuf/internal/telemetry/otlptest"
)

// cleared takes what this process was started with out of the environment.
func cleared(t *testing.T) {
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "")
		}
	}
}

// journal is a log that may be written by several goroutines.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

func (j *journal) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug - 4}))
}

// use lets a client's telemetry tell something.
func use(s *otelsetup.Setup) {
	tel := telemetry.New(s.Tracers, s.Meters, "acme")
	_, op := tel.Begin(context.Background(), telemetry.Download)
	op.End(nil)
	tel.Retried()
}

// TestEnvironment: what is started is what is asked for, and nothing else.
func TestEnvironment(t *testing.T) {
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1"
	for _, c := range []struct {
		env             string
		traces, metrics bool
		said            string
	}{
		{},
		{env: "OTEL_SERVICE_NAME=x OTEL_TRACES_SAMPLER=always_on OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"},
		{env: endpoint, traces: true, metrics: true},
		{env: endpoint + " OTEL_SDK_DISABLED=TRUE"},
		{env: endpoint + " OTEL_SDK_DISABLED=no", traces: true, metrics: true},
		{env: endpoint + " OTEL_TRACES_EXPORTER=none", metrics: true},
		{env: endpoint + " OTEL_METRICS_EXPORTER=none", traces: true},
		{env: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:1/v1/traces", traces: true},
		{env: "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://127.0.0.1:1/v1/metrics", metrics: true},
		{env: "OTEL_TRACES_EXPORTER=otlp", traces: true},
		{env: "OTEL_METRICS_EXPORTER=prometheus,otlp", metrics: true},
		{env: "OTEL_TRACES_EXPORTER=console", said: "OTEL_TRACES_EXPORTER=console: only otlp and none are known here"},
		{env: endpoint + " OTEL_EXPORTER_OTLP_PROTOCOL=grpc", said: "OTLP by grpc is not known here"},
		{env: endpoint + " OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/json", metrics: true, said: "OTLP by http/json"},
		{env: endpoint + " OTEL_RESOURCE_ATTRIBUTES=nonsense", traces: true, metrics: true, said: "the value of OTEL_RESOURCE_ATTRIBUTES cannot be used"},
	} {
		t.Run(c.env, func(t *testing.T) {
			cleared(t)
			for kv := range strings.FieldsSeq(c.env) {
				name, value, _ := strings.Cut(kv, "=")
				t.Setenv(name, value)
			}
			var log journal
			s := otelsetup.Start(otelsetup.Config{Service: "test", Log: log.logger()})
			require.Equal(t, []bool{c.traces, c.metrics}, []bool{s.Tracers != nil, s.Meters != nil})
			if c.said == "" {
				require.Empty(t, log.text())
			} else {
				require.Contains(t, log.text(), c.said)
				require.Contains(t, log.text(), "component=tuf:telemetry")
			}
			s.End()
		})
	}
}

// A setting that cannot be used may be a token that stands where it should not.
func TestSettingsAreNotQuoted(t *testing.T) {
	for _, c := range []struct{ name, value, said string }{
		{"OTEL_EXPORTER_OTLP_HEADERS", "Authorization: Bearer s3cret", "missing '="},
		{"OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%s3cret", "escape header value"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "Bearer s3cret=", "parse headers"},
		{"OTEL_EXPORTER_OTLP_CLIENT_KEY", "-----BEGIN PRIVATE KEY-----\ns3cret\n", "cannot be delivered"},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE", "s3cret", "tls"},
		{"OTEL_RESOURCE_ATTRIBUTES", "a=b,s3cret", "OTEL_RESOURCE_ATTRIBUTES cannot be used"},
		{"OTEL_TRACES_SAMPLER_ARG", "0.1", "connection refused"},
		{"OTEL_TRACES_SAMPLER", "s3cret", "OTEL_TRACES_SAMPLER cannot be used"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:s3cret@127.0.0.1:port", "parse url"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:s3cret/word@127.0.0.1:1", "parse url"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:s3cret@127.0.0.1:1", "cannot be delivered"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "user:s3cret@127.0.0.1:1", "cannot be delivered"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1/?token=s3cret", "cannot be delivered"},
	} {
		t.Run(c.value, func(t *testing.T) {
			cleared(t)
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
			t.Setenv(c.name, c.value)
			var log journal
			s := otelsetup.Start(otelsetup.Config{Service: "test", Log: log.logger()})
			use(s)
			s.End()
			require.Contains(t, log.text(), c.said)
			require.NotContains(t, log.text(), "s3cret")
		})
	}
}

func TestExport(t *testing.T) {
	cleared(t)
	r := otlptest.New(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", r.URL)
	s := otelsetup.Start(otelsetup.Config{Service: "test"})
	use(s)
	s.End()
	s.End()
	require.Len(t, r.Spans("ragnos.tuf.download"), 1)
	require.Contains(t, r.Metrics(), telemetry.Retries)
	require.Len(t, r.Resources(), 2)
	for _, about := range r.Resources() {
		require.Equal(t, "test", about["service.name"])
		for name := range about {
			require.NotRegexp(t, `^(host|process|os)\.`, name)
		}
	}

	t.Setenv("OTEL_SERVICE_NAME", "another")
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	s = otelsetup.Start(otelsetup.Config{Service: "test"})
	use(s)
	s.End()
	require.Len(t, r.Spans(""), 1, "the sampler keeps none")
	require.Equal(t, "another", r.Resources()[2]["service.name"])
}

// TestCollectorIsDown: it is said once.
func TestCollectorIsDown(t *testing.T) {
	cleared(t)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", gone.URL)
	var log journal
	s := otelsetup.Start(otelsetup.Config{Service: "test", Log: log.logger()})
	use(s)
	s.End()
	require.Equal(t, 1, strings.Count(log.text(), "\n"), log.text())
	require.Contains(t, log.text(), "telemetry cannot be delivered; this is said once")
}

// TestCollectorHangs: the end does not wait for it.
func TestCollectorHangs(t *testing.T) {
	cleared(t)
	over := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-over }))
	defer hanging.Close()
	defer close(over)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", hanging.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000")
	var log journal
	s := otelsetup.Start(otelsetup.Config{Service: "test", Log: log.logger()})
	use(s)
	s.End()
	require.Equal(t, 1, strings.Count(log.text(), "\n"), log.text())
}

func TestPrometheus(t *testing.T) {
	scrape := func(s *otelsetup.Setup) string {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		require.Equal(t, http.StatusOK, w.Code)
		return w.Body.String()
	}
	cleared(t)
	s := otelsetup.Start(otelsetup.Config{Service: "test", Prometheus: true})
	require.Nil(t, s.Tracers)
	use(s)
	text := scrape(s)
	require.Contains(t, text, `ragnos_tuf_http_retries_total{ragnos_repository="acme"} 1`)
	require.Contains(t, text, `ragnos_tuf_operation_duration_seconds_count{ragnos_repository="acme",ragnos_tuf_operation="download"} 1`)
	require.Contains(t, text, `service_name="test"`)
	s.End()

	t.Setenv("OTEL_SDK_DISABLED", "true")
	s = otelsetup.Start(otelsetup.Config{Service: "test", Prometheus: true})
	use(s)
	require.Empty(t, scrape(s))
	s.End()
	(*otelsetup.Setup)(nil).End()
}

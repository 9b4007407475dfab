//go:build unix

package hybrid

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/ragnos-labs/vault-tuf/internal/telemetry"
	"github.com/ragnos-labs/vault-tuf/internal/telemetry/otlptest"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/pywrapper"
)

// lines is a log that may be written by several goroutines.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// of returns the lines of a component.
func (l *lines) of(t *testing.T, component string) (all []map[string]any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := bufio.NewScanner(bytes.NewReader(l.buf.Bytes()))
	for s.Scan() {
		var line map[string]any
		require.NoError(t, json.Unmarshal(s.Bytes(), &line))
		if line["component"] == component {
			all = append(all, line)
		}
	}
	return all
}

const secretToken = "s3cret-token"

// observed makes the options report to a receiver.
func observed(r *otlptest.Receiver, log *lines) func(*Options) {
	return func(o *Options) {
		o.TracerProvider, o.MeterProvider, o.TelemetryName = r.Tracers, r.Meters, "acme"
		o.Logger = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		o.RefreshInterval = time.Hour
		o.HTTP.BearerToken = secretToken
	}
}

// only returns the one span of an operation.
func only(t *testing.T, r *otlptest.Receiver, op telemetry.Operation) *tracepb.Span {
	t.Helper()
	spans := r.Spans(string(op))
	require.Len(t, spans, 1, op)
	return spans[0]
}

// TestFallbackIsSeen: one fallback as an operator sees it: through the SDK, its
// OTLP exporters and a receiver, with the real worker.
func TestFallbackIsSeen(t *testing.T) {
	w, r, log := newWorld(t), otlptest.New(t), &lines{}
	w.repo.Timestamp.EditSignatures = oddSignature
	w.repo.PublishTimestamp()
	c := w.client(ModeAuto, observed(r, log))
	require.Equal(t, "python", w.get(c).Engine)
	require.True(t, w.get(c).FromCache)
	r.Flush()
	spansOfFallback(t, r, log)
	metricsOfFallback(t, r)
	inTables(t, r)
	nothingPrivate(t, r, w.dir)
	for _, component := range []string{"tuf:client", "tuf:engine", "tuf:transport", "tuf:worker"} {
		require.NotEmpty(t, log.of(t, component), component)
	}

	require.NoError(t, c.Shutdown(context.Background()))
	r.Flush()
	require.NotContains(t, r.Metrics(), telemetry.TimeToExpiry, "the gauges are gone with the client")
	require.NotContains(t, r.Metrics(), telemetry.Breakers)
}

func spansOfFallback(t *testing.T, r *otlptest.Receiver, log *lines) {
	downloads := r.Spans(string(telemetry.Download))
	require.Len(t, downloads, 2)
	first, hit := otlptest.Attributes(downloads[0].Attributes), otlptest.Attributes(downloads[1].Attributes)
	require.Equal(t, map[string]string{
		"ragnos.repository": "acme", "ragnos.tuf.target": plugin, "ragnos.tuf.target.size": "30", "ragnos.tuf.role": "targets",
		"ragnos.tuf.engine": "python", "ragnos.tuf.offline": "false", "ragnos.tuf.from_cache": "false",
		"ragnos.tuf.version.root": "1", "ragnos.tuf.version.timestamp": "3", "ragnos.tuf.version.snapshot": "2", "ragnos.tuf.version.targets": "2",
	}, first)
	require.Equal(t, "true", hit["ragnos.tuf.from_cache"])
	require.Empty(t, downloads[0].ParentSpanId)

	update, commit, start := only(t, r, telemetry.Update), only(t, r, telemetry.Commit), only(t, r, telemetry.WorkerStart)
	require.Equal(t, downloads[0].SpanId, update.ParentSpanId)
	require.Equal(t, update.SpanId, commit.ParentSpanId)
	require.Equal(t, "127.0.0.1", otlptest.Attributes(update.Attributes)["server.address"])
	require.Len(t, update.Events, 1)
	require.Equal(t, telemetry.FallbackEvent, update.Events[0].Name)
	require.Equal(t, map[string]string{
		"error.type": "unrepresentable", "ragnos.error.class": "fault", "ragnos.tuf.engine": "python",
	}, otlptest.Attributes(update.Events[0].Attributes))

	verified := map[string]*tracepb.Span{}
	for _, s := range r.Spans(string(telemetry.Verify)) {
		require.Equal(t, update.SpanId, s.ParentSpanId)
		verified[otlptest.Attributes(s.Attributes)["ragnos.tuf.engine"]] = s
	}
	require.Len(t, verified, 2)
	refused := otlptest.Attributes(verified["go"].Attributes)
	require.Equal(t, "unrepresentable", refused["error.type"])
	require.Equal(t, "fault", refused["ragnos.error.class"])
	require.Equal(t, "auto", refused["ragnos.tuf.mode"])
	require.Equal(t, tracepb.Status_STATUS_CODE_ERROR, verified["go"].Status.Code)
	require.Equal(t, "an engine cannot represent well-formed metadata", verified["go"].Status.Message)
	require.NotContains(t, otlptest.Attributes(verified["python"].Attributes), "error.type")
	require.Equal(t, verified["python"].SpanId, start.ParentSpanId)
	require.Equal(t, "false", otlptest.Attributes(start.Attributes)["ragnos.tuf.worker.restart"])
	require.NotEmpty(t, otlptest.Attributes(start.Attributes)["ragnos.tuf.worker.version"])

	for _, s := range []*tracepb.Span{update, commit, start, verified["go"], verified["python"]} {
		require.Equal(t, downloads[0].TraceId, s.TraceId)
	}
	said := 0
	for _, line := range log.of(t, "tuf:worker") {
		if line["trace_id"] != nil {
			said++
			require.Equal(t, hex.EncodeToString(downloads[0].TraceId), line["trace_id"])
			require.Equal(t, hex.EncodeToString(verified["python"].SpanId), line["span_id"])
			require.Equal(t, "DEBUG", line["level"])
		}
	}
	require.NotZero(t, said, "python logs within the trace")
}

func metricsOfFallback(t *testing.T, r *otlptest.Receiver) {
	m := r.Metrics()
	sum := func(name string, key attribute.Key, value string) float64 {
		return otlptest.Sum(m[name], string(key), value)
	}
	require.Equal(t, []otlptest.Point{{Value: 1, Attributes: map[string]string{
		"ragnos.repository": "acme", "ragnos.tuf.engine": "python", "error.type": "unrepresentable",
	}}}, otlptest.Points(m[telemetry.Fallbacks]))
	require.ElementsMatch(t, []otlptest.Point{
		{Value: 1, Attributes: map[string]string{
			"ragnos.repository": "acme", "ragnos.tuf.mode": "auto", "ragnos.tuf.engine": "go",
			"error.type": "unrepresentable", "ragnos.error.class": "fault",
		}},
		{Value: 1, Attributes: map[string]string{"ragnos.repository": "acme", "ragnos.tuf.mode": "auto", "ragnos.tuf.engine": "python"}},
	}, otlptest.Points(m[telemetry.Verifications]))
	require.EqualValues(t, 2, sum(telemetry.TUFDuration, telemetry.TUFOperation, "download"))
	require.EqualValues(t, 1, sum(telemetry.TUFDuration, telemetry.Engine, "python"))
	require.EqualValues(t, 1, sum(telemetry.TUFDuration, telemetry.ErrorType, "unrepresentable"))
	for state, n := range map[string]float64{"closed": 1, "open": 0, "half-open": 0} {
		require.Equal(t, n, sum(telemetry.Breakers, telemetry.BreakerState, state), state)
	}
	require.Len(t, otlptest.Points(m[telemetry.Breakers]), 3)
	for _, role := range []string{"root", "timestamp", "snapshot", "targets"} {
		require.Positive(t, sum(telemetry.TimeToExpiry, telemetry.Role, role), role)
	}
	require.EqualValues(t, 1, sum(telemetry.CacheLookups, telemetry.CacheResult, "miss"))
	require.EqualValues(t, 1, sum(telemetry.CacheLookups, telemetry.CacheResult, "hit"))
	require.EqualValues(t, len(content), sum(telemetry.Bytes, telemetry.Content, "target"))
	require.Positive(t, sum(telemetry.Bytes, telemetry.Content, "metadata"))
	require.EqualValues(t, 4, sum(telemetry.Requests, telemetry.StatusClass, "2xx"))
	require.EqualValues(t, 1, sum(telemetry.Requests, telemetry.StatusClass, "4xx"), "the end of the root chain")
	require.NotContains(t, m, telemetry.Restarts)
	require.NotContains(t, m, telemetry.Retries)
}

// inTables: what arrives stands in the tables: names, units, attributes.
func inTables(t *testing.T, r *otlptest.Receiver) {
	require.Equal(t, []string{telemetry.Scope}, r.Scopes())
	rows := map[string]telemetry.Instrument{}
	for _, row := range telemetry.Instruments {
		rows[row.Name] = row
	}
	for name, m := range r.Metrics() {
		require.Contains(t, rows, name)
		require.Equal(t, rows[name].Unit, m.Unit, name)
		for _, p := range otlptest.Points(m) {
			for key := range p.Attributes {
				require.Contains(t, append(rows[name].Attributes, telemetry.Repository), attribute.Key(key), name)
			}
		}
	}
	spans := map[string][]attribute.Key{}
	for _, row := range telemetry.Spans {
		spans[string(row.Op)] = append(row.Attributes[:len(row.Attributes):len(row.Attributes)], telemetry.Repository)
	}
	ofErrors := []attribute.Key{telemetry.ErrorType, telemetry.ErrorClass, telemetry.ErrorSpec, telemetry.Role, telemetry.Trusted, telemetry.Received}
	for _, s := range r.Spans("") {
		require.Contains(t, spans, s.Name)
		allowed, has := spans[s.Name], otlptest.Attributes(s.Attributes)
		if has["error.type"] != "" {
			allowed = append(allowed[:len(allowed):len(allowed)], ofErrors...)
		}
		for key := range has {
			require.Contains(t, allowed, attribute.Key(key), s.Name)
		}
	}
}

// nothingPrivate: no secret, no path of this machine.
func nothingPrivate(t *testing.T, r *otlptest.Receiver, dir string) {
	var all strings.Builder
	for _, s := range r.Spans("") {
		all.WriteString(protojson.Format(s))
	}
	for _, m := range r.Metrics() {
		all.WriteString(protojson.Format(m))
	}
	home, _ := os.UserHomeDir()
	for _, private := range []string{secretToken, dir, home + string(filepath.Separator), os.Getenv(EnvPython)} {
		require.NotContains(t, all.String(), private)
	}
}

// TestErrorsAreSeen: what an operator sees of refusals and of a machine in trouble:
// code, class and evidence, and no word of local paths.
func TestErrorsAreSeen(t *testing.T) {
	w, r, log := newWorld(t), otlptest.New(t), &lines{}
	c := w.client(ModeGo, observed(r, log), func(o *Options) { o.RefreshInterval = 0 })
	w.get(c)
	_, err := c.Lookup(context.Background(), "plugins/acme/other")
	require.ErrorIs(t, err, ErrNotFound)
	w.repo.PublishTimestamp()
	w.get(c)
	w.repo.Timestamp.SetVersion(1)
	w.repo.PublishTimestamp()
	require.ErrorIs(t, c.Refresh(context.Background()), ErrRollback)
	blocked := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(blocked, nil, 0o600))
	broken := w.client(ModeGo, observed(r, log), func(o *Options) { o.MetadataDir, o.TelemetryName = blocked, "broken" })
	require.Error(t, broken.Initialize(context.Background()))
	r.Flush()

	lookup := only(t, r, telemetry.Lookup)
	require.Equal(t, "not_found", otlptest.Attributes(lookup.Attributes)["error.type"])
	require.NotEqual(t, tracepb.Status_STATUS_CODE_ERROR, lookup.GetStatus().GetCode(), "it is an answer")
	refusal := r.Spans(string(telemetry.Refresh))
	require.Len(t, refusal, 1)
	attrs := otlptest.Attributes(refusal[0].Attributes)
	require.Equal(t, []string{"rollback", "verdict", "timestamp"}, []string{attrs["error.type"], attrs["ragnos.error.class"], attrs["ragnos.tuf.role"]})
	require.NotEmpty(t, attrs["ragnos.tuf.version.trusted"])
	require.Equal(t, tracepb.Status_STATUS_CODE_ERROR, refusal[0].Status.Code)
	require.Equal(t, "local", otlptest.Attributes(only(t, r, telemetry.Initialize).Attributes)["ragnos.error.class"])
	require.Contains(t, otlptest.Attributes(r.Spans(string(telemetry.Verify))[0].Attributes), "ragnos.tuf.engine")
	inTables(t, r)
	nothingPrivate(t, r, w.dir)
	nothingPrivate(t, r, blocked)
}

// TestRetriesAreSeen: requests that get no good answer at first, and workers that
// have to be started again.
func TestRetriesAreSeen(t *testing.T) {
	w, r, log := newWorld(t), otlptest.New(t), &lines{}
	w.server.On("metadata/timestamp.json", tuftest.Then(1, tuftest.Status(503), tuftest.File))
	c := w.client(ModeGo, observed(r, log))
	w.get(c)
	c.python.starting(context.Background(), true)(nil, &pywrapper.Error{Code: protocol.CodeWorkerUnavailable, Message: w.dir})
	r.Flush()
	require.EqualValues(t, 1, otlptest.Points(r.Metrics()[telemetry.Restarts])[0].Value)
	require.Equal(t, "worker_unavailable", otlptest.Attributes(only(t, r, telemetry.WorkerStart).Attributes)["error.type"])
	nothingPrivate(t, r, w.dir)
	require.EqualValues(t, 1, otlptest.Points(r.Metrics()[telemetry.Retries])[0].Value)
	require.EqualValues(t, 1, otlptest.Sum(r.Metrics()[telemetry.Requests], string(telemetry.StatusClass), "5xx"))
}

// TestTelemetryOffCostsNothing: a look-up and a verified hit allocate what their
// work takes, and not a byte more.
func TestTelemetryOffCostsNothing(t *testing.T) {
	w := newWorld(t)
	c := w.client(ModeGo, func(o *Options) { o.RefreshInterval = time.Hour })
	w.get(c)
	ctx := context.Background()
	_, err := c.Lookup(ctx, plugin)
	require.NoError(t, err)

	lookup := testing.AllocsPerRun(200, func() { _, _ = c.Lookup(ctx, plugin) })
	require.Equal(t, testing.AllocsPerRun(200, func() { _ = c.known(plugin).copied() }), lookup)
	hit := testing.AllocsPerRun(200, func() { _, _ = c.VerifyAndDownloadPlugin(ctx, plugin, DownloadOptions{}) })
	require.Equal(t, testing.AllocsPerRun(200, func() { _ = c.hit(ctx, plugin, DownloadOptions{}) }), hit)
}

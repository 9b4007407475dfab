package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric"
	nometric "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/ragnos-labs/vault-tuf/internal/telemetry"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// everything lets a telemetry tell all that it can.
func everything(ctx context.Context, t *telemetry.Telemetry) {
	t.Watch(func() telemetry.Known {
		return telemetry.Known{Breaker: "open", Left: map[string]time.Duration{"root": time.Hour, "timestamp": -time.Minute}}
	})
	for _, row := range telemetry.Spans {
		ctx, op := t.Begin(ctx, row.Op)
		if op.On() {
			op.Set(telemetry.Target.String("plugins/a"))
		}
		t.FellBack(ctx, "python", tuferr.New(protocol.CodeEngineCrash, "x"))
		if row.Op == telemetry.Verify {
			op.Judged("go", "auto", tuferr.New(protocol.CodeUnsigned, "x"))
		} else {
			op.End(nil)
		}
	}
	_, op := t.Begin(ctx, telemetry.Lookup)
	op.End(errors.New("foreign, at /home/somebody/secret"))
	t.CacheLookup(true)
	t.CacheLookup(false)
	t.Restarted()
	t.Request(200, "")
	t.Request(0, protocol.CodeUnreachable)
	t.Retried()
	t.Event("audit", "critical", "")
	t.Event("refused", "critical", "acme")
	t.Got(5, true)
	t.Got(7, false)
	t.Got(0, false)
	t.Queued(time.Second)
	t.Queued(0)
}

// TestTables: every instrument that exists stands in the table with its unit and
// attributes, and the other way round; every span as well.
func TestTables(t *testing.T) {
	ctx := context.Background()
	reader, spans := sdkmetric.NewManualReader(), tracetest.NewInMemoryExporter()
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	tel := telemetry.New(tracers, sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), "acme")
	everything(ctx, tel)

	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(ctx, &all))
	require.Len(t, all.ScopeMetrics, 1)
	require.Equal(t, telemetry.Scope, all.ScopeMetrics[0].Scope.Name)
	rows := map[string]telemetry.Instrument{}
	for _, row := range telemetry.Instruments {
		rows[row.Name] = row
	}
	require.Len(t, rows, len(telemetry.Instruments), "no name twice")
	for _, m := range all.ScopeMetrics[0].Metrics {
		row, ok := rows[m.Name]
		require.True(t, ok, m.Name)
		delete(rows, m.Name)
		require.Equal(t, []string{row.Unit, row.Description}, []string{m.Unit, m.Description}, m.Name)
		kind, keys := pointsOf(t, m.Data)
		require.Equal(t, row.Kind, kind, m.Name)
		want := []string{"ragnos.repository"}
		for _, key := range row.Attributes {
			want = append(want, string(key))
		}
		for _, key := range keys {
			require.Contains(t, want, key, m.Name)
		}
	}
	require.Empty(t, rows, "in the table only")

	var names []string
	for _, s := range spans.GetSpans() {
		names = append(names, s.Name)
		for _, kv := range s.Attributes {
			require.NotContains(t, kv.Value.AsString(), "/home/")
		}
		require.NotContains(t, s.Status.Description, "/home/")
	}
	for _, row := range telemetry.Spans {
		require.Contains(t, names, string(row.Op))
	}

	tel.Close()
	tel.Close()
	all = metricdata.ResourceMetrics{}
	require.NoError(t, reader.Collect(ctx, &all))
	for _, m := range all.ScopeMetrics[0].Metrics {
		require.NotEqual(t, telemetry.TimeToExpiry, m.Name, "nobody is asked after the end")
	}
}

// pointsOf returns the kind of an instrument and the keys of its attributes.
func pointsOf(t *testing.T, data metricdata.Aggregation) (kind telemetry.Kind, keys []string) {
	note := func(points int, attrs func(i int) []string) {
		for i := range points {
			keys = append(keys, attrs(i)...)
		}
	}
	switch d := data.(type) {
	case metricdata.Sum[int64]:
		kind = telemetry.KindUpDown
		if d.IsMonotonic {
			kind = telemetry.KindCounter
		}
		note(len(d.DataPoints), func(i int) []string { return keysOf(d.DataPoints[i].Attributes.MarshalLog()) })
	case metricdata.Gauge[float64]:
		kind = telemetry.KindGauge
		note(len(d.DataPoints), func(i int) []string { return keysOf(d.DataPoints[i].Attributes.MarshalLog()) })
	case metricdata.Histogram[float64]:
		kind = telemetry.KindHistogram
		note(len(d.DataPoints), func(i int) []string { return keysOf(d.DataPoints[i].Attributes.MarshalLog()) })
	default:
		require.Failf(t, "no such kind", "%T", data)
	}
	return kind, keys
}

func keysOf(logged any) (keys []string) {
	attrs, _ := logged.(map[string]string)
	for key := range attrs {
		keys = append(keys, key)
	}
	return keys
}

// TestDocumentation: the package documentation and docs/telemetry.md say the same
// as the tables, and nothing of things that do not exist.
func TestDocumentation(t *testing.T) {
	read := func(path string) string {
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		return strings.ReplaceAll(string(raw), "\r\n", "\n")
	}
	source, page := read("doc.go"), read("../../docs/telemetry.md")
	known := []string{telemetry.FallbackEvent, string(telemetry.Repository)}
	list := func(keys []string) string { return "`" + strings.Join(keys, "`, `") + "`" }
	for _, row := range telemetry.Instruments {
		known = append(known, row.Name)
		require.Contains(t, source, fmt.Sprintf("//\t%-36s %-14s %s\n", row.Name, row.Kind, row.Unit))
		var keys []string
		for _, key := range row.Attributes {
			keys = append(keys, string(key))
		}
		attrs := "–"
		if known = append(known, keys...); len(keys) > 0 {
			attrs = list(keys)
		}
		require.Contains(t, page, fmt.Sprintf("| `%s` | %s | `%s` | %s | %s |\n", row.Name, row.Kind, row.Unit, attrs, row.Description))
	}
	for _, row := range telemetry.Spans {
		known = append(known, string(row.Op))
		require.Contains(t, source, fmt.Sprintf("//\t%-24s %s\n", row.Op, row.Description))
		var keys []string
		for _, key := range row.Attributes {
			keys = append(keys, string(key))
		}
		attrs := "–"
		if known = append(known, keys...); len(keys) > 0 {
			attrs = list(keys)
		}
		require.Contains(t, page, fmt.Sprintf("| `%s` | %s | %s |\n", row.Op, row.Description, attrs))
	}
	for _, text := range []string{source, page} {
		for _, name := range regexp.MustCompile(`\bragnos\.[a-z_.]*[a-z]`).FindAllString(text, -1) {
			prefix := name == "ragnos.tuf" || name == "ragnos.vault"
			require.True(t, prefix || slices.Contains(known, name) || slices.Contains(common, name), name)
		}
	}
}

// common are the attributes of errors, which every span may have.
var common = []string{
	string(telemetry.ErrorClass), string(telemetry.ErrorSpec), string(telemetry.Role), string(telemetry.Trusted), string(telemetry.Received),
}

func TestOffIsNothing(t *testing.T) {
	require.Nil(t, telemetry.New(nil, nil, "acme"))
	var off *telemetry.Telemetry
	ctx := context.Background()
	everything(ctx, off)
	off.Close()
	err := errors.New("x")
	require.Zero(t, testing.AllocsPerRun(100, func() {
		inner, op := off.Begin(ctx, telemetry.Download)
		if op.On() {
			op.Set(telemetry.Target.String("plugins/a"))
		}
		off.CacheLookup(true)
		off.FellBack(inner, "python", err)
		off.Got(1, true)
		op.End(err)
	}))
}

// TestHalfOn: one provider is enough.
func TestHalfOn(t *testing.T) {
	ctx := context.Background()
	spans := tracetest.NewInMemoryExporter()
	everything(ctx, telemetry.New(sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)), nil, ""))
	require.NotEmpty(t, spans.GetSpans())

	reader := sdkmetric.NewManualReader()
	everything(ctx, telemetry.New(nil, sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), ""))
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(ctx, &all))
	require.Len(t, all.ScopeMetrics[0].Metrics, len(telemetry.Instruments))
}

// unable is a provider that makes nothing.
type unable struct{ nometric.MeterProvider }

func (unable) Meter(string, ...metric.MeterOption) metric.Meter { return unableMeter{} }

type unableMeter struct{ nometric.Meter }

var errUnable = errors.New("no")

func (unableMeter) Int64Counter(string, ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	return nil, errUnable
}

func (unableMeter) Float64Histogram(string, ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	return nil, errUnable
}

func (unableMeter) Int64ObservableUpDownCounter(string, ...metric.Int64ObservableUpDownCounterOption) (metric.Int64ObservableUpDownCounter, error) {
	return nil, errUnable
}

func (unableMeter) Float64ObservableGauge(string, ...metric.Float64ObservableGaugeOption) (metric.Float64ObservableGauge, error) {
	return nil, errUnable
}

func (unableMeter) RegisterCallback(metric.Callback, ...metric.Observable) (metric.Registration, error) {
	return nil, errUnable
}

// TestBrokenProvider: telemetry keeps nobody from working.
func TestBrokenProvider(t *testing.T) {
	tel := telemetry.New(nil, unable{}, "acme")
	everything(context.Background(), tel)
	tel.Close()
}

func TestTraceParent(t *testing.T) {
	ctx := context.Background()
	require.Empty(t, telemetry.TraceParent(ctx))
	sc := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1, 0xab}, SpanID: trace.SpanID{2}, TraceFlags: 0xff, Remote: true,
	})
	ctx = trace.ContextWithSpanContext(ctx, sc)
	const want = "00-01ab0000000000000000000000000000-0200000000000000-01"
	require.Equal(t, want, telemetry.TraceParent(ctx))
	require.Equal(t, want, telemetry.TraceParent(telemetry.Carry(context.Background(), ctx)))
	require.Empty(t, telemetry.TraceParent(telemetry.Carry(context.Background(), context.Background())))
}

// BenchmarkOff is what a call pays for telemetry that is off.
func BenchmarkOff(b *testing.B) {
	var off *telemetry.Telemetry
	ctx := context.Background()
	for b.Loop() {
		_, op := off.Begin(ctx, telemetry.Download)
		off.CacheLookup(true)
		if op.On() {
			b.Fatal("it is off")
		}
		op.End(nil)
	}
}

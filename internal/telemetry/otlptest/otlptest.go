// Package otlptest is the receiving end of OTLP over HTTP, and the real SDK with
// its exporters in front of it, for tests.
package otlptest

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	metricscollector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	tracecollector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Receiver takes what the providers export. It is safe for concurrent use.
type Receiver struct {
	Tracers *sdktrace.TracerProvider
	Meters  *sdkmetric.MeterProvider
	// URL is what OTEL_EXPORTER_OTLP_ENDPOINT is for a process that is to export here.
	URL string

	t         testing.TB
	mu        sync.Mutex
	spans     []*tracepb.Span
	metrics   map[string]*metricspb.Metric
	scopes    map[string]bool
	resources []map[string]string
	refused   error
}

// New starts a receiver, and providers that export to it. After the test nothing
// of them is left.
func New(t testing.TB) *Receiver {
	r := &Receiver{t: t, metrics: map[string]*metricspb.Metric{}, scopes: map[string]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", func(w http.ResponseWriter, req *http.Request) {
		r.take(w, req, &tracecollector.ExportTraceServiceRequest{}, &tracecollector.ExportTraceServiceResponse{})
	})
	mux.HandleFunc("POST /v1/metrics", func(w http.ResponseWriter, req *http.Request) {
		r.take(w, req, &metricscollector.ExportMetricsServiceRequest{}, &metricscollector.ExportMetricsServiceResponse{})
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	r.URL = server.URL

	ctx := context.Background()
	traces, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(server.URL+"/v1/traces"), otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
	require.NoError(t, err)
	metrics, err := otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(server.URL+"/v1/metrics"))
	require.NoError(t, err)
	r.Tracers = sdktrace.NewTracerProvider(sdktrace.WithBatcher(traces))
	r.Meters = sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewPeriodicReader(metrics, sdkmetric.WithInterval(time.Hour))))
	t.Cleanup(func() {
		require.NoError(t, r.Tracers.Shutdown(ctx))
		require.NoError(t, r.Meters.Shutdown(ctx))
	})
	return r
}

func (r *Receiver) take(w http.ResponseWriter, req *http.Request, into, reply proto.Message) {
	var body io.Reader = req.Body
	var err error
	if req.Header.Get("Content-Encoding") == "gzip" {
		body, err = gzip.NewReader(body)
	}
	var raw []byte
	if err == nil {
		raw, err = io.ReadAll(body)
	}
	if err == nil {
		err = proto.Unmarshal(raw, into)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil || req.Header.Get("Content-Type") != "application/x-protobuf" {
		r.refused = err
		http.Error(w, "not OTLP", http.StatusBadRequest)
		return
	}
	switch m := into.(type) {
	case *tracecollector.ExportTraceServiceRequest:
		for _, res := range m.ResourceSpans {
			r.resources = append(r.resources, Attributes(res.Resource.GetAttributes()))
			for _, scope := range res.ScopeSpans {
				r.scopes[scope.Scope.Name] = true
				r.spans = append(r.spans, scope.Spans...)
			}
		}
	case *metricscollector.ExportMetricsServiceRequest:
		r.metrics = map[string]*metricspb.Metric{}
		for _, res := range m.ResourceMetrics {
			r.resources = append(r.resources, Attributes(res.Resource.GetAttributes()))
			for _, scope := range res.ScopeMetrics {
				r.scopes[scope.Scope.Name] = true
				for _, metric := range scope.Metrics {
					r.metrics[metric.Name] = metric
				}
			}
		}
	}
	out, _ := proto.Marshal(reply)
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(out)
}

// Flush lets everything recorded so far arrive.
func (r *Receiver) Flush() {
	r.t.Helper()
	require.NoError(r.t, r.Tracers.ForceFlush(context.Background()))
	require.NoError(r.t, r.Meters.ForceFlush(context.Background()))
	r.mu.Lock()
	defer r.mu.Unlock()
	require.NoError(r.t, r.refused)
}

// Spans returns the spans of a name that have arrived, those of all names for "".
func (r *Receiver) Spans(name string) []*tracepb.Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	var some []*tracepb.Span
	for _, s := range r.spans {
		if name == "" || s.Name == name {
			some = append(some, s)
		}
	}
	return some
}

// Metrics returns the metrics of the latest export by name.
func (r *Receiver) Metrics() map[string]*metricspb.Metric {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.metrics
}

// Scopes returns the names of the instrumentation scopes.
func (r *Receiver) Scopes() (names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range r.scopes {
		names = append(names, name)
	}
	return names
}

// Resources returns what each export said of where it comes from.
func (r *Receiver) Resources() []map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.resources
}

// Attributes returns attributes as text by key.
func Attributes(all []*commonpb.KeyValue) map[string]string {
	texts := map[string]string{}
	for _, kv := range all {
		text := kv.Value.GetStringValue()
		switch v := kv.Value.Value.(type) {
		case *commonpb.AnyValue_IntValue:
			text = strconv.FormatInt(v.IntValue, 10)
		case *commonpb.AnyValue_BoolValue:
			text = strconv.FormatBool(v.BoolValue)
		}
		texts[kv.Key] = text
	}
	return texts
}

// Point is one value of a metric: the count, for a histogram.
type Point struct {
	Attributes map[string]string
	Value      float64
}

// Points returns the values of a metric.
func Points(m *metricspb.Metric) (points []Point) {
	number := func(list []*metricspb.NumberDataPoint) {
		for _, p := range list {
			points = append(points, Point{Attributes(p.Attributes), p.GetAsDouble() + float64(p.GetAsInt())})
		}
	}
	number(m.GetSum().GetDataPoints())
	number(m.GetGauge().GetDataPoints())
	for _, p := range m.GetHistogram().GetDataPoints() {
		points = append(points, Point{Attributes(p.Attributes), float64(p.Count)})
	}
	return points
}

// Sum adds up the values of a metric that have an attribute as given.
func Sum(m *metricspb.Metric, key, value string) (sum float64) {
	for _, p := range Points(m) {
		if p.Attributes[key] == value {
			sum += p.Value
		}
	}
	return sum
}

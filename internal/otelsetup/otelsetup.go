// Package otelsetup starts OpenTelemetry's SDK for the commands. The libraries take
// the API only, and never this.
//
// What is exported is what the standard environment asks for; nothing is started if
// nothing does:
//
//	OTEL_EXPORTER_OTLP_ENDPOINT   URL of a collector, which gets spans and metrics;
//	                              OTEL_EXPORTER_OTLP_TRACES_ENDPOINT and _METRICS_ for one of them
//	OTEL_TRACES_EXPORTER          otlp or none; otlp alone means a collector on this machine
//	OTEL_METRICS_EXPORTER         likewise
//	OTEL_EXPORTER_OTLP_PROTOCOL   http/protobuf, which is the default; there is no other here
//	OTEL_SERVICE_NAME             the name of the service, if it is not to be that of the command
//	OTEL_TRACES_SAMPLER           which spans are kept
//	OTEL_SDK_DISABLED             true: nothing at all
//
// The SDK and its exporters read the others that OpenTelemetry specifies: headers,
// certificates, timeouts, intervals, OTEL_RESOURCE_ATTRIBUTES. Of the machine, the
// process and its arguments nothing is told.
//
// A collector that does not answer makes nothing fail. What it does not take at the
// first attempt is dropped, and [Setup.End] waits for it for [EndTimeout] at most.
package otelsetup

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	promexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const (
	// EndTimeout bounds what the end of a command waits for a collector.
	EndTimeout = 3 * time.Second
	// scrapes are answered at a time; further ones get a 503.
	scrapes = 3
)

// Config says what to start.
type Config struct {
	// Service is the name of the service where the environment has none.
	Service string
	// Prometheus asks for what Handler serves.
	Prometheus bool
	// Log is told once if telemetry cannot be delivered, and of settings that cannot
	// be used. Nil is nobody.
	Log *slog.Logger
}

// Setup is the SDK as it was started. Its methods are safe for concurrent use.
type Setup struct {
	// Tracers and Meters are nil if nobody wants what they would record.
	Tracers trace.TracerProvider
	Meters  metric.MeterProvider

	log      *slog.Logger
	registry *prometheus.Registry
	ends     []func(context.Context) error
	trouble  sync.Once
	ended    sync.Once
}

// Start starts what the environment and the configuration ask for. It asks nobody,
// does not block, and cannot fail. End ends it. There may be one at a time: where
// the SDK reports its errors is global.
func Start(c Config) *Setup {
	s := &Setup{log: slog.New(slog.DiscardHandler), registry: prometheus.NewRegistry()}
	if c.Log != nil {
		s.log = c.Log.With("component", "tuf:telemetry")
	}
	w := asked(s.unusable)
	if w.disabled || !w.traces && !w.metrics && !c.Prometheus {
		return s
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(s.failed))
	otel.SetLogger(logr.FromSlogHandler(loud{s.log.Handler()}))
	who, err := resource.New(context.Background(), resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", c.Service)), resource.WithFromEnv())
	if err != nil {
		s.unusable(err) // what could be read is there
	}
	if w.traces {
		s.startTraces(who)
	}
	if w.metrics || c.Prometheus {
		s.startMetrics(who, w.metrics, c.Prometheus)
	}
	return s
}

func (s *Setup) startTraces(who *resource.Resource) {
	exporter, err := otlptracehttp.New(context.Background(), otlptracehttp.WithRetry(otlptracehttp.RetryConfig{}))
	if err != nil {
		s.unusable(err)
		return
	}
	p := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(who))
	s.Tracers, s.ends = p, append(s.ends, p.Shutdown)
}

func (s *Setup) startMetrics(who *resource.Resource, export, collect bool) {
	options := []sdkmetric.Option{sdkmetric.WithResource(who)}
	if export {
		exporter, err := otlpmetrichttp.New(context.Background(), otlpmetrichttp.WithRetry(otlpmetrichttp.RetryConfig{}))
		if err != nil {
			s.unusable(err)
		} else {
			options = append(options, sdkmetric.WithReader(sdkmetric.NewPeriodicReader(exporter)))
		}
	}
	if collect {
		reader, err := promexporter.New(promexporter.WithRegisterer(s.registry), promexporter.WithoutScopeInfo())
		if err != nil {
			s.unusable(err)
		} else {
			options = append(options, sdkmetric.WithReader(reader))
		}
	}
	p := sdkmetric.NewMeterProvider(options...)
	s.Meters, s.ends = p, append(s.ends, p.Shutdown)
}

// Handler serves the metrics as text that Prometheus reads.
func (s *Setup) Handler() http.Handler {
	return promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, ErrorLog: scrapeLog{s}, MaxRequestsInFlight: scrapes,
	})
}

// End delivers what was recorded, for [EndTimeout] at most, and ends the SDK. What
// is recorded afterwards is dropped. It may be called more than once, on nil too.
func (s *Setup) End() {
	if s == nil {
		return
	}
	s.ended.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), EndTimeout)
		defer cancel()
		var ending sync.WaitGroup
		for _, end := range s.ends {
			ending.Go(func() {
				if err := end(ctx); err != nil {
					s.failed(err)
				}
			})
		}
		ending.Wait()
	})
}

// failed is told of everything that goes wrong later, and passes on the first.
func (s *Setup) failed(err error) {
	s.trouble.Do(func() {
		s.log.Warn("telemetry cannot be delivered; this is said once", "error", discreet(err))
	})
}

func (s *Setup) unusable(err error) {
	s.log.Warn("telemetry is not as the environment asks", "error", discreet(err))
}

// plain are settings that are no secrets, and stand in texts about other things.
var plain = regexp.MustCompile(`^([0-9.]+|(parentbased_)?(always_on|always_off|traceidratio))$`)

// discreet is the text of an error without what it quotes of these variables: it may
// be a token in the wrong place.
func discreet(err error) string {
	text := err.Error()
	for _, name := range []string{"OTEL_RESOURCE_ATTRIBUTES", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"} {
		for part := range strings.SplitSeq(os.Getenv(name), ",") {
			if part = strings.TrimSpace(part); part != "" && !plain.MatchString(part) && strings.Contains(text, part) {
				return "the value of " + name + " cannot be used"
			}
		}
	}
	return text
}

// scrapeLog is a [promhttp.Logger].
type scrapeLog struct{ s *Setup }

func (l scrapeLog) Println(v ...any) {
	for _, one := range v {
		if err, ok := one.(error); ok {
			l.s.failed(err)
			return
		}
	}
	l.s.failed(errors.New("the metrics cannot be collected"))
}

// loud passes on the SDK's warnings, whose verbosity is 1, and its errors. What it
// says besides is about itself.
type loud struct{ slog.Handler }

// Enabled implements [slog.Handler].
func (l loud) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo-1 && l.Handler.Enabled(ctx, level)
}

// Handle leaves out what the SDK quotes of the environment: a header may hold a
// token, a URL a password.
func (l loud) Handle(ctx context.Context, r slog.Record) error {
	said := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		err, _ := a.Value.Any().(error)
		quotes := slices.Contains([]string{"input", "key", "value", "url", "file"}, a.Key) ||
			err != nil && (strings.Contains(err.Error(), `"`) || errors.As(err, new(*fs.PathError)))
		if !quotes {
			said.AddAttrs(a)
		}
		return true
	})
	return l.Handler.Handle(ctx, said)
}

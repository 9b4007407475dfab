package telemetry

import (
	"context"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	nometric "go.opentelemetry.io/otel/metric/noop"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

// instruments are those of the table.
type instruments struct {
	tufDuration, vaultDuration, queued               metric.Float64Histogram
	verifications, fallbacks, restarts, cacheLookups metric.Int64Counter
	bytes, requests, retries, events                 metric.Int64Counter
	breakers                                         metric.Int64ObservableUpDownCounter
	expiry                                           metric.Float64ObservableGauge
}

// buckets are in seconds: from a verified hit to a large download.
var buckets = []float64{0.0001, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}

func newInstruments(m metric.Meter) instruments {
	f := factory{m, map[string]Instrument{}}
	for _, row := range Instruments {
		f.rows[row.Name] = row
	}
	i := instruments{
		tufDuration: f.histogram(TUFDuration), vaultDuration: f.histogram(VaultDuration), queued: f.histogram(QueueDuration),
		verifications: f.counter(Verifications), fallbacks: f.counter(Fallbacks), restarts: f.counter(Restarts),
		cacheLookups: f.counter(CacheLookups), bytes: f.counter(Bytes), requests: f.counter(Requests), retries: f.counter(Retries),
		events: f.counter(VaultEvents),
	}
	row, err := f.rows[Breakers], error(nil)
	if i.breakers, err = m.Int64ObservableUpDownCounter(row.Name, metric.WithUnit(row.Unit), metric.WithDescription(row.Description)); err != nil {
		i.breakers = nometric.Int64ObservableUpDownCounter{}
	}
	row = f.rows[TimeToExpiry]
	if i.expiry, err = m.Float64ObservableGauge(row.Name, metric.WithUnit(row.Unit), metric.WithDescription(row.Description)); err != nil {
		i.expiry = nometric.Float64ObservableGauge{}
	}
	return i
}

// factory makes instruments as the table has them. One that a provider cannot make
// does nothing: telemetry must not keep anybody from working.
type factory struct {
	meter metric.Meter
	rows  map[string]Instrument
}

func (f factory) counter(name string) metric.Int64Counter {
	row := f.rows[name]
	c, err := f.meter.Int64Counter(name, metric.WithUnit(row.Unit), metric.WithDescription(row.Description))
	if err != nil {
		return nometric.Int64Counter{}
	}
	return c
}

func (f factory) histogram(name string) metric.Float64Histogram {
	row := f.rows[name]
	h, err := f.meter.Float64Histogram(name, metric.WithUnit(row.Unit), metric.WithDescription(row.Description),
		metric.WithExplicitBucketBoundaries(buckets...))
	if err != nil {
		return nometric.Float64Histogram{}
	}
	return h
}

// CacheLookup counts a look into the cache of targets.
func (t *Telemetry) CacheLookup(hit bool) {
	switch {
	case t == nil:
	case hit:
		t.cacheLookups.Add(context.Background(), 1, t.hit...)
	default:
		t.cacheLookups.Add(context.Background(), 1, t.miss...)
	}
}

// Restarted counts a worker that took the place of one that ended unasked.
func (t *Telemetry) Restarted() {
	if t != nil {
		t.restarts.Add(context.Background(), 1, t.with())
	}
}

// Request counts a request by the status of its answer, or by the code of the
// failure if there was none.
func (t *Telemetry) Request(status int, failed protocol.Code) {
	if t == nil {
		return
	}
	attr := ErrorType.String(string(failed))
	if status > 0 {
		attr = StatusClass.String(strconv.Itoa(status/100) + "xx")
	}
	t.requests.Add(context.Background(), 1, t.with(attr))
}

// Retried counts an attempt that followed one that failed.
func (t *Telemetry) Retried() {
	if t != nil {
		t.retries.Add(context.Background(), 1, t.with())
	}
}

// Got counts n bytes of an answer: of metadata, or of a target.
func (t *Telemetry) Got(n int64, target bool) {
	if t == nil || n <= 0 {
		return
	}
	content := "metadata"
	if target {
		content = "target"
	}
	t.bytes.Add(context.Background(), n, t.with(Content.String(content)))
}

// Queued notes how long a request waited for its turn; 0 is not noted.
func (t *Telemetry) Queued(d time.Duration) {
	if t != nil && d > 0 {
		t.queued.Record(context.Background(), d.Seconds(), t.with())
	}
}

// Event counts a security event of a vault, about a repository or about none ("").
func (t *Telemetry) Event(code, severity, repository string) {
	if t == nil {
		return
	}
	attrs := []attribute.KeyValue{VaultEvent.String(code), Severity.String(severity)}
	if repository != "" {
		attrs = append(attrs, Repository.String(repository))
	}
	t.events.Add(context.Background(), 1, t.with(attrs...))
}

// Known is what a client knows without asking anybody.
type Known struct {
	// Breaker is the breaker's state, "" if there is none.
	Breaker string
	// Left is the time until expiry by role.
	Left map[string]time.Duration
}

var breakerStates = []string{"closed", "half-open", "open"}

// Watch lets the gauges ask known until Close. Call it once, before anything else.
// known may be called at any time, from any goroutine, and must not block.
func (t *Telemetry) Watch(known func() Known) {
	if t == nil {
		return
	}
	watching, err := t.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		t.observe(o, known())
		return nil
	}, t.breakers, t.expiry)
	if err == nil {
		t.watching = watching
	}
}

func (t *Telemetry) observe(o metric.Observer, k Known) {
	for _, state := range breakerStates {
		if k.Breaker == "" {
			break
		}
		n := int64(0)
		if state == k.Breaker {
			n = 1
		}
		o.ObserveInt64(t.breakers, n, t.with(BreakerState.String(state)))
	}
	for role, left := range k.Left {
		o.ObserveFloat64(t.expiry, left.Seconds(), t.with(Role.String(role)))
	}
}

// Close ends what Watch began. It may be called more than once.
func (t *Telemetry) Close() {
	if t == nil {
		return
	}
	t.once.Do(func() {
		if t.watching != nil {
			_ = t.watching.Unregister() // there is nobody to tell
		}
	})
}

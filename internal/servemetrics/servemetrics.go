// Package servemetrics is what "local-tuf serve" tells OpenTelemetry of itself: the
// names, units and attributes of its metrics. Nothing that is told says who asked,
// or for what.
//
//	ragnos.server.request.duration         histogram      s
//	ragnos.server.sent                     counter        By
//	ragnos.server.refused                  counter        {refusal}
//	ragnos.server.metadata.time_to_expiry  gauge          s
//	ragnos.server.renewals                 counter        {renewal}
//	ragnos.server.health                   updowncounter  {repository}
//
// Attributes of each, and what it means, stand in [Instruments], and in
// docs/serving.md with the names that Prometheus shows.
package servemetrics

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/ragnos-labs/vault-tuf/internal/telemetry"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/webserver"
	"github.com/ragnos-labs/vault-tuf/repository"
)

// The attributes, beside those of package telemetry.
const (
	Kind   = attribute.Key("ragnos.server.kind")
	Limit  = attribute.Key("ragnos.server.limit")
	Health = attribute.Key("ragnos.server.health.status")
)

// The names of the instruments.
const (
	Duration     = "ragnos.server.request.duration"
	Sent         = "ragnos.server.sent"
	Refused      = "ragnos.server.refused"
	TimeToExpiry = "ragnos.server.metadata.time_to_expiry"
	Renewals     = "ragnos.server.renewals"
	Healths      = "ragnos.server.health"
)

// Instruments is the table of all instruments.
var Instruments = []telemetry.Instrument{
	{Name: Duration, Kind: telemetry.KindHistogram, Unit: "s", Attributes: []attribute.Key{Kind, telemetry.StatusClass},
		Description: "Time that a request took, by what it asked for: metadata, target, health or other"},
	{Name: Sent, Kind: telemetry.KindCounter, Unit: "By", Attributes: []attribute.Key{Kind},
		Description: "Bytes of answers sent, without headers"},
	{Name: Refused, Kind: telemetry.KindCounter, Unit: "{refusal}", Attributes: []attribute.Key{Limit},
		Description: "Requests and connections beyond a limit"},
	{Name: TimeToExpiry, Kind: telemetry.KindGauge, Unit: "s", Attributes: []attribute.Key{telemetry.Role},
		Description: "Time until the published metadata of a role expires, negative afterwards"},
	{Name: Renewals, Kind: telemetry.KindCounter, Unit: "{renewal}", Attributes: []attribute.Key{telemetry.ErrorType},
		Description: "Times that timestamp or snapshot were signed anew, or could not be"},
	{Name: Healths, Kind: telemetry.KindUpDown, Unit: "{repository}", Attributes: []attribute.Key{Health},
		Description: "Repositories that are ok, degraded or down, 0 or 1"},
}

// maxDelegated is how many roles beside the top-level ones are told of.
const maxDelegated = 64

// buckets are in seconds: from a small file to a large download.
var buckets = []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 300}

// Metrics are those of a server. Its methods are safe for concurrent use; none
// blocks. A nil one does nothing.
type Metrics struct {
	duration                metric.Float64Histogram
	sent, refused, renewals metric.Int64Counter
}

// New makes the instruments. health is asked at each collection.
func New(p metric.MeterProvider, health func() repository.Status) (*Metrics, error) {
	f := factory{meter: p.Meter(telemetry.Scope)}
	m := &Metrics{duration: f.histogram(Duration), sent: f.counter(Sent), refused: f.counter(Refused), renewals: f.counter(Renewals)}
	f.watch(health)
	if f.err != nil {
		return nil, f.err
	}
	// From the beginning, so that the first refusal is seen as a change.
	for _, l := range webserver.Limits {
		m.refused.Add(context.Background(), 0, with(Limit.String(string(l))))
	}
	m.renewals.Add(context.Background(), 0)
	return m, nil
}

func with(attrs ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attrs...))
}

// Answered counts a request.
func (m *Metrics) Answered(r webserver.Request) {
	if m == nil {
		return
	}
	ctx := context.Background()
	if r.Limit != "" {
		m.refused.Add(ctx, 1, with(Limit.String(string(r.Limit))))
	}
	if r.Path == "" {
		return // a connection
	}
	kind := Kind.String(kindOf(r.Path))
	class := telemetry.StatusClass.String(strconv.Itoa(r.Status/100) + "xx")
	m.duration.Record(ctx, r.Took.Seconds(), with(kind, class))
	m.sent.Add(ctx, r.Bytes, with(kind))
}

func kindOf(path string) string {
	switch {
	case strings.HasPrefix(path, "/metadata/"):
		return "metadata"
	case strings.HasPrefix(path, "/targets/"):
		return "target"
	case path == repository.HealthPath:
		return "health"
	}
	return "other"
}

// Renewed counts that something was signed anew, or, with an error, was not.
func (m *Metrics) Renewed(err error) {
	switch {
	case m == nil:
	case err == nil:
		m.renewals.Add(context.Background(), 1)
	default:
		m.renewals.Add(context.Background(), 1, with(telemetry.ErrorType.String(string(tuferr.CodeOf(err)))))
	}
}

// observe tells how a repository is.
func observe(o metric.Observer, healths metric.Int64Observable, expiry metric.Float64Observable, st repository.Status, now time.Time) {
	for _, grade := range []repository.Health{repository.Healthy, repository.Degraded, repository.Down} {
		n := int64(0)
		if st.Status == grade {
			n = 1
		}
		o.ObserveInt64(healths, n, with(Health.String(string(grade))))
	}
	for _, r := range expiring(st) {
		o.ObserveFloat64(expiry, r.Expires.Sub(now).Seconds(), with(telemetry.Role.String(r.Role)))
	}
}

// expiring are the top-level roles, and of the others, hash bins by their prefix,
// those that expire first.
func expiring(st repository.Status) []repository.RoleStatus {
	top := min(len(st.Roles), 4)
	others := slices.Clone(st.Roles[top:])
	for _, b := range st.Bins {
		others = append(others, repository.RoleStatus{Role: b.Prefix, Expires: b.Expires})
	}
	slices.SortStableFunc(others, func(a, b repository.RoleStatus) int {
		return cmp.Or(a.Expires.Compare(b.Expires), cmp.Compare(a.Role, b.Role))
	})
	return slices.Concat(st.Roles[:top], others[:min(len(others), maxDelegated)])
}

package servemetrics

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/ragnos-labs/vault-tuf/internal/telemetry"
	"github.com/ragnos-labs/vault-tuf/repository"
)

// factory makes instruments as the table has them, and gathers what goes wrong.
type factory struct {
	meter metric.Meter
	err   error
}

func row(name string) telemetry.Instrument {
	for _, row := range Instruments {
		if row.Name == name {
			return row
		}
	}
	return telemetry.Instrument{Name: name}
}

func (f *factory) counter(name string) metric.Int64Counter {
	r := row(name)
	c, err := f.meter.Int64Counter(name, metric.WithUnit(r.Unit), metric.WithDescription(r.Description))
	f.err = errors.Join(f.err, err)
	return c
}

func (f *factory) histogram(name string) metric.Float64Histogram {
	r := row(name)
	h, err := f.meter.Float64Histogram(name, metric.WithUnit(r.Unit), metric.WithDescription(r.Description),
		metric.WithExplicitBucketBoundaries(buckets...))
	f.err = errors.Join(f.err, err)
	return h
}

// watch lets the gauges ask health.
func (f *factory) watch(health func() repository.Status) {
	r := row(Healths)
	healths, err := f.meter.Int64ObservableUpDownCounter(r.Name, metric.WithUnit(r.Unit), metric.WithDescription(r.Description))
	f.err = errors.Join(f.err, err)
	r = row(TimeToExpiry)
	expiry, err := f.meter.Float64ObservableGauge(r.Name, metric.WithUnit(r.Unit), metric.WithDescription(r.Description))
	if f.err = errors.Join(f.err, err); f.err != nil {
		return
	}
	_, err = f.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		observe(o, healths, expiry, health(), time.Now())
		return nil
	}, healths, expiry)
	f.err = errors.Join(f.err, err)
}

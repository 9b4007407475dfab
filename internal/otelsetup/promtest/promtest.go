// Package promtest is how Prometheus sees metrics, for tests.
package promtest

import (
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/otlptranslator"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"

	"github.com/ragnos-labs/vault-tuf/internal/telemetry"
)

// Name is the name of an instrument.
func Name(t testing.TB, row telemetry.Instrument) string {
	t.Helper()
	kind, ok := map[telemetry.Kind]otlptranslator.MetricType{
		telemetry.KindCounter: otlptranslator.MetricTypeMonotonicCounter, telemetry.KindHistogram: otlptranslator.MetricTypeHistogram,
		telemetry.KindGauge: otlptranslator.MetricTypeGauge, telemetry.KindUpDown: otlptranslator.MetricTypeNonMonotonicCounter,
	}[row.Kind]
	require.True(t, ok, row.Kind)
	namer := otlptranslator.NewMetricNamer("", otlptranslator.UnderscoreEscapingWithSuffixes)
	name, err := namer.Build(otlptranslator.Metric{Name: row.Name, Unit: row.Unit, Type: kind})
	require.NoError(t, err)
	return name
}

// Label is the name of an attribute.
func Label(t testing.TB, key attribute.Key) string {
	t.Helper()
	namer := otlptranslator.LabelNamer{}
	name, err := namer.Build(string(key))
	require.NoError(t, err)
	return name
}

// Sample is one line of what a server shows.
type Sample struct {
	Name   string
	Labels map[string]string
	Value  float64
}

// Samples are all of them.
type Samples []Sample

var (
	line  = regexp.MustCompile(`^([a-z_0-9]+)(?:\{(.*)\})? ([^ ]+)$`)
	label = regexp.MustCompile(`([a-z_0-9]+)="((?:[^"\\]|\\.)*)"`)
)

// Parse reads the text format.
func Parse(t testing.TB, text string) (all Samples) {
	t.Helper()
	for l := range strings.Lines(text) {
		if strings.HasPrefix(l, "#") {
			continue
		}
		m := line.FindStringSubmatch(strings.TrimSpace(l))
		require.NotNil(t, m, l)
		value, err := strconv.ParseFloat(m[3], 64)
		require.NoError(t, err)
		s := Sample{m[1], map[string]string{}, value}
		for _, kv := range label.FindAllStringSubmatch(m[2], -1) {
			s.Labels[kv[1]] = kv[2]
		}
		all = append(all, s)
	}
	return all
}

// Scrape asks for metrics over HTTP.
func Scrape(t testing.TB, client *http.Client, url string) Samples {
	t.Helper()
	resp, err := client.Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode, string(body))
	require.True(t, strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain"), resp.Header)
	return Parse(t, string(body))
}

// Sum adds up the samples of a name that have all these labels: NAME=VALUE.
func (all Samples) Sum(name string, labels ...string) (sum float64) {
	for _, s := range all {
		ok := s.Name == name
		for _, l := range labels {
			key, value, _ := strings.Cut(l, "=")
			ok = ok && s.Labels[key] == value
		}
		if ok {
			sum += s.Value
		}
	}
	return sum
}

// Has says whether there are samples of a name.
func (all Samples) Has(name string) bool {
	for _, s := range all {
		if s.Name == name {
			return true
		}
	}
	return false
}

//go:build unix

// Package deploy_test holds the dashboard and the alerts against what there is.
package deploy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/ragnos-labs/vault-tuf/internal/otelsetup/promtest"
	"github.com/ragnos-labs/vault-tuf/internal/servemetrics"
	"github.com/ragnos-labs/vault-tuf/internal/telemetry"
)

// rule is a rule of Prometheus.
type rule struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

func alerts(t *testing.T) (all []rule) {
	t.Helper()
	raw, err := os.ReadFile("prometheus/ragnos-tuf.rules.yml")
	require.NoError(t, err)
	var f struct{ Groups []struct{ Rules []rule } }
	require.NoError(t, yaml.Unmarshal(raw, &f))
	for _, g := range f.Groups {
		all = append(all, g.Rules...)
	}
	require.NotEmpty(t, all)
	return all
}

// dashboard returns the queries of the dashboard, those of its variables among them,
// and what it shows of labels.
func dashboard(t *testing.T) (queries []string, legends []string) {
	t.Helper()
	raw, err := os.ReadFile("grafana/ragnos-tuf.json")
	require.NoError(t, err)
	var d struct {
		Templating struct {
			List []struct{ Type, Definition string }
		}
		Panels []struct {
			ID      int
			Type    string
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	require.NoError(t, json.Unmarshal(raw, &d))
	ids := map[int]bool{}
	for _, p := range d.Panels {
		require.False(t, ids[p.ID], "panel %d twice", p.ID)
		ids[p.ID] = true
		require.Equal(t, p.Type == "row", len(p.Targets) == 0, p.Title)
		for _, target := range p.Targets {
			queries, legends = append(queries, target.Expr), append(legends, target.LegendFormat)
		}
	}
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			queries = append(queries, v.Definition)
		}
	}
	return queries, legends
}

// TestQueriesAskForWhatThereIs: each name in an alert or in the dashboard is one that
// a real server or a real client shows, and each label one that its metric may have.
func TestQueriesAskForWhatThereIs(t *testing.T) {
	labels := labelsByName(t)
	shown := scraped(t)
	for _, s := range shown {
		if s.Name == "target_info" {
			continue
		}
		require.Contains(t, labels, s.Name)
		for label := range s.Labels {
			require.Contains(t, labels[s.Name], label, s.Name)
		}
	}
	queries, legends := dashboard(t)
	texts := legends
	for _, a := range alerts(t) {
		queries = append(queries, a.Expr)
		for _, text := range a.Annotations {
			texts = append(texts, text)
		}
	}
	asked := map[string]bool{}
	for _, q := range queries {
		names, used := parse(q)
		require.NotEmpty(t, names, q)
		var may []string
		for _, name := range names {
			asked[name] = true
			require.True(t, name == "up" || shown.Has(name), "%s in %s", name, q)
			may = append(may, labels[name]...)
		}
		for _, label := range used {
			require.True(t, slices.Contains(may, label) || slices.Contains([]string{"job", "instance"}, label), "%s in %s", label, q)
		}
	}
	for _, text := range texts {
		for _, m := range regexp.MustCompile(`(?:\$labels\.|\{\{)([a-z_]+)`).FindAllStringSubmatch(text, -1) {
			require.Regexp(t, `^(job|instance|error_type|ragnos_[a-z_]+)$`, m[1])
		}
	}
	for _, row := range slices.Concat(telemetry.Instruments, servemetrics.Instruments) {
		name := promtest.Name(t, row)
		require.True(t, asked[name] || asked[name+"_bucket"] || asked[name+"_count"], "no panel and no alert looks at %s", name)
	}
}

// labelsByName are the labels that the tables allow, by the names that Prometheus has.
func labelsByName(t *testing.T) map[string][]string {
	all := map[string][]string{"up": nil}
	for i, row := range slices.Concat(telemetry.Instruments, servemetrics.Instruments) {
		var labels []string
		if i < len(telemetry.Instruments) {
			labels = append(labels, promtest.Label(t, telemetry.Repository))
		}
		for _, key := range row.Attributes {
			labels = append(labels, promtest.Label(t, key))
		}
		name := promtest.Name(t, row)
		if row.Kind == telemetry.KindHistogram {
			all[name+"_count"], all[name+"_sum"] = labels, labels
			all[name+"_bucket"] = append(labels[:len(labels):len(labels)], "le")
			continue
		}
		all[name] = labels
	}
	return all
}

// parse returns the names of metrics and labels in a query. It knows as much of
// PromQL as our queries use.
func parse(query string) (names, labels []string) {
	query = regexp.MustCompile(`__name__=~"([^"]*)"`).ReplaceAllStringFunc(query, func(m string) string {
		names = append(names, strings.Split(strings.Split(m, `"`)[1], "|")...)
		return ""
	})
	if m := regexp.MustCompile(`^label_values\((.*), ([a-z_]+)\)$`).FindStringSubmatch(query); m != nil {
		query, labels = m[1], append(labels, m[2])
	}
	query = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|\[[^\]]*\]|offset [0-9]+[a-z]`).ReplaceAllString(query, `""`)
	ident := regexp.MustCompile(`[a-zA-Z_][a-zA-Z_0-9]*`)
	list := func(m string) string {
		labels = append(labels, ident.FindAllString(m[strings.IndexAny(m, "({"):], -1)...)
		return " "
	}
	query = regexp.MustCompile(`\{[^}]*\}`).ReplaceAllStringFunc(query, list)
	query = regexp.MustCompile(`\b(?:by|without|on|ignoring) \([^)]*\)`).ReplaceAllStringFunc(query, list)
	for _, at := range ident.FindAllStringIndex(query, -1) {
		word, rest := query[at[0]:at[1]], strings.TrimSpace(query[at[1]:])
		if !strings.HasPrefix(rest, "(") && !slices.Contains([]string{"and", "or", "unless", "bool"}, word) {
			names = append(names, word)
		}
	}
	return names, labels
}

func TestParse(t *testing.T) {
	names, labels := parse(`sum by (a, b) (rate(x_total{c="d e",f=~"$g"}[$__rate_interval])) / y unless z offset 15m > 0.5`)
	require.Equal(t, []string{"x_total", "y", "z"}, names)
	require.ElementsMatch(t, []string{"a", "b", "c", "f"}, labels)
	names, labels = parse(`label_values({__name__=~"x|y",job=~"$job"}, instance)`)
	require.Equal(t, []string{"x", "y"}, names)
	require.ElementsMatch(t, []string{"instance", "job"}, labels)
}

// TestEveryAlertIsTested: the tests of promtool let each alert fire, and be silent
// elsewhere although there is what it looks at.
func TestEveryAlertIsTested(t *testing.T) {
	raw, err := os.ReadFile("prometheus/ragnos-tuf.test.yml")
	require.NoError(t, err)
	page, err := os.ReadFile("../docs/telemetry.md")
	require.NoError(t, err)
	var f struct {
		Tests []struct {
			Name   string
			Series []struct{ Series string } `yaml:"input_series"`
			Exprs  []struct {
				Samples []struct{ Labels string } `yaml:"exp_samples"`
			} `yaml:"promql_expr_test"`
		}
	}
	require.NoError(t, yaml.Unmarshal(raw, &f))
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range f.Tests {
		var given []string
		for _, s := range test.Series {
			name, _, _ := strings.Cut(s.Series, "{")
			given = append(given, name)
		}
		fired := map[string]bool{}
		for _, e := range test.Exprs {
			for _, s := range e.Samples {
				fired[strings.Split(s.Labels, `"`)[1]] = true
			}
		}
		for _, a := range alerts(t) {
			names, _ := parse(a.Expr)
			missing := slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(given, name) })
			fires[a.Alert] = fires[a.Alert] || fired[a.Alert]
			silent[a.Alert] = silent[a.Alert] || !fired[a.Alert] && !missing
		}
	}
	for _, a := range alerts(t) {
		require.True(t, fires[a.Alert], "%s fires in no test", a.Alert)
		require.True(t, silent[a.Alert], "%s is silent in no test", a.Alert)
		require.Contains(t, []string{"critical", "warning"}, a.Labels["severity"])
		require.NotEmpty(t, a.Annotations["summary"])
		require.NotEmpty(t, a.Annotations["description"])
		require.Regexp(t, "(?m)^\\| .*`"+a.Alert+"`.* \\| .*"+a.Labels["severity"], string(page))
	}
}

// TestDashboardIsPromQL: promtool understands each query.
func TestDashboardIsPromQL(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("no promtool")
	}
	type record struct{ Record, Expr string }
	var rules []record
	queries, _ := dashboard(t)
	for i, q := range queries {
		if !strings.HasPrefix(q, "label_values(") {
			q = strings.NewReplacer("$__rate_interval", "5m").Replace(q)
			rules = append(rules, record{fmt.Sprintf("query:%d", i), q})
		}
	}
	raw, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": rules}}})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "rules.yml")
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	out, err := exec.Command(promtool, "check", "rules", path).CombinedOutput()
	require.NoError(t, err, string(out))
}

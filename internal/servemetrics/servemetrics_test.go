package servemetrics_test

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	nometric "go.opentelemetry.io/otel/metric/noop"

	"github.com/ragnos-labs/vault-tuf/internal/otelsetup"
	"github.com/ragnos-labs/vault-tuf/internal/otelsetup/promtest"
	"github.com/ragnos-labs/vault-tuf/internal/servemetrics"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/webserver"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/repository"
)

// scraped lets a server tell all that it can, and returns what Prometheus sees.
func scraped(t *testing.T, st repository.Status, tell func(*servemetrics.Metrics)) promtest.Samples {
	t.Setenv("OTEL_SDK_DISABLED", "")
	s := otelsetup.Start(otelsetup.Config{Service: "test", Prometheus: true})
	t.Cleanup(s.End)
	m, err := servemetrics.New(s.Meters, func() repository.Status { return st })
	require.NoError(t, err)
	tell(m)
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return promtest.Parse(t, w.Body.String())
}

func status(roles ...string) repository.Status {
	st := repository.Status{Status: repository.Degraded, Bins: []repository.BinsStatus{{Prefix: "bin-", Expires: time.Now().Add(time.Minute)}}}
	for i, role := range roles {
		st.Roles = append(st.Roles, repository.RoleStatus{Role: role, Expires: time.Now().Add(time.Duration(len(roles)-i) * time.Hour)})
	}
	return st
}

// TestTable: what there is stands in the table, in the package's documentation and in
// docs/serving.md, and nothing else.
func TestTable(t *testing.T) {
	all := scraped(t, status("root", "targets", "snapshot", "timestamp", "acme"), func(m *servemetrics.Metrics) {
		m.Answered(webserver.Request{Path: "/metadata/timestamp.json", Status: 200, Bytes: 5, Took: time.Second})
		m.Renewed(errors.New("x"))
	})
	doc, err := os.ReadFile("servemetrics.go")
	require.NoError(t, err)
	page, err := os.ReadFile("../../docs/serving.md")
	require.NoError(t, err)
	known := []string{"target_info"}
	for _, row := range servemetrics.Instruments {
		require.Contains(t, string(doc), fmt.Sprintf("//\t%-38s %-14s %s\n", row.Name, row.Kind, row.Unit))
		name := promtest.Name(t, row)
		labels := []string{"le"}
		for _, key := range row.Attributes {
			labels = append(labels, promtest.Label(t, key))
		}
		require.Contains(t, string(page), fmt.Sprintf("| `%s` | `%s` | %s | `%s` | %s |\n", row.Name, name, row.Kind,
			strings.Join(labels[1:], "`, `"), row.Description))
		found := false
		for _, s := range all {
			if s.Name != name && !slices.Contains([]string{name + "_bucket", name + "_sum", name + "_count"}, s.Name) {
				continue
			}
			found, known = true, append(known, s.Name)
			for label := range s.Labels {
				require.Contains(t, labels, label)
			}
		}
		require.True(t, found, name)
	}
	for _, s := range all {
		require.Contains(t, known, s.Name)
	}
}

func TestRequests(t *testing.T) {
	all := scraped(t, status(), func(m *servemetrics.Metrics) {
		for path, bytes := range map[string]int64{"/metadata/timestamp.json": 1, "/targets/a": 2, "/health/tuf": 3, "/": 4} {
			m.Answered(webserver.Request{Path: path, Status: 200, Bytes: bytes})
		}
		m.Answered(webserver.Request{Path: "/targets/a", Status: 429, Limit: webserver.LimitRate})
		m.Answered(webserver.Request{Limit: webserver.LimitConnections})
		m.Renewed(nil)
		m.Renewed(tuferr.New(protocol.CodePermissions, "x"))
	})
	for kind, bytes := range map[string]float64{"metadata": 1, "target": 2, "health": 3, "other": 4} {
		require.EqualValues(t, 1, all.Sum("ragnos_server_request_duration_seconds_count", "ragnos_server_kind="+kind, "ragnos_http_status_class=2xx"))
		require.Equal(t, bytes, all.Sum("ragnos_server_sent_bytes_total", "ragnos_server_kind="+kind))
	}
	require.EqualValues(t, 5, all.Sum("ragnos_server_request_duration_seconds_count"))
	for _, l := range webserver.Limits {
		n := 0.0
		if l == webserver.LimitRate || l == webserver.LimitConnections {
			n = 1
		}
		require.Equal(t, n, all.Sum("ragnos_server_refused_total", "ragnos_server_limit="+string(l)), l)
	}
	require.EqualValues(t, 1, all.Sum("ragnos_server_renewals_total", "error_type="))
	require.EqualValues(t, 1, all.Sum("ragnos_server_renewals_total", "error_type=permissions"))
}

func TestHealth(t *testing.T) {
	roles := []string{"root", "targets", "snapshot", "timestamp"}
	for i := range 100 {
		roles = append(roles, fmt.Sprintf("publisher-%02d", i))
	}
	all := scraped(t, status(roles...), func(*servemetrics.Metrics) {})
	for grade, n := range map[string]float64{"ok": 0, "degraded": 1, "down": 0} {
		require.Equal(t, n, all.Sum("ragnos_server_health", "ragnos_server_health_status="+grade))
	}
	told := map[string]bool{}
	for _, s := range all {
		if s.Name == "ragnos_server_metadata_time_to_expiry_seconds" {
			require.Positive(t, s.Value)
			told[s.Labels["ragnos_tuf_role"]] = true
		}
	}
	require.Len(t, told, 4+64)
	for _, role := range append(roles[:4:4], "bin-", "publisher-99", "publisher-37") {
		require.True(t, told[role], role)
	}
	require.False(t, told["publisher-36"], "it expires later than those")
	require.Empty(t, scraped(t, repository.Status{Status: repository.Down}, func(*servemetrics.Metrics) {}).
		Sum("ragnos_server_metadata_time_to_expiry_seconds"))
}

func TestOffIsNothing(t *testing.T) {
	var off *servemetrics.Metrics
	off.Answered(webserver.Request{Path: "/"})
	off.Renewed(nil)
	_, err := servemetrics.New(nometric.NewMeterProvider(), nil)
	require.NoError(t, err)
}

package report

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sample is a report with one work in each of two groups.
func sample() *Report {
	return &Report{
		Date: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), Machine: "2 CPUs", Rounds: 3,
		Groups: []Group{
			{Name: Loopback, Rows: []Row{
				{ColdSmall, []Cell{
					{Client: GoTUF, Wall: 10, CPU: 5, Host: 11, Requests: 5},
					{Client: PythonTUF, Wall: 100, CPU: 90, Host: 34, Requests: 5},
					{Client: Auto, Wall: 12.5, CPU: 6, Host: 15, Requests: 5},
					{Client: Floor, Wall: 5, CPU: 2, Host: 10, Requests: 5},
				}},
				{MillionHexes, []Cell{
					{Client: GoTUF, Note: "not found (defect)"},
					{Client: Auto, Wall: 80, Requests: 6},
				}},
			}},
			{Name: RoundTrip, Missing: "no root"},
			{Name: InProcess, Rows: []Row{
				{Hits8, []Cell{{Client: GoTUF, PerSecond: 50_000}, {Client: Auto, PerSecond: 60_000}}},
				{Idle, []Cell{{Client: Auto, Host: 20, Worker: 4}}},
			}},
		},
	}
}

func TestTable(t *testing.T) {
	require.Equal(t, strings.TrimLeft(`
| work                          | client      |                 ms | × go-tuf | × floor | CPU ms | host MiB | requests |
|-------------------------------|-------------|-------------------:|---------:|--------:|-------:|---------:|---------:|
| cold small                    | go-tuf      |                 10 |        1 |       2 |      5 |       11 |        5 |
|                               | python-tuf  |                100 |       10 |      20 |     90 |       34 |        5 |
|                               | ragnos auto |               12.5 |     1.25 |    2.50 |      6 |       15 |        5 |
|                               | floor       |                  5 |     0.50 |       1 |      2 |       10 |        5 |
| 1M in 4096 path_hash_prefixes | go-tuf      | not found (defect) |          |         |        |          |          |
|                               | ragnos auto |                 80 |          |         |        |          |        6 |
`, "\n"), sample().Groups[0].Table())
}

func TestGoals(t *testing.T) {
	require.Equal(t, strings.TrimLeft(`
| goal                                                    | of       | bound                  | measured | met |
|---------------------------------------------------------|----------|------------------------|---------:|----:|
| cold small, loopback                                    | ms       | at most 1.50 × go-tuf  |     1.25 | yes |
| verified cached hits of 10 kB, 8 at a time, one process | a second | at least 1.50 × go-tuf |     1.20 |  no |
| idle after a download, one process                      | MiB      | at most 25 MiB         |       24 | yes |
`, "\n"), sample().Goals())
	require.Empty(t, (&Report{}).Goals())
}

func TestGoalWithAllowance(t *testing.T) {
	r := &Report{Groups: []Group{{Name: InProcess, Rows: []Row{
		{Release, []Cell{{Client: GoTUF, Wall: 8}}},
		{WarmFallback, []Cell{{Client: Auto, Wall: 36}}},
	}}}}
	require.Contains(t, r.Goals(), "| at most 3 × go-tuf + 20 ms, at: new release of 10 kB, fetched |        2 | yes |")
}

func TestPlot(t *testing.T) {
	picture := sample().Plot()
	decoder := xml.NewDecoder(strings.NewReader(picture))
	for {
		_, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
	}
	require.Contains(t, picture, ">10×<")   // python-tuf's bar
	require.Contains(t, picture, ">1.25×<") // ours
	require.Contains(t, picture, ">0.83×<") // a rate, as time
	require.NotContains(t, picture, MillionHexes)
	require.NotContains(t, picture, RoundTrip)
}

func TestMarkdown(t *testing.T) {
	text := sample().Markdown()
	require.Contains(t, text, "2 January 2026, medians over rounds: 3")
	require.Contains(t, text, "## Loopback\n")
	require.Contains(t, text, "## 20 ms round trip\n\nNot measured: no root.\n")
	require.NotContains(t, text, "%!")
}

// Package report turns what the benchmark measured into tables, a comparison
// with the goals, and a plot.
package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// The clients. Ours are named by their mode; Floor is curl and sha256sum, or a
// bare HTTP client, over the same URLs. In the group of the servers Floor is
// net/http's FileServer of the same files.
const (
	GoTUF     = "go-tuf"
	PythonTUF = "python-tuf"
	Auto      = "ragnos auto"
	Go        = "ragnos go"
	Python    = "ragnos python"
	Dual      = "ragnos dual"
	Floor     = "floor"
	LocalTUF  = "local-tuf serve"
)

// The groups.
const (
	Loopback  = "loopback"
	Delayed   = "20 ms a request"
	RoundTrip = "20 ms round trip"
	InProcess = "one process"
	Serve     = "serve"
)

// The works that goals or the plot speak of.
const (
	ColdSmall    = "cold small"
	Unchanged    = "unchanged"
	Roots        = "root v1 to v50"
	ThirdLevel   = "third-level delegation"
	Index        = "100k index, cold"
	IndexSame    = "100k index, unchanged"
	Bins         = "100k in 256 succinct bins"
	MillionBins  = "1M in 4096 succinct bins"
	MillionHexes = "1M in 4096 path_hash_prefixes"
	Big256       = "256 MiB target"
	Big1024      = "1 GiB target"
	ColdFallback = "fallback, worker to be started"

	LookUps1     = "look-ups in the 100k index, 1 at a time"
	LookUps8     = "look-ups in the 100k index, 8 at a time"
	Hits1        = "verified cached hits of 10 kB, 1 at a time"
	Hits8        = "verified cached hits of 10 kB, 8 at a time"
	Refresh      = "unchanged refresh of the 100k index"
	Release      = "new release of 10 kB, fetched"
	WarmFallback = "the same by fallback, worker warm"
	Idle         = "idle after a download"
	IdleWorker   = "idle after a fallback, worker warm"

	ServeTimestamp = "timestamp.json"
	ServeUnchanged = "timestamp.json, 304"
	ServeSmall     = "10 kB target"
	ServeLarge     = "100 MB target"
)

// Cell is what one client took for one work: medians, and 0 where it was not
// measured.
type Cell struct {
	Client string
	// Wall and CPU are in milliseconds, Host and Worker in MiB of resident memory.
	Wall, CPU, Host, Worker float64
	// Requests is the number of HTTP requests.
	Requests float64
	// PerSecond is how often it was done in a second.
	PerSecond float64
	// Megabytes is how many were served in a second.
	Megabytes float64
	// Note says why there are no figures.
	Note string
}

// Row is one work, done by several clients over the same repository.
type Row struct {
	Work  string
	Cells []Cell
}

// Group is a table: works measured under the same conditions.
type Group struct {
	Name string
	Rows []Row
	// Missing says why it could not be measured.
	Missing string
}

// Report is one run.
type Report struct {
	Date time.Time
	// Machine says in one line where it ran.
	Machine string
	Rounds  int
	Groups  []Group
}

// find returns the cell of a client; ok is false if it has no figures.
func (r *Report) find(group, work, client string) (c Cell, ok bool) {
	for _, g := range r.Groups {
		for _, row := range g.Rows {
			i := slices.IndexFunc(row.Cells, func(c Cell) bool { return c.Client == client })
			if g.Name == group && row.Work == work && i >= 0 && row.Cells[i].Note == "" {
				return row.Cells[i], true
			}
		}
	}
	return Cell{}, false
}

// column is one figure of a table.
type column struct {
	title string
	value func(c Cell, row Row) float64
}

var columns = []column{
	{"ms", func(c Cell, _ Row) float64 { return c.Wall }},
	{"a second", func(c Cell, _ Row) float64 { return c.PerSecond }},
	{"MB a second", func(c Cell, _ Row) float64 { return c.Megabytes }},
	{"× go-tuf", func(c Cell, row Row) float64 { return ratio(c, row, GoTUF) }},
	{"× floor", func(c Cell, row Row) float64 { return ratio(c, row, Floor) }},
	{"CPU ms", func(c Cell, _ Row) float64 { return c.CPU }},
	{"host MiB", func(c Cell, _ Row) float64 { return c.Host }},
	{"worker MiB", func(c Cell, _ Row) float64 { return c.Worker }},
	{"requests", func(c Cell, _ Row) float64 { return c.Requests }},
}

// ratio compares a cell with that of another client: its time, or how often it
// did the work in a second.
func ratio(c Cell, row Row, client string) float64 {
	i := slices.IndexFunc(row.Cells, func(c Cell) bool { return c.Client == client })
	switch {
	case i < 0:
	case row.Cells[i].Wall > 0:
		return c.Wall / row.Cells[i].Wall
	case row.Cells[i].PerSecond > 0:
		return c.PerSecond / row.Cells[i].PerSecond
	}
	return 0
}

// Table returns the group as a Markdown table that can be read as it is.
func (g Group) Table() string {
	var used []column
	for _, c := range columns {
		if slices.ContainsFunc(g.Rows, func(row Row) bool {
			return slices.ContainsFunc(row.Cells, func(cell Cell) bool { return c.value(cell, row) > 0 })
		}) {
			used = append(used, c)
		}
	}
	lines := [][]string{{"work", "client"}}
	for _, c := range used {
		lines[0] = append(lines[0], c.title)
	}
	for _, row := range g.Rows {
		for i, cell := range row.Cells {
			line := []string{"", cell.Client}
			if i == 0 {
				line[0] = row.Work
			}
			for _, c := range used {
				line = append(line, figure(c.value(cell, row)))
			}
			if cell.Note != "" {
				line[2] = cell.Note
			}
			lines = append(lines, line)
		}
	}
	return table(lines, 2)
}

// figure writes a number with three digits that count.
func figure(v float64) string {
	switch {
	case v == 0:
		return ""
	case v >= 99.95 || v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	case v >= 9.995:
		return fmt.Sprintf("%.1f", v)
	case v >= 0.0995:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// table writes lines as a Markdown table, the columns after the first left ones
// flush right.
func table(lines [][]string, left int) string {
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	var b strings.Builder
	for n, line := range lines {
		for i, cell := range line {
			pad := strings.Repeat(" ", widths[i]-len([]rune(cell)))
			if i < left {
				b.WriteString("| " + cell + pad + " ")
			} else {
				b.WriteString("| " + pad + cell + " ")
			}
		}
		b.WriteString("|\n")
		if n > 0 {
			continue
		}
		for i, width := range widths {
			if i < left {
				b.WriteString("|" + strings.Repeat("-", width+2))
			} else {
				b.WriteString("|" + strings.Repeat("-", width+1) + ":")
			}
		}
		b.WriteString("|\n")
	}
	return b.String()
}

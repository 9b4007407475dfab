package report

import "strings"

// place names a cell.
type place struct{ group, work, client string }

// goal bounds a figure of ours: its ratio to the same figure of a base, beyond
// what may come on top of it, or the figure itself where there is no base.
type goal struct {
	ours   place
	figure func(Cell) float64
	unit   string
	base   place
	plus   float64
	limit  float64
	// atLeast says that more is better.
	atLeast bool
}

func wall(c Cell) float64      { return c.Wall }
func memory(c Cell) float64    { return c.Host }
func both(c Cell) float64      { return c.Host + c.Worker }
func perSecond(c Cell) float64 { return c.PerSecond }

// faster is the usual goal: at most limit times the wall time of another client
// at the same work.
func faster(group, work, client string, limit float64) goal {
	return goal{ours: place{group, work, Auto}, figure: wall, unit: "ms", base: place{group, work, client}, limit: limit}
}

var goals = []goal{
	faster(Loopback, ColdSmall, GoTUF, 1.5),
	faster(Delayed, ColdSmall, GoTUF, 0.93),
	faster(Delayed, ThirdLevel, GoTUF, 0.96),
	faster(RoundTrip, ColdSmall, GoTUF, 0.85),
	faster(RoundTrip, ThirdLevel, GoTUF, 0.9),
	faster(Delayed, Roots, GoTUF, 0.25),
	faster(Delayed, Unchanged, GoTUF, 0.78),
	faster(RoundTrip, Unchanged, GoTUF, 0.6),
	faster(InProcess, Refresh, Floor, 2),
	faster(Loopback, Index, GoTUF, 1.2),
	{ours: place{Loopback, Index, Auto}, figure: memory, unit: "MiB", base: place{Loopback, Index, GoTUF}, limit: 1},
	faster(Loopback, Big1024, GoTUF, 0.3),
	faster(Loopback, Big1024, Floor, 1.3),
	{ours: place{Loopback, Big1024, Auto}, figure: memory, unit: "MiB", limit: 40},
	{ours: place{InProcess, Hits1, Auto}, figure: perSecond, unit: "a second", base: place{InProcess, Hits1, GoTUF}, limit: 1, atLeast: true},
	{ours: place{InProcess, Hits8, Auto}, figure: perSecond, unit: "a second", base: place{InProcess, Hits8, GoTUF}, limit: 1.5, atLeast: true},
	{ours: place{InProcess, WarmFallback, Auto}, figure: wall, unit: "ms", base: place{InProcess, Release, GoTUF}, plus: 20, limit: 3},
	faster(Loopback, ColdFallback, PythonTUF, 1.3),
	{ours: place{InProcess, Idle, Auto}, figure: both, unit: "MiB", limit: 25},
	{ours: place{InProcess, IdleWorker, Auto}, figure: both, unit: "MiB", limit: 70},
}

// Goals returns the table of goals. A goal whose figures were not measured in
// this run is left out.
func (r *Report) Goals() string {
	lines := [][]string{{"goal", "of", "bound", "measured", "met"}}
	for _, g := range goals {
		measured, ok := g.measure(r)
		if !ok {
			continue
		}
		met := "yes"
		if measured > g.limit != g.atLeast && measured != g.limit {
			met = "no"
		}
		lines = append(lines, []string{g.ours.work + ", " + g.ours.group, g.unit, g.bound(), figure(measured), met})
	}
	if len(lines) == 1 {
		return ""
	}
	return table(lines, 3)
}

// measure returns what the bound is compared with.
func (g goal) measure(r *Report) (float64, bool) {
	ours, ok := r.find(g.ours.group, g.ours.work, g.ours.client)
	if !ok || g.base == (place{}) {
		return g.figure(ours), ok
	}
	base, ok := r.find(g.base.group, g.base.work, g.base.client)
	if !ok || g.figure(base) == 0 {
		return 0, false
	}
	return (g.figure(ours) - g.plus) / g.figure(base), true
}

func (g goal) bound() string {
	words := []string{"at most", figure(g.limit)}
	if g.atLeast {
		words[0] = "at least"
	}
	if g.base == (place{}) {
		return strings.Join(append(words, g.unit), " ")
	}
	words = append(words, "×", g.base.client)
	if g.plus != 0 {
		words = append(words, "+", figure(g.plus), g.unit)
	}
	bound := strings.Join(words, " ")
	if g.base.work != g.ours.work {
		bound += ", at: " + g.base.work
	}
	return bound
}

// Places lists what goals and plot are about, as "group: work".
func Places() (names []string) {
	for _, g := range goals {
		names = append(names, g.ours.group+": "+g.ours.work)
	}
	for _, p := range plotted {
		for _, work := range p.works {
			names = append(names, p.group+": "+work)
		}
	}
	return names
}

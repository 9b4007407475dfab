//go:build linux

// Command bench measures this client beside go-tuf's and python-tuf's own and
// beside curl, over repositories that it makes and serves itself; and our server
// beside net/http's own.
//
//	bench -python FILE [-rounds N] [-only REGEXP] [-list] [-docs DIR]
//
// Each measurement is a fresh process, run by a small one (meter); the clients
// take turns, and every figure is the median of the rounds.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/bench/link"
	"github.com/ragnos-labs/vault-tuf/internal/bench/report"
	"github.com/ragnos-labs/vault-tuf/internal/bench/world"
)

// oneWay is the delay of the wire in each direction, perRequest what the server
// adds to a request.
const (
	oneWay     = 10 * time.Millisecond
	perRequest = 20 * time.Millisecond
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// settings are what the flags say.
type settings struct {
	python, cache, docs string
	rounds              int
	only                *regexp.Regexp
	list                bool
}

func parse(args []string) (s settings, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&s.python, "python", ".venv/bin/python", "interpreter with python-tuf, `file`")
	flags.StringVar(&s.cache, "cache", ".bench", "`directory` that keeps programs and repositories between runs")
	flags.StringVar(&s.docs, "docs", "", "`directory` to write benchmarks.md and benchmarks.svg to")
	flags.IntVar(&s.rounds, "rounds", 5, "how often each is measured")
	only := flags.String("only", "", "measure what matches this `regexp` alone; see -list")
	flags.BoolVar(&s.list, "list", false, "list what can be measured")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if s.rounds < 1 {
		return s, errors.New("-rounds must be at least 1")
	}
	if *only != "" && s.docs != "" {
		return s, errors.New("-docs wants all of it: leave -only out")
	}
	for _, path := range []*string{&s.python, &s.cache} {
		if *path, err = filepath.Abs(*path); err != nil {
			return s, err
		}
	}
	s.only, err = regexp.Compile(*only)
	return s, err
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	s, err := parse(args)
	if err != nil {
		return err
	}
	p := s.plan()
	if s.list {
		for _, step := range p {
			fmt.Fprintln(out, step.name())
		}
		return nil
	}
	if err := os.MkdirAll(s.cache, 0o755); err != nil {
		return err
	}
	h := &harness{python: s.python, cache: s.cache}
	if h.work, err = os.MkdirTemp(s.cache, "work-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(h.work)) }()
	r := &report.Report{Date: time.Now(), Rounds: s.rounds}
	wanted := slices.Clone(programs)
	for group, more := range map[string][]string{report.InProcess: loopPrograms, report.Serve: servePrograms} {
		if slices.ContainsFunc(p, func(t step) bool { return t.group == group }) {
			wanted = append(wanted, more...)
		}
	}
	if err := h.build(ctx, wanted); err != nil {
		return err
	}
	if r.Machine, err = machine(ctx, s.python); err != nil {
		return err
	}
	if err := h.play(ctx, p, r, out); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	fmt.Fprintf(out, "%s\n%s\n\n%s", r.Machine, r.Head(), r.Goals())
	if s.docs == "" {
		return nil
	}
	return errors.Join(
		os.WriteFile(filepath.Join(s.docs, "benchmarks.md"), []byte(r.Markdown()), 0o644),
		os.WriteFile(filepath.Join(s.docs, "benchmarks.svg"), []byte(r.Plot()), 0o644))
}

// step is one row of a table. Without a repository it makes its own.
type step struct {
	group, work, repo string
	measure           func(context.Context, *harness, *network) (report.Row, error)
}

func (s step) name() string { return s.group + ": " + s.work }

// plan lists the steps that are wanted, group by group.
func (s settings) plan() (steps []step) {
	add := func(t step) {
		if s.only.MatchString(t.name()) {
			steps = append(steps, t)
		}
	}
	for _, group := range everywhere {
		for _, w := range works {
			if slices.Contains(w.networks, group) {
				add(step{group, w.name, w.repo, func(ctx context.Context, h *harness, n *network) (report.Row, error) {
					return h.measure(ctx, n, w, s.rounds)
				}})
			}
		}
	}
	for _, w := range loopWorks {
		add(step{report.InProcess, w.name, w.repo, func(ctx context.Context, h *harness, n *network) (report.Row, error) {
			return h.loop(ctx, n, w, s.rounds)
		}})
	}
	for _, w := range serveWorks {
		add(step{report.Serve, w.name, "", func(ctx context.Context, h *harness, _ *network) (report.Row, error) {
			return h.serving(ctx, w, s.rounds)
		}})
	}
	return steps
}

// play makes the repositories and takes the steps. Each group's table is printed
// when it is complete.
func (h *harness) play(ctx context.Context, steps []step, r *report.Report, out io.Writer) error {
	for _, t := range steps {
		if t.repo == "" {
			continue
		}
		if _, err := world.Open(h.cache, t.repo); err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
	}
	for len(steps) > 0 {
		group := steps[0].group
		end := slices.IndexFunc(steps, func(t step) bool { return t.group != group })
		if end < 0 {
			end = len(steps)
		}
		g, err := h.group(ctx, group, steps[:end])
		if err != nil {
			return err
		}
		if g.Missing != "" {
			fmt.Fprintf(out, "%s: not measured: %s\n\n", g.Name, g.Missing)
		} else {
			fmt.Fprintf(out, "%s\n\n%s\n", g.Name, g.Table())
		}
		r.Groups, steps = append(r.Groups, g), steps[end:]
	}
	return nil
}

// group takes the steps of one group over its network.
func (h *harness) group(ctx context.Context, name string, steps []step) (g report.Group, err error) {
	g.Name = name
	n := &network{name: name, start: (*exec.Cmd).Start}
	listen, start := "127.0.0.1:0", n.start
	switch name {
	case report.Delayed:
		n.delay = perRequest
	case report.RoundTrip:
		l, err := link.New(oneWay)
		if err != nil {
			g.Missing = "it takes root and TUN devices: " + err.Error()
			return g, nil
		}
		defer func() { err = errors.Join(err, l.Close()) }()
		a, b := l.Ends()
		n.start, start, listen = a.Start, b.Start, b.Address+":8080"
	}
	if name != report.Serve { // there servers are what is measured
		stop, err := h.serve(ctx, n, world.Root(h.cache), listen, start)
		if err != nil {
			return g, err
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	for _, t := range steps {
		fmt.Fprintln(os.Stderr, "measuring", t.name())
		row, err := t.measure(ctx, h, n)
		if err != nil {
			return g, err
		}
		g.Rows = append(g.Rows, row)
	}
	return g, nil
}

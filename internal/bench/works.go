//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/bench/report"
	"github.com/ragnos-labs/vault-tuf/internal/bench/world"
)

// work is a download that every client does in a process of its own.
type work struct {
	name, repo string
	// networks are those it is measured over.
	networks []string
	// again says that the client has done the same before.
	again bool
	// defects are the clients that are known to fail, and how.
	defects map[string]string
}

var (
	everywhere = []string{report.Loopback, report.Delayed, report.RoundTrip}
	byRequests = []string{report.Loopback, report.Delayed}
	loopback   = []string{report.Loopback}
)

var works = []work{
	{name: report.ColdSmall, repo: "small", networks: everywhere},
	{name: report.Unchanged, repo: "small", networks: everywhere, again: true},
	{name: report.Roots, repo: "roots", networks: byRequests},
	{name: report.ThirdLevel, repo: "delegated", networks: everywhere},
	{name: report.Index, repo: "index-100k", networks: byRequests},
	{name: report.IndexSame, repo: "index-100k", networks: byRequests, again: true},
	{name: report.Bins, repo: "succinct", networks: byRequests},
	{name: report.MillionBins, repo: "succinct-1m", networks: byRequests},
	{name: report.MillionHexes, repo: "prefixes-1m", networks: byRequests, defects: map[string]string{
		report.GoTUF: "not found (defect)",
	}},
	{name: report.ColdFallback, repo: "odd", networks: loopback, defects: map[string]string{
		report.GoTUF: "cannot read it (defect)", report.Go: "fails: go-tuf alone", report.Dual: "fails closed",
	}},
	{name: report.Big256, repo: "big-256", networks: loopback},
	{name: report.Big1024, repo: "big-1024", networks: loopback},
}

// measure lets every client do the work once unmeasured, and then in rounds.
func (h *harness) measure(ctx context.Context, n *network, w work, rounds int) (report.Row, error) {
	row := report.Row{Work: w.name}
	repo, err := world.Open(h.cache, w.repo)
	if err != nil {
		return row, err
	}
	r := &race{harness: h, network: n, work: w, repo: repo, samples: make([][]*sample, len(clients)),
		notes: make([]string, len(clients)), dirs: make([]string, len(clients))}
	defer r.clean()
	for i := range clients {
		if err := r.warmUp(ctx, i); err != nil {
			return row, err
		}
	}
	for round := range rounds {
		for i := range clients {
			if err := r.once(ctx, (i+round)%len(clients)); err != nil {
				return row, err
			}
		}
	}
	for i, c := range clients {
		row.Cells = append(row.Cells, cell(c.name, r.samples[i], r.notes[i]))
	}
	return row, nil
}

// race is one work with all clients.
type race struct {
	*harness
	network *network
	work    work
	repo    *world.Repo
	// paths are what python-tuf asked for, which can do every work.
	paths   []string
	samples [][]*sample
	notes   []string
	// dirs are kept where the work is done again.
	dirs []string
}

// clean removes the directories that were kept.
func (r *race) clean() {
	for _, dir := range r.dirs {
		_ = os.RemoveAll(dir) // all of them go with the harness's directory anyway
	}
}

// warmUp does the work without counting it, and checks that it is done. Where it
// is to be done again it is done twice.
func (r *race) warmUp(ctx context.Context, i int) error {
	c := clients[i]
	s, err := r.do(ctx, i)
	if err == nil && r.work.again && s.failed() == nil {
		s, err = r.do(ctx, i)
	}
	if err != nil {
		return err
	}
	if why := s.failed(); why != nil {
		if r.notes[i] = r.work.defects[c.name]; r.notes[i] == "" {
			return fmt.Errorf("%s, %s, %s: %w", r.network.name, r.work.name, c.name, why)
		}
	}
	if c.name == report.PythonTUF {
		for _, path := range s.requests {
			r.paths = append(r.paths, strings.TrimPrefix(path, "/"+r.repo.Name))
		}
	}
	return nil
}

// once measures a client, unless it cannot do the work.
func (r *race) once(ctx context.Context, i int) error {
	if r.notes[i] != "" {
		return nil
	}
	s, err := r.do(ctx, i)
	if err == nil {
		err = s.failed()
	}
	if err != nil {
		return fmt.Errorf("%s, %s, %s: %w", r.network.name, r.work.name, clients[i].name, err)
	}
	r.samples[i] = append(r.samples[i], s)
	return nil
}

// do lets a client do the work and looks for the target if it says that it has.
func (r *race) do(ctx context.Context, i int) (s *sample, err error) {
	dir := r.dirs[i]
	if dir == "" {
		if dir, err = r.dir(); err != nil {
			return nil, err
		}
		if r.work.again {
			r.dirs[i] = dir
		} else {
			defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		}
	}
	c := clients[i]
	env, args, err := c.command(r.harness, job{repo: r.repo, url: r.network.url + "/" + r.repo.Name, dir: dir, paths: r.paths})
	if err != nil {
		return nil, err
	}
	s, err = r.meter(ctx, r.network, c.watch, env, args)
	if err == nil && s.failed() == nil && (c.name != report.Floor || !r.work.again) {
		err = downloaded(dir, r.repo)
	}
	if err != nil {
		err = fmt.Errorf("%s, %s: %w", r.work.name, c.name, err)
	}
	return s, err
}

// cell is the medians of a client's samples.
func cell(name string, samples []*sample, note string) report.Cell {
	mid := func(f func(*sample) float64) float64 {
		values := make([]float64, len(samples))
		for i, s := range samples {
			values[i] = f(s)
		}
		return median(values)
	}
	return report.Cell{
		Client: name, Note: note,
		Wall:     mid(func(s *sample) float64 { return milliseconds(s.Wall) }),
		CPU:      mid(func(s *sample) float64 { return milliseconds(s.CPU) }),
		Host:     mid(func(s *sample) float64 { return float64(s.Host) / 1024 }),
		Worker:   mid(func(s *sample) float64 { return float64(s.Worker) / 1024 }),
		Requests: mid(func(s *sample) float64 { return float64(len(s.requests)) }),
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// median returns the middle value, 0 if there is none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[len(values)/2]
}

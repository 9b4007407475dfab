//go:build linux

package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/bench/loop"
	"github.com/ragnos-labs/vault-tuf/internal/bench/report"
	"github.com/ragnos-labs/vault-tuf/internal/bench/world"
)

//go:embed loop.py
var loopPython string

// counted is how long operations are counted: two refreshes of ours fall into it.
const counted = 2 * time.Second

// loopWork is what each client does in one long-lived process.
type loopWork struct {
	name, repo string
	// does is the work's word, by client; see package loop.
	does map[string]string
	at   int
}

// all lets go-tuf, python-tuf and ours do the same.
func all(word string) map[string]string {
	return map[string]string{report.GoTUF: word, report.PythonTUF: word, report.Auto: word}
}

var loopWorks = []loopWork{
	{report.LookUps1, "index-100k", all("look-ups"), 1},
	{report.LookUps8, "index-100k", all("look-ups"), 8},
	{report.Hits1, "small", all("hits"), 1},
	{report.Hits8, "small", all("hits"), 8},
	{report.Refresh, "index-100k", map[string]string{report.Auto: "refresh", report.Floor: "refresh"}, 1},
	{report.Release, "releases", all("releases"), 1},
	{report.WarmFallback, "releases-odd", map[string]string{report.PythonTUF: "releases", report.Auto: "fallback"}, 1},
	{report.Idle, "small", all("idle"), 1},
	{report.IdleWorker, "odd", map[string]string{report.PythonTUF: "idle", report.Auto: "idle"}, 1},
}

// loopClients are those that have a long-lived program, in the order of the tables.
var loopClients = []string{report.GoTUF, report.PythonTUF, report.Auto, report.Floor}

// loop measures one work of the long-lived programs in rounds.
func (h *harness) loop(ctx context.Context, n *network, w loopWork, rounds int) (report.Row, error) {
	row := report.Row{Work: w.name}
	repo, err := world.Open(h.cache, w.repo)
	if err != nil {
		return row, err
	}
	results := map[string][]loop.Result{}
	for range rounds {
		for _, client := range loopClients {
			word, ok := w.does[client]
			if !ok {
				continue
			}
			result, err := h.loopOnce(ctx, n, repo, client, word, w.at)
			if err != nil {
				return row, fmt.Errorf("%s, %s: %w", w.name, client, err)
			}
			results[client] = append(results[client], result)
		}
	}
	for _, client := range loopClients {
		if len(results[client]) > 0 {
			row.Cells = append(row.Cells, loopCell(client, results[client]))
		}
	}
	return row, nil
}

// loopOnce runs one long-lived program with an empty directory.
func (h *harness) loopOnce(ctx context.Context, n *network, repo *world.Repo, client, word string, at int) (result loop.Result, err error) {
	dir, err := h.dir()
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	url := n.url + "/" + repo.Name
	args := []string{"-work", word, "-url", url, "-root", repo.Root(), "-target", repo.Target, "-repo", repo.Dir, "-dir", dir,
		"-at", fmt.Sprint(at), "-for", counted.String(), "-releases", fmt.Sprint(world.Releases)}
	program := map[string]string{report.GoTUF: "loop-go", report.Auto: "loop-hybrid", report.Floor: "loop-http"}[client]
	name := h.bin(program)
	if client == report.PythonTUF {
		name, args = h.python, []string{"-c", loopPython, word, url, repo.Root(), repo.Target, repo.Dir, dir,
			fmt.Sprint(at), fmt.Sprint(counted.Seconds()), fmt.Sprint(world.Releases)}
	}
	ctx, cancel := context.WithTimeout(ctx, processTimeout)
	defer cancel()
	if _, err := n.asked(); err != nil {
		return result, err
	}
	return result, output(h.command(ctx, name, args...), n, &result)
}

func loopCell(client string, results []loop.Result) report.Cell {
	mid := func(f func(loop.Result) float64) float64 {
		values := make([]float64, len(results))
		for i, r := range results {
			values[i] = f(r)
		}
		return median(values)
	}
	return report.Cell{
		Client:    client,
		Wall:      mid(func(r loop.Result) float64 { return r.Wall }),
		PerSecond: mid(func(r loop.Result) float64 { return r.PerSecond }),
		Host:      mid(func(r loop.Result) float64 { return r.Host }),
		Worker:    mid(func(r loop.Result) float64 { return r.Worker }),
	}
}

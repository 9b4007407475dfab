//go:build linux

// Command publishing measures how the cost of publishing grows with a repository,
// beside go-tuf's and python-tuf's APIs doing the same metadata work.
//
//	publishing -python FILE [-sizes N,N] [-rounds N] [-docs DIR]
//
// Each measurement is a fresh process, run by a small one (meter).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "publishing:", err)
		os.Exit(1)
	}
}

// settings are what the flags say.
type settings struct {
	python, cache, docs string
	sizes               []int
	rounds              int
}

func parse(args []string) (s settings, err error) {
	flags := flag.NewFlagSet("publishing", flag.ContinueOnError)
	flags.StringVar(&s.python, "python", ".venv/bin/python", "interpreter with python-tuf, `file`")
	flags.StringVar(&s.cache, "cache", ".bench", "`directory` for programs and repositories")
	flags.StringVar(&s.docs, "docs", "", "`directory` to write publishing.md to")
	flags.IntVar(&s.rounds, "rounds", 3, "how often one more is published")
	sizes := flags.String("sizes", "0,1000,10000,100000", "how many plugins there are before")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	for _, text := range strings.Split(*sizes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return s, fmt.Errorf("-sizes: %q is no number of plugins", text)
		}
		s.sizes = append(s.sizes, n)
	}
	if s.rounds < 1 {
		return s, errors.New("-rounds must be at least 1")
	}
	for _, path := range []*string{&s.python, &s.cache} {
		if *path, err = filepath.Abs(*path); err != nil {
			return s, err
		}
	}
	return s, nil
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	s, err := parse(args)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.cache, 0o755); err != nil {
		return err
	}
	h := &harness{python: s.python, bin: filepath.Join(s.cache, "bin")}
	if h.work, err = os.MkdirTemp(s.cache, "work-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(h.work)) }()
	if err := h.build(ctx); err != nil {
		return err
	}
	r := &report{rounds: s.rounds}
	if r.machine, err = h.machine(ctx); err != nil {
		return err
	}
	for _, l := range layouts {
		for _, size := range s.sizes {
			fmt.Fprintf(os.Stderr, "measuring %s, %d plugins\n", l.name, size)
			if err := h.measure(ctx, r, l, size, s.rounds); err != nil {
				return fmt.Errorf("%s, %d plugins: %w", l.name, size, err)
			}
		}
	}
	page := r.page()
	if s.docs == "" {
		_, err := io.WriteString(out, page)
		return err
	}
	return os.WriteFile(filepath.Join(s.docs, "publishing.md"), []byte(page), 0o644)
}

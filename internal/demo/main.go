// Command demo shows, from nothing and step by step, what this project promises,
// and checks every claim while it makes it. It works in a temporary directory,
// and leaves nothing behind.
//
//	demo -bin DIR -python FILE -testdata DIR
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
	"syscall"
	"time"
)

// timeout bounds the whole demo.
const timeout = 5 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// demo is what the steps share.
type demo struct {
	stage
	// testdata is this repository's directory of that name.
	testdata string
	// coolDown is how long the breaker of step 5 stays open.
	coolDown time.Duration
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	bin := flags.String("bin", "bin", "`directory` of ragnos-tuf and local-tuf")
	python := flags.String("python", ".venv/bin/python", "interpreter with python-tuf, `file`")
	testdata := flags.String("testdata", "testdata", "`directory` with plugins and metadata")
	coolDown := flags.Duration("cool-down", 3*time.Second, "how long the breaker stays open")
	if err := flags.Parse(args); err != nil {
		return err
	}
	for _, path := range []*string{bin, python, testdata} {
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "ragnos-tuf-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	start := time.Now()
	d := &demo{stage{out: out, dir: dir, bin: *bin, python: *python}, *testdata, *coolDown}
	if err := d.play(ctx); err != nil {
		return err
	}
	d.say("")
	d.say("Every claim above was checked as it was made, in %.0f seconds.", time.Since(start).Seconds())
	return nil
}

// play plays the steps in order.
func (d *demo) play(ctx context.Context) error {
	d.say("RAGnos Vault TUF: an application gets the bytes the publisher signed,")
	d.say("or a typed error; never anything else, whatever breaks.")
	publisher, err := d.publish(ctx)
	if err != nil {
		return err
	}
	defer publisher.stop()
	if err := d.verifyWithGo(ctx, publisher); err != nil {
		return err
	}
	odd, err := serveStates(filepath.Join(d.testdata, "fallback"))
	if err != nil {
		return err
	}
	defer odd.Close()
	for _, step := range []func(context.Context, *states) error{d.plainGoFails, d.pythonTakesOver, d.breaker} {
		if err := step(ctx, odd); err != nil {
			return err
		}
	}
	return d.tamper(ctx, publisher, odd)
}

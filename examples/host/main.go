// Command host is a small plugin host: it installs the plugins that a lock file
// names, starts each as a child process, and changes to new versions while it runs.
//
//	host [-listen ADDR] [-poll INTERVAL] CONFIG.yaml RAGNOS.LOCK
//
// It begins with exactly what is locked. Every INTERVAL it asks for newer versions
// within the ranges of the lock file, and writes down there what it changed to. A
// plugin that metadata withdraws, or that the policy denies, is stopped; one whose
// metadata cannot be verified now runs on.
//
// What plugins print goes to stdout. What the host has to say, security events above
// all, are lines of JSON on stderr; GET /health/tuf at ADDR tells how everything is,
// and GET /metrics tells Prometheus. Spans and metrics go to a collector if the
// environment names one: OTEL_EXPORTER_OTLP_ENDPOINT, as OpenTelemetry has it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/otelsetup"
	"github.com/ragnos-labs/vault-tuf/vault"
	"github.com/ragnos-labs/vault-tuf/vault/lockfile"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8081", "where health and metrics are served")
	poll := flag.Duration("poll", time.Minute, "how often new versions are asked for")
	flag.Parse()
	if flag.NArg() != 2 || *poll <= 0 {
		fmt.Fprintln(os.Stderr, "usage: host [-listen ADDR] [-poll INTERVAL] CONFIG.yaml RAGNOS.LOCK")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, *poll, flag.Arg(0), flag.Arg(1)); err != nil {
		say(line{"error": err.Error()})
		os.Exit(1)
	}
}

// run runs the host until ctx ends.
func run(ctx context.Context, listen string, poll time.Duration, config, lock string) (err error) {
	locked, err := lockfile.Read(lock)
	if err != nil {
		return err
	}
	// An application of your own gives the vault the providers that it has.
	observed := otelsetup.Start(otelsetup.Config{Service: "host", Prometheus: true, Log: slog.New(slog.NewJSONHandler(os.Stderr, nil))})
	defer observed.End()
	v, err := vault.New(vault.Options{
		File: config, OnSecurityEvent: func(e vault.Event) { say(line{"event": e}) },
		TracerProvider: observed.Tracers, MeterProvider: observed.Meters,
	})
	if err != nil {
		return err
	}
	defer func() {
		// ctx has ended by then; what is left has its time, but not for ever.
		ending, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = errors.Join(err, v.Shutdown(ending))
	}()
	if wrong := v.Unlocked(locked, nil); len(wrong) > 0 {
		return fmt.Errorf("%s is not the lock file of %s: %q; lock anew", lock, config, wrong)
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/", v.HealthHandler())
	mux.Handle("GET /metrics", observed.Handler())
	about := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = about.Serve(l) }()
	defer about.Close()
	at := "http://" + l.Addr().String()
	say(line{"health": at + vault.HealthPath, "metrics": at + "/metrics"})

	// Each plugin has a goroutine: one whose repository hangs holds up no other.
	h := &host{vault: v, path: lock, lock: locked}
	var wait sync.WaitGroup
	for _, e := range locked.Entries() {
		wait.Go(func() { (&plugin{host: h, locked: e}).run(ctx, poll) })
	}
	<-ctx.Done()
	wait.Wait()
	return nil
}

// line is what the host says: one JSON object a line, on stderr.
type line map[string]any

var speaking sync.Mutex

func say(l line) {
	speaking.Lock()
	defer speaking.Unlock()
	_ = json.NewEncoder(os.Stderr).Encode(l)
}

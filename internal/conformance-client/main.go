// Command conformance-client speaks the command line of the TUF project's
// client conformance suite (CLIENT-CLI.md there). The mode comes from
// RAGNOS_TUF_CLIENT; CONFORMANCE_BREAKER=open begins with an open breaker.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/forced"
)

type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "conformance-client:", err)
		os.Exit(1) // The suite knows 0 and 1 only.
	}
}

func run(ctx context.Context, args []string) error {
	var opts hybrid.Options
	var targets list
	var targetDir string
	flags := flag.NewFlagSet("conformance-client", flag.ContinueOnError)
	flags.StringVar(&opts.MetadataDir, "metadata-dir", "", "trusted metadata `directory`")
	flags.StringVar(&opts.MetadataURL, "metadata-url", "", "metadata `URL`")
	flags.StringVar(&opts.TargetsURL, "target-base-url", "", "targets `URL`")
	flags.StringVar(&targetDir, "target-dir", "", "`directory` for downloaded targets")
	flags.Var(&targets, "target-name", "target `path`, may be repeated")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var err error
	if opts.Now, err = clock(ctx); err != nil {
		return err
	}
	// The suite counts requests, and looks at their order.
	forced.NothingAhead.Store(true)
	forced.BreakerOpen.Store(os.Getenv("CONFORMANCE_BREAKER") == "open")
	// One refresh serves all targets of one run; nothing answers while offline.
	opts.RefreshInterval, opts.MaxMetadataAge = time.Hour, -1
	opts.CacheDir = filepath.Join(targetDir, ".cache")
	if flags.Arg(0) == "init" {
		if opts.Root, err = os.ReadFile(flags.Arg(1)); err != nil {
			return err
		}
	}
	c, err := hybrid.New(opts)
	if err != nil {
		return err
	}
	defer func() { _ = c.Shutdown(context.Background()) }()
	switch flags.Arg(0) {
	case "init":
		return c.Initialize(ctx)
	case "refresh":
		return c.Refresh(ctx)
	case "download":
		return download(ctx, c, targets, targetDir)
	}
	return errors.New("want a command: init, refresh or download")
}

func download(ctx context.Context, c *hybrid.Client, targets []string, dir string) error {
	for _, name := range targets {
		r, err := c.VerifyAndDownloadPlugin(ctx, name, hybrid.DownloadOptions{})
		if err != nil {
			return err
		}
		dest := filepath.Join(dir, url.PathEscape(name))
		if same(r.Path, dest) {
			continue // The suite reads the order of downloads from modification times.
		}
		if err := c.Export(ctx, r, dest); err != nil {
			return err
		}
	}
	return nil
}

func same(a, b string) bool {
	x, errA := os.ReadFile(a)
	y, errB := os.ReadFile(b)
	return errA == nil && errB == nil && bytes.Equal(x, y)
}

// clock returns the clock of the run. The suite sets the time with faketime,
// which a Go program does not see, but the program date does.
func clock(ctx context.Context) (func() time.Time, error) {
	if !strings.Contains(os.Getenv("LD_PRELOAD"), "faketime") {
		return time.Now, nil
	}
	out, err := exec.CommandContext(ctx, "date", "+%s").Output()
	if err != nil {
		return nil, fmt.Errorf("ask date for the time: %w", err)
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("ask date for the time: %w", err)
	}
	now := time.Unix(seconds, 0)
	return func() time.Time { return now }, nil
}

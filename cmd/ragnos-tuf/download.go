package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ragnos-labs/vault-tuf/hybrid"
)

func newDownload(a *app) *cobra.Command {
	var expected, output string
	cmd := &cobra.Command{
		Use:   "download NAME...",
		Short: "Verify and download plugins",
		Long: `Verify and download plugins, several at a time. They are kept in the cache under
their hashes, and hashed again whenever they are asked for. With -o one is copied
to FILE, which is replaced as a whole or not touched. A download that broke off
goes on from there the next time, if the server still has the same file.`,
		Example: `  ragnos-tuf download plugins/acme/hello.1.0.0.tar.gz
  ragnos-tuf download plugins/acme/hello.1.0.0.tar.gz --sha256 HEX -o hello.tar.gz`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 && (expected != "" || output != "") {
				return wrongUse(cmd, "--sha256 and --output are about one plugin")
			}
			return exactly("NAME")(cmd, args[:min(1, len(args))])
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, func(ctx context.Context, c *hybrid.Client) error {
				return a.downloads(ctx, c, args, expected, output)
			})
		},
	}
	cmd.Flags().StringVar(&expected, "sha256", "", "refuse the plugin, before any download, unless this is its signed SHA-256, `HEX`")
	cmd.Flags().StringVarP(&output, "output", "o", "", "copy the verified plugin to `FILE`")
	return cmd
}

// downloads downloads all names at the same time and reports them in order. It
// returns the first error; the others are reported, too.
func (a *app) downloads(ctx context.Context, c *hybrid.Client, names []string, expected, output string) error {
	type outcome struct {
		*hybrid.Result
		err error
	}
	outcomes := make([]outcome, len(names))
	bar := a.newBar(names)
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() {
			options := hybrid.DownloadOptions{ExpectedHash: expected, Progress: bar.progress()}
			outcomes[i].Result, outcomes[i].err = c.VerifyAndDownloadPlugin(ctx, name, options)
		})
	}
	all.Wait()
	bar.clear()
	var first error
	for _, o := range outcomes {
		if o.err == nil {
			o.err = a.downloaded(ctx, c, o.Result, output)
		}
		switch {
		case o.err == nil:
		case first == nil:
			first = o.err
		default:
			a.fail(o.err, nil)
		}
	}
	return first
}

// downloaded copies a plugin to output, if that is asked for, and reports it.
func (a *app) downloaded(ctx context.Context, c *hybrid.Client, r *hybrid.Result, output string) error {
	saved := r.Path
	if output != "" {
		if err := c.Export(ctx, r, output); err != nil {
			return err
		}
		saved = output
	}
	object := struct {
		done
		*hybrid.Result
		Saved string `json:"saved"`
	}{done{true}, r, saved}
	return a.print(object, func(p *page) {
		p.line("%s  %s  %s  verified %s", r.Name, size(r.Length), digest(r.Hashes), verifiedBy(&r.TargetInfo))
		p.fallback(r.Fallback)
		p.offline(r.Offline)
		if r.FromCache {
			p.line("it was in the cache, and has been hashed again")
		}
		p.line("saved %s", saved)
	})
}

// bar shows the progress of all downloads together. The nil bar shows nothing.
type bar struct {
	name string
	out  io.Writer

	mu          sync.Mutex
	bar         *progressbar.ProgressBar
	done, total int64
}

// newBar returns nil unless somebody watches.
func (a *app) newBar(names []string) *bar {
	f, ok := a.stderr.(*os.File)
	if !ok || a.json || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	if len(names) > 1 {
		return &bar{name: fmt.Sprintf("%d plugins", len(names)), out: f}
	}
	return &bar{name: clean(path.Base(names[0])), out: f}
}

// progress returns the callback of one download.
func (b *bar) progress() func(done, total int64) {
	if b == nil {
		return nil
	}
	var wasDone, wasTotal int64
	return func(done, total int64) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.done, b.total = b.done+done-wasDone, b.total+total-wasTotal
		if b.bar == nil {
			b.bar = progressbar.NewOptions64(b.total, progressbar.OptionSetWriter(b.out),
				progressbar.OptionSetDescription(b.name), progressbar.OptionShowBytes(true),
				progressbar.OptionSetWidth(30), progressbar.OptionThrottle(100*time.Millisecond))
		}
		if total != wasTotal {
			b.bar.ChangeMax64(b.total)
		}
		wasDone, wasTotal = done, total
		_ = b.bar.Set64(b.done) // a bar that cannot be drawn is no reason to fail
	}
}

// clear removes the bar from the terminal.
func (b *bar) clear() {
	if b != nil && b.bar != nil {
		_ = b.bar.Clear()
	}
}

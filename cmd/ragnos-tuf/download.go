package main

import (
	"context"
	"io"
	"os"
	"path"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ragnos-labs/vault-tuf/hybrid"
)

func newDownload(a *app) *cobra.Command {
	var expected, output string
	cmd := &cobra.Command{
		Use:   "download NAME",
		Short: "Verify and download a plugin",
		Long: `Verify and download a plugin. It is kept in the cache under its hash, and hashed
again whenever it is asked for. With -o it is copied to FILE, which is replaced
as a whole or not touched.`,
		Example: `  ragnos-tuf download plugins/acme/hello.1.0.0.tar.gz
  ragnos-tuf download plugins/acme/hello.1.0.0.tar.gz --sha256 HEX -o hello.tar.gz`,
		Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, func(ctx context.Context, c *hybrid.Client) error {
				return a.download(ctx, c, args[0], expected, output)
			})
		},
	}
	cmd.Flags().StringVar(&expected, "sha256", "", "refuse the plugin, before any download, unless this is its signed SHA-256, `HEX`")
	cmd.Flags().StringVarP(&output, "output", "o", "", "copy the verified plugin to `FILE`")
	return cmd
}

func (a *app) download(ctx context.Context, c *hybrid.Client, name, expected, output string) error {
	bar := a.newBar(name)
	r, err := c.VerifyAndDownloadPlugin(ctx, name, hybrid.DownloadOptions{ExpectedHash: expected, Progress: bar.progress()})
	bar.clear()
	if err != nil {
		return err
	}
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

// bar shows the progress of a download. The nil bar shows nothing.
type bar struct {
	name string
	out  io.Writer
	bar  *progressbar.ProgressBar
}

// newBar returns nil unless somebody watches.
func (a *app) newBar(name string) *bar {
	f, ok := a.stderr.(*os.File)
	if !ok || a.json || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return &bar{name: clean(path.Base(name)), out: f}
}

func (b *bar) progress() func(done, total int64) {
	if b == nil {
		return nil
	}
	return func(done, total int64) {
		if b.bar == nil {
			b.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(b.out),
				progressbar.OptionSetDescription(b.name), progressbar.OptionShowBytes(true),
				progressbar.OptionSetWidth(30), progressbar.OptionThrottle(100*time.Millisecond))
		}
		_ = b.bar.Set64(done) // a bar that cannot be drawn is no reason to fail
	}
}

// clear removes the bar from the terminal.
func (b *bar) clear() {
	if b != nil && b.bar != nil {
		_ = b.bar.Clear()
	}
}

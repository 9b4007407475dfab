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
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/targets"
	"github.com/ragnos-labs/vault-tuf/vault"
)

// downloadFlags are the flags of download.
type downloadFlags struct {
	expected, output         string
	isTarget, allowDowngrade bool
	glass                    glassFlags
}

func newDownload(a *app) *cobra.Command {
	var f downloadFlags
	cmd := &cobra.Command{
		Use:   "download NAME...",
		Short: "Verify and download plugins",
		Long: `Verify and download plugins, several at a time. They are kept in the cache under
their hashes, and hashed again whenever they are asked for. With -o one is copied
to FILE, which is replaced as a whole or not touched. A download that broke off
goes on from there the next time, if the server still has the same file.

With --config nothing is fetched that the policy denies, nor, without
--allow-downgrade, what is older than the version that was installed.

` + nameHelp + `

` + glassHelp,
		Example: `  ragnos-tuf download plugins/acme/hello.1.0.0.tar.gz
  ragnos-tuf download plugins/acme/hello.1.0.0.tar.gz --sha256 HEX -o hello.tar.gz
  ragnos-tuf download --config plugins.yaml 'acme/hello@^1.2' acme/tool`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 && (f.expected != "" || f.output != "") {
				return wrongUse(cmd, "--sha256 and --output are about one plugin")
			}
			return exactly("NAME")(cmd, args[:min(1, len(args))])
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if a.config != "" {
				return a.vaultDownload(cmd, args, &f)
			}
			if err := a.needsConfig(cmd, append(glassNames, targetFlag, downgradeFlag)...); err != nil {
				return err
			}
			return a.with(cmd, func(ctx context.Context, c *hybrid.Client) error {
				return a.together(args, func(name string, progress progress) (func() error, error) {
					r, err := c.VerifyAndDownloadPlugin(ctx, name, hybrid.DownloadOptions{ExpectedHash: f.expected, Progress: progress})
					return func() error { return a.downloaded(ctx, c, r, f.output) }, err
				})
			})
		},
	}
	cmd.Flags().StringVar(&f.expected, "sha256", "", "refuse the plugin, before any download, unless this is its signed SHA-256, `HEX`")
	cmd.Flags().StringVarP(&f.output, "output", "o", "", "copy the verified plugin to `FILE`")
	addTargetFlag(cmd.Flags(), &f.isTarget)
	addDowngradeFlag(cmd.Flags(), &f.allowDowngrade)
	f.glass.add(cmd.Flags())
	return cmd
}

const downgradeFlag = "allow-downgrade"

func addDowngradeFlag(f *pflag.FlagSet, allow *bool) {
	f.BoolVar(allow, downgradeFlag, false, "with --config: let an older version take the place of the installed one")
}

// progress is called with the bytes that have arrived and the signed length.
type progress func(done, total int64)

// together runs fetch for all names at the same time, and then, in order, what it
// returns to report each. It returns the first error; the others are reported, too.
func (a *app) together(names []string, fetch func(name string, progress progress) (report func() error, err error)) error {
	type outcome struct {
		report func() error
		err    error
	}
	outcomes := make([]outcome, len(names))
	bar := a.newBar(names)
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() { outcomes[i].report, outcomes[i].err = fetch(name, bar.progress()) })
	}
	all.Wait()
	bar.clear()
	var first error
	for _, o := range outcomes {
		if o.err == nil {
			o.err = o.report()
		}
		switch {
		case o.err == nil:
		case first == nil:
			first = o.err
		default:
			a.waiting.tellsError(o.err)
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
		p.saved(r.Name, &vault.Result{
			Plugin: vault.Plugin{Length: r.Length, Hashes: r.Hashes, Engine: r.Engine, Versions: r.Versions, Offline: r.Offline},
			Path:   saved, FromCache: r.FromCache, Fallback: r.Fallback,
		})
	})
}

// saved says where a verified plugin lies, and what that rests on.
func (p *page) saved(name string, r *vault.Result) {
	p.line("%s  %s  %s  verified %s", name, size(r.Length), digest(r.Hashes), by(r.Engine, r.Versions))
	p.fallback(r.Fallback)
	p.offline(r.Offline)
	if r.FromCache {
		p.line("it was in the cache, and has been hashed again")
	}
	p.line("saved %s", r.Path)
}

// vaultDownload downloads what the policy allows, or what the glass is broken for.
func (a *app) vaultDownload(cmd *cobra.Command, names []string, f *downloadFlags) error {
	glass, err := f.breakGlass(cmd, names)
	if err != nil {
		return err
	}
	isTarget := f.isTarget || glass != nil
	a.waiting.tells(string(vault.EventOffline), string(vault.EventFallback))
	return a.withVault(cmd, func(ctx context.Context, v *vault.Vault) error {
		return a.together(names, func(name string, progress progress) (func() error, error) {
			target, err := targetOf(ctx, v, name, isTarget, vault.ResolveOptions{AllowDowngrade: f.allowDowngrade})
			if err != nil {
				return nil, err
			}
			r, err := v.VerifyAndDownloadPlugin(ctx, target, vault.InstallOptions{
				ExpectedHash: f.expected, AllowDowngrade: f.allowDowngrade, BreakGlass: glass, Progress: progress,
			})
			return func() error { return a.vaultDownloaded(ctx, r, f.output) }, err
		})
	})
}

// vaultDownloaded copies a plugin to output, if that is asked for, and reports it.
func (a *app) vaultDownloaded(ctx context.Context, r *vault.Result, output string) error {
	saved := *r
	if output != "" {
		if err := targets.Export(ctx, r.Path, targets.Want{Length: r.Length, Hashes: r.Hashes}, output); err != nil {
			return err
		}
		saved.Path = output
	}
	object := struct {
		done
		*vault.Result
		Saved string `json:"saved"`
	}{done{true}, r, saved.Path}
	return a.print(object, func(p *page) { p.saved(r.Target, &saved) })
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
func (b *bar) progress() progress {
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

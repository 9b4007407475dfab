package main

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/ragnos-labs/vault-tuf/hybrid"
)

const bundleHelp = `Carry plugins to a machine without a network, in one file. Nobody on the way has
to be trusted: the other side verifies everything by the root that it has pinned.

 1. Where the repository can be reached, export the plugins, and take the trusted
    root along over a channel you trust.
 2. Carry the file across. It holds public metadata and plugins only.
 3. On the other side pin the root, once, and import. The plugins are verified and
    kept in the cache, and download finds them there.

An import refuses what is older than what is trusted already, and what has
expired. It counts as a refresh: for 24 hours after it, and until the metadata
expires, download serves the plugins from the cache.`

const bundleExamples = `  online$  ragnos-tuf --root root.json bundle export -o plugins.bundle plugins/acme/hello.1.0.0.tar.gz
  offline$ ragnos-tuf init --root root.json
  offline$ ragnos-tuf bundle import plugins.bundle
  offline$ ragnos-tuf download plugins/acme/hello.1.0.0.tar.gz -o hello.tar.gz`

func newBundle(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "bundle",
		Short:   "Carry plugins to a machine without a network",
		Long:    bundleHelp,
		Example: bundleExamples,
		Args:    exactly(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newBundleExport(a), newBundleImport(a))
	return cmd
}

func newBundleExport(a *app) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "export -o FILE NAME...",
		Short: "Write plugins, and the metadata that proves them, to one file",
		Long: `Verify and download the plugins, and write them to FILE, with all metadata that
another machine needs to verify them by itself. FILE is replaced as a whole or
not touched. While the repository cannot be reached, plugins in the cache can be
exported.

The root chain in FILE begins with the root that is pinned here: the other side
must have pinned the same one, or a newer one, or the one right before it.`,
		Example: "  ragnos-tuf bundle export -o plugins.bundle plugins/acme/hello.1.0.0.tar.gz",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return wrongUse(cmd, "NAME is missing")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.oneRepository(cmd); err != nil {
				return err
			}
			if output == "" {
				return wrongUse(cmd, "-o FILE is missing")
			}
			return a.with(cmd, func(ctx context.Context, c *hybrid.Client) error { return a.exportBundle(ctx, c, output, args) })
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "write the bundle to `FILE`")
	return cmd
}

func newBundleImport(a *app) *cobra.Command {
	var reference string
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Verify a bundle and take over what is in it; asks no network",
		Long: `Verify a bundle as if it came from the repository, by the root that is pinned here,
and take over its metadata and its plugins.

With --reference-time expiry is checked against TIME in place of the clock, for a
machine whose clock cannot be relied on. A time before the last refresh is raised
to it. Such an import does not count as a refresh: the plugins are in the cache
where the output says, but download does not serve them on the strength of it.`,
		Example: `  ragnos-tuf bundle import plugins.bundle
  ragnos-tuf bundle import plugins.bundle --reference-time 2030-01-31T12:00:00Z`,
		Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.oneRepository(cmd); err != nil {
				return err
			}
			var opts hybrid.ImportOptions
			if reference != "" {
				var err error
				if opts.ReferenceTime, err = time.Parse(time.RFC3339, reference); err != nil || opts.ReferenceTime.IsZero() {
					return wrongUse(cmd, "--reference-time "+quoted(reference)+" is not a time such as 2030-01-31T12:00:00Z")
				}
			}
			return a.with(cmd, func(ctx context.Context, c *hybrid.Client) error { return a.importBundle(ctx, c, args[0], opts) })
		},
	}
	cmd.Flags().StringVar(&reference, "reference-time", "", "check expiry as of `TIME` (RFC 3339), and leave clock floor and last refresh alone")
	return cmd
}

func (a *app) exportBundle(ctx context.Context, c *hybrid.Client, output string, names []string) error {
	var r *hybrid.BundleResult
	n, err := writeWhole("bundle", output, func(f io.Writer) (err error) {
		r, err = c.ExportBundle(ctx, f, names...)
		return err
	})
	if err != nil {
		return err
	}
	object := struct {
		done
		*hybrid.BundleResult
		Saved  string `json:"saved"`
		Length int64  `json:"length"`
	}{done{true}, r, output, n}
	return a.print(object, func(p *page) {
		p.bundle(r)
		p.offline(a.offline != nil)
		p.line("saved %s  %s", output, size(n))
	})
}

func (a *app) importBundle(ctx context.Context, c *hybrid.Client, path string, opts hybrid.ImportOptions) error {
	f, err := os.Open(path)
	if err != nil {
		return fileError("bundle", "read", path, err)
	}
	defer f.Close()
	r, err := c.ImportBundle(ctx, f, opts)
	if err != nil {
		return err
	}
	object := struct {
		done
		*hybrid.BundleResult
	}{done{true}, r}
	return a.print(object, func(p *page) {
		p.bundle(r)
		if !opts.ReferenceTime.IsZero() {
			p.line("verified as of %s; this does not count as a refresh", date(r.Start))
		}
		for _, t := range r.Targets {
			p.line("saved %s", t.Path)
		}
	})
}

// bundle says what a bundle holds.
func (p *page) bundle(r *hybrid.BundleResult) {
	var rows [][]string
	for _, t := range r.Targets {
		rows = append(rows, []string{t.Name, size(t.Length), digest(t.Hashes)})
	}
	p.table(rows)
	p.line("verified %s", verifiedBy(&hybrid.TargetInfo{Engine: r.Engine, Versions: r.Versions}))
	p.fallback(r.Fallback)
	p.line("the metadata expires on %s", date(r.Expires))
}

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/vault"
)

func newInit(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "init --root FILE",
		Short: "Pin the trusted root; asks the repository nothing",
		Long: `Pin the trusted root in the trust store. A root that belongs to the pinned one is
fine too; any other is refused unless --replace-root says that it shall take its
place. The repository is not asked.

With --config the roots of all repositories are pinned. One that cannot be keeps
nobody else from it; the exit code is that of the gravest error.`,
		Example: `  ragnos-tuf init --root root.json
  ragnos-tuf init --config plugins.yaml`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.config != "" {
				return a.withVault(cmd, func(ctx context.Context, v *vault.Vault) error {
					return a.printRepositories(ctx, v, "trusted", v.Initialize(ctx))
				})
			}
			return a.with(cmd, func(ctx context.Context, c *hybrid.Client) error {
				if err := c.Initialize(ctx); err != nil {
					return err
				}
				return a.printRoles(ctx, c, "trusted")
			})
		},
	}
}

func newRefresh(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "refresh",
		Short: "Bring the trusted metadata up to date",
		Long: `Bring the trusted metadata up to date; with --config that of all repositories. One
that cannot be keeps nobody else from it; the exit code is that of the gravest
error.`,
		Example: "  ragnos-tuf refresh --client python",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.config != "" {
				return a.withVault(cmd, func(ctx context.Context, v *vault.Vault) error {
					return a.printRepositories(ctx, v, "up to date", v.RefreshMetadata(ctx))
				})
			}
			return a.with(cmd, func(ctx context.Context, c *hybrid.Client) error {
				if err := c.Refresh(ctx); err != nil {
					return err
				}
				if a.offline != nil { // what is trusted may still serve, but this did not refresh it
					return a.offline
				}
				return a.printRoles(ctx, c, "up to date")
			})
		},
	}
}

// printRoles says what is trusted now.
func (a *app) printRoles(ctx context.Context, c *hybrid.Client, verb string) error {
	st, err := c.Status(ctx)
	if err != nil {
		return err
	}
	object := struct {
		done
		Roles       []hybrid.RoleStatus `json:"roles"`
		LastRefresh time.Time           `json:"last_refresh,omitzero"`
		Fallback    string              `json:"fallback,omitempty"`
		MetadataDir string              `json:"metadata_dir"`
	}{done{true}, st.Roles, st.LastRefresh, st.LastFallback, st.MetadataDir}
	return a.print(object, func(p *page) {
		p.line("%s: %s (in %s)", verb, versions(st.Roles), st.MetadataDir)
		p.fallback(st.LastFallback)
	})
}

func versions(roles []hybrid.RoleStatus) string {
	var list []string
	for _, r := range roles {
		list = append(list, fmt.Sprintf("%s v%d", r.Name, r.Version))
	}
	return strings.Join(list, ", ")
}

func (p *page) fallback(why string) {
	if why != "" {
		p.line("python-tuf verified this, because go-tuf could not: %s", why)
	}
}

func (p *page) offline(is bool) {
	if is {
		p.line("offline: the repository is not accessible; this rests on metadata verified before, which has not expired")
	}
}

func newList(a *app) *cobra.Command {
	var o vault.ListOptions
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List every plugin, delegated ones included",
		Long: `List every plugin, delegated ones included. With --config those of all repositories
that the policy allows: plugin, version, channel, size and repository. ` + missingHelp,
		Example: `  ragnos-tuf list
  ragnos-tuf list --config plugins.yaml --publisher acme --latest`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmp.Or(a.needsConfig(cmd, listFlags...), checkListing(cmd, &o)); err != nil {
				return err
			}
			if a.config != "" {
				return a.withVault(cmd, func(ctx context.Context, v *vault.Vault) error {
					listing, err := v.List(ctx, o)
					return a.printListing(listing, o.Denied, err)
				})
			}
			return a.with(cmd, a.list)
		},
	}
	addListFlags(cmd.Flags(), &o)
	return cmd
}

func (a *app) list(ctx context.Context, c *hybrid.Client) error {
	list, err := c.List(ctx)
	if err != nil {
		return err
	}
	object := struct {
		done
		Offline bool                `json:"offline,omitempty"`
		Targets []hybrid.TargetInfo `json:"targets"`
	}{done{true}, a.offline != nil, append([]hybrid.TargetInfo{}, list...)}
	return a.print(object, func(p *page) {
		rows := make([][]string, 0, len(list))
		for _, t := range list {
			rows = append(rows, []string{t.Name, size(t.Length), digest(t.Hashes)})
		}
		p.table(rows)
		p.offline(a.offline != nil)
	})
}

func newInfo(a *app) *cobra.Command {
	var isTarget bool
	cmd := &cobra.Command{
		Use:   "info NAME",
		Short: "Show what verified metadata says about a plugin",
		Long: `Show what verified metadata says about a plugin; with --config also whether the
policy allows it, or else which rule denies it and why.

` + nameHelp,
		Example: `  ragnos-tuf info plugins/acme/hello.1.0.0.tar.gz
  ragnos-tuf info --config plugins.yaml 'acme/hello@^1.2'`,
		Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.needsConfig(cmd, targetFlag); err != nil {
				return err
			}
			if a.config != "" {
				return a.withVault(cmd, func(ctx context.Context, v *vault.Vault) error {
					return a.vaultInfo(ctx, v, args[0], isTarget)
				})
			}
			return a.with(cmd, func(ctx context.Context, c *hybrid.Client) error {
				t, err := c.Lookup(ctx, args[0])
				if err != nil {
					return err
				}
				object := struct {
					done
					*hybrid.TargetInfo
				}{done{true}, t}
				return a.print(object, func(p *page) { p.target(t) })
			})
		},
	}
	addTargetFlag(cmd.Flags(), &isTarget)
	return cmd
}

func (p *page) target(t *hybrid.TargetInfo) {
	rows := [][]string{{"name", t.Name}, {"size", fmt.Sprintf("%s (%d bytes)", size(t.Length), t.Length)}}
	for _, alg := range slices.Sorted(maps.Keys(t.Hashes)) {
		rows = append(rows, []string{alg, t.Hashes[alg]})
	}
	p.table(append(rows, []string{"role", t.Role}, []string{"verified", verifiedBy(t)}))
	p.offline(t.Offline)
	var custom bytes.Buffer
	if len(t.Custom) > 0 && json.Indent(&custom, t.Custom, "", "  ") == nil {
		for line := range strings.Lines(custom.String()) {
			p.line("%s", strings.TrimSuffix(line, "\n"))
		}
	}
}

func verifiedBy(t *hybrid.TargetInfo) string { return by(t.Engine, t.Versions) }

func by(engine string, v hybrid.Versions) string {
	return fmt.Sprintf("by %s (root v%d, timestamp v%d, snapshot v%d, targets v%d)",
		engine, v.Root, v.Timestamp, v.Snapshot, v.Targets)
}

// digest is the SHA-256 of a target, or whatever hash there is.
func digest(hashes map[string]string) string {
	if h, ok := hashes["sha256"]; ok {
		return "sha256:" + h
	}
	for _, alg := range slices.Sorted(maps.Keys(hashes)) {
		return alg + ":" + hashes[alg]
	}
	return ""
}

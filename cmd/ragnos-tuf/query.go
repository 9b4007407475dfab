package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ragnos-labs/vault-tuf/hybrid"
)

func newInit(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "init --root FILE",
		Short: "Pin the trusted root; asks the repository nothing",
		Long: `Pin the trusted root in the trust store. A root that belongs to the pinned one is
fine too; any other is refused unless --replace-root says that it shall take its
place. The repository is not asked.`,
		Example: "  ragnos-tuf init --root root.json",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
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
		Use:     "refresh",
		Short:   "Bring the trusted metadata up to date",
		Example: "  ragnos-tuf refresh --client python",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
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
		var list []string
		for _, r := range st.Roles {
			list = append(list, fmt.Sprintf("%s v%d", r.Name, r.Version))
		}
		p.line("%s: %s (in %s)", verb, strings.Join(list, ", "), st.MetadataDir)
		p.fallback(st.LastFallback)
	})
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
	return &cobra.Command{
		Use:   "list",
		Short: "List every plugin, delegated ones included",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, func(ctx context.Context, c *hybrid.Client) error {
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
			})
		},
	}
}

func newInfo(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "info NAME",
		Short:   "Show what verified metadata says about a plugin",
		Example: "  ragnos-tuf info plugins/acme/hello.1.0.0.tar.gz",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
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

func verifiedBy(t *hybrid.TargetInfo) string {
	v := t.Versions
	return fmt.Sprintf("by %s (root v%d, timestamp v%d, snapshot v%d, targets v%d)",
		t.Engine, v.Root, v.Timestamp, v.Snapshot, v.Targets)
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

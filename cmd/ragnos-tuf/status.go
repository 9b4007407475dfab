package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/vault"
)

func newStatus(a *app) *cobra.Command {
	var url string
	var warn bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show mode, engine, worker and what is trusted; never asks the network",
		Long: `Show mode, engine, worker and what is trusted; never asks the network. With --config
for each repository, with what somebody should look at. With --url the same of a
running application, from its health handler.

With either the exit code is for cron: 0 if the status is ok or degraded; 33 if it is
degraded and --warn is given; and if it is down that of the reason: 13 if metadata has
expired, 43 without a trusted root, 5 if verification is switched off, else that of
the last error, or 33. It is 30 to 32 if the application gives no status.`,
		Example: `  ragnos-tuf status
  ragnos-tuf status --config plugins.yaml --warn
  ragnos-tuf status --url http://127.0.0.1:9000/health/tuf`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch asks := cmd.Flags().Changed("url"); {
			case asks && a.config != "":
				return wrongUse(cmd, "--url asks a running application: --config does not go with it")
			case asks:
				st, err := askStatus(cmd.Context(), url)
				return a.printHealth(st, warn, err)
			case a.config != "":
				return a.withVault(cmd, func(ctx context.Context, v *vault.Vault) error {
					st, err := v.Status(ctx)
					return a.printHealth(st, warn, err)
				})
			case warn:
				return wrongUse(cmd, "--warn needs --config FILE or --url URL")
			}
			return a.with(cmd, a.status)
		},
	}
	cmd.Flags().StringVar(&url, "url", "", "ask the health handler of a running application, such as `URL` http://127.0.0.1:9000/health/tuf")
	cmd.Flags().BoolVar(&warn, "warn", false, "exit with 33 if somebody should look at it")
	return cmd
}

func (a *app) status(ctx context.Context, c *hybrid.Client) error {
	st, err := c.Status(ctx)
	if err != nil {
		return err
	}
	object := struct {
		done
		*hybrid.Status
	}{done{true}, st}
	return a.print(object, func(p *page) { p.status(st, time.Now()) })
}

func (p *page) status(st *hybrid.Status, now time.Time) {
	p.table(append([][]string{{"mode", string(st.Mode)}}, clientRows(st, now)...))
	p.line("")
	p.roles(st.Roles, now)
}

// clientRows tell how a client is doing, but for its mode and what is trusted.
func clientRows(st *hybrid.Status, now time.Time) [][]string {
	last := "never"
	if !st.LastRefresh.IsZero() {
		last = fmt.Sprintf("%s (%s ago)", st.LastRefresh.UTC().Format(time.RFC3339), span(now.Sub(st.LastRefresh)))
	}
	rows := [][]string{
		{"engine", st.Engine},
		{"breaker", fmt.Sprintf("%s (%d faults in a row)", st.Breaker.State, st.Breaker.ConsecutiveFailures)},
		{"worker", worker(st.Worker)},
	}
	if st.Mode == hybrid.ModeAuto && st.Worker.State == "unavailable" {
		rows = append(rows, []string{"fallback", "missing: there is no python-tuf; see: ragnos-tuf doctor"})
	}
	rows = append(rows,
		[]string{"metadata", in(st.MetadataURL, st.MetadataDir)},
		[]string{"targets", in(st.TargetsURL, st.CacheDir)},
		[]string{"last refresh", last})
	for _, row := range [][]string{{"last error", st.LastError}, {"last fallback", st.LastFallback}} {
		if row[1] != "" {
			rows = append(rows, row)
		}
	}
	return rows
}

// in says where something is, and where it is kept, which a health handler does not
// tell.
func in(url, dir string) string {
	if dir == "" {
		return url
	}
	return url + " in " + dir
}

func (p *page) roles(list []hybrid.RoleStatus, now time.Time) {
	if len(list) == 0 {
		p.line("nothing is trusted yet; run: ragnos-tuf init --root FILE")
		return
	}
	roles := [][]string{{"role", "version", "expires", "left"}}
	for _, r := range list {
		roles = append(roles, []string{r.Name, fmt.Sprint(r.Version), r.Expires.UTC().Format(time.RFC3339), left(r.Expires.Sub(now))})
	}
	p.table(roles)
}

func worker(w hybrid.WorkerStatus) string {
	parts := []string{w.State}
	if w.PID != 0 {
		parts = append(parts, fmt.Sprintf("process %d", w.PID))
	}
	if w.Python != "" {
		parts = append(parts, fmt.Sprintf("%s (from %s)", w.Python, w.Source))
	}
	if w.Error != "" {
		parts = append(parts, w.Error)
	}
	return strings.Join(parts, ", ")
}

func left(d time.Duration) string {
	if d <= 0 {
		return "expired"
	}
	return span(d)
}

// span is a duration in days, or more exactly in the last two.
func span(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	return d.Round(time.Second).String()
}

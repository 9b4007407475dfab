package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ragnos-labs/vault-tuf/hybrid"
)

func newStatus(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show mode, engine, worker and what is trusted; never asks the network",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, func(ctx context.Context, c *hybrid.Client) error {
				st, err := c.Status(ctx)
				if err != nil {
					return err
				}
				object := struct {
					done
					*hybrid.Status
				}{done{true}, st}
				return a.print(object, func(p *page) { p.status(st, time.Now()) })
			})
		},
	}
}

func (p *page) status(st *hybrid.Status, now time.Time) {
	last := "never"
	if !st.LastRefresh.IsZero() {
		last = fmt.Sprintf("%s (%s ago)", st.LastRefresh.UTC().Format(time.RFC3339), span(now.Sub(st.LastRefresh)))
	}
	rows := [][]string{
		{"mode", string(st.Mode)},
		{"engine", st.Engine},
		{"breaker", fmt.Sprintf("%s (%d faults in a row)", st.Breaker.State, st.Breaker.ConsecutiveFailures)},
		{"worker", worker(st.Worker)},
	}
	if st.Mode == hybrid.ModeAuto && st.Worker.State == "unavailable" {
		rows = append(rows, []string{"fallback", "missing: there is no python-tuf; see: ragnos-tuf doctor"})
	}
	rows = append(rows,
		[]string{"metadata", st.MetadataURL + " in " + st.MetadataDir},
		[]string{"targets", st.TargetsURL + " in " + st.CacheDir},
		[]string{"last refresh", last})
	for _, row := range [][]string{{"last error", st.LastError}, {"last fallback", st.LastFallback}} {
		if row[1] != "" {
			rows = append(rows, row)
		}
	}
	p.table(rows)
	p.line("")
	if len(st.Roles) == 0 {
		p.line("nothing is trusted yet; run: ragnos-tuf init --root FILE")
		return
	}
	roles := [][]string{{"role", "version", "expires", "left"}}
	for _, r := range st.Roles {
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

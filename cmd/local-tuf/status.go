package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ragnos-labs/vault-tuf/repository"
)

func newStatus(g *global) *cobra.Command {
	var asJSON, targets, warn bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Verify the repository and say how long it is valid",
		Long: `Verify the signed metadata and print version and expiry of each role, how many
of its keys are at hand, and what waits to be done.

The exit code is for cron: 13 if a role has expired, 10 to 21 if metadata cannot
be used, 40 if some of it, the targets or root.json are missing, 18 if root.json is
another root, else 0. With --warn it is 33 if somebody should act: a role expires
within a quarter of its lifetime, or a change was interrupted.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, done, err := g.open(cmd)
			if err != nil {
				return err
			}
			defer done()
			st, err := r.Status(cmd.Context())
			if err != nil && asJSON {
				return errors.Join(err, printStatusJSON(cmd.OutOrStdout(), st, false, nil))
			}
			if err != nil {
				return err
			}
			var list []repository.Listed
			if targets {
				if list, err = r.Targets(cmd.Context()); err != nil {
					return err
				}
			}
			out := cmd.OutOrStdout()
			if asJSON {
				err = printStatusJSON(out, st, targets, list)
			} else {
				err = printStatus(out, r.Dir(), st, list)
			}
			switch {
			case err != nil:
				return err
			case warn:
				return st.Warning()
			default:
				return st.Err()
			}
		},
	}
	f := cmd.Flags()
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	f.BoolVar(&targets, "targets", false, "list the published plugins too")
	f.BoolVar(&warn, "warn", false, "exit with 33 if somebody should act soon")
	return cmd
}

func printStatusJSON(out io.Writer, st repository.Status, targets bool, list []repository.Listed) error {
	if !targets {
		return json.NewEncoder(out).Encode(st)
	}
	if list == nil {
		list = []repository.Listed{}
	}
	return json.NewEncoder(out).Encode(struct {
		repository.Status
		List []repository.Listed `json:"list"`
	}{st, list})
}

func printStatus(out io.Writer, dir string, st repository.Status, list []repository.Listed) error {
	p := newPainter(out)
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "repository\t%s\nstatus\t%s\nplugins\t%d (%d bytes)\n\n", dir, st.Status, st.Targets, st.Bytes)
	fmt.Fprintf(w, "role\tversion\texpires\tleft\tkeys at hand\tplugins\n")
	var colours []string
	for _, r := range st.Roles {
		colours = append(colours, colour(r.SecondsLeft, r.Soon))
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", r.Role, r.Version, r.Expires.Format(time.RFC3339), leftIn(r.SecondsLeft), keysOf(r.Keys), count(r.Targets))
	}
	for _, bins := range st.Bins {
		colours = append(colours, colour(bins.SecondsLeft, bins.Soon))
		fmt.Fprintf(w, "%s\t%d bins\t%s\t%s\t%s\t%s\n", bins.Prefix, bins.Count, bins.Expires.Format(time.RFC3339), leftIn(bins.SecondsLeft), keysOf(bins.Keys), count(bins.Targets))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	// Colours come last: a tabwriter would count them.
	for i, line := range strings.SplitAfter(b.String(), "\n") {
		if role := i - headLines; role >= 0 && role < len(colours) {
			line = p.paint(colours[role], strings.TrimRight(line, " \n")) + "\n"
		}
		if _, err := io.WriteString(out, line); err != nil {
			return err
		}
	}
	return printRest(out, p, st, list)
}

// headLines come before the first role.
const headLines = 5

func printRest(out io.Writer, p painter, st repository.Status, list []repository.Listed) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, problem := range st.Problems {
		fmt.Fprintf(w, "\n%s\n", p.paint(yellow, problem))
	}
	for _, waiting := range st.Proposals {
		fmt.Fprintf(w, "\nproposal %s\n", waiting)
	}
	for _, hint := range st.Hints {
		fmt.Fprintf(w, "\n%s\n", hint)
	}
	if list != nil {
		fmt.Fprintf(w, "\nplugin\tchannel\tlatest of\tbytes\trole\n")
	}
	for _, t := range list {
		var latest []string
		for _, c := range t.Latest {
			latest = append(latest, string(c))
		}
		channel := string(t.Channel)
		if t.Yanked != "" {
			channel = "yanked"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\n", t.Path, channel, strings.Join(latest, ","), t.Length, t.Role)
	}
	return w.Flush()
}

func keysOf(k *repository.KeysAtHand) string {
	if k == nil {
		return ""
	}
	return fmt.Sprintf("%d (%d of %d must sign)", k.AtHand, k.Threshold, k.Listed)
}

func count(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// leftIn is a number of seconds in days, or more exactly in the last two.
func leftIn(seconds int64) string {
	d := time.Duration(seconds) * time.Second
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	return d.String()
}

// painter colours text, if anybody sees it.
type painter bool

const (
	red    = "31"
	yellow = "33"
)

// newPainter returns a painter that colours on a terminal, unless NO_COLOR is set.
func newPainter(out io.Writer) painter {
	f, ok := out.(*os.File)
	return painter(ok && os.Getenv("NO_COLOR") == "" && term.IsTerminal(int(f.Fd())))
}

// colour is that of a role by its expiry.
func colour(left int64, soon bool) string {
	switch {
	case left <= 0:
		return red
	case soon:
		return yellow
	}
	return ""
}

func (p painter) paint(colour, text string) string {
	if !p || colour == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

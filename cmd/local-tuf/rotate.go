package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/ragnos-labs/vault-tuf/repository"
)

func newRotate(g *global) *cobra.Command {
	var due, dryRun, asJSON bool
	cmd := &cobra.Command{
		Use:   "rotate --due",
		Short: "Replace keys that are too old and renew what expires soon",
		Long: `Do what is due: replace keys older than "rotation" in DIR/repository.json says, and
sign metadata anew that expires soon. What the keys at hand can sign is done. What
they cannot becomes a proposal in DIR/proposals, once. For keys that lie elsewhere
it says who must make a new one. Run it from cron: a second run does nothing twice.

The exit code is 0 if nothing is left to do, 10 if people must sign or make a key,
and 40 if something failed.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !due {
				return wrongUse(cmd, "--due is missing; to replace one key, use key rotate")
			}
			r, done, err := g.open(cmd)
			if err != nil {
				return err
			}
			defer done()
			report, err := r.RotateDue(cmd.Context(), dryRun)
			if asJSON {
				if err := json.NewEncoder(cmd.OutOrStdout()).Encode(report); err != nil {
					return err
				}
			} else {
				printDue(cmd.OutOrStdout(), report)
			}
			if err != nil {
				return err
			}
			return report.Err()
		},
	}
	cmd.Flags().BoolVar(&due, "due", false, "do what the schedule says")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what is due")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func printDue(out io.Writer, report *repository.DueReport) {
	if len(report.Due) == 0 {
		fmt.Fprintln(out, "nothing is due")
	}
	for _, d := range report.Due {
		fmt.Fprintf(out, "%s\n", d)
		switch d.State {
		case repository.DueNow:
			fmt.Fprintf(out, "  due now\n")
		case repository.DueDone:
			if d.Rotation != nil {
				printRotation(out, *d.Rotation)
			} else {
				fmt.Fprintf(out, "  signed anew\n")
			}
		case repository.DueWaits:
			fmt.Fprintf(out, "  waits for signatures: local-tuf proposal status %s\n", d.Proposal)
		case repository.DuePeople:
			if d.Error != "" {
				fmt.Fprintf(out, "  %s: give it with --passphrase-file or RAGNOS_TUF_PASSPHRASE\n", d.Error)
				continue
			}
			fmt.Fprintf(out, "  the key is not here: its owner makes a new one (local-tuf key new NAME), then\n  local-tuf key rotate %s=NAME.pub --old %.12s\n", d.Role, d.Key.KeyID)
		case repository.DueFailed:
			fmt.Fprintf(out, "  FAILED: %s\n", d.Error)
		}
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ragnos-labs/vault-tuf/repository"
)

func newAdopt(g *global) *cobra.Command {
	var o repository.AdoptOptions
	l := repository.DefaultLifetimes
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "adopt --metadata DIR --targets DIR",
		Short: "Make a repository of one that another tool has made",
		Long: `Verify a repository that was made with python-tuf, go-tuf or another tool, from
its 1.root.json to the hash of every target, and make a repository of it in --dir,
which must be missing or empty. The signed files are copied byte for byte, and
the other repository stays as it is. Of root all versions are taken, of the other
roles those in force. Symbolic links are not followed.

Private keys are looked for in --keys, and found by what they verify, whatever
their files are called. Those that sign for other roles than root are copied to
DIR/keys. Roles whose keys are not found can be signed elsewhere, by proposal.

What TUF clients could read differently is named. It is no reason to refuse, but
nothing of that kind can be added later.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Metadata == "" || o.Targets == "" {
				return wrongUse(cmd, "--metadata and --targets are needed")
			}
			o.Lifetimes, o.Keys = l, repository.Keys{Dirs: g.keyDirs}
			r, a, err := repository.Adopt(cmd.Context(), g.dir, o)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(a)
			}
			printAdoption(cmd.OutOrStdout(), r.Dir(), a)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Metadata, "metadata", "", "`directory` that clients see as /metadata")
	f.StringVar(&o.Targets, "targets", "", "`directory` that clients see as /targets")
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	lifetimeFlags(f, &l)
	return cmd
}

func printAdoption(out io.Writer, dir string, a repository.Adoption) {
	p := newPainter(out)
	fmt.Fprintf(out, "adopted %d roles and %d targets (%d bytes) in %s\ngive clients %s/root.json\n", a.Roles, a.Targets, a.Bytes, dir, dir)
	for _, k := range a.Keys {
		where := "stays where it is, for it signs for root alone: name its directory with --keys when it must sign"
		if k.Copied {
			where = "copied to " + dir + "/keys"
		}
		fmt.Fprintf(out, "key %s of %s (%s): %s\n", k.Name, strings.Join(k.Roles, ", "), k.Path, where)
	}
	if len(a.Missing) > 0 {
		fmt.Fprintf(out, "%s\n", p.paint(yellow, "not enough keys were found for: "+strings.Join(a.Missing, ", ")))
	}
	for _, f := range a.Findings {
		fmt.Fprintf(out, "%s %s\n  → %s\n", p.paint(yellow, string(f.Level)), f, f.Do)
	}
}

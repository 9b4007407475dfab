package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ragnos-labs/vault-tuf/internal/keyfile"
	"github.com/ragnos-labs/vault-tuf/repository"
)

func newPublisher(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "publisher",
		Short: "Publishers who sign their own plugins",
		Long: `Without publishers, the targets keys sign for all plugins. A publisher signs for
plugins/NAME/* with keys of its own.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPublisherAdd(g), newPublisherList(g))
	return cmd
}

func newPublisherAdd(g *global) *cobra.Command {
	var o repository.PublisherOptions
	var algorithm string
	var plain *bool
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Give a publisher a role and keys of its own",
		Long: `Let a publisher sign for plugins/NAME/* with keys of its own, so that its stolen
key can never sign another's plugin, and nobody else's key can sign for it. What
targets lists of these plugins already moves into the new role, as it is.

The publisher makes its keys and gives you the public halves, which --key names.
Then its signature is needed too: the change becomes a proposal for it to sign.
Without --key new keys are made in DIR/keys, as many as --threshold says.

A key may sign for one role only.`,
		Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, done, err := g.openFor(cmd, *plain)
			if err != nil {
				return err
			}
			defer done()
			o.Algorithm = keyfile.Algorithm(algorithm)
			added, p, err := r.AddPublisher(cmd.Context(), args[0], o)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if p != nil {
				return handProposal(cmd, g, p)
			}
			fmt.Fprintf(out, "%s signs for %s: %d of %s\n", added.Name, strings.Join(added.Paths, " "), added.Threshold, keyRefs(added.Keys))
			if added.Targets > 0 {
				fmt.Fprintf(out, "%d published plugins moved into its role\n", added.Targets)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.Keys, "key", nil, "`file` with a public key of the publisher; may be repeated")
	f.IntVar(&o.Threshold, "threshold", 1, "how many of the keys must sign")
	f.StringVar(&algorithm, "algorithm", "", "kind of new keys: rsa, ed25519 or ecdsa (default: the repository's)")
	plain = plainFlag(f)
	return cmd
}

func newPublisherList(g *global) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the publishers",
		Long:  "Verify the repository and list the roles that targets delegates to.",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, done, err := g.open(cmd)
			if err != nil {
				return err
			}
			defer done()
			list, err := r.Publishers(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(list)
			}
			return printPublishers(cmd.OutOrStdout(), list)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON array")
	return cmd
}

func printPublishers(out io.Writer, list []repository.Publisher) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "publisher\tplugins\tversion\texpires\tkeys\n")
	for _, p := range list {
		where := ""
		if p.Bins > 0 {
			where = fmt.Sprintf(" in %d bins", p.Bins)
		}
		fmt.Fprintf(w, "%s\t%d%s\t%d\t%s\t%d of %s\n", printable(p.Name), p.Targets, where, p.Version, p.Expires.Format(time.RFC3339), p.Threshold, keyRefs(p.Keys))
	}
	return w.Flush()
}

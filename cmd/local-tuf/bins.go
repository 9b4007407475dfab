package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ragnos-labs/vault-tuf/repository"
)

func newBins(g *global) *cobra.Command {
	var role string
	var bits int
	cmd := &cobra.Command{
		Use:   "bins --role ROLE --bits N",
		Short: "Divide a large role into hash bins",
		Long: `Move the plugins of targets, or of a publisher, into 2^N succinct hash bins
(TAP 15) with the role's own keys and threshold, which must be at hand. Clients
then load one bin instead of all of the role, and publishing rewrites the bins
concerned only. 8 bits are good for a hundred thousand plugins.

Decide for publishers first: a role delegates either to publishers or to bins.
There is no way back, as clients remember every role. Some clients cannot read
bins: ` + repository.NoBins + `.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, flag := range []string{"role", "bits"} {
				if !cmd.Flags().Changed(flag) {
					return wrongUse(cmd, "--"+flag+" is missing")
				}
			}
			r, done, err := g.open(cmd)
			if err != nil {
				return err
			}
			defer done()
			b, p, err := r.MakeBins(cmd.Context(), role, bits)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if p != nil {
				return handProposal(cmd, g, p)
			}
			fmt.Fprintf(out, "moved %d plugins of %s into %d bins, %s to %s\n", b.Targets, b.Role, b.Count, b.First, b.Last)
			fmt.Fprintf(out, "this repository can no longer be read by %s; go-tuf, python-tuf and tuf-js read bins\n", repository.NoBins)
			return nil
		},
	}
	cmd.Flags().StringVar(&role, "role", "", "targets, or a publisher")
	cmd.Flags().IntVar(&bits, "bits", 0, fmt.Sprintf("make 2^`N` bins, N from 1 to %d", repository.MaxBinBits))
	return cmd
}

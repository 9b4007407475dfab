package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ragnos-labs/vault-tuf/repository"
)

func newRootCommand(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "root",
		Short: "Change root metadata, signed by several people",
		Long: `Root metadata says which keys sign for root, targets, snapshot and timestamp. It is
changed by a proposal, which those who hold the root keys sign: as many of the old
root's as must, and as many of the new one's. All but propose is as in local-tuf
proposal.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newRootPropose(g), newProposalSign(g), newProposalStatus(g), newProposalPublish(g))
	return cmd
}

func newRootPropose(g *global) *cobra.Command {
	var add, remove, threshold []string
	cmd := &cobra.Command{
		Use:   "propose FILE",
		Short: "Propose the next root: other keys, other thresholds, or only a later expiry",
		Long: `Write a proposal of the next root to FILE. Without flags only its expiry is later,
also if it has expired already. Nothing is signed or changed yet.

KEY is what a key is called, the beginning of its keyid, or a file with its public
half. See local-tuf key list.`,
		Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			changes, err := rootChanges(cmd, add, remove, threshold)
			if err != nil {
				return err
			}
			r, done, err := g.open(cmd)
			if err != nil {
				return err
			}
			defer done()
			p, err := r.ProposeRoot(cmd.Context(), changes...)
			if err != nil {
				return err
			}
			if err := repository.CreateProposal(args[0], p); err != nil {
				return err
			}
			printProposal(cmd.OutOrStdout(), p)
			printNext(cmd.OutOrStdout(), args[0], p)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&add, "add", nil, "file of a public key that is to sign for a role, as `ROLE=PUBKEY`; may be repeated")
	f.StringArrayVar(&remove, "remove", nil, "key that is to sign for a role no more, as `ROLE=KEY`; may be repeated")
	f.StringArrayVar(&threshold, "threshold", nil, "how many keys must sign for a role, as `ROLE=N`; may be repeated")
	return cmd
}

// rootChanges reads the flags, each of which is about one role.
func rootChanges(cmd *cobra.Command, add, remove, threshold []string) (list []repository.RoleKeys, err error) {
	each := func(flag string, values []string, into func(*repository.RoleKeys, string) bool) {
		for _, v := range values {
			rk := repository.RoleKeys{}
			role, value, ok := strings.Cut(v, "=")
			if rk.Role = role; !ok || value == "" || !into(&rk, value) {
				err = wrongUse(cmd, fmt.Sprintf("--%s %q: write it as ROLE=…", flag, v))
			}
			list = append(list, rk)
		}
	}
	each("add", add, func(rk *repository.RoleKeys, v string) bool { rk.Add = []string{v}; return true })
	each("remove", remove, func(rk *repository.RoleKeys, v string) bool { rk.Remove = []string{v}; return true })
	each("threshold", threshold, func(rk *repository.RoleKeys, v string) bool {
		n, err := strconv.Atoi(v)
		rk.Threshold = n
		return err == nil && n > 0
	})
	return list, err
}

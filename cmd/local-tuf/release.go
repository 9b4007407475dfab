package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ragnos-labs/vault-tuf/repository"
)

func newYank(g *global) *cobra.Command {
	var reason string
	var undo bool
	cmd := &cobra.Command{
		Use:   "yank TARGET --reason WHY",
		Short: "Mark a published version as withdrawn",
		Long: `Mark a published version as withdrawn, for a reason that everybody can read. Its
bytes stay: whoever has pinned it can still verify and download it. It is not the
latest version of its channel any more. TARGET is a path such as
plugins/PUBLISHER/NAME.VERSION.tar.gz.`,
		Args: exactly("TARGET"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, done, err := g.open(cmd)
			if err != nil {
				return err
			}
			defer done()
			if undo {
				p, err := r.Unyank(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if p != nil {
					return handProposal(cmd, g, p)
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s is not withdrawn any more\n", args[0])
				return nil
			}
			p, err := r.Yank(cmd.Context(), args[0], reason)
			if err != nil {
				return err
			}
			if p != nil {
				return handProposal(cmd, g, p)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "withdrawn %s: %s\n", args[0], reason)
			return nil
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why people should not use this version")
	cmd.Flags().BoolVar(&undo, "undo", false, "take the withdrawal back")
	return cmd
}

func newChannel(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "channel TARGET stable|beta",
		Short: "Move a published version to another channel",
		Long: `Move a published version to another channel, as when a beta has proved good. Its
bytes stay as they are. Which version is the latest of each channel is signed
with it: the highest that is not withdrawn; beta counts the stable ones too.`,
		Args: exactly("TARGET", "stable or beta"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, done, err := g.open(cmd)
			if err != nil {
				return err
			}
			defer done()
			p, err := r.SetChannel(cmd.Context(), args[0], repository.Channel(args[1]))
			if err != nil {
				return err
			}
			if p != nil {
				return handProposal(cmd, g, p)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is in channel %s\n", args[0], args[1])
			return nil
		},
	}
}

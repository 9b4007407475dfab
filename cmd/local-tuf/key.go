package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ragnos-labs/vault-tuf/internal/keyfile"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/repository"
)

func newKey(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Make keys, and change which of them sign for which role",
		Long: `Make keys, and change which of them sign for which role: root, targets, snapshot,
timestamp, a publisher, or hash bins by their prefix. What a role signs is signed
anew with its new keys, and every client follows. Where keys for that are not at
hand, the change becomes a proposal.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newKeyNew(g), newKeyList(g), newKeyAdd(g), newKeyRotate(g), newKeyRevoke(g))
	return cmd
}

func newKeyNew(g *global) *cobra.Command {
	var dir, algorithm string
	var plain *bool
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Make a key",
		Long: `Make a key: NAME.key, which stays with you, and NAME.pub, which you give away. It
signs for nothing before it is added to a role. With --in no repository is needed.
No key is made where others could read it, as on a FAT medium that is mounted for
everybody.`,
		Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			pass, forget := g.passphrase(cmd)
			defer forget()
			if *plain {
				pass = keyfile.Plain
			}
			if dir == "" {
				if dir = filepath.Join(g.dir, "keys"); !isDir(dir) {
					return &tuferr.Error{Code: protocol.CodeUsage, Op: "key new", Path: dir, Msg: "there is no repository to make a key for", Hint: "say with --in where the key shall lie"}
				}
			}
			k, err := keyfile.Generate(cmd.Context(), dir, args[0], keyfile.Algorithm(algorithm), pass)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "private key  %s, stays with you\npublic key   %s, to be given away\nkeyid        %s\n",
				k.Path, filepath.Join(dir, k.Name+".pub"), k.Public.ID)
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "in", "", "`directory` for the key (default: DIR/keys)")
	cmd.Flags().StringVar(&algorithm, "algorithm", "rsa", "kind of key: rsa, ed25519 or ecdsa")
	plain = plainFlag(cmd.Flags())
	return cmd
}

func newKeyList(g *global) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Say which key signs for which role, and where it is",
		Long: `Verify the metadata and say which keys sign for each role, how many of them must,
since when, when they are due to be replaced, and where their private halves are:
in DIR/keys, in --keys, or not here. Keys at hand that sign for nothing come last.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, done, err := g.open(cmd)
			if err != nil {
				return err
			}
			defer done()
			list, err := r.Keys(cmd.Context())
			if list.Roles == nil {
				return err
			}
			var printing error
			if asJSON {
				printing = json.NewEncoder(cmd.OutOrStdout()).Encode(list)
			} else {
				printing = printKeys(cmd.OutOrStdout(), list)
			}
			return errors.Join(err, printing)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func printKeys(out io.Writer, list repository.KeyList) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "role\tmust sign\tkey\tkeyid\tkind\tsince\treplace by\tprivate half\n")
	for _, role := range list.Roles {
		label, quorum := printable(role.Role), fmt.Sprintf("%d of %d", role.Threshold, len(role.Keys))
		for _, k := range role.Keys {
			fmt.Fprintf(w, "%s\t%s\t%s\t%.12s\t%s\t%s\t%s\t%s\n", label, quorum, orDash(printable(k.Name)), printable(k.KeyID), printable(k.Type),
				date(k.Since), date(k.Due), where(k.File, k.Encrypted))
			label, quorum = "", ""
		}
	}
	for i, k := range list.Unused {
		if i == 0 {
			fmt.Fprintf(w, "\nsigns for nothing:\n")
		}
		fmt.Fprintf(w, "\t\t%s\t%.12s\t\t\t\t%s\n", printable(k.Name), k.KeyID, where(k.File, k.Encrypted))
	}
	return w.Flush()
}

func where(file string, encrypted bool) string {
	switch {
	case file == "":
		return "not here"
	case encrypted:
		return file + " (encrypted)"
	default:
		return file + " (plain)"
	}
}

func date(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format(time.DateOnly)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// changeKeys carries out a change of keys and says that it is done.
func changeKeys(cmd *cobra.Command, g *global, rk repository.RoleKeys, done string) error {
	r, forget, err := g.open(cmd)
	if err != nil {
		return err
	}
	defer forget()
	p, err := r.ChangeKeys(cmd.Context(), rk)
	if err != nil {
		return err
	}
	if p != nil {
		return handProposal(cmd, g, p)
	}
	fmt.Fprintln(cmd.OutOrStdout(), done)
	return nil
}

func newKeyAdd(g *global) *cobra.Command {
	var threshold int
	cmd := &cobra.Command{
		Use:   "add ROLE PUBKEY",
		Short: "Let one more key sign for a role",
		Long: `Let one more key sign for a role: the one whose public half is in the file PUBKEY.
How many must sign stays as it is, unless --threshold says otherwise. A key that signs
for a role of another kind is refused.`,
		Args: exactly("ROLE", "PUBKEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return changeKeys(cmd, g, repository.RoleKeys{Role: args[0], Add: args[1:], Threshold: threshold},
				fmt.Sprintf("%s: the key in %s signs for it now", args[0], args[1]))
		},
	}
	cmd.Flags().IntVar(&threshold, "threshold", 0, "how many keys must sign from now on (default: as before)")
	return cmd
}

func newKeyRevoke(g *global) *cobra.Command {
	var threshold int
	cmd := &cobra.Command{
		Use:   "revoke ROLE KEY",
		Short: "Keep a key from signing for a role",
		Long: `Keep a key from signing for a role, as when it is lost or stolen. KEY is what it is
called, the beginning of its keyid, or a file with its public half. Where the role
would have too few keys left, replace it instead: key rotate ROLE --old KEY. What to
do after a theft stands in docs/operations.md.`,
		Args: exactly("ROLE", "KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return changeKeys(cmd, g, repository.RoleKeys{Role: args[0], Remove: args[1:], Threshold: threshold},
				fmt.Sprintf("%s: the key %s does not sign for it any more", args[0], args[1]))
		},
	}
	cmd.Flags().IntVar(&threshold, "threshold", 0, "how many keys must sign from now on (default: as before)")
	return cmd
}

func newKeyRotate(g *global) *cobra.Command {
	var old string
	var plain *bool
	cmd := &cobra.Command{
		Use:   "rotate ROLE[=PUBKEY]...",
		Short: "Replace keys of roles by new ones",
		Long: `Replace the key of a role by the one whose public half is in the file PUBKEY, or by a
new one that is made in DIR/keys. Several roles are changed at once, so that people
sign once. The private half of an old key is left where it is.`,
		Args: atLeastOne("ROLE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 && old != "" {
				return wrongUse(cmd, "--old is for one role")
			}
			var which []repository.Rotate
			for _, arg := range args {
				role, public, _ := strings.Cut(arg, "=")
				which = append(which, repository.Rotate{Role: role, Old: old, New: public})
			}
			r, done, err := g.openFor(cmd, *plain)
			if err != nil {
				return err
			}
			defer done()
			rotations, p, err := r.RotateKeys(cmd.Context(), which...)
			if err != nil {
				return err
			}
			for _, rotation := range rotations {
				if p == nil {
					printRotation(cmd.OutOrStdout(), rotation)
				} else if rotation.NewFile != "" {
					fmt.Fprintf(cmd.OutOrStdout(), "made the key %s in %s\n", rotation.New.Name, rotation.NewFile)
				}
			}
			if p != nil {
				return handKeys(cmd, g, p)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&old, "old", "", "the key to be replaced, if the role has several: its name, the beginning of its keyid, or a file")
	plain = plainFlag(cmd.Flags())
	return cmd
}

func printRotation(out io.Writer, r repository.Rotation) {
	fmt.Fprintf(out, "%s: %s is replaced by %s\n", printable(r.Role), keyRefs([]repository.KeyRef{r.Old}), keyRefs([]repository.KeyRef{r.New}))
	if r.NewFile != "" {
		fmt.Fprintf(out, "  new private key  %s\n", r.NewFile)
	}
	if r.OldFile != "" {
		fmt.Fprintf(out, "  old private key  %s: it signs for %s no more; move it aside, with %s\n", r.OldFile, printable(r.Role),
			filepath.Base(strings.TrimSuffix(r.OldFile, filepath.Ext(r.OldFile))+".pub"))
	}
}

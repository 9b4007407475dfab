package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/repository"
)

// handProposal writes a change that needs signatures of others to a file and
// says what to do with it. The error says that nothing is changed yet.
func handProposal(cmd *cobra.Command, g *global, p *repository.Proposal) error {
	path, err := keepProposal(g, p)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if p.Founds() {
		fmt.Fprintf(out, "made a repository in %s, to be founded: this needs signatures that the keys at\nhand cannot make\n\n", g.dir)
	} else {
		fmt.Fprintf(out, "nothing is changed yet: this needs signatures that the keys at hand cannot make\n\n")
	}
	printProposal(out, p)
	printNext(out, path, p)
	return &tuferr.Error{Code: protocol.CodeUnsigned, Op: strings.TrimPrefix(cmd.CommandPath(), "local-tuf "),
		Msg: "signatures are missing, the change waits in " + path}
}

func keepProposal(g *global, p *repository.Proposal) (string, error) {
	if g.proposal != "" {
		return g.proposal, repository.CreateProposal(g.proposal, p)
	}
	r, err := repository.Open(g.dir, repository.Options{})
	if err != nil {
		return "", err
	}
	return r.KeepProposal(p)
}

// handKeys hands out a proposal that new keys have been made for: it is not lost where
// its file cannot be written.
func handKeys(cmd *cobra.Command, g *global, p *repository.Proposal) error {
	err := handProposal(cmd, g, p)
	e := tuferr.As(err)
	if e == nil || e.Code == protocol.CodeUnsigned || g.proposal == "" {
		return err
	}
	path, kept := keepProposal(&global{dir: g.dir}, p)
	if kept != nil {
		return err
	}
	told := *e
	told.Hint = "the proposal is kept as " + path + ": give that to those who sign, and do not run this again"
	return &told
}

func printNext(out io.Writer, path string, p *repository.Proposal) {
	give, root := "and root.json, if they do not have it, on\n     a way that you trust", " --root root.json"
	if p.Founds() {
		give, root = "who compare the keyids with each other,\n     on another way", ""
	}
	fmt.Fprintf(out, `
proposal  %s
next
  1. give this file to those who sign, %s
  2. each of them reads and signs it, where the key is:
     local-tuf proposal sign %s%s --keys DIRECTORY
  3. publish what comes back, one file or several:
     local-tuf proposal publish FILE...
`, path, give, filepath.Base(path), root)
}

// printProposal says what changes, and who has signed.
func printProposal(out io.Writer, p *repository.Proposal) {
	st := p.Status()
	for i, c := range p.Describe() {
		fmt.Fprintf(out, "%s\n", printable(c.Role))
		for _, line := range c.Words {
			fmt.Fprintf(out, "  %s\n", line)
		}
		printSignatures(out, st.Roles[i])
		fmt.Fprintln(out)
	}
	fmt.Fprintf(out, "names of keys are what people call them: nobody has signed them, keyids count\n")
}

func printSignatures(out io.Writer, rs repository.RoleSignatures) {
	for _, t := range rs.Thresholds {
		fmt.Fprintf(out, "  signatures by the keys in %s: %d of %d\n", printable(t.Of), len(t.Signed), t.Threshold)
		if len(t.Signed) > 0 {
			fmt.Fprintf(out, "    signed   %s\n", keyRefs(t.Signed))
		}
		if t.Missing() > 0 {
			fmt.Fprintf(out, "    missing  %d more of %s\n", t.Missing(), keyRefs(t.Others))
		}
	}
	for _, k := range rs.Ignored {
		fmt.Fprintf(out, "  ATTENTION: a signature that counts for nothing, said to be by %s\n", keyRefs([]repository.KeyRef{k}))
	}
}

// printable is a name from a file, as it can do no harm on a terminal.
func printable(s string) string {
	if quoted := fmt.Sprintf("%+q", s); quoted != `"`+s+`"` {
		return quoted
	}
	return s
}

func keyRefs(list []repository.KeyRef) string {
	var all []string
	for _, k := range list {
		name := "a key without a name"
		if k.Name != "" {
			name = printable(k.Name)
		}
		all = append(all, fmt.Sprintf("%s (%.12s…)", name, printable(k.KeyID)))
	}
	return strings.Join(all, ", ")
}

func newProposal(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "proposal",
		Short: "Sign and publish changes that several people sign",
		Long: `A proposal is a file with a change that waits for signatures. Commands make one
where keys are not at hand. The people who hold them sign it, each on a machine of
its own if need be, and what comes back is published. It holds no secret.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newProposalSign(g), newProposalStatus(g), newProposalPublish(g))
	return cmd
}

func newProposalSign(g *global) *cobra.Command {
	var yes bool
	var root string
	cmd := &cobra.Command{
		Use:   "sign FILE",
		Short: "Say what a proposal changes, ask, and sign it",
		Long: `Say in words what a proposal changes, ask, and add a signature to the file with each
key at hand that is listed for it. Keys are looked for in DIR/keys and in the
directories given with --keys; no repository is needed.

What is to change is told from the files before, and those are only as good as
the root that they rest on: give the root.json that you trust with --root. If the
repository is at hand, its own is taken. Compare the keyids of keys that are added
with their owners, on another way than this file came.`,
		Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := repository.ReadProposal(args[0])
			if err != nil {
				return err
			}
			if err := restOn(cmd, g, p, root); err != nil {
				return err
			}
			printProposal(cmd.OutOrStdout(), p)
			pass, forget := g.passphrase(cmd)
			defer forget()
			k := repository.Keys{Dirs: g.keyDirs, Passphrase: pass}
			if own := filepath.Join(g.dir, "keys"); isDir(own) {
				k.Dirs = append([]string{own}, k.Dirs...)
			}
			if err := announce(cmd, p, k); err != nil {
				return err
			}
			if !yes {
				if err := confirm(cmd); err != nil {
					return err
				}
			}
			return sign(cmd, p, k, args[0])
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().StringVar(&root, "root", "", "a trusted root.json of the repository, of any version (default: DIR/root.json)")
	return cmd
}

// restOn verifies a proposal from a trusted root on, or warns loudly.
func restOn(cmd *cobra.Command, g *global, p *repository.Proposal, root string) error {
	if p.Founds() && root == "" {
		fmt.Fprint(cmd.ErrOrStderr(), `ATTENTION: this founds a new repository, and there is no root that it could rest
on. Whose keys it trusts is what you sign: compare all keyids with their owners, on
another way than this file came.

`)
		return nil
	}
	path := root
	if path == "" {
		path = filepath.Join(g.dir, "root.json")
	}
	data, err := os.ReadFile(path)
	switch {
	case err == nil:
		if err := p.RestsOn(data); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "verified from the root in %s on\n\n", path)
		return nil
	case root == "" && errors.Is(err, fs.ErrNotExist):
		fmt.Fprintf(cmd.ErrOrStderr(), `ATTENTION: no trusted root was given. All of this rests on the first root in the
file itself, and whoever made the file can have made that. Its SHA-256 is
  %s
Sign only if the root.json that you trust has the same, or give it with --root.

`, p.Repository())
		return nil
	default:
		return &tuferr.Error{Code: protocol.CodeBadRoot, Op: "proposal sign", Path: path, Err: err, Msg: "the trusted root cannot be read"}
	}
}

// confirm asks whether to sign. Signals end it by its context alone, and reading
// does not heed that: the one who reads is left behind.
func confirm(cmd *cobra.Command) error {
	fmt.Fprint(cmd.OutOrStdout(), "sign this? type yes: ")
	type answer struct {
		line string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		line, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), 1024)).ReadString('\n')
		got <- answer{line, err}
	}()
	var a answer
	select {
	case a = <-got:
	case <-cmd.Context().Done():
		fmt.Fprintln(cmd.OutOrStdout())
		return &tuferr.Error{Code: protocol.CodeCancelled, Op: "proposal sign", Msg: "not signed", Err: cmd.Context().Err()}
	}
	if a.err != nil && !errors.Is(a.err, io.EOF) {
		return &tuferr.Error{Code: protocol.CodeLocalIO, Op: "proposal sign", Msg: "no answer", Err: a.err}
	}
	if strings.TrimSpace(a.line) == "yes" {
		return nil
	}
	fmt.Fprintln(cmd.OutOrStdout())
	return &tuferr.Error{Code: protocol.CodeUsage, Op: "proposal sign", Msg: "not signed", Hint: "type yes to sign, or give --yes after reading it with: local-tuf proposal status FILE"}
}

// announce says which keys at hand would sign.
func announce(cmd *cobra.Command, p *repository.Proposal, k repository.Keys) error {
	list, err := p.WouldSign(k)
	if len(list) == 0 && err != nil {
		return err
	}
	if len(list) == 0 {
		return &tuferr.Error{Code: protocol.CodeUsage, Op: "proposal sign", Msg: "nothing to sign: no key at hand is listed for it, or it has signed already",
			Hint: "name the directory of your key with --keys"}
	}
	fmt.Fprintln(cmd.OutOrStdout())
	for _, m := range list {
		fmt.Fprintf(cmd.OutOrStdout(), "you would sign %s version %d as %s\n", printable(m.Role), m.Version, keyRefs([]repository.KeyRef{m.Key}))
	}
	return nil
}

func sign(cmd *cobra.Command, p *repository.Proposal, k repository.Keys, path string) error {
	made, err := p.Sign(cmd.Context(), k)
	if err != nil {
		return err
	}
	if err := repository.AddSignatures(cmd.Context(), path, p); err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	fmt.Fprintln(out)
	for _, m := range made {
		fmt.Fprintf(out, "signed %s version %d as %s\n", printable(m.Role), m.Version, keyRefs([]repository.KeyRef{m.Key}))
	}
	if st := p.Status(); st.Complete {
		fmt.Fprintf(out, "no signature is missing: publish it with local-tuf proposal publish %s\n", filepath.Base(path))
	} else {
		fmt.Fprintf(out, "signatures are still missing: see local-tuf proposal status %s\n", filepath.Base(path))
	}
	return nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// proposalJSON is what status prints as JSON.
type proposalJSON struct {
	repository.ProposalStatus
	Changes []repository.RoleChange `json:"changes"`
}

func newProposalStatus(g *global) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status FILE...",
		Short: "Say what a proposal changes, who has signed and who is missing",
		Long: `Say what a proposal changes, who has signed and who is missing. Of several copies
the signatures are taken together.`,
		Args: atLeastOne("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := readProposals(cmd, args)
			if err != nil {
				return err
			}
			st := p.Status()
			out := cmd.OutOrStdout()
			if asJSON {
				return json.NewEncoder(out).Encode(proposalJSON{st, p.Describe()})
			}
			of := "for the repository whose first root has the SHA-256"
			if p.Founds() {
				of = "to found a repository; what gets signed of its first root has the SHA-256"
			}
			fmt.Fprintf(out, "proposal of %s %s\n%s\n\n", st.Made.Format("2006-01-02 15:04 UTC"), of, st.Repository)
			printProposal(out, p)
			if st.Complete {
				fmt.Fprintf(out, "no signature is missing\n")
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func newProposalPublish(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "publish FILE...",
		Short: "Publish a proposal that is signed",
		Long: `Publish a proposal that is signed, taking together the signatures of several copies.
Snapshot and timestamp are signed with the keys at hand. A proposal for a state of
the repository that has passed is refused: it must be made again.`,
		Args: atLeastOne("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := readProposals(cmd, args)
			if err != nil {
				return err
			}
			r, done, err := g.open(cmd)
			if err != nil {
				return err
			}
			defer done()
			if err := r.PublishProposal(cmd.Context(), p); err != nil {
				return err
			}
			for _, rs := range p.Status().Roles {
				fmt.Fprintf(cmd.OutOrStdout(), "published %s version %d\n", printable(rs.Role), rs.Version)
			}
			if p.Founds() {
				fmt.Fprintf(cmd.OutOrStdout(), "give clients %s\n", filepath.Join(r.Dir(), "root.json"))
			}
			return nil
		},
	}
}

// readProposals reads copies of one proposal and takes their signatures together.
func readProposals(cmd *cobra.Command, paths []string) (*repository.Proposal, error) {
	var first *repository.Proposal
	for _, path := range paths {
		p, err := repository.ReadProposal(path)
		if err != nil {
			return nil, err
		}
		if first == nil {
			first = p
			continue
		}
		ignored, err := first.Merge(p)
		if err != nil {
			return nil, err
		}
		for _, m := range ignored {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: ignored a signature of %s that counts for nothing, said to be by %s\n", path, printable(m.Role), keyRefs([]repository.KeyRef{m.Key}))
		}
	}
	return first, nil
}

// atLeastOne wants one argument or more.
func atLeastOne(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return wrongUse(cmd, name+" is missing")
		}
		return nil
	}
}

// Command local-tuf makes, signs and serves a TUF repository of plugins.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func main() {
	os.Exit(mainCode())
}

func mainCode() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

// run is the whole command. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return protocol.ExitOK
	}
	fmt.Fprintf(stderr, "local-tuf: %v\n", err)
	return tuferr.CodeOf(err).Exit()
}

const longHelp = `local-tuf makes, signs and serves a TUF repository of plugins.

  local-tuf init
  local-tuf publish PLUGIN.tar.gz MANIFEST.json
  local-tuf serve --port 8080
  local-tuf status

DIR is what --dir names. Clients are given DIR/root.json, once and over a channel
they trust. The private keys lie in DIR/keys, readable by their owner only, and are
never served.

Private keys are encrypted, unless --plain-keys is given where they are made. The
passphrase, of 8 characters or more, comes from --passphrase-file (the first line,
without its end), the environment variable RAGNOS_TUF_PASSPHRASE, or a prompt.

A change that needs keys which are not at hand becomes a proposal, a file for those
who hold them: see local-tuf proposal --help.

Exit codes: 0 success, 1 a defect, 2 wrong use or input, 3 no such plugin or role,
10 a signature is missing or does not verify, 11 out of date, 12 a wrong version,
13 metadata has expired, 14 to 16 a file is damaged, 18 a wrong trust anchor,
19 a role is not listed, 20 the two engines disagree, 21 too many roles,
33 somebody should act soon (--warn), 40 a file is missing or cannot be used,
41 disk full, 42 permissions, 44 a root to start from cannot be used,
55 and 56 python-tuf is missing, 124 and 130 gave up.`

func newRoot() *cobra.Command {
	var g global
	root := &cobra.Command{
		Use:           "local-tuf",
		Short:         "Make, sign and serve a TUF repository of plugins",
		Long:          longHelp,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          exactly(),
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.DisableDefaultCmd = true
	g.flags(root.PersistentFlags())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return wrongUse(cmd, err.Error()) })
	root.AddCommand(newInit(&g), newPublish(&g), newYank(&g), newChannel(&g), newServe(&g), newStatus(&g), newVerify(&g), newAdopt(&g))
	root.AddCommand(newRootCommand(&g), newProposal(&g), newKey(&g), newRotate(&g))
	root.AddCommand(newPublisher(&g), newBins(&g))
	return root
}

// exactly wants one argument for each name.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return wrongUse(cmd, names[len(args)]+" is missing")
		case len(args) > len(names) && cmd.HasSubCommands():
			return wrongUse(cmd, fmt.Sprintf("there is no command %q", args[0]))
		case len(args) > len(names):
			return wrongUse(cmd, fmt.Sprintf("unexpected argument %q", args[len(names)]))
		}
		return nil
	}
}

func wrongUse(cmd *cobra.Command, msg string) error {
	return &tuferr.Error{Code: protocol.CodeUsage, Op: cmd.Name(), Msg: msg, Hint: "see: " + cmd.CommandPath() + " --help"}
}

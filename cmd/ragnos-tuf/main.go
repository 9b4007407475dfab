// Command ragnos-tuf installs plugins from TUF repositories: from one that flags
// name, or from several under the policy of a configuration. It verifies metadata
// and downloads targets with go-tuf, and with python-tuf when go-tuf cannot do its
// work.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run is the whole command. It returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// After the first signal has ended the work, a second one ends the process.
	defer context.AfterFunc(ctx, stop)()

	a := &app{stdout: stdout, stderr: stderr, cancel: func() {}}
	defer func() { a.cancel(); a.telemetry.End() }()
	root := newRoot(a)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return protocol.ExitOK
	}
	return a.fail(err, args)
}

// newRoot makes the tree of commands. It reads nothing and starts nothing.
func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:                        "ragnos-tuf",
		Short:                      "Install plugins that you can trust from a TUF repository",
		Long:                       longHelp,
		Example:                    examples,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
		SilenceErrors:              true,
		CompletionOptions:          cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:                       exactly(),
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE:          func(cmd *cobra.Command, _ []string) error { return a.prepare(cmd) },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return wrongUse(cmd, err.Error()) })
	a.addFlags(root.PersistentFlags())
	root.AddCommand(newInit(a), newRefresh(a), newDownload(a), newList(a), newInfo(a), newStatus(a), newSearch(a), newLock(a), newSync(a),
		newAudit(a), newDoctor(a), newBundle(a), newPython(a), exitCodesTopic())
	return root
}

// exactly wants one argument for each name.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return wrongUse(cmd, names[len(args)]+" is missing")
		case len(args) > len(names) && cmd.HasSubCommands():
			return unknownCommand(cmd, args[0])
		case len(args) > len(names):
			return wrongUse(cmd, "unexpected argument "+quoted(args[len(names)]))
		}
		return nil
	}
}

func unknownCommand(cmd *cobra.Command, name string) error {
	msg := "there is no command " + quoted(name)
	for _, s := range cmd.SuggestionsFor(name) {
		msg += "; did you mean " + s + "?"
		break
	}
	return wrongUse(cmd, msg)
}

func wrongUse(cmd *cobra.Command, msg string) error {
	return &tuferr.Error{Code: protocol.CodeUsage, Msg: msg, Hint: "see: " + cmd.CommandPath() + " --help"}
}

package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/vault"
)

const glassHelp = `In an emergency --break-glass overrides the policy, and with --expiry-grace metadata
that has expired, for one target path and one hash. Never signatures, hashes or
rollbacks. It has to be confirmed by typing a sentence, or with --confirm where
there is no terminal, and is told of on stderr.`

// glassFlags are the flags of a break-glass.
type glassFlags struct {
	reason, by, confirm string
	lasts, grace        time.Duration
}

// glassNames are their names, the one that breaks the glass first.
var glassNames = []string{"break-glass", "by", "for", "expiry-grace", "confirm"}

func (g *glassFlags) add(f *pflag.FlagSet) {
	f.StringVar(&g.reason, "break-glass", "", "override the policy for one plugin, and say why: `REASON`; needs --sha256")
	f.StringVar(&g.by, "by", "", "who breaks the glass, `WHO` (default: this user)")
	f.DurationVar(&g.lasts, "for", time.Hour, "how long the break-glass holds, at most 24h")
	f.DurationVar(&g.grace, "expiry-grace", 0, "accept metadata that has expired not longer ago than this, at most 720h")
	f.StringVar(&g.confirm, "confirm", "", "the `SENTENCE` that confirms the break-glass")
}

// breakGlass returns the break-glass that the flags ask for, confirmed; nil if they
// ask for none.
func (f *downloadFlags) breakGlass(cmd *cobra.Command, names []string) (*vault.BreakGlass, error) {
	g := &f.glass
	if !cmd.Flags().Changed(glassNames[0]) {
		for _, name := range glassNames[1:] {
			if cmd.Flags().Changed(name) {
				return nil, wrongUse(cmd, "--"+name+" needs --break-glass REASON")
			}
		}
		return nil, nil
	}
	switch {
	case strings.TrimSpace(g.reason) == "":
		return nil, wrongUse(cmd, "--break-glass needs a reason")
	case len(names) > 1:
		return nil, wrongUse(cmd, "--break-glass is for one plugin")
	case f.expected == "":
		return nil, wrongUse(cmd, "--break-glass needs --sha256 HEX: it is for one hash")
	}
	b := &vault.BreakGlass{
		Target: names[0], SHA256: strings.TrimPrefix(f.expected, "sha256:"), By: g.by, Reason: g.reason,
		Until: time.Now().Add(g.lasts), ExpiryGrace: g.grace, Confirm: g.confirm,
	}
	if b.By == "" {
		b.By = thisUser()
	}
	if !cmd.Flags().Changed("confirm") {
		var err error
		if b.Confirm, err = ask(cmd, b); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// thisUser is the name of the user whose process this is, "" if it is not known.
func thisUser() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return u.Username
}

// ask asks on the terminal for the sentence that confirms a break-glass.
func ask(cmd *cobra.Command, b *vault.BreakGlass) (string, error) {
	in, ok := cmd.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		e := wrongUse(cmd, "--break-glass has to be confirmed, and there is no terminal to ask on").(*tuferr.Error)
		e.Hint = "give --confirm " + shellQuote(b.Phrase())
		return "", e
	}
	var p page
	p.line("This overrides the policy. Whoever reads the events will see who did it, and why.")
	p.line("To confirm it, type: %s", b.Phrase())
	_, _ = io.WriteString(cmd.ErrOrStderr(), p.b.String()) // nobody can confirm what cannot be read
	return readLine(cmd.Context(), in)
}

// maxLine is the longest answer in bytes.
const maxLine = 8 << 10

// readLine reads one line, unless ctx ends before.
func readLine(ctx context.Context, in io.Reader) (string, error) {
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(io.LimitReader(in, maxLine)).ReadString('\n') // what was read is compared
		line <- strings.TrimRight(text, "\r\n")
	}()
	select {
	case text := <-line:
		return text, nil
	case <-ctx.Done():
		return "", tuferr.Cancelled(ctx)
	}
}

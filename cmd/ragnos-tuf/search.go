package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ragnos-labs/vault-tuf/internal/plugin"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/vault"
)

const missingHelp = `Repositories
that cannot be listed are named on stderr; the exit code is 0 if one could be.`

// listFlags are the flags that narrow a listing.
var listFlags = []string{"publisher", "channel", "latest", "denied"}

func addListFlags(f *pflag.FlagSet, o *vault.ListOptions) {
	f.StringVar(&o.Publisher, "publisher", "", "only plugins of this publisher, `NAME`")
	f.StringVar(&o.Channel, "channel", "", "only what who follows this channel is offered, `CHANNEL`: stable, or beta for both")
	f.BoolVar(&o.Latest, "latest", false, "only the highest version of each plugin")
	f.BoolVar(&o.Denied, "denied", false, "also what the policy denies or its publisher withdrew, with the reason")
}

// checkListing refuses a channel that cannot be.
func checkListing(cmd *cobra.Command, o *vault.ListOptions) error {
	if o.Channel == "" {
		return nil
	}
	if _, err := plugin.ParseChannel(o.Channel); err != nil {
		return wrongUse(cmd, "--channel "+quoted(o.Channel)+" is neither stable nor beta")
	}
	return nil
}

func newSearch(a *app) *cobra.Command {
	var o vault.ListOptions
	cmd := &cobra.Command{
		Use:   "search [WORD...]",
		Short: "Find plugins by their names, publishers and descriptions",
		Long: `Find the plugins that have all words in publisher, name, description, target path
or repository, in upper or lower case, and that the policy allows. Without words
all are shown. ` + missingHelp,
		Example: `  ragnos-tuf search --config plugins.yaml hello
  ragnos-tuf search --publisher acme --latest --denied`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkListing(cmd, &o); err != nil {
				return err
			}
			return a.withVault(cmd, func(ctx context.Context, v *vault.Vault) error {
				listing, err := v.Search(ctx, strings.Join(args, " "), o)
				return a.printListing(listing, o.Denied, err)
			})
		},
	}
	addListFlags(cmd.Flags(), &o)
	return cmd
}

// printListing prints what repositories offer, or returns the error.
func (a *app) printListing(l *vault.Listing, denied bool, err error) error {
	if err != nil {
		return err
	}
	a.waiting.tells(string(vault.EventOffline))
	for _, m := range l.Missing {
		a.waiting.tells(repositoryKey(m.Repository))
	}
	object := struct {
		done
		*vault.Listing
	}{done{true}, l}
	if err := a.print(object, func(p *page) { p.listing(l, denied) }); err != nil || a.json {
		return err
	}
	var p page
	for _, m := range l.Missing {
		p.problem(a.ours(missing(m)))
	}
	a.complain(&p)
	return nil
}

// missing is the error of a repository that a listing is without; it names it.
func missing(m vault.Missing) *tuferr.Error {
	e := *single(m.Err)[0]
	e.Op = "not listed"
	return &e
}

func (p *page) listing(l *vault.Listing, denied bool) {
	if len(l.Plugins) == 0 {
		p.line("nothing found")
		return
	}
	head := []string{"plugin", "version", "channel", "size", "repository"}
	if denied {
		head = append(head, "denied by")
	}
	rows := [][]string{head}
	offline := map[string]bool{}
	for i := range l.Plugins {
		x := &l.Plugins[i]
		row := []string{orTarget(x), x.Version, x.Channel, size(x.Length), x.Repository}
		if denied {
			row = append(row, why(x))
		}
		rows = append(rows, row)
		if x.Offline {
			offline[x.Repository] = true
		}
	}
	p.table(rows)
	for _, name := range slices.Sorted(maps.Keys(offline)) {
		p.line("offline: repository %s is not accessible; its part rests on metadata verified before, which has not expired", name)
	}
}

// orTarget is what people call a plugin; what has no manifest has only its path.
func orTarget(p *vault.Plugin) string {
	if id := p.ID(); id != "" {
		return id
	}
	return p.Target
}

// why is the rule that denies a plugin, and what it says.
func why(p *vault.Plugin) string {
	if p.Denied == nil {
		return ""
	}
	return fmt.Sprintf("%s: %s", p.Denied.Rule, p.Denied.Message)
}

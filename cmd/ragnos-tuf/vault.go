package main

import (
	"cmp"
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/vault"
	"github.com/ragnos-labs/vault-tuf/vault/policy"
)

// withVault runs f with a vault, and ends it afterwards.
func (a *app) withVault(cmd *cobra.Command, f func(context.Context, *vault.Vault) error) error {
	o, err := a.vaultOptions()
	if err != nil {
		return err
	}
	v, err := vault.New(o)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		if err := v.Shutdown(end); err != nil && o.Logger != nil {
			o.Logger.Debug("the vault did not end in time", "error", err)
		}
	}()
	return f(ctx, v)
}

// vaultOptions turns the flags into the options of a vault: those of the file that
// --config names, or else one repository, from flags and environment, of which
// everything is allowed: who names a plugin on the command line has decided.
func (a *app) vaultOptions() (vault.Options, error) {
	o := vault.Options{
		File: a.config, Mode: hybrid.Mode(a.client), Python: a.python,
		MetadataDir: a.metadataDir, CacheDir: a.cacheDir, Logger: a.logger(), OnSecurityEvent: a.noteEvent,
	}
	if a.config != "" {
		return o, nil
	}
	one, err := a.options()
	if err != nil {
		return o, err
	}
	o.Policy = policy.Policy{Allow: policy.Match{Names: []string{"*"}}, Channels: []string{"stable", "beta"}}
	r := vault.Repository{
		Name: vault.DefaultRepository, MetadataURL: one.MetadataURL, TargetsURL: one.TargetsURL, Root: one.Root,
		URL:         cmp.Or(one.RepositoryURL, os.Getenv(hybrid.EnvRepoURL), hybrid.DefaultRepoURL),
		MetadataDir: cmp.Or(one.MetadataDir, os.Getenv(hybrid.EnvMetadataDir), hybrid.DefaultMetadataDir),
	}
	if r.Root == nil {
		r.RootFile = os.Getenv(hybrid.EnvRoot)
	}
	o.Repositories = []vault.Repository{r}
	return o, nil
}

// noteEvent tells people of what the result of a command does not say. Events about
// an error are told with it.
func (a *app) noteEvent(e vault.Event) {
	if e.Severity == hybrid.SeverityInfo || e.Err != nil && e.Code != vault.EventRunsOn && e.Code != vault.EventOffline {
		return
	}
	var p page
	p.line("ragnos-tuf: %s: %s", e.Severity, e.Message)
	_, _ = io.WriteString(a.stderr, p.b.String()) // there is no other place to complain
}

// oneRepository refuses --config for a command that works on one repository.
func (a *app) oneRepository(cmd *cobra.Command) error {
	if a.config != "" {
		return wrongUse(cmd, "--config does not go with this command: name one repository by flags")
	}
	return nil
}

func ruleOf(err error) string {
	if e := tuferr.As(err); e != nil {
		var d *policy.Denial
		if asDenial(e, &d) {
			return d.Rule
		}
	}
	return ""
}

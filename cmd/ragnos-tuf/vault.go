package main

import (
	"cmp"
	"context"
	"math"
	"os"

	"github.com/spf13/cobra"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/vault"
	"github.com/ragnos-labs/vault-tuf/vault/policy"
)

// withVault runs f with a vault, and ends it afterwards. All events have been told
// when it returns.
func (a *app) withVault(cmd *cobra.Command, f func(context.Context, *vault.Vault) error) error {
	if a.replaceRoot {
		return wrongUse(cmd, "--replace-root does not go with this command: use init")
	}
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
// --config names, or else one repository, where all other commands have it.
func (a *app) vaultOptions() (vault.Options, error) {
	o := vault.Options{
		File: a.config, Mode: hybrid.Mode(a.client), Python: a.python,
		MetadataDir: a.metadataDir, CacheDir: a.cacheDir, Logger: a.logger(), OnSecurityEvent: a.tell,
	}
	if a.config != "" {
		return o, nil
	}
	one, err := a.options()
	if root := os.Getenv(hybrid.EnvRoot); err == nil && one.Root == nil && root != "" {
		one.Root, err = readRoot(root)
	}
	if err != nil {
		return o, err
	}
	// Who names a repository on the command line has decided.
	o.Policy = policy.Policy{Allow: policy.Match{Names: []string{"*"}}, Channels: []string{"stable", "beta"}, MaxSize: math.MaxInt64}
	o.Repositories = []vault.Repository{{
		Name: vault.DefaultRepository, MetadataURL: one.MetadataURL, TargetsURL: one.TargetsURL, Root: one.Root,
		URL:         cmp.Or(one.RepositoryURL, os.Getenv(hybrid.EnvRepoURL), hybrid.DefaultRepoURL),
		MetadataDir: cmp.Or(one.MetadataDir, os.Getenv(hybrid.EnvMetadataDir), hybrid.DefaultMetadataDir),
	}}
	return o, nil
}

// tell tells people of the events that the result of a command does not say. Those
// about an error, and answers without the repository, are told with it.
func (a *app) tell(e vault.Event) {
	var p page
	switch {
	case e.Code == vault.EventBreakGlass:
		p.line("ragnos-tuf: BREAK-GLASS: %s", e.Message)
	case e.Err != nil || e.Severity == hybrid.SeverityInfo:
		return
	case e.Repository != "":
		p.line("ragnos-tuf: %s: repository %s: %s", e.Severity, e.Repository, e.Message)
	default:
		p.line("ragnos-tuf: %s: %s", e.Severity, e.Message)
	}
	a.complain(&p)
}

// oneRepository refuses --config for a command that works on one repository.
func (a *app) oneRepository(cmd *cobra.Command) error {
	if a.config != "" {
		return wrongUse(cmd, "--config does not go with this command: name one repository by flags")
	}
	return nil
}

// needsConfig refuses flags that mean something with --config only.
func (a *app) needsConfig(cmd *cobra.Command, flags ...string) error {
	for _, name := range flags {
		if a.config == "" && cmd.Flags().Changed(name) {
			return wrongUse(cmd, "--"+name+" needs --config FILE")
		}
	}
	return nil
}

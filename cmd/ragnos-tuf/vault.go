package main

import (
	"cmp"
	"context"
	"errors"
	"math"
	"os"
	"sync"

	"github.com/spf13/cobra"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
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
	err = f(ctx, v)
	a.telemetry.End() // as long as there are clients to ask for the gauges
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if late := v.Shutdown(end); late != nil && o.Logger != nil {
		o.Logger.Debug("the vault did not end well", "error", late)
	}
	a.tellRest(err)
	return err
}

// vaultOptions turns the flags into the options of a vault: those of the file that
// --config names, or else one repository, where all other commands have it.
func (a *app) vaultOptions() (vault.Options, error) {
	o := vault.Options{
		File: a.config, Mode: hybrid.Mode(a.client), Python: a.python,
		MetadataDir: a.metadataDir, CacheDir: a.cacheDir, Logger: a.logger(), OnSecurityEvent: a.tell,
	}
	t := a.observed()
	o.TracerProvider, o.MeterProvider = t.Tracers, t.Meters
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

// tell tells people of the events that no result and no error tells of. Those about
// an error wait until it is known how the call ends.
func (a *app) tell(e vault.Event) {
	switch {
	case e.Severity == hybrid.SeverityInfo:
	case e.Err != nil && (e.Code != vault.EventBreakGlass || e.Evidence.By != ""):
		a.waiting.add(e) // The error of a break-glass that failed says all of it.
	default:
		var p page
		p.event(e)
		a.complain(&p)
	}
}

func (p *page) event(e vault.Event) {
	switch {
	case e.Code == vault.EventBreakGlass:
		p.line("ragnos-tuf: BREAK-GLASS: %s", e.Message)
	case e.Repository != "":
		p.line("ragnos-tuf: %s: repository %s: %s", e.Severity, e.Repository, e.Message)
	default:
		p.line("ragnos-tuf: %s: %s", e.Severity, e.Message)
	}
}

// waiting holds events about errors. It is safe for concurrent use.
type waiting struct {
	mu     sync.Mutex
	events []vault.Event
	// told are the codes of events, the repositories and the codes of errors that the
	// result, or the error, tells of.
	told map[string]bool
}

func (w *waiting) add(e vault.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

// tells notes what the result of the command tells of.
func (w *waiting) tells(what ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.told == nil {
		w.told = map[string]bool{}
	}
	for _, s := range what {
		w.told[s] = true
	}
}

// tellRest tells of errors that the end of the command does not: a repository that
// was refused, or out of reach, where another one answered.
func (a *app) tellRest(err error) {
	var f found
	if errors.As(err, &f) {
		return // It has told of each repository.
	}
	a.waiting.tellsError(err)
	a.waiting.mu.Lock()
	defer a.waiting.mu.Unlock()
	var p page
	once := map[string]bool{}
	for _, e := range a.waiting.events {
		key := e.Repository + "\n" + string(e.Evidence.Code)
		if once[key] || a.waiting.has(e) {
			continue
		}
		once[key] = true
		p.event(e)
	}
	a.complain(&p)
}

// has says whether the result, or an error, tells of an event.
func (w *waiting) has(e vault.Event) bool {
	return w.told[string(e.Code)] || w.told[repositoryKey(e.Repository)] || w.told[errorKey(e.Evidence.Code)]
}

// repositoryKey and errorKey are how [waiting] holds the name of a repository and
// the code of an error.
func repositoryKey(name string) string   { return "repository " + name }
func errorKey(code protocol.Code) string { return "error " + string(code) }

// tellsError notes that an error, and all that it wraps, is told of.
func (w *waiting) tellsError(err error) {
	if e, ok := err.(*tuferr.Error); ok {
		w.tells(errorKey(e.Code))
	}
	switch u := err.(type) {
	case interface{ Unwrap() []error }:
		for _, c := range u.Unwrap() {
			w.tellsError(c)
		}
	case interface{ Unwrap() error }:
		w.tellsError(u.Unwrap())
	}
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

package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/debuglog"
	"github.com/ragnos-labs/vault-tuf/internal/otelsetup"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// shutdownTimeout bounds how long the end of the command waits for the worker.
const shutdownTimeout = 5 * time.Second

// app is what the commands share: where they write and the common flags.
type app struct {
	stdout, stderr io.Writer

	config                           string
	repoURL, metadataURL, targetsURL string
	metadataDir, cacheDir            string
	root                             string
	replaceRoot                      bool
	client, python                   string
	timeout                          time.Duration
	json, debug                      bool

	// cancel ends the context that --timeout made.
	cancel context.CancelFunc
	// offline is why the repository could not be asked when the trust store
	// answered in its place.
	offline error
	// waiting are events of a vault that may have to be told of at the end.
	waiting waiting
	// telemetry is what the environment asks for, nil before it is needed.
	telemetry *otelsetup.Setup
}

func (a *app) addFlags(f *pflag.FlagSet) {
	f.StringVar(&a.config, "config", "", "configuration `FILE`: several repositories and a policy (docs/configuration.md)")
	f.StringVar(&a.repoURL, "repo-url", "", "`URL` of the repository: metadata lies below /metadata/, plugins below /targets/")
	f.StringVar(&a.metadataURL, "metadata-url", "", "`URL` of the metadata, if it is not below --repo-url")
	f.StringVar(&a.targetsURL, "targets-url", "", "`URL` of the plugins, if they are not below --repo-url")
	f.StringVar(&a.metadataDir, "metadata-dir", "", "`DIR` of the trust store")
	f.StringVar(&a.cacheDir, "cache-dir", "", "`DIR` of verified plugins")
	f.StringVar(&a.root, "root", "", "trusted root, `FILE`; the first one pins the trust store")
	f.BoolVar(&a.replaceRoot, "replace-root", false, "let --root take the place of another pinned root")
	f.StringVar(&a.client, "client", "", "which engines verify, `MODE`: auto, go (or js), python, dual or off")
	f.StringVar(&a.python, "python", "", "Python interpreter for python-tuf, `PATH`")
	f.DurationVar(&a.timeout, "timeout", 0, "give up after this long, such as 30s or 2m (0 means no limit)")
	f.BoolVar(&a.json, "json", false, "print one JSON object on stdout, for errors too")
	f.BoolVar(&a.debug, "debug", false, "log to stderr, as DEBUG=tuf:* does")
}

// prepare applies and checks the common flags before a command runs.
func (a *app) prepare(cmd *cobra.Command) error {
	if a.timeout < 0 {
		return wrongUse(cmd, "--timeout is negative")
	}
	if err := a.checkConfig(cmd); err != nil {
		return err
	}
	if a.replaceRoot && a.root == "" && os.Getenv(hybrid.EnvRoot) == "" {
		return wrongUse(cmd, "--replace-root needs --root FILE")
	}
	if a.timeout > 0 {
		var ctx context.Context
		ctx, a.cancel = context.WithTimeout(cmd.Context(), a.timeout)
		cmd.SetContext(ctx)
	}
	return nil
}

// ofOneRepository are the flags that say where one repository is and what it is
// trusted by. A configuration says so of each.
var ofOneRepository = []string{"repo-url", "metadata-url", "targets-url", "root", "replace-root"}

func (a *app) checkConfig(cmd *cobra.Command) error {
	if !cmd.Flags().Changed("config") {
		return nil
	}
	if a.config == "" {
		return wrongUse(cmd, "--config names no file")
	}
	var wrong []string
	for _, name := range ofOneRepository {
		if cmd.Flags().Changed(name) {
			wrong = append(wrong, "--"+name)
		}
	}
	if len(wrong) > 0 {
		return wrongUse(cmd, "--config does not go with "+strings.Join(wrong, ", ")+": the file says that of each repository")
	}
	return nil
}

// with runs f with a client, and ends the client afterwards.
func (a *app) with(cmd *cobra.Command, f func(context.Context, *hybrid.Client) error) error {
	o, err := a.options()
	if err != nil {
		return err
	}
	c, err := hybrid.New(o)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	defer func() {
		a.telemetry.End() // as long as there is a client to ask for the gauges
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		if err := c.Shutdown(end); err != nil && o.Logger != nil {
			o.Logger.Debug("the client did not end in time", "error", err)
		}
	}()
	return f(ctx, c)
}

// options turns the flags into the client's options. What no flag says, the
// client takes from the environment.
func (a *app) options() (hybrid.Options, error) {
	o := hybrid.Options{
		RepositoryURL: a.repoURL, MetadataURL: a.metadataURL, TargetsURL: a.targetsURL,
		MetadataDir: a.metadataDir, CacheDir: a.cacheDir, ReplaceRoot: a.replaceRoot,
		Mode: hybrid.Mode(a.client), Python: a.python, Logger: a.logger(), OnEvent: a.note,
	}
	t := a.observed()
	o.TracerProvider, o.MeterProvider = t.Tracers, t.Meters
	var err error
	if a.root != "" {
		o.Root, err = readRoot(a.root)
	}
	return o, err
}

// observed starts the telemetry that the environment asks for.
func (a *app) observed() *otelsetup.Setup {
	if a.telemetry == nil {
		a.telemetry = otelsetup.Start(otelsetup.Config{Service: "ragnos-tuf", Log: a.logger()})
	}
	return a.telemetry
}

// note tells people of what the result of a command does not say: a trust store
// that had to be healed, for one. Events about an error are told with it.
func (a *app) note(e hybrid.Event) {
	switch {
	case e.Code == "offline":
		a.offline = e.Err
	case e.Err == nil && e.Severity != hybrid.SeverityInfo:
		var p page
		p.line("ragnos-tuf: %s: %s", e.Severity, e.Message)
		a.complain(&p)
	}
}

// logger is nil unless debugging was asked for.
func (a *app) logger() *slog.Logger {
	wanted := os.Getenv("DEBUG")
	if a.debug {
		wanted += ",tuf:*"
	}
	selected := debuglog.Parse(wanted)
	if !selected.Any() {
		return nil
	}
	return slog.New(debuglog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: debuglog.Level}), selected))
}

// readRoot reads a trusted root file. Whether it is one is for others to find out.
func readRoot(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, rootError(path, err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, admission.DefaultRootBytes+1))
	if err != nil {
		return nil, rootError(path, err)
	}
	if len(raw) == 0 {
		return nil, rootError(path, errors.New("it is empty"))
	}
	return raw, nil
}

func rootError(path string, err error) error {
	e := tuferr.New(protocol.CodeBadRoot, "the trusted root file cannot be read")
	if errors.Is(err, fs.ErrPermission) {
		e.Code = protocol.CodePermissions
	}
	var detail *fs.PathError
	if errors.As(err, &detail) {
		err = detail.Err
	}
	e.Path, e.Err = path, err
	e.Hint = "give the root.json that the publisher hands out with --root FILE"
	return e
}

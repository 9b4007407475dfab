package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/transport"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// level grades a finding.
type level string

const (
	good    level = "ok"
	warning level = "warning"
	problem level = "problem"
)

// finding is what one check of doctor says.
type finding struct {
	// Repository is the one that was checked, where a configuration names them.
	Repository string `json:"repository,omitempty"`
	Check      string `json:"check"`
	Level      level  `json:"level"`
	Message    string `json:"message"`
	// Fix is the command that mends it, Code the error it will lead to.
	Fix  string        `json:"fix,omitempty"`
	Code protocol.Code `json:"code,omitempty"`
}

// doctor collects findings.
type doctor struct {
	*app
	findings []finding
	// repository is the one that is checked, where a configuration names them.
	repository string
}

func newDoctor(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check everything that a download needs, and say how to mend it",
		Long: `Check engine mode, directories, trusted root, Python with python-tuf, repository and
clock. Pins and downloads nothing. Each check is ok, a warning or a problem, with the command
that mends it below. The exit code is 0 if there is no problem, else that of the
first one.

With --config FILE, check the configuration and every repository that it names.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := &doctor{app: a}
			if a.config != "" {
				d.examineConfig(cmd.Context())
			} else {
				d.examine(cmd.Context())
			}
			if err := cmd.Context().Err(); err != nil {
				return tuferr.New(endCode(err), "the checks were not finished: %w", err)
			}
			return d.report()
		},
	}
}

func endCode(err error) protocol.Code {
	if err == context.DeadlineExceeded {
		return protocol.CodeTimeout
	}
	return protocol.CodeCancelled
}

// patient is a client that is examined: its status, and what it was made of.
type patient struct {
	*hybrid.Status
	limits hybrid.Limits
	// given says where the root that is given comes from, "" if none is; root holds it.
	given string
	root  []byte
	// What mends it: how a root is given, how one takes the place of another, and
	// where the URL comes from.
	giveRoot, replaceRoot, checkURL string
}

// examine runs all checks of one repository. What does not depend on a client that
// can be made is checked even if none can.
func (d *doctor) examine(ctx context.Context) {
	opts, rootErr := d.options()
	c, err := hybrid.New(opts)
	if err != nil {
		d.trouble("options", err)
		d.checkPython(ctx, "", "")
		return
	}
	defer func() { _ = c.Shutdown(context.WithoutCancel(ctx)) }() // nothing is running
	st, statusErr := c.Status(ctx)
	if st == nil {
		d.trouble("trust store", statusErr)
		return
	}
	d.checkMode(st.Mode, st.Engine)
	d.checkDirectory("metadata directory", st.MetadataDir, "choose another directory with --metadata-dir")
	d.checkDirectory("cache directory", st.CacheDir, "choose another directory with --cache-dir")
	p := &patient{Status: st, giveRoot: "ragnos-tuf init --root FILE", checkURL: "check --repo-url and --metadata-url"}
	if p.given, p.root, rootErr = d.givenRoot(opts.Root, rootErr); rootErr != nil {
		d.trouble(trustedRoot, rootErr)
	}
	p.replaceRoot = "ragnos-tuf init --replace-root --root " + shellQuote(p.given)
	d.checkTrust(p, statusErr, rootErr == nil)
	d.checkPython(ctx, st.Mode, "")
	hc, err := transport.New(doctored(hybrid.HTTPOptions{}, opts.Logger))
	d.checkRepository(ctx, p, hc, err)
}

// doctored are the options of a client that is quick to give up.
func doctored(o hybrid.HTTPOptions, logger *slog.Logger) hybrid.HTTPOptions {
	o.Attempts, o.TotalTimeout, o.Logger = 1, repositoryTimeout, logger
	return o
}

// givenRoot returns where the root that flag or environment give lies, "" if
// they give none, and its bytes.
func (d *doctor) givenRoot(flag []byte, readErr error) (path string, raw []byte, err error) {
	if d.root != "" {
		return d.root, flag, readErr
	}
	if path = os.Getenv(hybrid.EnvRoot); path != "" {
		raw, err = readRoot(path)
	}
	return path, raw, err
}

// command is a command line with the same configuration.
func (d *doctor) command(verb string) string {
	if d.config != "" {
		return "ragnos-tuf " + verb + " --config " + shellQuote(d.config)
	}
	return "ragnos-tuf " + verb
}

func (d *doctor) add(f finding) {
	f.Repository = d.repository
	d.findings = append(d.findings, f)
}

func (d *doctor) ok(check, format string, args ...any) {
	d.add(finding{Check: check, Level: good, Message: fmt.Sprintf(format, args...)})
}

// mend adds a finding that has to be mended.
func (d *doctor) mend(check string, l level, code protocol.Code, fix, format string, args ...any) {
	d.add(finding{Check: check, Level: l, Message: fmt.Sprintf(format, args...), Fix: fix, Code: code})
}

// trouble makes a problem of an error.
func (d *doctor) trouble(check string, err error) { d.fault(check, problem, err) }

func (d *doctor) fault(check string, l level, err error) {
	e := tuferr.As(err)
	if e == nil {
		e = tuferr.New(protocol.CodeInternal, "%w", err)
	}
	message, fix := split(e)
	d.mend(check, l, e.Code, fix, "%s", message)
}

func (d *doctor) checkMode(mode hybrid.Mode, engine string) {
	if mode == hybrid.ModeOff {
		d.mend("mode", problem, protocol.CodeDisabled, "use --client auto, or unset "+hybrid.EnvMode, "off: every request is refused")
		return
	}
	d.ok("mode", "%s: the next call goes to %s", mode, engine)
}

// report prints the findings. Its error is a silent one with the exit code.
func (d *doctor) report() error {
	exit := protocol.ExitOK
	for _, f := range d.findings {
		if f.Level == problem {
			exit = f.Code.Exit()
			break
		}
	}
	object := struct {
		done
		Exit   int       `json:"exit"`
		Checks []finding `json:"checks"`
	}{done{exit == protocol.ExitOK}, exit, d.findings}
	err := d.print(object, func(p *page) {
		for _, f := range d.findings {
			check := f.Check
			if f.Repository != "" {
				check = "repository " + f.Repository + ", " + check
			}
			p.line("%-8s %s: %s", f.Level, check, f.Message)
			if f.Fix != "" {
				p.line("         mend: %s", strings.TrimPrefix(f.Fix, "run: "))
			}
		}
	})
	if err == nil && exit != protocol.ExitOK {
		err = found{exit}
	}
	return err
}

package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ragnos-labs/vault-tuf/hybrid"
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
	Check   string `json:"check"`
	Level   level  `json:"level"`
	Message string `json:"message"`
	// Fix is the command that mends it, Code the error it will lead to.
	Fix  string        `json:"fix,omitempty"`
	Code protocol.Code `json:"code,omitempty"`
}

// doctor collects findings.
type doctor struct {
	*app
	opts     hybrid.Options
	status   *hybrid.Status
	findings []finding
}

func newDoctor(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check everything that a download needs, and say how to mend it",
		Long: `Check engine mode, directories, trusted root, Python with python-tuf, repository and
clock. Pins and downloads nothing. Each check is ok, a warning or a problem, with the command
that mends it below. The exit code is 0 if there is no problem, else that of the
first one.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.oneRepository(cmd); err != nil {
				return err
			}
			d := &doctor{app: a}
			d.examine(cmd.Context())
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

// examine runs all checks. What does not depend on a client that can be made is
// checked even if none can.
func (d *doctor) examine(ctx context.Context) {
	var rootErr error
	d.opts, rootErr = d.options()
	c, err := hybrid.New(d.opts)
	if err != nil {
		d.trouble("options", err)
		d.checkPython(ctx, "")
		return
	}
	defer func() { _ = c.Shutdown(context.WithoutCancel(ctx)) }() // nothing is running
	st, statusErr := c.Status(ctx)
	if st == nil {
		d.trouble("trust store", statusErr)
		return
	}
	d.status = st
	d.checkMode()
	d.checkDirectory("metadata directory", st.MetadataDir, "--metadata-dir")
	d.checkDirectory("cache directory", st.CacheDir, "--cache-dir")
	if statusErr != nil {
		d.trouble("trust store", statusErr)
	}
	d.checkRoot(rootErr, statusErr == nil)
	d.checkPython(ctx, st.Mode)
	d.checkRepository(ctx)
}

func (d *doctor) add(f finding) { d.findings = append(d.findings, f) }

func (d *doctor) ok(check, format string, args ...any) {
	d.add(finding{Check: check, Level: good, Message: fmt.Sprintf(format, args...)})
}

// trouble makes a problem of an error.
func (d *doctor) trouble(check string, err error) { d.fault(check, problem, err) }

func (d *doctor) fault(check string, l level, err error) {
	e := tuferr.As(err)
	if e == nil {
		e = tuferr.New(protocol.CodeInternal, "%w", err)
	}
	f := finding{Check: check, Level: l, Code: e.Code}
	f.Message, f.Fix = split(e)
	d.add(f)
}

func (d *doctor) checkMode() {
	st := d.status
	if st.Mode == hybrid.ModeOff {
		d.add(finding{"mode", problem, "off: every request is refused", "use --client auto, or unset " + hybrid.EnvMode, protocol.CodeDisabled})
		return
	}
	d.ok("mode", "%s: the next call goes to %s", st.Mode, st.Engine)
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
			p.line("%-8s %s: %s", f.Level, f.Check, f.Message)
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

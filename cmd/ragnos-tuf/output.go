package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"unicode"
	"unicode/utf16"

	"github.com/ragnos-labs/vault-tuf/internal/pyenv"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/vault/policy"
)

// done is the part of every JSON object that says how it went.
type done struct {
	OK bool `json:"ok"`
}

// print writes a result to stdout: object with --json, else what human writes.
func (a *app) print(object any, human func(*page)) error {
	var text string
	if a.json {
		var b strings.Builder
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(object); err != nil {
			return err
		}
		text = cleanJSON(b.String())
	} else {
		var p page
		human(&p)
		text = p.b.String()
	}
	_, err := io.WriteString(a.stdout, text)
	return onStdout(err)
}

// onStdout makes an error of writing to stdout one that says so.
func onStdout(err error) error {
	if err == nil || tuferr.As(err) != nil {
		return err
	}
	e := tuferr.New(protocol.CodeLocalIO, "cannot write to standard output: %w", err)
	if errors.Is(err, syscall.ENOSPC) {
		e.Code = protocol.CodeDiskFull
	}
	return e
}

// page is text for people. Whatever is written to it is made safe for a
// terminal: names and messages may come from strangers.
type page struct{ b strings.Builder }

func (p *page) line(format string, args ...any) {
	p.b.WriteString(clean(fmt.Sprintf(format, args...)) + "\n")
}

// table writes rows with their columns aligned.
func (p *page) table(rows [][]string) {
	w := tabwriter.NewWriter(&p.b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, c := range row {
			cells[i] = clean(c)
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	_ = w.Flush() // a strings.Builder takes everything
}

// clean replaces what could steer a terminal or turn the direction of text by
// an escape that shows it.
func clean(s string) string {
	if !strings.ContainsFunc(s, isUnsafe) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if isUnsafe(r) {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// cleanJSON writes in JSON as escapes what clean would replace; it says the same.
func cleanJSON(s string) string {
	unsafe := func(r rune) bool { return r != '\n' && isUnsafe(r) }
	if !strings.ContainsFunc(s, unsafe) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if !unsafe(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}

func isUnsafe(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }

func quoted(s string) string { return fmt.Sprintf("%.200q", s) }

// found is the end of a command that has printed its result although that is
// not a success: the findings of doctor.
type found struct{ exit int }

func (f found) Error() string { return fmt.Sprintf("exit code %d", f.exit) }

// hintRoot says how this command is given a root.
const hintRoot = "give the root.json that the publisher hands out, once: ragnos-tuf init --root FILE"

// fail reports an error, or all that it joins, and returns the exit code: that of
// the gravest.
func (a *app) fail(err error, args []string) int {
	var f found
	if errors.As(err, &f) {
		return f.exit
	}
	errs := single(err)
	for i, e := range errs {
		errs[i] = a.ours(e)
	}
	worst := gravest(errs)
	// When the flags cannot be parsed, --json may stand behind the mistake.
	if a.json || worst.Code == protocol.CodeUsage && slices.Contains(args, "--json") {
		a.json = true
		object := struct {
			done
			Error  errorObject   `json:"error"`
			Errors []errorObject `json:"errors,omitempty"`
		}{Error: describe(worst)}
		if len(errs) > 1 {
			object.Errors = describeAll(errs)
		}
		if a.print(object, nil) == nil {
			return worst.Code.Exit()
		}
	}
	var p page
	for _, e := range errs {
		p.problem(e)
	}
	a.complain(&p)
	return worst.Code.Exit()
}

// complain writes to stderr.
func (a *app) complain(p *page) {
	_, _ = io.WriteString(a.stderr, p.b.String()) // there is no other place to complain
}

// problem is an error for people. Mistakes in a configuration have a line each.
func (p *page) problem(e *tuferr.Error) {
	if e.Code == protocol.CodeUsage && len(e.Causes) > 0 {
		whole := *e
		whole.Causes = nil
		p.line("ragnos-tuf: %s", whole.Error())
		for _, c := range e.Causes {
			p.line("  %v", c)
		}
		return
	}
	message, hint := split(e)
	p.line("ragnos-tuf: %s", message)
	if hint != "" {
		p.line("hint: %s", hint)
	}
}

// single returns the errors that err joins, or else itself.
func single(err error) []*tuferr.Error {
	if e, ok := err.(*tuferr.Error); ok {
		return []*tuferr.Error{e}
	}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*tuferr.Error
		for _, e := range j.Unwrap() {
			all = append(all, single(e)...)
		}
		return all
	}
	e := tuferr.As(err)
	if e == nil {
		e = tuferr.New(protocol.CodeInternal, "%w", err)
	}
	return []*tuferr.Error{e}
}

// gravity orders the classes of errors, the gravest first.
var gravity = []protocol.Class{
	protocol.ClassVerdict, protocol.ClassFault, protocol.ClassLocal, protocol.ClassTransport,
	protocol.ClassNotFound, protocol.ClassUsage, protocol.ClassCancelled,
}

// gravest is the first error of the gravest class. There is one at least.
func gravest(errs []*tuferr.Error) *tuferr.Error {
	return slices.MinFunc(errs, func(a, b *tuferr.Error) int {
		return slices.Index(gravity, a.Class()) - slices.Index(gravity, b.Class())
	})
}

// ours adds what only this command knows: its flags and its other commands.
func (a *app) ours(e *tuferr.Error) *tuferr.Error {
	o := *e
	switch {
	case o.Code == protocol.CodeNoRoot && a.config != "":
		o.Hint = "name the root.json that the publisher hands out in " + a.config + ", as root of this repository"
	case o.Code == protocol.CodeNoRoot:
		o.Hint = hintRoot
	case o.Code == protocol.CodeRootConflict && a.config == "":
		o.Hint = "find out who changed it; if it is the right one, pin it: ragnos-tuf init --replace-root --root FILE"
	case o.Code == protocol.CodePolicyDenied && ruleOf(e) == downgradeRule:
		o.Hint = "allow it with --" + downgradeFlag
	case o.Code == protocol.CodeBadRoot && o.Path == "":
		o.Path = a.root
	case o.Code == protocol.CodeMissingDependency && !strings.Contains(o.Error(), "ragnos-tuf python install"):
		o.Hint = pyenv.InstallHint
	}
	return &o
}

// split separates what went wrong from what to do about it: the advice of the
// error, or else of its first cause that has any.
func split(e *tuferr.Error) (message, hint string) {
	message = e.Error()
	for _, h := range hints(e) {
		if hint == "" {
			hint = h
		}
		message = strings.ReplaceAll(message, "; "+h, "")
	}
	return message, hint
}

// hints are those of an error and its causes.
func hints(err error) []string {
	var all []string
	if e, ok := err.(*tuferr.Error); ok && e.Hint != "" {
		all = append(all, e.Hint)
	}
	switch u := err.(type) {
	case interface{ Unwrap() []error }:
		for _, c := range u.Unwrap() {
			all = append(all, hints(c)...)
		}
	case interface{ Unwrap() error }:
		if c := u.Unwrap(); c != nil {
			all = append(all, hints(c)...)
		}
	}
	return all
}

// errorObject is an error in JSON. The first five fields are always there.
type errorObject struct {
	Code            protocol.Code  `json:"code"`
	Class           protocol.Class `json:"class"`
	Exit            int            `json:"exit"`
	Message         string         `json:"message"`
	Hint            string         `json:"hint"`
	Op              string         `json:"op,omitempty"`
	Role            string         `json:"role,omitempty"`
	Target          string         `json:"target,omitempty"`
	Engine          string         `json:"engine,omitempty"`
	URL             string         `json:"url,omitempty"`
	HTTPStatus      int            `json:"http_status,omitempty"`
	Attempts        int            `json:"attempts,omitempty"`
	Path            string         `json:"path,omitempty"`
	TrustedVersion  int64          `json:"trusted_version,omitempty"`
	ReceivedVersion int64          `json:"received_version,omitempty"`
	Digest          string         `json:"digest,omitempty"`
	Spec            string         `json:"spec,omitempty"`
	Rule            string         `json:"rule,omitempty"`
	Causes          []errorObject  `json:"causes,omitempty"`
}

func describe(e *tuferr.Error) errorObject {
	o := errorObject{
		Code: e.Code, Class: e.Class(), Exit: e.Code.Exit(),
		Op: e.Op, Role: e.Role, Target: e.Target, Engine: e.Engine,
		URL: e.URL, HTTPStatus: e.Status, Attempts: e.Attempts, Path: e.Path,
		TrustedVersion: e.Trusted, ReceivedVersion: e.Received, Digest: e.Digest, Spec: e.Spec,
	}
	o.Message, o.Hint = split(e)
	for _, cause := range e.Causes {
		o.Causes = append(o.Causes, describeAll(single(cause))...)
	}
	o.Rule = ruleOf(e)
	return o
}

func describeAll(errs []*tuferr.Error) (all []errorObject) {
	for _, e := range errs {
		all = append(all, describe(e))
	}
	return all
}

// downgradeRule is the rule of the policy that a flag lifts.
const downgradeRule = "downgrade"

// ruleOf is the rule of the policy that an error is about, "" if it is about none.
func ruleOf(err error) string {
	var d *policy.Denial
	if errors.As(err, &d) {
		return d.Rule
	}
	return ""
}

// size is a number of bytes for people.
func size(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f, units := float64(n), "kMGTPE"
	i := -1
	for f >= 999.95 && i < len(units)-1 {
		f /= 1000
		i++
	}
	return fmt.Sprintf("%.1f %cB", f, units[i])
}

// shellQuote writes a path the way a shell reads it.
func shellQuote(s string) string {
	plain := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("/._-", r) }
	if s != "" && s[0] != '-' && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/audit"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/vault"
)

const auditShowHelp = `Tell what is on record, a line for each event: when (UTC), how grave, and what
happened. !!! marks what is critical, ! a warning, ??? a place where the log is not
what was written.

Of several conditions all must hold. TIME is such as 2030-01-31T12:00:00Z, 2030-01-31,
or 24h for so long ago; NAME the path of a plugin, or a pattern such as plugins/acme/*;
CODE that of an event, such as allowed, refused or break_glass, or of an error, such
as expired; S is critical, warning for that and what is graver, or info for all.

This reads what is there. Whether it is what was written says: ragnos-tuf audit verify.
The exit code is 14 if even reading shows that it is not.`

// showFlags say which events are shown.
type showFlags struct {
	since, target, code, severity string

	from time.Time
}

func newAuditShow(a *app) *cobra.Command {
	var dir string
	var f showFlags
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Tell what is on record as a story",
		Long:  auditShowHelp,
		Example: `  ragnos-tuf audit show --config plugins.yaml --since 24h --severity warning
  ragnos-tuf audit show --dir audit --target 'plugins/acme/*' --code break_glass`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(cmd, time.Now()); err != nil {
				return err
			}
			log, err := a.auditDir(cmd, dir)
			if err != nil {
				return err
			}
			return a.showLog(cmd.Context(), log, &f)
		},
	}
	addDirFlag(cmd.Flags(), &dir)
	cmd.Flags().StringVar(&f.since, "since", "", "from this `TIME` on")
	cmd.Flags().StringVar(&f.target, "target", "", "about the plugin with this `NAME`")
	cmd.Flags().StringVar(&f.code, "code", "", "with this `CODE`")
	cmd.Flags().StringVar(&f.severity, "severity", "", "at least as grave as `S`")
	return cmd
}

// severities are in the order of their gravity.
var severities = []hybrid.Severity{hybrid.SeverityInfo, hybrid.SeverityWarning, hybrid.SeverityCritical}

func (f *showFlags) check(cmd *cobra.Command, now time.Time) error {
	if f.since != "" {
		var ok bool
		if f.from, ok = parseSince(f.since, now); !ok {
			return wrongUse(cmd, "--since "+quoted(f.since)+" is not a time such as 2030-01-31T12:00:00Z, 2030-01-31 or 24h")
		}
	}
	if _, err := path.Match(f.target, ""); err != nil {
		return wrongUse(cmd, "--target "+quoted(f.target)+" is not a pattern")
	}
	if f.severity != "" && !slices.Contains(severities, hybrid.Severity(f.severity)) {
		return wrongUse(cmd, "--severity is critical, warning or info")
	}
	_, isEvent := sentences[vault.EventCode(f.code)]
	if _, isError := protocol.Code(f.code).Lookup(); f.code != "" && f.code != audit.KindRecovered && !isEvent && !isError {
		e := wrongUse(cmd, "there is no event and no error with the code "+quoted(f.code)).(*tuferr.Error)
		var codes []string
		for _, c := range slices.Sorted(maps.Keys(sentences)) {
			codes = append(codes, string(c))
		}
		e.Hint = "events are " + strings.Join(codes, ", ") + " and " + audit.KindRecovered + "; errors: ragnos-tuf help exit-codes"
		return e
	}
	return nil
}

// parseSince reads a time, a day, or how long ago it was.
func parseSince(s string, now time.Time) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	d, err := time.ParseDuration(s)
	return now.Add(-d), err == nil && d >= 0
}

// wants tells whether an event is to be shown.
func (f *showFlags) wants(e *onRecord) bool {
	matched, _ := path.Match(f.target, e.Target) // the pattern has been checked
	return !e.at.Before(f.from) &&
		(f.target == "" || e.Target == f.target || matched) &&
		(f.code == "" || string(e.Code) == f.code || string(e.Evidence.Code) == f.code) &&
		(f.severity == "" || gravityOf(e.Severity) >= gravityOf(hybrid.Severity(f.severity)))
}

// gravityOf is the place of a severity in the list; what is not in it is graver.
func gravityOf(s hybrid.Severity) int {
	if i := slices.Index(severities, s); i >= 0 {
		return i
	}
	return len(severities)
}

// onRecord is an event as package vault puts it on record.
type onRecord struct {
	Code       vault.EventCode `json:"code"`
	Severity   hybrid.Severity `json:"severity"`
	Repository string          `json:"repository"`
	Target     string          `json:"target"`
	Evidence   vault.Evidence  `json:"evidence"`
	Count      int64           `json:"count"`

	at time.Time
}

// shown is a line of a log as it is told.
type shown struct {
	*audit.Entry
	Severity hybrid.Severity `json:"severity"`
	Code     string          `json:"code"`
	Text     string          `json:"text"`
}

// tell says what a line is about.
func tell(e *audit.Entry) (*onRecord, *shown) {
	x := &onRecord{at: e.Time}
	if e.Kind == audit.KindRecovered {
		x.Code, x.Severity = audit.KindRecovered, hybrid.SeverityWarning
		var r struct{ Bytes int64 }
		_ = json.Unmarshal(e.Event, &r) // verify says if it cannot be read
		text := fmt.Sprintf("the writer before died in the middle of a line: %s of it were set aside", many(r.Bytes, "byte"))
		return x, &shown{e, x.Severity, audit.KindRecovered, text}
	}
	err := json.Unmarshal(e.Event, x)
	say := sentences[x.Code]
	if err != nil || say == nil {
		*x = onRecord{Code: x.Code, Severity: x.Severity, at: e.Time}
		return x, &shown{e, x.Severity, string(x.Code), "an event that this version does not know: " + string(e.Event)}
	}
	return x, &shown{e, x.Severity, string(x.Code), say(x)}
}

// story is what is shown of a log.
type story struct {
	*showFlags
	// out takes what people read as it comes, lines the objects of --json.
	out   *bufio.Writer
	lines []*shown
	// all and counts are how many lines there are, and how many are shown.
	all    int64
	counts map[hybrid.Severity]int64
	// odd is what is not as it was written, as far as reading shows, and how often.
	odd   []string
	oddly int64
	// next is the number of the next line, 0 if it is not known.
	next int64
}

// maxOdd is how many places of a log --json lists that are not as they were written.
const maxOdd = 1000

// showLog tells what a log says. What people read comes while it is read, so that a
// log may have any length.
func (a *app) showLog(ctx context.Context, dir string, f *showFlags) error {
	s := &story{showFlags: f, counts: map[hybrid.Severity]int64{}, next: 1, lines: []*shown{}}
	if !a.json {
		s.out = bufio.NewWriter(a.stdout)
	}
	for e, err := range audit.Entries(ctx, dir) {
		if err != nil && !errors.Is(err, audit.ErrNoLine) {
			return err
		}
		if err := s.line(e, err); err != nil {
			return onStdout(err)
		}
	}
	return a.endStory(s)
}

// line tells of one line, or of what is none.
func (s *story) line(e *audit.Entry, err error) error {
	if err != nil {
		s.next = 0 // It is not known what the next one is.
		message, _ := split(tuferr.As(err))
		return s.odds(message)
	}
	s.all++
	if s.next != 0 && e.Seq != s.next {
		if err := s.odds(fmt.Sprintf("line %d of the log stands where line %d should", e.Seq, s.next)); err != nil {
			return err
		}
	}
	s.next = e.Seq + 1
	x, line := tell(e)
	if !s.wants(x) {
		return nil
	}
	s.counts[x.Severity]++
	if s.out == nil {
		s.lines = append(s.lines, line)
		return nil
	}
	return s.write("%s  %-3s  %s", date(e.Time), marks[x.Severity], line.Text)
}

// marks are the severities as people see them.
var marks = map[hybrid.Severity]string{hybrid.SeverityWarning: "!", hybrid.SeverityCritical: "!!!"}

// odds tells of what is not as it was written.
func (s *story) odds(what string) error {
	s.oddly++
	if s.out != nil {
		return s.write("%-20s  ???  %s", "", what)
	}
	if len(s.odd) < maxOdd {
		s.odd = append(s.odd, what)
	}
	return nil
}

func (s *story) write(format string, args ...any) error {
	var p page
	p.line(format, args...)
	_, err := s.out.WriteString(p.b.String())
	return err
}

// endStory sums it up. The error is of what is not as it was written.
func (a *app) endStory(s *story) error {
	object := struct {
		done
		All   int64    `json:"all"`
		Lines []*shown `json:"lines"`
		Odd   []string `json:"odd,omitempty"`
	}{done{s.oddly == 0}, s.all, s.lines, s.odd}
	if s.out != nil {
		if err := s.out.Flush(); err != nil {
			return onStdout(err)
		}
	}
	err := a.print(object, func(p *page) { p.summary(s) })
	if err != nil || s.oddly == 0 {
		return err
	}
	if !a.json {
		var p page
		p.problem(&tuferr.Error{Code: protocol.CodeMismatch, Msg: "the log is not what was written, see ???", Hint: "run: ragnos-tuf audit verify"})
		a.complain(&p)
	}
	return found{protocol.CodeMismatch.Exit()}
}

func (p *page) summary(s *story) {
	n := int64(0)
	for _, c := range s.counts {
		n += c
	}
	p.line("%s, %d shown: %d critical (!!!), %s (!), %d info", many(s.all, "line"), n, s.counts[hybrid.SeverityCritical],
		many(s.counts[hybrid.SeverityWarning], "warning"), s.counts[hybrid.SeverityInfo])
}

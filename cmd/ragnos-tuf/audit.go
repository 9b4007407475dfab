package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ragnos-labs/vault-tuf/internal/audit"
	"github.com/ragnos-labs/vault-tuf/internal/diskfile"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/vault"
)

const auditHelp = `Verify, read and hand out the audit log of an application or of this command: every
decision, in a directory that --dir names, or auditDir in the file of --config. What
is in it and what can be told from it: docs/audit.md. Nothing here writes to the log,
and others may write to it meanwhile.`

func newAudit(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Verify, read and hand out the audit log",
		Long:  auditHelp,
		Example: `  ragnos-tuf audit show --config plugins.yaml --severity warning
  ragnos-tuf audit verify --config plugins.yaml --key kept/audit.pub --checkpoint kept/checkpoints
  ragnos-tuf audit export --dir /var/lib/host/audit --output audit.ndjson`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newAuditVerify(a), newAuditShow(a), newAuditExport(a))
	return cmd
}

// addDirFlag adds the flag that names the directory of a log.
func addDirFlag(f *pflag.FlagSet, dir *string) {
	f.StringVar(dir, "dir", "", "`DIR` of the audit log (default: auditDir in the file of --config)")
}

// auditDir is the directory of the log that the flags name.
func (a *app) auditDir(cmd *cobra.Command, dir string) (string, error) {
	named := cmd.Flags().Changed("dir")
	switch {
	case named && a.config != "":
		return "", wrongUse(cmd, "--dir and --config both say where the log is")
	case named && dir == "":
		return "", wrongUse(cmd, "--dir names no directory")
	case named:
		return dir, nil
	case a.config == "":
		return "", wrongUse(cmd, "no log is named: give --dir DIR or --config FILE")
	}
	o, err := vault.ReadOptions(a.config)
	if err == nil && o.AuditDir == "" {
		err = wrongUse(cmd, a.config+" says no auditDir: nothing is put on record")
	}
	return o.AuditDir, err
}

const auditVerifyHelp = `Read a whole audit log, or one that was exported to FILE, and say what is wrong with
it, where, and what can be told from it. Every line is compared with the one before
it, and with the signed checkpoints: those beside the log, at the end of FILE, and
those of --checkpoint.

A key and checkpoints that were kept elsewhere tell more: who can write to the log
can exchange what lies beside it. A FILE has no key beside it, so it needs --key.

The exit code is 0 if nothing is wrong; 14 if lines are not what was written: edited,
removed, repeated, moved, foreign; 11 if the end is missing that a checkpoint covers,
or such a checkpoint is; 10 if a checkpoint is not signed by a key of this log, or no
key is there. If several hold it is the first of these.`

func newAuditVerify(a *app) *cobra.Command {
	var dir string
	var checkpoints, keys []string
	cmd := &cobra.Command{
		Use:   "verify [FILE]",
		Short: "Find what was edited, removed, moved or cut off, and say where",
		Long:  auditVerifyHelp,
		Example: `  ragnos-tuf audit verify --config plugins.yaml
  ragnos-tuf audit verify --dir audit --key kept/audit.pub --checkpoint kept/checkpoints
  ragnos-tuf audit verify audit.ndjson --key kept/audit.pub`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return exactly("FILE")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := verifyOptions(keys, checkpoints)
			if err != nil {
				return err
			}
			if len(args) > 0 {
				return a.verifyExport(cmd, args[0], o)
			}
			log, err := a.auditDir(cmd, dir)
			if err != nil {
				return err
			}
			r, err := audit.Verify(cmd.Context(), log, o)
			return a.printReport(r, "what was given", err)
		},
	}
	addDirFlag(cmd.Flags(), &dir)
	cmd.Flags().StringArrayVar(&checkpoints, "checkpoint", nil, "`FILE` of signed checkpoints that was kept elsewhere; may be given again")
	cmd.Flags().StringArrayVar(&keys, "key", nil, "`FILE` of public keys, best kept elsewhere (default: audit.pub beside the log)")
	return cmd
}

// maxCheckpoints is the longest file of checkpoints that --checkpoint takes, in bytes:
// that of a log with one a minute for three years.
const maxCheckpoints = 512 << 20

// verifyOptions reads the files of keys and of checkpoints that were kept elsewhere.
func verifyOptions(keys, checkpoints []string) (o audit.VerifyOptions, err error) {
	if o.Verifiers, err = audit.ReadKeys(keys...); err != nil {
		return o, err
	}
	for _, path := range checkpoints {
		raw, _, err := diskfile.Read(path, maxCheckpoints)
		if err != nil {
			return o, err
		}
		if raw = bytes.TrimSpace(raw); len(raw) == 0 {
			e := tuferr.New(protocol.CodeLocalIO, "%s holds no checkpoint", path)
			e.Path, e.Hint = path, "give a copy of the file "+audit.CheckpointsName+" of the log, or one note of it"
			return o, e
		}
		o.Checkpoints = append(append(o.Checkpoints, raw...), "\n\n"...)
	}
	return o, nil
}

// verifyExport verifies a log that was exported.
func (a *app) verifyExport(cmd *cobra.Command, path string, o audit.VerifyOptions) error {
	switch {
	case a.config != "" || cmd.Flags().Changed("dir"):
		return wrongUse(cmd, "FILE is an exported log: --dir and --config do not go with it")
	case len(o.Verifiers) == 0:
		return wrongUse(cmd, "an exported log has no key beside it: give --key FILE, a copy of "+audit.PublicName)
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return wrongUse(cmd, quoted(path)+" is a directory: give --dir DIR")
	}
	f, _, err := diskfile.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := audit.VerifyExport(cmd.Context(), f, o)
	if err != nil {
		err = diskfile.Error("read", path, err)
	}
	return a.printReport(r, path, err)
}

// verdict is a code and the kinds of problems that it stands for.
type verdict struct {
	code  protocol.Code
	kinds []audit.Kind
}

// verdicts are the codes of what can be wrong with a log, the gravest first. A kind
// that none names is a mismatch.
var verdicts = []verdict{
	{protocol.CodeMismatch, nil},
	{protocol.CodeRollback, []audit.Kind{audit.KindTruncated, audit.KindCheckpointMissing}},
	{protocol.CodeUnsigned, []audit.Kind{audit.KindCheckpointForged, audit.KindCheckpointForeign, audit.KindKeyMissing}},
}

// reportCode is the code of the gravest problem of a report, "" if there is none.
func reportCode(r *audit.Report) protocol.Code {
	worst := len(verdicts)
	for _, p := range r.Problems {
		is := slices.IndexFunc(verdicts[1:], func(v verdict) bool { return slices.Contains(v.kinds, p.Kind) }) + 1
		worst = min(worst, is)
	}
	if worst == len(verdicts) {
		return ""
	}
	return verdicts[worst].code
}

// printReport prints what was found. The exit code is that of the gravest problem.
// given is what a place without a file is in.
func (a *app) printReport(r *audit.Report, given string, err error) error {
	if err != nil {
		return err
	}
	code := reportCode(r)
	object := struct {
		done
		Code protocol.Code `json:"code,omitempty"`
		*audit.Report
	}{done{code == ""}, code, r}
	if err := a.print(object, func(p *page) { p.report(r, given) }); err != nil || code == "" {
		return err
	}
	return found{code.Exit()}
}

// report is a report for people.
func (p *page) report(r *audit.Report, given string) {
	rows := [][]string{{"lines", fmt.Sprintf("%d in %s, %s", r.Lines, many(int64(r.Files), "file"), size(r.Bytes))}}
	if r.Lines > 0 {
		rows = append(rows, []string{"written", fmt.Sprintf("from %s to %s", date(r.First), date(r.Last))})
	}
	rows = append(rows, []string{"checkpoints", fmt.Sprintf("%d stored, %d given; they cover %s", r.Checkpoints, r.Anchors, many(r.Covered, "line"))})
	if r.Recovered > 0 {
		rows = append(rows, []string{"recovered", many(r.Recovered, "line") + " that tell of a torn one before"})
	}
	if r.Backward > 0 {
		rows = append(rows, []string{"clock", "set back, as the times of lines say: " + many(r.Backward, "time")})
	}
	problems := "none"
	if !r.OK() {
		problems = fmt.Sprint(int64(len(r.Problems)) + r.More)
	}
	p.table(append(rows, []string{"problems", problems}))
	for _, x := range r.Problems {
		p.line("problem: %s: %s: %s", x.Kind, place(x.Place, given), x.Message)
	}
	if r.More > 0 {
		p.line("%d more problems are not listed", r.More)
	}
	for _, n := range r.Notes {
		p.line("note: %s", n)
	}
}

// place says where something stands: in a file, or in what was given.
func place(at audit.Place, given string) string {
	name := cmp.Or(at.File, given)
	if at.Line == 0 {
		return name
	}
	return fmt.Sprintf("%s line %d, byte %d", name, at.Line, at.Offset)
}

// many counts things.
func many(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func newAuditExport(a *app) *cobra.Command {
	var dir, output string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the log and its latest checkpoint, for somebody else to verify",
		Long: `Write the lines that the latest checkpoint covers, byte for byte, and that checkpoint
as the last line, to FILE or to stdout. Whoever has the public key can verify it:
ragnos-tuf audit verify FILE --key audit.pub

FILE is replaced as a whole or not touched. Lines that no checkpoint covers yet are
not in it. It is checked no further than that lines and checkpoint are there: who
verifies it does that.`,
		Example: `  ragnos-tuf audit export --config plugins.yaml --output audit.ndjson
  ragnos-tuf audit export --dir audit | gzip > audit.ndjson.gz`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := a.auditDir(cmd, dir)
			switch {
			case err != nil:
				return err
			case output != "" && sameDir(filepath.Dir(output), log):
				return wrongUse(cmd, "--output is in the directory of the log, which nothing here writes to")
			case output != "":
				return a.exportLog(cmd.Context(), log, output)
			case a.json:
				return wrongUse(cmd, "--json needs --output FILE: stdout would be the log")
			}
			out := bufio.NewWriter(a.stdout)
			if err = audit.Export(cmd.Context(), log, out, nil); err == nil {
				err = out.Flush()
			}
			return onStdout(err)
		},
	}
	addDirFlag(cmd.Flags(), &dir)
	cmd.Flags().StringVarP(&output, "output", "o", "", "write to `FILE`, not to stdout")
	return cmd
}

// sameDir tells whether two paths name one directory.
func sameDir(a, b string) bool {
	x, err := os.Stat(a)
	y, err2 := os.Stat(b)
	return err == nil && err2 == nil && os.SameFile(x, y)
}

// exportLog writes a log to a file.
func (a *app) exportLog(ctx context.Context, log, output string) error {
	lines := &lineCounter{}
	n, err := writeWhole("exported log", output, func(f io.Writer) error {
		return audit.Export(ctx, log, io.MultiWriter(f, lines), nil)
	})
	if err != nil {
		return err
	}
	object := struct {
		done
		Saved  string `json:"saved"`
		Lines  int64  `json:"lines"`
		Length int64  `json:"length"`
	}{done{true}, output, lines.n - 1, n}
	return a.print(object, func(p *page) {
		p.line("saved %s  %s, and the checkpoint of them, %s", output, many(lines.n-1, "line"), size(n))
		p.line("to verify it: ragnos-tuf audit verify %s --key %s", shellQuote(output), shellQuote(filepath.Join(log, audit.PublicName)))
	})
}

// lineCounter counts the lines that are written to it.
type lineCounter struct{ n int64 }

func (c *lineCounter) Write(p []byte) (int, error) {
	c.n += int64(bytes.Count(p, []byte("\n")))
	return len(p), nil
}

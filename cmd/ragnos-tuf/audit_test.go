package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/audit"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/vault"
)

// constants are the values of a file's string constants of a type.
func constants(t *testing.T, path, typ string) (all []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	require.NoError(t, err)
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			if id, ok := spec.Type.(*ast.Ident); ok && id.Name == typ {
				value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
				require.NoError(t, err)
				all = append(all, value)
			}
		}
		return true
	})
	require.NotEmpty(t, all)
	return all
}

// Every event has a sentence, also where its evidence is empty.
func TestEveryEventHasASentence(t *testing.T) {
	codes := constants(t, "../../vault/event.go", "EventCode")
	require.Len(t, sentences, len(codes))
	full := vault.Evidence{Code: "rollback", Engine: "host", Role: "timestamp", Trusted: 3, Received: 2, Digest: "abc", Spec: "5.4.3", URL: "https://u", Rule: "allow", From: "1", To: "2", By: "dana", Reason: "r", Store: "quarantined"}
	for _, code := range codes {
		say := sentences[vault.EventCode(code)]
		require.NotNil(t, say, code)
		require.NotEmpty(t, say(&onRecord{}), code)
		require.NotRegexp(t, `%!`, say(&onRecord{}), code)
		got := say(&onRecord{Repository: "one", Target: "t", Count: 2, Evidence: full})
		require.NotRegexp(t, `  |, ,|%!|,$`, got, code)
		if code != string(vault.EventAudit) && code != string(vault.EventLost) {
			require.Regexp(t, `\b(one|t)\b`, got, "what is it about?")
		}
	}
	for _, deed := range constants(t, "../../internal/store/event.go", "EventCode") {
		require.NotEmpty(t, deeds[deed], deed)
	}
}

func TestSentences(t *testing.T) {
	for event, want := range map[string]string{
		`{"code":"not_found","target":"p"}`: "no verified metadata lists p",
		`{"code":"refused","repository":"one","target":"p","evidence":{"code":"mismatch","engine":"host","url":"https://e.com/p"}}`: "repository one: refused p: length or hash differ from the signed ones (mismatch), says the host, https://e.com/p",
		`{"code":"fallback","repository":"one","evidence":{"code":"engine_crash","engine":"python","role":"root"}}`:                 "repository one: python-tuf could not verify root (engine_crash): go-tuf answered",
		`{"code":"breaker","evidence":{"from":"closed","to":"open"}}`:                                                               "the breaker around go-tuf went from closed to open",
		`{"code":"root_changed","repository":"one","evidence":{"from":"1","to":"2","role":"root"}}`:                                 "repository one: root moved from version 1 to 2",
		`{"code":"mirror","repository":"one"}`:                                                                                      "repository one: a mirror answers again in place of another",
		`{"code":"store","repository":"one","evidence":{"store":"rollback_refused","role":"snapshot","trusted":3,"received":2}}`:    "repository one: trust store: an older version was refused, role snapshot, trusted version 3, received version 2",
		`{"code":"store","evidence":{"store":"of the future"}}`:                                                                     "trust store: it was healed, or guarded something of the future",
		`{"code":"cancelled","target":"p","evidence":{"code":"timeout"}}`:                                                           "the caller's deadline passed, for p",
		`{"code":"downgrade","target":"p","evidence":{"from":"2.0.0","to":"1.0.0"}}`:                                                "p 1.0.0 took the place of version 2.0.0, as was asked",
		`{"code":"break_glass","target":"p","evidence":{"by":"dana","reason":"why","to":"1"}}`:                                      "dana broke the glass for p 1, against no rule: why",
		`{"code":"break_glass","repository":"one","evidence":{"code":"expired","role":"timestamp"}}`:                                "repository one: by break-glass timestamp was accepted although the metadata has expired (expired)",
		`{"code":"break_glass","target":"p","evidence":{"class":"usage","code":"usage"}}`:                                           "a break-glass for p was refused: it was not confirmed, or is none that can be used",
		`{"code":"break_glass","target":"p","evidence":{"class":"usage","code":"usage","by":"dana","reason":"why"}}`:                "a break-glass for p, which dana wanted (why), was refused: it was not confirmed, or is none that can be used",
		`{"code":"break_glass","repository":"one","target":"p","evidence":{"code":"expired","by":"dana","reason":"why"}}`:           "repository one: a break-glass for p, which dana wanted (why), opened nothing: the metadata has expired (expired)",
		`{"code":"break_glass","target":"p","evidence":{"class":"verdict","code":"invalid_name"}}`:                                  "a break-glass for p opened nothing: the target name is not acceptable (invalid_name)",
		`{"code":"break_glass","repository":"one","target":"p","evidence":{"digest":"abc","rule":"yanked","to":"1"}}`:               "repository one: by break-glass p 1 was opened, against rule yanked",
		`{"code":"audit","count":10}`:                          "10 events could not be written here",
		`{"code":"audit","count":1}`:                           "1 event could not be written here",
		`{"code":"local","evidence":{"code":"of the future"}}`: "this machine was in the way: of the future",
		`{"code":"of the future","severity":"grave"}`:          `an event that this version does not know: {"code":"of the future","severity":"grave"}`,
		`{"code":"allowed","count":"x"}`:                       `an event that this version does not know: {"code":"allowed","count":"x"}`,
	} {
		x, got := tell(&audit.Entry{Event: json.RawMessage(event)})
		require.Equal(t, want, got.Text)
		require.True(t, (&showFlags{severity: "critical"}).wants(x), "what is not known is shown")
		x.Severity = "warning"
		require.False(t, (&showFlags{severity: "critical"}).wants(x))
	}
}

func TestParseSince(t *testing.T) {
	now := time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Time{
		"2030-01-30T01:02:03Z": time.Date(2030, 1, 30, 1, 2, 3, 0, time.UTC), "2030-01-30T01:02:03+01:00": time.Date(2030, 1, 30, 0, 2, 3, 0, time.UTC),
		"2030-01-30": time.Date(2030, 1, 30, 0, 0, 0, 0, time.UTC), "90m": now.Add(-90 * time.Minute),
	} {
		got, ok := parseSince(s, now)
		require.True(t, ok, s)
		require.True(t, want.Equal(got), s)
	}
	for _, s := range []string{"x", "-1h", "30", "2030-13-01"} {
		_, ok := parseSince(s, now)
		require.False(t, ok, s)
	}
}

// Every kind of problem has a code, and the gravest decides.
func TestReportCode(t *testing.T) {
	for _, kind := range constants(t, "../../internal/audit/report.go", "Kind") {
		r := &audit.Report{Problems: []audit.Problem{{Kind: audit.Kind(kind)}}}
		require.Equal(t, protocol.ClassVerdict, reportCode(r).Class(), kind)
	}
	r := &audit.Report{}
	for _, c := range []struct {
		kind audit.Kind
		code protocol.Code
	}{
		{audit.KindKeyMissing, protocol.CodeUnsigned}, {audit.KindTruncated, protocol.CodeRollback},
		{audit.KindCheckpointForged, protocol.CodeRollback}, {audit.KindRemoved, protocol.CodeMismatch},
		{audit.KindTruncated, protocol.CodeMismatch},
	} {
		r.Problems = append(r.Problems, audit.Problem{Kind: c.kind})
		require.Equal(t, c.code, reportCode(r))
	}
	require.Empty(t, reportCode(&audit.Report{}))
}

// A copy of the checkpoints of a log that is years old is no file too long.
func TestManyCheckpoints(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoints")
	require.NoError(t, os.WriteFile(path, append(bytes.Repeat([]byte("\n"), 64<<20), "note"...), 0o600))
	o, err := verifyOptions(nil, []string{path})
	require.NoError(t, err)
	require.Equal(t, "note\n\n", string(o.Checkpoints))
}

// stampede downloads a target with ten processes at a time, three times, and kills
// half of them at some moment: stampede CONFIG TARGET. As many lines as processes
// have ended well must say in the log, which is in audit, that it was allowed, or more.
func stampede(ts *testscript.TestScript, _ bool, args []string) {
	config, target := ts.MkAbs(args[0]), args[1]
	well := 0
	for range 3 {
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				out, killed, err := stampedeOne(ts.Getenv("WORK"), config, target, i%2 == 0)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					well++
				case !killed:
					ts.Logf("%v: %s", err, out)
					well = 1 << 20
				}
			})
		}
		all.Wait()
	}
	lines := 0
	for e, err := range audit.Entries(context.Background(), ts.MkAbs("audit")) {
		ts.Check(err)
		if x, _ := tell(e); x.Code == vault.EventAllowed {
			lines++
		}
	}
	ts.Logf("%d of 30 ended well, %d lines", well, lines)
	if lines < well {
		ts.Fatalf("%d lines, and %d processes ended well", lines, well)
	}
}

// stampedeOne is one process.
func stampedeOne(dir, config, target string, kill bool) (out string, killed bool, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cmd := exec.CommandContext(ctx, "ragnos-tuf", "download", "--config", config, target)
	var text bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, append(os.Environ(), "RAGNOS_TUF_HOME="+dir), &text, &text
	if kill {
		defer time.AfterFunc(time.Duration(5+rand.IntN(90))*time.Millisecond, cancel).Stop()
	}
	err = cmd.Run()
	return fmt.Sprintf("%.2000s", text.String()), ctx.Err() != nil, err
}

// docs/audit.md names every event and every kind of problem, with its exit code.
func TestAuditDocumentation(t *testing.T) {
	raw, err := os.ReadFile("../../docs/audit.md")
	require.NoError(t, err)
	for _, code := range constants(t, "../../vault/event.go", "EventCode") {
		require.Contains(t, string(raw), "`"+code+"`")
	}
	for _, kind := range constants(t, "../../internal/audit/report.go", "Kind") {
		code := reportCode(&audit.Report{Problems: []audit.Problem{{Kind: audit.Kind(kind)}}})
		require.Regexp(t, fmt.Sprintf("\n\\| [^|\n]*`%s`[^\n]* \\| %d \\|\n", kind, code.Exit()), string(raw))
	}
}

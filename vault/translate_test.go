package vault

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/vault/policy"
)

// TestEveryCodeRaisesOneEvent: an error of each code is told of by exactly one of
// package hybrid's event and eventOf.
func TestEveryCodeRaisesOneEvent(t *testing.T) {
	want := map[protocol.Class]Event{
		protocol.ClassVerdict:   {Code: EventRefused, Severity: hybrid.SeverityCritical},
		protocol.ClassFault:     {Code: EventFault, Severity: hybrid.SeverityWarning},
		protocol.ClassTransport: {Code: EventUnreachable, Severity: hybrid.SeverityWarning},
		protocol.ClassLocal:     {Code: EventLocal, Severity: hybrid.SeverityWarning},
		protocol.ClassCancelled: {Code: EventCancelled, Severity: hybrid.SeverityInfo},
		protocol.ClassNotFound:  {Code: EventNotFound, Severity: hybrid.SeverityInfo},
		protocol.ClassUsage:     {},
	}
	special := map[protocol.Code]Event{
		protocol.CodeDisagreement: {Code: EventDisagreement, Severity: hybrid.SeverityCritical},
		protocol.CodePolicyDenied: {Code: EventPolicyDenied, Severity: hybrid.SeverityWarning},
		protocol.CodeBusy:         {Code: EventBusy, Severity: hybrid.SeverityWarning},
	}
	for _, info := range protocol.Codes {
		err := error(tuferr.New(info.Code, "why"))
		w, ok := special[info.Code]
		if !ok {
			w, ok = want[info.Class]
			require.True(t, ok, "no row for class %s", info.Class)
		}
		e := eventOf("acme", "plugins/x", fmt.Errorf("wrapped: %w", err))
		require.Equal(t, w.Code, e.Code, info.Code)
		require.Equal(t, w.Severity, e.Severity, info.Code)
		if e.Code != "" {
			require.Equal(t, info.Code, e.Evidence.Code)
			require.Equal(t, info.Class, e.Evidence.Class)
			require.Equal(t, "acme", e.Repository)
			require.Equal(t, "plugins/x", e.Target)
			require.ErrorIs(t, e.Err, err)
		}

		// What the client tells of itself when it returns this error.
		code := string(info.Code)
		if info.Class == protocol.ClassVerdict {
			code, err = "refused", tuferr.Tell(err)
		}
		raised := 0
		for _, e := range []Event{translate("acme", hybrid.Event{Code: code, Err: err}), eventOf("acme", "plugins/x", err)} {
			if e.Code != "" {
				raised++
			}
		}
		switch {
		case info.Class == protocol.ClassVerdict, info.Class == protocol.ClassFault, info.Class == protocol.ClassLocal:
			require.Equal(t, 1, raised, info.Code)
		case info.Class == protocol.ClassUsage:
			require.Empty(t, eventOf("acme", "", err))
		}
	}
	require.Empty(t, eventOf("acme", "", nil))
	require.Equal(t, EventFault, eventOf("acme", "", errors.New("foreign")).Code)
	require.Equal(t, EventFault, eventOf("acme", "", tuferr.New("a code of the future", "")).Code)
}

// constants returns the string constants of a type in a Go file.
func constants(t *testing.T, file, typ string) (list []string) {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	require.NoError(t, err)
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if ok {
			if id, ok := spec.Type.(*ast.Ident); ok && id.Name == typ {
				list = append(list, literal(t, spec.Values[0]))
			}
		}
		return true
	})
	require.NotEmpty(t, list)
	return list
}

func literal(t *testing.T, n ast.Expr) string {
	s, err := strconv.Unquote(n.(*ast.BasicLit).Value)
	require.NoError(t, err)
	return s
}

// codes returns the codes of events that Go files name where they raise them.
func codes(t *testing.T, pattern string) (list []string) {
	files, err := filepath.Glob(pattern)
	require.NoError(t, err)
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		require.NoError(t, err)
		ast.Inspect(f, func(n ast.Node) bool {
			var code ast.Expr
			switch n := n.(type) {
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Code" {
					code = n.Value
				}
			case *ast.CallExpr:
				at, ok := map[string]int{"emit": 1, "refused": 0}[name(n.Fun)]
				if ok && len(n.Args) > at {
					code = n.Args[at]
				}
			}
			if lit, ok := code.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				list = append(list, literal(t, lit))
			}
			return true
		})
	}
	return list
}

// name returns the name of a method that is called.
func name(f ast.Expr) string {
	if sel, ok := f.(*ast.SelectorExpr); ok {
		return sel.Sel.Name
	}
	return ""
}

// TestEveryEventOfAClientHasARow.
func TestEveryEventOfAClientHasARow(t *testing.T) {
	found := codes(t, "../hybrid/*.go")
	require.Subset(t, found, []string{"refused", "fallback", "breaker", "offline", "root_changed"})
	for _, code := range found {
		require.Contains(t, translated, code)
	}
}

// TestEveryEventOfTheTrustStoreHasARow.
func TestEveryEventOfTheTrustStoreHasARow(t *testing.T) {
	for _, code := range constants(t, "../internal/store/event.go", "EventCode") {
		k, ok := translated[code]
		require.True(t, ok, code)
		require.Equal(t, EventStore, k.code)
	}
}

func TestTranslate(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	err := tuferr.New(protocol.CodeRollback, "older")
	err.Role, err.Engine, err.Trusted, err.Received, err.Digest, err.Spec = "timestamp", "go", 7, 3, "abcd", "5.4.3"
	err.Target, err.Path, err.URL = "plugins/x", "/tmp/x", "https://example.com/timestamp.json"
	e := translate("acme", hybrid.Event{Time: at, Code: "refused", Severity: hybrid.SeverityInfo, Message: "no", Err: err})
	require.Equal(t, Event{
		Time: at, Code: EventRefused, Severity: hybrid.SeverityCritical, Repository: "acme", Target: "plugins/x", Message: "no", Err: err,
		Evidence: Evidence{
			Code: "rollback", Class: "verdict", Role: "timestamp", Engine: "go", Trusted: 7, Received: 3,
			Digest: "abcd", Spec: "5.4.3", URL: "https://example.com/timestamp.json", Path: "/tmp/x",
		},
	}, e)

	e = translate("acme", hybrid.Event{Code: "breaker", Severity: hybrid.SeverityInfo, From: "open", To: "half-open"})
	require.Equal(t, Event{Code: EventBreaker, Severity: hybrid.SeverityInfo, Repository: "acme", Evidence: Evidence{From: "open", To: "half-open"}}, e)

	e = translate("acme", hybrid.Event{Code: "rollback_refused", Severity: hybrid.SeverityCritical, Role: "snapshot", Path: "/p", Trusted: 2, Received: 1})
	require.Equal(t, EventStore, e.Code)
	require.Equal(t, hybrid.SeverityCritical, e.Severity)
	require.Equal(t, Evidence{Role: "snapshot", Path: "/p", Trusted: 2, Received: 1, Store: "rollback_refused"}, e.Evidence)

	e = translate("acme", hybrid.Event{Code: "a code of the future", Severity: hybrid.SeverityCritical, Message: "m"})
	require.Equal(t, Event{Code: EventStore, Severity: hybrid.SeverityCritical, Repository: "acme", Message: "m", Evidence: Evidence{Store: "a code of the future"}}, e)

	for code, want := range map[string]EventCode{
		"fallback": EventFallback, "offline": EventOffline, "mirror": EventMirror, "root_changed": EventRoot, "disagreement": EventDisagreement,
		"engine_crash": "", "disk_full": "",
	} {
		require.Equal(t, want, translate("", hybrid.Event{Code: code}).Code, code)
	}
}

func TestDenialsNameTheirRule(t *testing.T) {
	for rule, severity := range map[string]hybrid.Severity{
		"allow": hybrid.SeverityWarning, "yanked": hybrid.SeverityCritical, "downgrade": hybrid.SeverityCritical,
		"plugins[acme/hello].sha256": hybrid.SeverityWarning,
	} {
		e := eventOf("acme", "plugins/x", tuferr.New(protocol.CodePolicyDenied, "denied: %w", &policy.Denial{Rule: rule}))
		require.Equal(t, EventPolicyDenied, e.Code)
		require.Equal(t, rule, e.Evidence.Rule)
		require.Equal(t, severity, e.Severity, rule)
	}
}

// TestEventsHoldNoSecrets, whatever an error that was wrapped says.
func TestEventsHoldNoSecrets(t *testing.T) {
	for _, text := range []string{
		`Get "https://user:s3cret@example.com/metadata/?x=1": proxy refused`,
		`proxyconnect tcp: http://s3cret:s3cret@proxy:3128: connection refused`,
		`https://us"er:p(s3cret)@example.com/`,
		`https://u:s3cret@1@example.com`,
		`Get "https://example.com/f?X-Amz-Signature=s3cret&a=s3cret": EOF`,
		`(https://example.com?token=s3cret), and on`,
		`header Authorization: Basic s3cret refused`,
		`sent bearer s3cret`,
	} {
		err := tuferr.New(protocol.CodeUnreachable, "%w", errors.New(text))
		err.URL = text
		for _, e := range []Event{
			eventOf("acme", "", err), eventOf("acme", "", errors.New(text)),
			translate("acme", hybrid.Event{Code: "offline", Message: text, Err: err}),
		} {
			require.NotEmpty(t, e.Code)
			raw, merr := json.Marshal(e)
			require.NoError(t, merr)
			require.NotContains(t, string(raw), "s3cret")
			require.NotContains(t, fmt.Sprintf("%v %+v", e, e.Err), "s3cret")
			require.Contains(t, e.Message, "redacted")
		}
		require.ErrorIs(t, eventOf("", "", err).Err, hybrid.ErrTransport)
	}
	const plain = "download: plugins/x: repository not accessible (https://example.com:8080/metadata/timestamp.json); see a@b and c?d"
	require.Equal(t, plain, scrub(plain))
}

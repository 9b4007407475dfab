package main

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestHintIsSaidOnce(t *testing.T) {
	cause := tuferr.New(protocol.CodeUnreachable, "no answer")
	cause.Hint = "check the network"
	for name, e := range map[string]*tuferr.Error{
		"its own":        cause,
		"of the cause":   tuferr.New(protocol.CodeStale, "stale: %w", cause),
		"of one of two":  {Code: protocol.CodeEnginesFailed, Msg: "both failed", Causes: []error{errors.New("x"), cause}},
		"its own and in": {Code: protocol.CodeStale, Msg: "stale", Hint: "check the network", Err: cause},
	} {
		message, hint := split(e)
		require.Equal(t, "check the network", hint, name)
		require.NotContains(t, message, hint, name)
		require.Contains(t, message, "no answer", name)
	}
}

func TestWords(t *testing.T) {
	require.Equal(t, `a\x1b[31m\u202eb ü`, clean("a\x1b[31m\u202eb ü"))
	require.Equal(t, "{\"a\":\"\\u009b31m\\u202e\\udb40\\udc01 ü\"}\n", cleanJSON("{\"a\":\"\u009b31m\u202e\U000e0001 ü\"}\n"))
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 1234: "1.2 kB", 999_949: "999.9 kB", 999_950: "1.0 MB", 5e18: "5.0 EB"} {
		require.Equal(t, want, size(n))
	}
	for s, want := range map[string]string{"/a/b.c": "/a/b.c", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "-x": "'-x'", "$(x)": "'$(x)'"} {
		require.Equal(t, want, shellQuote(s))
	}
}

// Of several errors none is hidden, and the gravest decides.
func TestGravest(t *testing.T) {
	refused, away := tuferr.New(protocol.CodeUnsigned, "no"), tuferr.New(protocol.CodeUnreachable, "away")
	joined := errors.Join(tuferr.New(protocol.CodeCancelled, "stopped"), errors.Join(away, refused), errors.New("foreign"))
	all := single(joined)
	require.Len(t, all, 4)
	require.Equal(t, refused, gravest(all))
	require.Equal(t, protocol.CodeInternal, all[3].Code)
	withCauses := &tuferr.Error{Code: protocol.CodeEnginesFailed, Causes: []error{away, refused}}
	require.Equal(t, []*tuferr.Error{withCauses}, single(withCauses))
}

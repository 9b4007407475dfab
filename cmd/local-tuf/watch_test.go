package main

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/repository"
)

// newTestWatch returns a watch and what takes the lines that it has logged.
func newTestWatch() (w *watch, logged func() []string) {
	var buf bytes.Buffer
	w = newWatch(slog.New(slog.NewTextHandler(&buf, nil)))
	return w, func() (lines []string) {
		for line := range strings.Lines(buf.String()) {
			_, line, _ = strings.Cut(line, " ") // the time
			lines = append(lines, strings.TrimSpace(line))
		}
		buf.Reset()
		return lines
	}
}

func TestWatchReminds(t *testing.T) {
	w, logged := newTestWatch()
	now := time.Unix(1_000_000, 0)
	ok := repository.Status{Status: repository.Healthy}
	soon := func(problems ...string) repository.Status {
		return repository.Status{Status: repository.Degraded, Problems: problems}
	}
	for range 100 {
		w.look(ok, nil, now)
	}
	require.Empty(t, logged(), "nothing is said while all is well")

	for n := range 143 { // every ten minutes, in words that change
		w.look(soon("root: "+strings.Repeat("x", n)), nil, now.Add(time.Duration(n)*watchEvery))
	}
	require.Equal(t, []string{`level=WARN msg="the repository needs attention" status=degraded problems="[root: ]"`}, logged())
	w.look(soon("root"), nil, now.Add(remindEvery))
	require.Len(t, logged(), 1, "once a day")
	w.look(soon("root", "targets"), nil, now.Add(remindEvery+1))
	require.Len(t, logged(), 1, "another one")
	w.look(repository.Status{Status: repository.Down, Problems: []string{"a", "b"}}, nil, now.Add(remindEvery+2))
	require.Len(t, logged(), 1, "worse")
	w.look(repository.Status{Status: repository.Down}, errors.New("damaged"), now.Add(remindEvery+3))
	require.Equal(t, []string{`level=ERROR msg="the repository cannot be used" error=damaged`}, logged())
	w.look(ok, nil, now.Add(remindEvery+4))
	require.Equal(t, []string{`level=INFO msg="the repository is in order again"`}, logged())
}

func TestWatchOfSignatures(t *testing.T) {
	w, logged := newTestWatch()
	now := time.Now()
	failure := &repository.Error{Code: protocol.CodePermissions, Path: "/secret/place"}
	health := func() repository.Status {
		st := repository.Status{Status: repository.Healthy}
		w.amend(&st)
		return st
	}
	require.Equal(t, repository.Healthy, health().Status)
	for n := range 60 { // an hour, up to now
		w.notSigned(failure, now.Add(time.Duration(n-59)*time.Minute))
	}
	require.Len(t, logged(), 1)
	st := health()
	require.Equal(t, repository.Degraded, st.Status)
	require.Len(t, st.Problems, 1)
	require.NotContains(t, st.Problems[0], "secret")
	w.notSigned(errors.New("another"), now)
	require.Len(t, logged(), 1)

	w.signing()
	require.Equal(t, repository.Healthy, health().Status, "what works again is no problem")
	w.notSigned(errors.New("another"), now)
	require.Len(t, logged(), 1, "again")

	w.failureAt = now.Add(-time.Hour) // as when somebody else has signed for an hour
	require.Equal(t, repository.Healthy, health().Status)
	w.notSigned(errors.New("another"), now)
	require.Len(t, logged(), 1, "again")
	w.notSigned(errors.New("another"), now.Add(time.Minute))
	require.Empty(t, logged())
}

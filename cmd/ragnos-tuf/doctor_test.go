package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestClock(t *testing.T) {
	now := time.Now()
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		server, expires, refreshed time.Time
		level                      level
		code                       protocol.Code
		says                       string
	}{
		"right":                      {now, now.Add(day), now.Add(-day), good, "", "plausible"},
		"no date":                    {time.Time{}, now.Add(day), now, good, "", "plausible"},
		"off":                        {now.Add(-day), now.Add(day), now, warning, "", "the repository's server"},
		"off, so that it expired":    {now.Add(-2 * day), now.Add(-day), now, problem, protocol.CodeExpired, "the repository's server"},
		"nobody renews":              {now, now.Add(-day), now, problem, protocol.CodeExpired, "expired on"},
		"set back":                   {time.Time{}, now.Add(day), now.Add(day), warning, "", "last refresh"},
		"expired, and nobody to ask": {time.Time{}, now.Add(-day), now, problem, protocol.CodeExpired, "expired on"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Date"] = nil
				if !c.server.IsZero() {
					w.Header().Set("Date", c.server.UTC().Format(http.TimeFormat))
				}
			}))
			defer s.Close()
			d := &doctor{status: &hybrid.Status{LastRefresh: c.refreshed}}
			d.checkClock(context.Background(), s.URL, c.expires)
			require.Len(t, d.findings, 1)
			f := d.findings[0]
			require.Equal(t, c.level, f.Level, f.Message)
			require.Equal(t, c.code, f.Code)
			require.Contains(t, f.Message, c.says)
			require.Equal(t, c.level != good, f.Fix != "", "every finding has its mending command")
		})
	}
}

package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/vault"
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
			d := &doctor{app: &app{}}
			d.checkClock(context.Background(), s.URL, c.expires, c.refreshed)
			require.Len(t, d.findings, 1)
			f := d.findings[0]
			require.Equal(t, c.level, f.Level, f.Message)
			require.Equal(t, c.code, f.Code)
			require.Contains(t, f.Message, c.says)
			require.Equal(t, c.level != good, f.Fix != "", "every finding has its mending command")
		})
	}
}

// TestDoctorAsksWithTheCredentials of the repository.
func TestDoctorAsksWithTheCredentials(t *testing.T) {
	s := tuftest.NewServer(tuftest.NewRepo(tuftest.Config{}))
	defer s.Close()
	s.On("", func(x *tuftest.Exchange) {
		if x.Request.Header.Get("Authorization") != "Bearer opensesame" {
			x.WriteHeader(http.StatusUnauthorized)
			return
		}
		tuftest.File(x)
	})
	for token, want := range map[string]level{"opensesame": good, "hunter2": problem} {
		o := vault.Options{MetadataDir: t.TempDir(), Repositories: []vault.Repository{{Name: "one", URL: s.URL, HTTP: hybrid.HTTPOptions{BearerToken: token}}}}
		v, err := vault.New(o)
		require.NoError(t, err)
		st, err := v.Status(t.Context())
		require.NoError(t, err)
		d := &doctor{app: &app{stderr: io.Discard}}
		d.examineRepository(t.Context(), &o, &o.Repositories[0], &st.Repositories[0])
		require.NoError(t, v.Shutdown(t.Context()))
		i := slices.IndexFunc(d.findings, func(f finding) bool { return f.Check == "repository" })
		require.Equal(t, want, d.findings[i].Level, d.findings[i].Message)
		require.Equal(t, "one", d.findings[i].Repository)
		require.NotContains(t, d.findings[i].Message, token)
	}
}

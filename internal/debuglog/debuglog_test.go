package debuglog_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/debuglog"
)

func TestSelection(t *testing.T) {
	for _, row := range []struct{ debug, selected, not string }{
		{"", "", "tuf:worker tuf:frames"},
		{"tuf:*", "tuf:worker tuf:transport tuf:future", "tuf:frames other"},
		{"*", "tuf:worker tuf:vault", "tuf:frames"},
		{"tuf:worker", "tuf:worker", "tuf:workers tuf:store tuf:frames"},
		{"tuf:worker,tuf:store", "tuf:worker tuf:store", "tuf:engine"},
		{"express:* tuf:store", "tuf:store", "express:router tuf:engine"},
		{"tuf:*,-tuf:transport", "tuf:worker", "tuf:transport"},
		{"-tuf:t*r*,tuf:*", "tuf:worker", "tuf:transport"},
		{"-tuf:worker", "", "tuf:worker tuf:store"},
		{"tuf:frames", "tuf:frames", "tuf:worker"},
		{"tuf:*,tuf:frames", "tuf:frames tuf:worker", ""},
		{"tuf:f*", "", "tuf:frames"},
		{"tuf:frames,-tuf:*", "", "tuf:frames"},
		{"tuf:*e", "tuf:store tuf:engine", "tuf:worker"},
		{"mytuf:*", "", "tuf:store"},
	} {
		s := debuglog.Parse(row.debug)
		for _, c := range strings.Fields(row.selected) {
			require.True(t, s.Has(c), "DEBUG=%s: %s", row.debug, c)
			require.True(t, s.Any(), row.debug)
		}
		for _, c := range strings.Fields(row.not) {
			require.False(t, s.Has(c), "DEBUG=%s: %s", row.debug, c)
		}
	}
}

func TestHandler(t *testing.T) {
	var out bytes.Buffer
	said := func() string {
		defer out.Reset()
		return out.String()
	}
	log := slog.New(debuglog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: debuglog.Level}), debuglog.Parse("tuf:store")))
	store, worker := log.With(debuglog.Key, "tuf:store"), log.With("pid", 7, debuglog.Key, "tuf:worker")

	store.Debug("kept", "n", 1)
	require.Contains(t, said(), "level=DEBUG msg=kept component=tuf:store n=1")
	require.False(t, worker.Enabled(context.Background(), slog.LevelError), "what it costs to make a line is saved")
	worker.Error("dropped")
	log.Error("of nobody")
	require.Empty(t, said())

	log.Info("names it itself", debuglog.Key, "tuf:store")
	store.With(debuglog.Key, "tuf:worker").Info("the latest counts")
	store.Info("the line's own goes before", debuglog.Key, "tuf:engine")
	require.Equal(t, 1, strings.Count(said(), "\n"))

	store.WithGroup("evidence").With(debuglog.Key, "tuf:worker").Info("in a group it is no component")
	require.Contains(t, said(), "evidence.component=tuf:worker")

	all := slog.New(debuglog.New(slog.NewTextHandler(&out, nil), debuglog.Parse("tuf:*")))
	all.Info("of nobody, and all are selected")
	all.Debug("the handler behind judges the level")
	require.Equal(t, 1, strings.Count(said(), "\n"))
}

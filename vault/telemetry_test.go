package vault

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/telemetry"
	"github.com/ragnos-labs/vault-tuf/internal/telemetry/otlptest"
)

// TestCallsAreSeen: a call of the vault is one trace, through the clients of its
// repositories, each under its name.
func TestCallsAreSeen(t *testing.T) {
	w, r := newWorld(t, "one", "two"), otlptest.New(t)
	w.publish("two", tool("1.0.0"))
	v := w.vault(func(o *Options) { o.TracerProvider, o.MeterProvider = r.Tracers, r.Meters })
	w.install(v, tool("1.0.0"), InstallOptions{})
	opened, err := v.Open(t.Context(), tool("1.0.0").path())
	require.NoError(t, err)
	require.NoError(t, opened.Close())
	_, err = v.List(t.Context(), ListOptions{})
	require.NoError(t, err)
	_, err = v.Resolve(t.Context(), "acme/tool", "^1", ResolveOptions{})
	require.NoError(t, err)
	_, err = v.PluginMetadata(t.Context(), "plugins/acme/none.1.0.0.tar.gz")
	require.ErrorIs(t, err, hybrid.ErrNotFound)
	r.Flush()

	install := r.Spans(string(telemetry.VaultInstall))
	require.Len(t, install, 1)
	require.Equal(t, map[string]string{
		"ragnos.repository": "two", "ragnos.tuf.target": tool("1.0.0").path(), "ragnos.tuf.from_cache": "false",
		"ragnos.plugin.publisher": "acme", "ragnos.plugin.name": "tool", "ragnos.plugin.version": "1.0.0",
	}, otlptest.Attributes(install[0].Attributes))
	asked := map[string]*tracepb.Span{}
	for _, s := range r.Spans(string(telemetry.Download)) {
		require.Equal(t, install[0].SpanId, s.ParentSpanId)
		require.Equal(t, install[0].TraceId, s.TraceId)
		asked[otlptest.Attributes(s.Attributes)["ragnos.repository"]] = s
	}
	require.Len(t, asked, 2)
	require.Equal(t, "not_found", otlptest.Attributes(asked["one"].Attributes)["error.type"])

	open := r.Spans(string(telemetry.VaultOpen))
	require.Len(t, open, 1)
	require.Equal(t, "false", otlptest.Attributes(open[0].Attributes)["ragnos.plugin.runs_on"])
	require.Equal(t, "1", otlptest.Attributes(r.Spans(string(telemetry.VaultList))[0].Attributes)["ragnos.vault.plugins"])
	require.Equal(t, "1.0.0", otlptest.Attributes(r.Spans(string(telemetry.VaultResolve))[0].Attributes)["ragnos.plugin.version"])
	require.Equal(t, "not_found", otlptest.Attributes(r.Spans(string(telemetry.VaultLookup))[0].Attributes)["error.type"])

	m := r.Metrics()
	for _, op := range []string{"install", "open", "list", "resolve", "lookup"} {
		require.EqualValues(t, 1, otlptest.Sum(m[telemetry.VaultDuration], string(telemetry.VaultOperation), op), op)
	}
	require.EqualValues(t, 1, otlptest.Sum(m[telemetry.VaultEvents], string(telemetry.VaultEvent), "opened"))
	require.Positive(t, otlptest.Sum(m[telemetry.VaultEvents], string(telemetry.Repository), "two"))
	for _, name := range []string{"one", "two"} {
		require.Positive(t, otlptest.Sum(m[telemetry.TimeToExpiry], string(telemetry.Repository), name), name)
		require.Positive(t, otlptest.Sum(m[telemetry.Requests], string(telemetry.Repository), name), name)
	}
	require.NoError(t, v.Shutdown(context.Background()))
	r.Flush()
	require.NotContains(t, r.Metrics(), telemetry.TimeToExpiry)
}

// TestWhatIsNoTargetIsNotTold: a caller may ask for a path of this machine.
func TestWhatIsNoTargetIsNotTold(t *testing.T) {
	w, r := newWorld(t, "one"), otlptest.New(t)
	w.publish("one", tool("1.0.0"))
	v := w.vault(func(o *Options) { o.TracerProvider, o.MeterProvider = r.Tracers, r.Meters })
	_, err := v.Open(t.Context(), "/srv/secret")
	require.ErrorIs(t, err, hybrid.ErrUsage)
	_, err = v.repos[0].client.Lookup(t.Context(), "/srv/secret")
	require.ErrorIs(t, err, hybrid.ErrUsage)
	_, err = v.repos[0].client.VerifyAndDownloadPlugin(t.Context(), "/srv/secret", hybrid.DownloadOptions{})
	require.ErrorIs(t, err, hybrid.ErrUsage)
	r.Flush()
	for _, op := range []telemetry.Operation{telemetry.VaultOpen, telemetry.Lookup, telemetry.Download} {
		span := r.Spans(string(op))[0]
		require.Equal(t, "(not a target path)", otlptest.Attributes(span.Attributes)["ragnos.tuf.target"], op)
		require.NotContains(t, span.String(), "secret")
	}
	require.Less(t, len(telemetry.TargetPath(strings.Repeat("x", 1<<20)).Value.AsString()), 1100)
}

package vault

import (
	"bytes"
	"context"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/pyenv/pyenvtest"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/vault/policy"
)

// Every option has an effect that shows from outside, which is gone without it.
func TestEveryOptionHasAnEffect(t *testing.T) {
	var fields []string
	for name, of := range map[string]any{
		"Options": Options{}, "Repository": Repository{}, "Mapping": Mapping{}, "Repository.HTTP": hybrid.HTTPOptions{},
	} {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(of)) {
			if f.Type != reflect.TypeFor[hybrid.HTTPOptions]() { // It has a row for each of its fields.
				fields = append(fields, name+"."+f.Name)
			}
		}
	}
	all := maps.Clone(effects)
	maps.Copy(all, httpEffects)
	require.ElementsMatch(t, fields, slices.Collect(maps.Keys(all)), "each option has a row, and there is no other")
	for name, effect := range all {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "one", "two")
			w.publish("one", tool("1.0.0"))
			effect(t, w)
		})
	}
}

// effects are the rows: one for each field of Options, Repository and Mapping; those of
// Repository.HTTP follow in httpEffects. Each gets two repositories; acme's tool 1.0.0 is published in the first one.
var effects = map[string]func(t *testing.T, w *world){
	"Options.File": func(t *testing.T, w *world) {
		file := put(t, t.TempDir(), "options.yaml", "policy: {allow: {publishers: [acme]}}\n")
		nothing := func(o *Options) { o.Policy = policy.Policy{} }
		w.refused(w.vault(nothing), tool("1.0.0"), InstallOptions{}, hybrid.ErrPolicyDenied)
		w.install(w.vault(nothing, func(o *Options) { o.File = file }), tool("1.0.0"), InstallOptions{})
	},
	"Options.Repositories": func(t *testing.T, w *world) {
		w.publish("two", tool("2.0.0"))
		w.refused(w.vault(func(o *Options) { o.Repositories = o.Repositories[:1] }), tool("2.0.0"), InstallOptions{}, hybrid.ErrNotFound)
		require.Equal(t, "two", w.install(w.vault(), tool("2.0.0"), InstallOptions{}).Repository)
	},
	"Options.Mappings": func(_ *testing.T, w *world) {
		w.refused(w.vault(mappings(Mapping{Paths: []string{"*"}, Repositories: []string{"two"}})), tool("1.0.0"), InstallOptions{}, hybrid.ErrNotFound)
		w.install(w.vault(), tool("1.0.0"), InstallOptions{})
	},
	"Options.Policy": func(_ *testing.T, w *world) {
		w.refused(w.vault(func(o *Options) { o.Policy = policy.Policy{} }), tool("1.0.0"), InstallOptions{}, hybrid.ErrPolicyDenied)
		w.install(w.vault(), tool("1.0.0"), InstallOptions{})
	},
	"Options.Plugins": func(t *testing.T, w *world) {
		for wanted, n := range map[string]int{"": 0, "^1.0": 1} {
			v := w.vault(func(o *Options) {
				if wanted != "" {
					o.Plugins = map[string]string{"acme/tool": wanted}
				}
			})
			f, err := v.Lock(t.Context(), nil, nil, LockOptions{})
			require.NoError(t, err)
			require.Len(t, f.Entries(), n)
		}
	},
	"Options.MetadataDir": func(t *testing.T, w *world) {
		dir := t.TempDir()
		w.install(w.vault(func(o *Options) { o.MetadataDir = dir }), tool("1.0.0"), InstallOptions{})
		require.FileExists(t, filepath.Join(dir, "installed", "installed.json"))
		require.DirExists(t, filepath.Join(dir, storeName("one")))
		_, err := w.vault().Open(t.Context(), tool("1.0.0").path())
		require.ErrorIs(t, err, hybrid.ErrNotFound, "it is not recorded elsewhere")
	},
	"Options.CacheDir": func(t *testing.T, w *world) {
		dir := t.TempDir()
		require.Contains(t, w.install(w.vault(), tool("1.0.0"), InstallOptions{}).Path, w.dir)
		other := w.install(w.vault(func(o *Options) { o.CacheDir = dir }), tool("1.0.0"), InstallOptions{})
		require.Contains(t, other.Path, dir)
		require.False(t, other.FromCache)
	},
	"Options.Mode": func(t *testing.T, w *world) {
		for mode, engine := range map[hybrid.Mode]string{hybrid.ModeGo: "go", hybrid.ModePython: "python", hybrid.ModeDual: "go+python"} {
			v := w.vault(real(t), func(o *Options) { o.Mode = mode })
			require.Equal(t, engine, w.install(v, tool("1.0.0"), InstallOptions{}).Engine)
		}
		w.refusedAgain(w.vault(func(o *Options) { o.Mode = hybrid.ModeOff }), tool("1.0.0"), hybrid.ErrUsage)
	},
	"Options.DisableFallback": func(t *testing.T, w *world) {
		odd(w.repos["one"], nil, "")
		w.refused(w.vault(real(t), func(o *Options) { o.DisableFallback = true }), tool("1.0.0"), InstallOptions{}, hybrid.ErrFault)
		require.Equal(t, "python", w.install(w.vault(real(t)), tool("1.0.0"), InstallOptions{}).Engine)
	},
	"Options.Python": func(t *testing.T, w *world) {
		python := func(path string) *Vault {
			return w.vault(func(o *Options) { o.Mode, o.Python = hybrid.ModePython, path })
		}
		w.refused(python(filepath.Join(w.dir, "no python")), tool("1.0.0"), InstallOptions{}, hybrid.ErrFault)
		require.Equal(t, "python", w.install(python(pyenvtest.Python(t)), tool("1.0.0"), InstallOptions{}).Engine)
	},
	"Options.EngineTimeout": func(t *testing.T, w *world) {
		w.install(w.vault(), tool("1.0.0"), InstallOptions{})
		var err error
		for range 100 { // It may be done before anybody looks at the clock.
			v := w.vault(func(o *Options) { o.EngineTimeout, o.MetadataDir = 1, t.TempDir() })
			if _, err = v.VerifyAndDownloadPlugin(t.Context(), tool("1.0.0").path(), InstallOptions{}); err != nil {
				break
			}
		}
		require.ErrorIs(t, err, hybrid.ErrFault)
		require.ErrorContains(t, err, "worked for more than 1ns")
	},
	"Options.BreakerFailures": func(t *testing.T, w *world) {
		odd(w.repos["one"], nil, "")
		for failures, state := range map[uint32]string{1: "open", 2: "closed"} {
			v := w.vault(real(t), func(o *Options) { o.BreakerFailures = failures })
			w.install(v, tool("1.0.0"), InstallOptions{})
			require.Equal(t, state, w.status(v).Repositories[0].Client.Breaker.State)
		}
	},
	"Options.BreakerCoolDown": func(t *testing.T, w *world) {
		for coolDown, engine := range map[time.Duration]string{1: "go", time.Hour: "python"} {
			odd(w.repos["one"], nil, "")
			v := w.vault(real(t), func(o *Options) { o.BreakerFailures, o.BreakerCoolDown = 1, coolDown })
			require.Equal(t, "python", w.install(v, tool("1.0.0"), InstallOptions{}).Engine)
			w.repos["one"].Timestamp.EditSignatures = nil
			w.repos["one"].PublishTimestamp()
			require.Equal(t, engine, w.install(v, tool("1.0.0"), InstallOptions{}).Engine)
		}
	},
	"Options.RefreshInterval": func(t *testing.T, w *world) {
		for interval, asks := range map[time.Duration]bool{0: true, time.Hour: false} {
			v := w.vault(func(o *Options) { o.RefreshInterval = interval })
			w.install(v, tool("1.0.0"), InstallOptions{})
			w.servers["one"].Forget()
			w.install(v, tool("1.0.0"), InstallOptions{})
			require.Equal(t, asks, len(w.servers["one"].Requests()) > 0)
		}
	},
	"Options.MaxMetadataAge": func(t *testing.T, w *world) {
		w.install(w.vault(), tool("1.0.0"), InstallOptions{})
		w.servers["one"].Close()
		later := func(o *Options) { o.Now = func() time.Time { return time.Now().Add(48 * time.Hour) } }
		e := w.refusedAgain(w.vault(later), tool("1.0.0"), hybrid.ErrTransport)
		require.Equal(t, "stale", string(e.Code))
		require.True(t, w.install(w.vault(later, func(o *Options) { o.MaxMetadataAge = 72 * time.Hour }), tool("1.0.0"), InstallOptions{}).Offline)
		w.refusedAgain(w.vault(func(o *Options) { o.MaxMetadataAge = -1 }), tool("1.0.0"), hybrid.ErrTransport)
	},
	"Options.ExpiryWarning": func(t *testing.T, w *world) {
		for warning, health := range map[time.Duration]Health{0: HealthOK, 100 * 365 * 24 * time.Hour: HealthDegraded} {
			v := w.vault(func(o *Options) { o.ExpiryWarning = warning })
			require.NoError(t, v.RefreshMetadata(t.Context()))
			require.Equal(t, health, w.status(v).Health)
		}
	},
	"Options.AuditDir": func(t *testing.T, w *world) {
		w.install(w.vault(), tool("1.0.0"), InstallOptions{})
		require.NoDirExists(t, filepath.Join(w.dir, "audit"))
		w.install(w.vault(audited(w)), tool("1.0.0"), InstallOptions{})
		require.Equal(t, []string{"allowed:tool.1.0.0.tar.gz"}, w.record())
	},
	"Options.AuditBestEffort": func(t *testing.T, w *world) {
		blocked := func(o *Options) { o.AuditDir = put(t, t.TempDir(), "file", "") }
		_, err := w.vaultThatCannotEnd(blocked).VerifyAndDownloadPlugin(t.Context(), tool("1.0.0").path(), InstallOptions{})
		require.ErrorIs(t, err, hybrid.ErrLocal)
		lax := w.vaultThatCannotEnd(blocked, func(o *Options) { o.AuditBestEffort = true })
		w.install(lax, tool("1.0.0"), InstallOptions{})
	},
	"Options.TracerProvider": func(t *testing.T, w *world) {
		spans := tracetest.NewInMemoryExporter()
		w.install(w.vault(func(o *Options) { o.TracerProvider = trace.NewTracerProvider(trace.WithSyncer(spans)) }), tool("1.0.0"), InstallOptions{})
		require.NotEmpty(t, spans.GetSpans())
	},
	"Options.MeterProvider": func(t *testing.T, w *world) {
		reader := metric.NewManualReader()
		w.install(w.vault(func(o *Options) { o.MeterProvider = metric.NewMeterProvider(metric.WithReader(reader)) }), tool("1.0.0"), InstallOptions{})
		var got metricdata.ResourceMetrics
		require.NoError(t, reader.Collect(t.Context(), &got))
		require.NotEmpty(t, got.ScopeMetrics)
	},
	"Options.OnSecurityEvent": func(t *testing.T, w *world) {
		w.install(w.vault(func(o *Options) { o.OnSecurityEvent = nil }), tool("1.0.0"), InstallOptions{})
		require.Empty(t, w.all())
		w.install(w.vault(), tool("1.0.0"), InstallOptions{})
		require.Equal(t, tool("1.0.0").path(), w.told(EventAllowed).Target)
	},
	"Options.Logger": func(t *testing.T, w *world) {
		var log bytes.Buffer
		v := w.vault(func(o *Options) {
			o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		})
		w.install(v, tool("1.0.0"), InstallOptions{})
		require.NoError(t, v.Shutdown(t.Context()))
		require.Regexp(t, `msg=request repository=one component=tuf:transport url=\S*timestamp.json`, log.String())
	},
	"Options.Now": func(_ *testing.T, w *world) {
		later := w.vault(func(o *Options) { o.Now = func() time.Time { return time.Now().AddDate(100, 0, 0) } })
		w.refused(later, tool("1.0.0"), InstallOptions{}, hybrid.ErrExpired)
		w.install(w.vault(), tool("1.0.0"), InstallOptions{})
	},

	"Repository.Name": func(t *testing.T, w *world) {
		v := w.vault(first(func(r *Repository) { r.Name = "Ünïcode / it's a name" }))
		require.Equal(t, "Ünïcode / it's a name", w.install(v, tool("1.0.0"), InstallOptions{}).Repository)
		require.Equal(t, "Ünïcode / it's a name", w.status(v).Repositories[0].Name)
	},
	"Repository.URL": func(_ *testing.T, w *world) {
		w.refused(w.vault(first(func(r *Repository) { r.URL += "/elsewhere" })), tool("1.0.0"), InstallOptions{}, hybrid.ErrTransport)
		w.install(w.vault(first()), tool("1.0.0"), InstallOptions{})
	},
	"Repository.MetadataURL": func(t *testing.T, w *world) {
		other := w.another()
		w.install(w.vault(first(func(r *Repository) { r.MetadataURL = other.MetadataURL() })), tool("1.0.0"), InstallOptions{})
		require.Contains(t, other.Requests(), "metadata/timestamp.json")
		require.Equal(t, []string{tool("1.0.0").file()}, w.servers["one"].Requests())
	},
	"Repository.TargetsURL": func(t *testing.T, w *world) {
		other := w.another()
		w.install(w.vault(first(func(r *Repository) { r.TargetsURL = other.TargetsURL() })), tool("1.0.0"), InstallOptions{})
		require.Equal(t, []string{tool("1.0.0").file()}, other.Requests())
		require.NotContains(t, w.servers["one"].Requests(), tool("1.0.0").file())
	},
	"Repository.Dir": func(t *testing.T, w *world) {
		dir := t.TempDir()
		for name, content := range w.repos["one"].Files() {
			path := filepath.Join(dir, filepath.FromSlash(name))
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, content, 0o600))
		}
		w.install(w.vault(first(func(r *Repository) { r.URL, r.Dir = "", dir })), tool("1.0.0"), InstallOptions{})
		require.Empty(t, w.servers["one"].Requests())
	},
	"Repository.Mirrors": func(t *testing.T, w *world) {
		other := w.another()
		w.servers["one"].Close()
		w.refused(w.vault(first()), tool("1.0.0"), InstallOptions{}, hybrid.ErrTransport)
		w.install(w.vault(first(func(r *Repository) { r.Mirrors = []hybrid.Mirror{{URL: other.URL}} })), tool("1.0.0"), InstallOptions{})
		require.Equal(t, "one", w.told(EventMirror).Repository)
	},
	"Repository.Root": func(_ *testing.T, w *world) {
		w.refused(w.vault(first(func(r *Repository) { r.Root = nil })), tool("1.0.0"), InstallOptions{}, hybrid.ErrLocal)
		w.refused(w.vault(first(func(r *Repository) {
			r.Root, r.MetadataDir = w.repos["two"].RootBytes(2), filepath.Join(w.dir, "other")
		})),
			tool("1.0.0"), InstallOptions{}, hybrid.ErrUnsigned)
		w.install(w.vault(first()), tool("1.0.0"), InstallOptions{})
		w.install(w.vault(first(func(r *Repository) { r.Root = nil })), tool("1.0.0"), InstallOptions{}) // pinned
	},
	"Repository.RootFile": func(t *testing.T, w *world) {
		file := put(t, t.TempDir(), "root.json", string(w.repos["one"].RootBytes(2)))
		w.install(w.vault(first(func(r *Repository) { r.Root, r.RootFile = nil, file })), tool("1.0.0"), InstallOptions{})
	},
	"Repository.MetadataDir": func(t *testing.T, w *world) {
		dir := filepath.Join(w.dir, "its own")
		w.install(w.vault(first(func(r *Repository) { r.MetadataDir = dir })), tool("1.0.0"), InstallOptions{})
		require.DirExists(t, dir)
		require.NoDirExists(t, filepath.Join(w.dir, "metadata", storeName("one")))
	},
	"Repository.Limits": func(_ *testing.T, w *world) {
		w.refused(w.vault(first(func(r *Repository) { r.Limits.Timestamp = 10 })), tool("1.0.0"), InstallOptions{}, hybrid.ErrEndlessData)
		w.install(w.vault(first()), tool("1.0.0"), InstallOptions{})
	},
	"Repository.MaxRoots": func(_ *testing.T, w *world) {
		for range 3 {
			w.repos["one"].PublishRoot()
		}
		w.refused(w.vault(first(func(r *Repository) { r.MaxRoots = 2 })), tool("1.0.0"), InstallOptions{}, hybrid.ErrTooMany)
		w.install(w.vault(first(func(r *Repository) { r.MaxRoots = 3 })), tool("1.0.0"), InstallOptions{})
	},
	"Repository.MaxRoles": func(_ *testing.T, w *world) {
		for _, name := range []string{"a", "b", "c"} {
			w.repos["one"].Delegate("targets", tuftest.Delegation{Name: name, Paths: []string{"other/*"}})
		}
		w.repos["one"].Publish("a", "b", "c", "targets")
		other := func(roles int) error {
			_, err := w.vault(first(func(r *Repository) { r.MaxRoles = roles })).PluginMetadata(context.Background(), "other/one")
			return err
		}
		require.ErrorIs(w.t, other(2), hybrid.ErrTooMany)
		require.ErrorIs(w.t, other(4), hybrid.ErrNotFound)
	},
	"Repository.MaxDownloads": func(_ *testing.T, w *world) {
		for _, bound := range []int{1, 2, 4} {
			w.atATime(bound, func(r *Repository) { r.MaxDownloads = bound })
		}
	},

	"Mapping.Paths": func(_ *testing.T, w *world) {
		of := func(pattern string) *Vault {
			return w.vault(mappings(Mapping{Paths: []string{pattern}, Repositories: w.names}))
		}
		w.refused(of("plugins/initech/*"), tool("1.0.0"), InstallOptions{}, hybrid.ErrNotFound)
		w.install(of("plugins/acme/*"), tool("1.0.0"), InstallOptions{})
	},
	"Mapping.Repositories": func(t *testing.T, w *world) {
		w.publish("two", tool("1.0.0"))
		for _, order := range [][]string{{"one", "two"}, {"two", "one"}} {
			v := w.vault(mappings(Mapping{Paths: []string{"*"}, Repositories: order}))
			require.Equal(t, order[0], w.install(v, tool("1.0.0"), InstallOptions{}).Repository)
		}
	},
	"Mapping.Threshold": func(t *testing.T, w *world) {
		of := func(threshold int) *Vault {
			return w.vault(mappings(Mapping{Paths: []string{"*"}, Repositories: w.names, Threshold: threshold}))
		}
		require.Equal(t, ruleThreshold, rule(t, w.refused(of(2), tool("1.0.0"), InstallOptions{}, hybrid.ErrPolicyDenied)))
		w.install(of(1), tool("1.0.0"), InstallOptions{})
	},
	"Mapping.Terminating": func(_ *testing.T, w *world) {
		of := func(terminating bool) *Vault {
			return w.vault(mappings(Mapping{Paths: []string{"plugins/acme/*"}, Repositories: []string{"two"}, Terminating: terminating},
				Mapping{Paths: []string{"*"}, Repositories: []string{"one"}}))
		}
		w.refused(of(true), tool("1.0.0"), InstallOptions{}, hybrid.ErrNotFound)
		w.install(of(false), tool("1.0.0"), InstallOptions{})
	},
}

// real lets python-tuf answer, too.
func real(t *testing.T) func(*Options) {
	return func(o *Options) { o.Mode, o.Python = hybrid.ModeAuto, pyenvtest.Python(t) }
}

// first leaves the first repository alone, edited.
func first(edit ...func(*Repository)) func(*Options) {
	return func(o *Options) {
		o.Repositories = o.Repositories[:1]
		for _, f := range edit {
			f(&o.Repositories[0])
		}
	}
}

// another is another server of the first repository.
func (w *world) another() *tuftest.Server {
	s := tuftest.NewServer(w.repos["one"])
	w.t.Cleanup(s.Close)
	return s
}

func (w *world) status(v *Vault) *Status {
	w.t.Helper()
	s, err := v.Status(w.t.Context())
	require.NoError(w.t, err)
	return s
}

// refusedAgain wants an error of the family for what is in the cache already.
func (w *world) refusedAgain(v *Vault, r release, family error) *hybrid.Error {
	w.t.Helper()
	_, err := v.VerifyAndDownloadPlugin(w.t.Context(), r.path(), InstallOptions{})
	require.ErrorIs(w.t, err, family)
	var e *hybrid.Error
	require.ErrorAs(w.t, err, &e)
	return e
}

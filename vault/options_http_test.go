package vault

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

// httpEffects are the rows of Repository.HTTP. Those that count what fails do so
// with a plugin: metadata may be asked for ahead.
var httpEffects = map[string]func(t *testing.T, w *world){
	"Repository.HTTP.MaxRequests": func(_ *testing.T, w *world) {
		for _, bound := range []int{1, 2, 4} {
			w.atATime(bound, func(r *Repository) { r.HTTP.MaxRequests = bound })
		}
	},
	"Repository.HTTP.BearerToken": func(t *testing.T, w *world) {
		seen := w.headers("Authorization")
		w.install(w.vault(first(func(r *Repository) { r.HTTP.BearerToken = "secret-token" })), tool("1.0.0"), InstallOptions{})
		require.Equal(t, []string{"Bearer secret-token"}, slices.Compact(seen()))
	},
	"Repository.HTTP.UserAgent": func(t *testing.T, w *world) {
		seen := w.headers("User-Agent")
		w.install(w.vault(first(func(r *Repository) { r.HTTP.UserAgent = "example/1" })), tool("1.0.0"), InstallOptions{})
		require.Equal(t, []string{"example/1"}, slices.Compact(seen()))
	},
	"Repository.HTTP.Attempts": func(_ *testing.T, w *world) {
		of := func(attempts int) *Vault {
			w.servers["one"].On(tool("1.0.0").file(), tuftest.Then(1, tuftest.Status(http.StatusServiceUnavailable), tuftest.File))
			return w.vault(first(func(r *Repository) { r.HTTP.Attempts = attempts }))
		}
		w.refused(of(1), tool("1.0.0"), InstallOptions{}, hybrid.ErrTransport)
		w.install(of(2), tool("1.0.0"), InstallOptions{})
	},
	"Repository.HTTP.FirstByteTimeout": func(_ *testing.T, w *world) {
		w.servers["one"].On("metadata/timestamp.json", tuftest.Silence)
		w.refused(w.vault(first(func(r *Repository) { r.HTTP.FirstByteTimeout = 50 * time.Millisecond })), tool("1.0.0"), InstallOptions{}, hybrid.ErrTransport)
	},
	"Repository.HTTP.TotalTimeout": func(_ *testing.T, w *world) {
		w.servers["one"].On("metadata/timestamp.json", tuftest.Silence)
		w.refused(w.vault(first(func(r *Repository) { r.HTTP.TotalTimeout = 50 * time.Millisecond })), tool("1.0.0"), InstallOptions{}, hybrid.ErrTransport)
	},
	"Repository.HTTP.StreamTimeout": func(_ *testing.T, w *world) {
		w.servers["one"].On(tool("1.0.0").file(), tuftest.Silence)
		w.refused(w.vault(first(func(r *Repository) { r.HTTP.StreamTimeout = 50 * time.Millisecond })), tool("1.0.0"), InstallOptions{}, hybrid.ErrTransport)
	},
	"Repository.HTTP.MinRate": func(_ *testing.T, w *world) {
		w.servers["one"].On(tool("1.0.0").file(), tuftest.Drip(5*time.Millisecond))
		w.refused(w.vault(first(func(r *Repository) { r.HTTP.MinRate, r.HTTP.MinRateWindow = 1<<30, 20*time.Millisecond })),
			tool("1.0.0"), InstallOptions{}, hybrid.ErrTransport)
		w.install(w.vault(first(func(r *Repository) { r.HTTP.MinRate, r.HTTP.MinRateWindow = 1, time.Minute })), tool("1.0.0"), InstallOptions{})
	},
	"Repository.HTTP.MaxRedirects": func(_ *testing.T, w *world) {
		of := func(most int) *Vault {
			w.servers["one"].On("metadata/timestamp.json", tuftest.RedirectTimes(2))
			return w.vault(first(func(r *Repository) { r.HTTP.MaxRedirects = most }))
		}
		w.refused(of(1), tool("1.0.0"), InstallOptions{}, hybrid.ErrTransport)
		w.install(of(2), tool("1.0.0"), InstallOptions{})
	},
	"Repository.HTTP.RootCAs": func(t *testing.T, w *world) {
		s := httptest.NewUnstartedServer(w.servers["one"])
		s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
		s.StartTLS()
		defer s.Close()
		w.refused(w.vault(first(func(r *Repository) { r.URL = s.URL })), tool("1.0.0"), InstallOptions{}, hybrid.ErrTransport)
		cas := x509.NewCertPool()
		cas.AddCert(s.Certificate())
		w.install(w.vault(first(func(r *Repository) { r.URL, r.HTTP.RootCAs = s.URL, cas })), tool("1.0.0"), InstallOptions{})
	},
	"Repository.HTTP.RequestsPerSecond": func(_ *testing.T, w *world) {
		w.refused(w.vault(first(func(r *Repository) { r.HTTP.RequestsPerSecond = 1e-6 })), tool("1.0.0"), InstallOptions{}, hybrid.ErrBusy)
		w.install(w.vault(first()), tool("1.0.0"), InstallOptions{})
	},
	"Repository.HTTP.BytesPerSecond": func(_ *testing.T, w *world) {
		w.refused(w.vault(first(func(r *Repository) { r.HTTP.BytesPerSecond = 1 })), tool("1.0.0"), InstallOptions{}, hybrid.ErrBusy)
		w.install(w.vault(first(func(r *Repository) { r.HTTP.BytesPerSecond = 1 << 30 })), tool("1.0.0"), InstallOptions{})
	},
	"Repository.HTTP.ConnectTimeout": func(_ *testing.T, w *world) {
		w.refused(w.vault(web(func(h *hybrid.HTTPOptions) { h.ConnectTimeout = 1 })), tool("1.0.0"), InstallOptions{}, hybrid.ErrTransport)
		w.install(w.vault(first()), tool("1.0.0"), InstallOptions{})
	},
	"Repository.HTTP.MinRateWindow": func(_ *testing.T, w *world) {
		w.servers["one"].On(tool("1.0.0").file(), tuftest.Drip(5*time.Millisecond))
		of := func(window time.Duration) *Vault {
			return w.vault(web(func(h *hybrid.HTTPOptions) { h.MinRate, h.MinRateWindow = 1<<30, window }))
		}
		w.refused(of(20*time.Millisecond), tool("1.0.0"), InstallOptions{}, hybrid.ErrTransport)
		w.install(of(time.Hour), tool("1.0.0"), InstallOptions{})
	},
	"Repository.HTTP.BackoffMin": func(_ *testing.T, w *world) {
		of := func(pause time.Duration) *Vault {
			w.servers["one"].On(tool("1.0.0").file(), tuftest.Then(1, tuftest.Status(http.StatusServiceUnavailable), tuftest.File))
			return w.vault(web(func(h *hybrid.HTTPOptions) {
				h.Attempts, h.BackoffMin, h.BackoffMax, h.StreamTimeout = 2, pause, time.Hour, 10*time.Second
			}))
		}
		w.refused(of(time.Hour), tool("1.0.0"), InstallOptions{}, hybrid.ErrTransport)
		w.install(of(1), tool("1.0.0"), InstallOptions{})
	},
	"Repository.HTTP.BackoffMax": func(_ *testing.T, w *world) {
		// Doubled twenty times a millisecond is more than any deadline here.
		const failures = 20
		of := func(most, timeout time.Duration) *Vault {
			w.servers["one"].On(tool("1.0.0").file(), tuftest.Then(failures, tuftest.Status(http.StatusServiceUnavailable), tuftest.File))
			return w.vault(web(func(h *hybrid.HTTPOptions) {
				h.Attempts, h.BackoffMin, h.BackoffMax, h.StreamTimeout = failures+1, time.Millisecond, most, timeout
			}))
		}
		w.refused(of(time.Hour, time.Second), tool("1.0.0"), InstallOptions{}, hybrid.ErrTransport)
		w.install(of(time.Millisecond, time.Minute), tool("1.0.0"), InstallOptions{})
	},
	"Repository.HTTP.ClientCertificate": func(t *testing.T, w *world) {
		s := httptest.NewUnstartedServer(w.servers["one"])
		s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
		s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
		s.StartTLS()
		defer s.Close()
		cas := x509.NewCertPool()
		cas.AddCert(s.Certificate())
		cert, key := pair(t)
		mine, err := tls.X509KeyPair([]byte(cert), []byte(key))
		require.NoError(t, err)
		of := func(c *tls.Certificate) *Vault {
			return w.vault(first(func(r *Repository) { r.URL, r.HTTP.RootCAs, r.HTTP.ClientCertificate = s.URL, cas, c }))
		}
		w.refused(of(nil), tool("1.0.0"), InstallOptions{}, hybrid.ErrTransport)
		w.install(of(&mine), tool("1.0.0"), InstallOptions{})
	},
	"Repository.HTTP.MaxWaiting": func(t *testing.T, w *world) {
		for _, waiting := range []int{1, 2} {
			open := make(chan struct{})
			var tools []release
			for i := range 3 {
				r := release{publisher: "acme", name: fmt.Sprint("tool", i), version: "1.0.0"}
				w.publish("one", r)
				w.servers["one"].On(r.file(), func(x *tuftest.Exchange) {
					<-open
					tuftest.File(x)
				})
				tools = append(tools, r)
			}
			v := w.vault(first(func(r *Repository) { r.MaxDownloads, r.HTTP.MaxWaiting = 1, waiting }),
				func(o *Options) { o.CacheDir, o.RefreshInterval = t.TempDir(), time.Hour })
			require.NoError(t, v.RefreshMetadata(t.Context()))
			c := w.callAll(context.Background(), v, tools...)
			// One is on its way, as many as may wait do, and the rest is refused at once.
			require.Eventually(t, func() bool { return c.ended.Load() == int64(2-waiting) }, 10*time.Second, time.Millisecond)
			close(open)
			busy := slices.DeleteFunc(c.wait(), func(err error) bool { return !errors.Is(err, hybrid.ErrBusy) })
			require.Len(t, busy, 2-waiting)
		}
	},
	"Repository.HTTP.Logger": func(t *testing.T, w *world) {
		var log bytes.Buffer
		v := w.vault(web(func(h *hybrid.HTTPOptions) {
			h.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		}))
		w.install(v, tool("1.0.0"), InstallOptions{})
		require.NoError(t, v.Shutdown(t.Context()))
		require.Contains(t, log.String(), w.servers["one"].MetadataURL()+"timestamp.json")
	},
}

// web leaves the first repository alone, with other HTTP options.
func web(edit func(*hybrid.HTTPOptions)) func(*Options) {
	return first(func(r *Repository) { edit(&r.HTTP) })
}

// headers collects what a header says in every request to the first repository.
func (w *world) headers(name string) func() []string {
	var mu sync.Mutex
	var seen []string
	w.servers["one"].On("", func(x *tuftest.Exchange) {
		mu.Lock()
		seen = append(seen, x.Request.Header.Get(name))
		mu.Unlock()
		tuftest.File(x)
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(seen)
	}
}

// atATime wants the first repository to be asked for no more of four targets at a
// time than bound: while these hang and one waits, the others are refused as busy.
func (w *world) atATime(bound int, edit func(*Repository)) {
	w.t.Helper()
	var tools []release
	out, open := make(chan string, 4), make(chan struct{})
	for i := range cap(out) {
		r := release{publisher: "acme", name: fmt.Sprint("tool", i), version: "1.0.0"}
		w.publish("one", r)
		w.servers["one"].On(r.file(), func(x *tuftest.Exchange) {
			out <- x.Name
			<-open
			tuftest.File(x)
		})
		tools = append(tools, r)
	}
	v := w.vault(first(edit), first(func(r *Repository) { r.HTTP.MaxWaiting = 1 }), func(o *Options) {
		o.CacheDir, o.RefreshInterval = w.t.TempDir(), time.Hour
	})
	require.NoError(w.t, v.RefreshMetadata(w.t.Context()))
	c := w.callAll(context.Background(), v, tools...)
	refused := max(0, cap(out)-bound-1)
	if !assert.Eventually(w.t, func() bool { return len(out) == bound && c.ended.Load() == int64(refused) }, 10*time.Second, time.Millisecond) {
		w.t.Logf("%d are out, %d have ended", len(out), c.ended.Load())
	}
	close(open)
	busy := slices.DeleteFunc(c.wait(), func(err error) bool { return !errors.Is(err, hybrid.ErrBusy) })
	require.Len(w.t, busy, refused)
}

package hybrid

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

// TestBusyIsNobodysFault: what our own limits stop blames neither the repository
// nor an engine, and nothing stands in for it.
func TestBusyIsNobodysFault(t *testing.T) {
	for _, mode := range []Mode{ModeAuto, ModeGo, ModePython, ModeDual} {
		t.Run(string(mode), func(t *testing.T) {
			w := newWorld(t)
			w.get(w.client(ModeGo))
			w.server.Forget()
			c := w.client(mode, func(o *Options) { o.HTTP.RequestsPerSecond = 1e-6 })
			e := w.refused(c, ErrBusy)
			require.ErrorIs(t, e, ErrTransport)
			require.Equal(t, 34, e.Code.Exit())
			require.Equal(t, []string{"metadata/2.root.json"}, w.server.Requests())
			require.Empty(t, w.codes())
			s := status(t, c)
			require.Zero(t, s.Breaker.TotalFailures)
			require.Empty(t, s.LastFallback)
			w.get(w.client(mode))
		})
	}
}

// TestManyDownloadsAtOnce wait for each other with the options as they are.
func TestManyDownloadsAtOnce(t *testing.T) {
	const all = 200
	w := newWorld(t)
	for i := range all {
		w.repo.AddTarget("targets", fmt.Sprint("plugins/many/", i), fmt.Append(nil, "plugin ", i), nil)
	}
	w.repo.Publish("targets")
	c := w.client(ModeGo)
	var wg sync.WaitGroup
	errs := make([]error, all)
	for i := range all {
		wg.Go(func() {
			r, err := c.VerifyAndDownloadPlugin(context.Background(), fmt.Sprint("plugins/many/", i), DownloadOptions{})
			if err == nil {
				var raw []byte
				if raw, err = os.ReadFile(r.Path); err == nil && string(raw) != fmt.Sprint("plugin ", i) {
					err = fmt.Errorf("%q", raw)
				}
			}
			errs[i] = err
		})
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
}

// TestOneRequestAtATime is slower, and nothing else.
func TestOneRequestAtATime(t *testing.T) {
	for _, mode := range []Mode{ModeGo, ModeDual} {
		w := newWorld(t)
		for range 5 {
			w.repo.PublishRoot()
		}
		var out, most atomic.Int32
		w.server.On("", func(x *tuftest.Exchange) {
			if n := out.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(15 * time.Millisecond) // Late enough for guesses.
			out.Add(-1)
			tuftest.File(x)
		})
		w.get(w.client(mode, func(o *Options) { o.HTTP.MaxRequests = 1 }))
		require.EqualValues(t, 1, most.Load())
	}
}

func TestLimitsRefused(t *testing.T) {
	for _, h := range []HTTPOptions{{RequestsPerSecond: -1}, {MaxRequests: -1}, {BytesPerSecond: -1}, {MaxWaiting: -1}} {
		_, err := New(Options{HTTP: h})
		require.ErrorIs(t, err, ErrUsage)
	}
}

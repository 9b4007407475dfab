package hybrid

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest/plain"
)

// benchWorld is a small repository with a 10 kB plugin.
func benchWorld(b *testing.B) (*tuftest.Repo, *tuftest.Server) {
	repo := tuftest.NewRepo(tuftest.Config{Kind: tuftest.RSA})
	repo.AddTarget("targets", plugin, make([]byte, 10_000), nil)
	repo.Publish("targets")
	server := tuftest.NewServer(repo)
	b.Cleanup(server.Close)
	return repo, server
}

func benchOptions(b *testing.B, repo *tuftest.Repo, server *tuftest.Server, mode Mode) Options {
	dir := b.TempDir()
	return Options{
		RepositoryURL: server.URL, Root: repo.RootBytes(1), Mode: mode, BreakerFailures: 1 << 30,
		MetadataDir: filepath.Join(dir, "metadata"), CacheDir: filepath.Join(dir, "cache"),
	}
}

func benchGet(b *testing.B, c *Client) {
	if _, err := c.VerifyAndDownloadPlugin(context.Background(), plugin, DownloadOptions{}); err != nil {
		b.Error(err)
	}
}

// BenchmarkCold initialises, refreshes and downloads 10 kB with empty
// directories, in a fresh client each time. plain-go and plain-python are the
// libraries' own clients; plain-python's child process is warm.
func BenchmarkCold(b *testing.B) {
	for _, mode := range []Mode{ModeAuto, ModeGo, ModePython, ModeDual} {
		b.Run(string(mode), func(b *testing.B) {
			repo, server := benchWorld(b)
			for b.Loop() {
				c, err := New(benchOptions(b, repo, server, mode))
				require.NoError(b, err)
				benchGet(b, c)
				require.NoError(b, c.Shutdown(context.Background()))
			}
			b.ReportMetric(float64(residentKiB(b, os.Getpid()))/1024, "host-MiB")
		})
	}
	python, err := plain.Interpreter()
	require.NoError(b, err)
	child := plain.NewPython(python)
	b.Cleanup(child.Close)
	for name, client := range map[string]plain.Client{"plain-go": plain.Go{}, "plain-python": child} {
		b.Run(name, func(b *testing.B) {
			repo, server := benchWorld(b)
			for b.Loop() {
				dir := b.TempDir()
				_, err := client.Run(context.Background(), plain.Request{
					MetadataURL: server.MetadataURL(), TargetsURL: server.TargetsURL(), Root: repo.RootBytes(1),
					MetadataDir: filepath.Join(dir, "m"), TargetsDir: filepath.Join(dir, "t"), Target: plugin,
				})
				require.NoError(b, err)
			}
		})
	}
}

// BenchmarkInitialize pins a root and loads the trust store.
func BenchmarkInitialize(b *testing.B) {
	repo, server := benchWorld(b)
	for b.Loop() {
		c, err := New(benchOptions(b, repo, server, ModeAuto))
		require.NoError(b, err)
		require.NoError(b, c.Initialize(context.Background()))
		require.NoError(b, c.Shutdown(context.Background()))
	}
}

// BenchmarkWarm asks again for a plugin that is in the cache, with a refresh each time.
func BenchmarkWarm(b *testing.B) {
	for _, mode := range []Mode{ModeAuto, ModePython, ModeDual} {
		b.Run(string(mode), func(b *testing.B) {
			repo, server := benchWorld(b)
			c, err := New(benchOptions(b, repo, server, mode))
			require.NoError(b, err)
			benchGet(b, c)
			for b.Loop() {
				benchGet(b, c)
			}
			reportWorker(b, c)
			require.NoError(b, c.Shutdown(context.Background()))
		})
	}
}

// warmClient is a client that has the plugin and asks for news once a second.
func warmClient(b *testing.B) *Client {
	repo, server := benchWorld(b)
	o := benchOptions(b, repo, server, ModeAuto)
	o.RefreshInterval = time.Second
	c, err := New(o)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, c.Shutdown(context.Background())) })
	benchGet(b, c)
	return c
}

// BenchmarkHit serves a plugin that is in the cache, verified once more, from a
// client that is kept fresh; readfile is the least that it takes.
func BenchmarkHit(b *testing.B) {
	c := warmClient(b)
	r, err := c.VerifyAndDownloadPlugin(context.Background(), plugin, DownloadOptions{})
	require.NoError(b, err)
	hash := func() {
		raw, err := os.ReadFile(r.Path)
		if err != nil || fmt.Sprintf("%x", sha256.Sum256(raw)) != r.Hashes["sha256"] {
			b.Error(err)
		}
	}
	for name, work := range map[string]func(){"ours": func() { benchGet(b, c) }, "readfile": hash} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				work()
			}
		})
		b.Run(name+"-8", func(b *testing.B) {
			b.SetParallelism(8 / min(8, runtime.GOMAXPROCS(0)))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					work()
				}
			})
		})
	}
}

// BenchmarkTelemetry is what telemetry adds to a verified hit, and to a download of
// 10 kB with a refresh before it: off, and on in the real SDK, every call sampled,
// with an exporter that drops what it gets.
func BenchmarkTelemetry(b *testing.B) {
	for _, on := range []bool{false, true} {
		edit := func(o *Options, interval time.Duration) {
			if o.RefreshInterval = interval; !on {
				return
			}
			tracers := sdktrace.NewTracerProvider(sdktrace.WithBatcher(dropped{}))
			meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
			b.Cleanup(func() { require.NoError(b, tracers.Shutdown(context.Background())) })
			o.TracerProvider, o.MeterProvider, o.TelemetryName = tracers, meters, "acme"
		}
		name := map[bool]string{false: "off", true: "on"}[on]
		repo, server := benchWorld(b)
		client := func(interval time.Duration) *Client {
			o := benchOptions(b, repo, server, ModeAuto)
			edit(&o, interval)
			c, err := New(o)
			require.NoError(b, err)
			b.Cleanup(func() { require.NoError(b, c.Shutdown(context.Background())) })
			benchGet(b, c)
			return c
		}
		b.Run("hit-"+name, func(b *testing.B) {
			c := client(time.Hour)
			b.ReportAllocs()
			for b.Loop() {
				benchGet(b, c)
			}
		})
		b.Run("lookup-"+name, func(b *testing.B) {
			c := client(time.Hour)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Lookup(context.Background(), plugin); err != nil {
					b.Error(err)
				}
			}
		})
		b.Run("download-"+name, func(b *testing.B) {
			c := client(0)
			r, err := c.VerifyAndDownloadPlugin(context.Background(), plugin, DownloadOptions{})
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				require.NoError(b, os.Remove(r.Path))
				benchGet(b, c)
			}
		})
	}
}

// dropped is an exporter that drops what it gets.
type dropped struct{}

func (dropped) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }

func (dropped) Shutdown(context.Context) error { return nil }

// BenchmarkLookup asks a client that is kept fresh about a target.
func BenchmarkLookup(b *testing.B) {
	c := warmClient(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Lookup(context.Background(), plugin); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkFallback downloads from a repository that go-tuf cannot decode: with
// a worker that has to be started, and with one that is there already.
func BenchmarkFallback(b *testing.B) {
	for _, cold := range []bool{true, false} {
		b.Run(map[bool]string{true: "cold-worker", false: "warm-worker"}[cold], func(b *testing.B) {
			repo, server := benchWorld(b)
			repo.Timestamp.EditSignatures = oddSignature
			repo.PublishTimestamp()
			c, err := New(benchOptions(b, repo, server, ModeAuto))
			require.NoError(b, err)
			benchGet(b, c)
			for b.Loop() {
				if cold {
					b.StopTimer()
					require.NoError(b, c.Shutdown(context.Background()))
					c, err = New(benchOptions(b, repo, server, ModeAuto))
					require.NoError(b, err)
					b.StartTimer()
				}
				benchGet(b, c)
			}
			reportWorker(b, c)
			require.NoError(b, c.Shutdown(context.Background()))
		})
	}
}

func reportWorker(b *testing.B, c *Client) {
	b.ReportMetric(float64(residentKiB(b, os.Getpid()))/1024, "host-MiB")
	s, err := c.Status(context.Background())
	require.NoError(b, err)
	b.ReportMetric(float64(s.Worker.RSS)/(1<<20), "worker-MiB")
}

// residentKiB returns the resident memory of a process where /proc tells it.
func residentKiB(b *testing.B, pid int) (kib int) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			_, err := fmt.Sscan(rest, &kib)
			require.NoError(b, err)
		}
	}
	return kib
}

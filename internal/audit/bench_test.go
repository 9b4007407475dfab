package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// typical is an event as hosts write them.
var typical = map[string]any{
	"code": "allowed", "severity": "info", "repository": "main", "target": "plugins/acme/hello/1.2.3/hello-1.2.3.tar.gz",
	"message": "acme/hello 1.2.3 was verified and handed out", "count": 1,
	"evidence": map[string]any{"digest": strings.Repeat("ab", 32), "role": "acme", "engine": "go", "trusted": 17},
}

// BenchmarkAppend is one line after another, each on the disk; parallel are 64
// goroutines, which share the wait. Bare is what a write and a sync alone take.
func BenchmarkAppend(b *testing.B) {
	b.Run("bare", func(b *testing.B) {
		f, err := os.Create(filepath.Join(b.TempDir(), "f"))
		require.NoError(b, err)
		defer f.Close()
		raw := make([]byte, 400)
		for b.Loop() {
			_, _ = f.Write(raw)
			_ = f.Sync()
		}
	})
	for _, every := range []int{-1, DefaultEvery} {
		opts := Options{Every: every, Interval: -1}
		b.Run(fmt.Sprintf("alone/every=%d", every), func(b *testing.B) {
			b.ReportAllocs()
			l := open(b, newDir(b), opts)
			for b.Loop() {
				if err := l.Append(background, typical); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("parallel/every=%d", every), func(b *testing.B) {
			var syncs atomic.Int64
			l, err := openWith(background, newDir(b), opts, func(op, _ string) error {
				if op == "sync" {
					syncs.Add(1)
				}
				return nil
			})
			require.NoError(b, err)
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := l.Append(background, typical); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(syncs.Load())/float64(b.N), "syncs/op")
			require.NoError(b, l.Close(background))
		})
	}
}

// long makes a log of many lines.
func long(b *testing.B, batches int) string {
	b.Helper()
	dir := newDir(b)
	l := open(b, dir, Options{Interval: -1})
	events := make([]any, 1000)
	for i := range events {
		events[i] = typical
	}
	for range batches {
		require.NoError(b, l.Append(background, events...))
	}
	require.NoError(b, l.Close(background))
	return dir
}

// BenchmarkVerify reads a log of 40,000 lines in two files.
func BenchmarkVerify(b *testing.B) {
	dir := long(b, 40)
	b.ReportAllocs()
	for b.Loop() {
		rep, err := Verify(background, dir, VerifyOptions{})
		if err != nil || !rep.OK() {
			b.Fatal(err, rep)
		}
		b.SetBytes(rep.Bytes)
	}
}

// BenchmarkOpen opens the same log, with and without what is kept for that.
func BenchmarkOpen(b *testing.B) {
	dir := long(b, 40)
	for _, name := range []string{"state", "all"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if name == "all" {
					_ = os.Remove(filepath.Join(dir, stateName))
				}
				l, err := Open(dir, Options{})
				if err != nil {
					b.Fatal(err)
				}
				_ = l.Close(background)
			}
		})
	}
}

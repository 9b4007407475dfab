package targets

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/transport"
)

// cached returns a cache that holds a target of size bytes.
func cached(b *testing.B, size int) (*Cache, Want, string) {
	b.Helper()
	c, err := Open(b.TempDir(), 0, 0)
	require.NoError(b, err)
	target := bytes.Repeat([]byte("plugin!\n"), size/8+1)[:size]
	path, err := c.Fetch(background, wantOf(target), func(_ context.Context, s Sink) error {
		_, err := s.Write(target)
		return err
	}, nil)
	require.NoError(b, err)
	return c, wantOf(target), path
}

// BenchmarkFind is a verified hit; readfile is the least that one could do:
// os.ReadFile and SHA-256. The parallel ones run four goroutines a processor.
func BenchmarkFind(b *testing.B) {
	for _, size := range []int{10_000, 1 << 20} {
		c, want, path := cached(b, size)
		find := func() bool {
			_, ok := c.Find(background, want)
			return ok
		}
		sum := sha256.New().Sum(nil)
		readfile := func() bool {
			raw, err := os.ReadFile(path)
			got := sha256.Sum256(raw)
			return err == nil && !bytes.Equal(sum, got[:])
		}
		for _, way := range []struct {
			name string
			hit  func() bool
		}{{"ours", find}, {"readfile", readfile}} {
			b.Run(fmt.Sprintf("%s/%d", way.name, size), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(size))
				for b.Loop() {
					if !way.hit() {
						b.Fatal("not found")
					}
				}
			})
			b.Run(fmt.Sprintf("%s-parallel/%d", way.name, size), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.SetParallelism(4)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if !way.hit() {
							b.Error("not found")
						}
					}
				})
			})
		}
	}
}

// BenchmarkFetch is a download over the loopback, its bytes on the disk at its end.
func BenchmarkFetch(b *testing.B) {
	for _, size := range []int{10_000, 3 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			c, err := Open(filepath.Join(b.TempDir(), "cache"), 0, 0)
			require.NoError(b, err)
			target := plugin[:size]
			o := newOrigin(b, serves(target, `"a"`))
			client, err := transport.New(transport.Options{})
			require.NoError(b, err)
			defer client.Close()
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				_, err := c.Fetch(background, wantOf(target), func(ctx context.Context, s Sink) error {
					_, err := client.Stream(ctx, transport.Request{URL: o.URL, Limit: int64(size)}, s)
					return err
				}, nil)
				require.NoError(b, err)
			}
		})
	}
}

package targets

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestFetchReportsProgressAndStartsAgain(t *testing.T) {
	c := open(t)
	b := []byte("whole")
	var seen []int64
	path, err := c.Fetch(background, wantOf(b), func(_ context.Context, s Sink) error {
		_, err := s.Write([]byte("wha"))
		require.NoError(t, err)
		require.NoError(t, s.Reset())
		return bytesOf(b)(background, s)
	}, func(done, total int64) {
		require.EqualValues(t, 5, total)
		seen = append(seen, done)
	})
	require.NoError(t, err)
	require.Equal(t, []int64{3, 0, 5}, seen)
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, b, got)
	require.Len(t, files(t, c.dir), 1)
}

func TestFetchLeavesNothingAfterAnError(t *testing.T) {
	b := []byte("whole")
	w := wantOf(b)
	transport := tuferr.New(protocol.CodeUnreachable, "gone")
	write := func(s string, then error) func(context.Context, Sink) error {
		return func(_ context.Context, sink Sink) error {
			if _, err := io.WriteString(sink, s); err != nil {
				return then
			}
			return then
		}
	}
	for name, c := range map[string]struct {
		get    func(context.Context, Sink) error
		code   protocol.Code
		digest string
	}{
		"other bytes":             {write("whale", nil), protocol.CodeMismatch, sum256([]byte("whale"))},
		"too short":               {write("who", nil), protocol.CodeMismatch, sum256([]byte("who"))},
		"nothing":                 {write("", nil), protocol.CodeMismatch, sum256(nil)},
		"too long":                {write("wholes", nil), protocol.CodeEndlessData, ""},
		"too long, and says else": {write("wholes", transport), protocol.CodeEndlessData, ""},
		"transport error":         {write("who", transport), protocol.CodeUnreachable, ""},
		"right, but an error":     {write("whole", transport), protocol.CodeUnreachable, ""},
		"untyped error":           {write("who", io.ErrUnexpectedEOF), protocol.CodeInternal, ""},
		"reset after an error": {func(_ context.Context, s Sink) error {
			_, _ = s.Write([]byte("wholes"))
			_ = s.Reset()
			return bytesOf(b)(background, s)
		}, protocol.CodeEndlessData, ""},
	} {
		t.Run(name, func(t *testing.T) {
			cache := open(t)
			_, err := cache.Fetch(background, w, c.get, nil)
			e := tuferr.As(err)
			require.NotNil(t, e)
			require.Equal(t, c.code, e.Code)
			require.Equal(t, c.digest, e.Digest)
			if e.Class() == protocol.ClassVerdict {
				require.Equal(t, "5.7.3", e.Spec)
			}
			require.Empty(t, files(t, cache.dir))
		})
	}
}

func TestEveryKnownHashHasToMatch(t *testing.T) {
	b := []byte("whole")
	for _, h := range []map[string]string{
		{"sha256": sum256(b), "sha512": sum512([]byte("x"))},
		{"sha256": sum256([]byte("x")), "sha512": sum512(b)},
		{"sha512": sum512([]byte("x"))},
	} {
		c := open(t)
		_, err := c.Fetch(background, Want{Length: 5, Hashes: h}, bytesOf(b), nil)
		require.Equal(t, protocol.CodeMismatch, tuferr.CodeOf(err))
		require.Equal(t, sum256(b), tuferr.As(err).Digest)
		require.Empty(t, files(t, c.dir))
	}
}

func TestFetchSurvivesAPanic(t *testing.T) {
	c := open(t)
	b := []byte("whole")
	require.PanicsWithValue(t, "boom", func() {
		_, _ = c.Fetch(background, wantOf(b), func(_ context.Context, s Sink) error {
			_, _ = s.Write([]byte("who"))
			panic("boom")
		}, nil)
	})
	require.Empty(t, files(t, c.dir))
	_, err := c.Fetch(background, wantOf(b), bytesOf(b), nil)
	require.NoError(t, err)
}

func TestFetchHonoursTheContext(t *testing.T) {
	b := []byte("whole")
	for name, get := range map[string]func(context.CancelFunc) func(context.Context, Sink) error{
		"before a write": func(cancel context.CancelFunc) func(context.Context, Sink) error {
			return func(ctx context.Context, s Sink) error { cancel(); return bytesOf(b)(ctx, s) }
		},
		"after the last": func(cancel context.CancelFunc) func(context.Context, Sink) error {
			return func(ctx context.Context, s Sink) error { defer cancel(); return bytesOf(b)(ctx, s) }
		},
		"plain error": func(cancel context.CancelFunc) func(context.Context, Sink) error {
			return func(ctx context.Context, _ Sink) error { cancel(); return ctx.Err() }
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t)
			ctx, cancel := context.WithCancel(background)
			_, err := c.Fetch(ctx, wantOf(b), get(cancel), nil)
			require.Equal(t, protocol.CodeCancelled, tuferr.CodeOf(err))
			require.ErrorIs(t, err, context.Canceled)
			require.Empty(t, files(t, c.dir))
			_, err = c.Fetch(ctx, wantOf(b), bytesOf(b), nil)
			require.ErrorIs(t, err, context.Canceled)
		})
	}
	late, cancel := context.WithTimeout(background, 0)
	defer cancel()
	_, err := open(t).Fetch(late, wantOf(b), bytesOf(b), nil)
	require.Equal(t, protocol.CodeTimeout, tuferr.CodeOf(err))
}

func TestConcurrentFetchesShareOneDownload(t *testing.T) {
	c := open(t)
	b := []byte("whole")
	var gets atomic.Int32
	started, release := make(chan struct{}), make(chan struct{})
	get := func(ctx context.Context, s Sink) error {
		if gets.Add(1) == 1 {
			close(started)
			<-release
		}
		return bytesOf(b)(ctx, s)
	}
	var all sync.WaitGroup
	fetch := func() {
		path, err := c.Fetch(background, wantOf(b), get, nil)
		require.NoError(t, err)
		require.Equal(t, filepath.Join(c.dir, "sha256", sum256(b)), path)
	}
	all.Go(fetch)
	<-started
	gone, cancel := context.WithCancel(background)
	cancel()
	_, err := c.Fetch(gone, wantOf(b), get, nil)
	require.ErrorIs(t, err, context.Canceled, "who waits may give up")
	for range 8 {
		all.Go(fetch)
	}
	close(release)
	all.Wait()
	require.LessOrEqual(t, gets.Load(), int32(9))
	require.Len(t, files(t, c.dir), 1)
}

func TestWaitingFetchTriesItselfAfterAFailure(t *testing.T) {
	c := open(t)
	b := []byte("whole")
	started, release := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		_, err := c.Fetch(background, wantOf(b), func(context.Context, Sink) error {
			close(started)
			<-release
			return tuferr.New(protocol.CodeUnreachable, "gone")
		}, nil)
		require.Equal(t, protocol.CodeUnreachable, tuferr.CodeOf(err))
	})
	<-started
	all.Go(func() {
		_, err := c.Fetch(background, wantOf(b), bytesOf(b), nil)
		require.NoError(t, err)
	})
	close(release)
	all.Wait()
}

func TestFollowersGetTheLeadersFile(t *testing.T) {
	c := open(t)
	f, mine := c.board(signedOf([]byte("whole")))
	require.True(t, mine)
	f.path, f.ok = "elsewhere", true
	close(f.done)
	var done int64
	path, err := c.Fetch(background, wantOf([]byte("whole")), nil, func(n, _ int64) { done = n })
	require.NoError(t, err)
	require.Equal(t, "elsewhere", path)
	require.EqualValues(t, 5, done)
}

func TestStreamMemoryIsConstant(t *testing.T) {
	const size = 64 << 20
	chunk := make([]byte, 64<<10)
	h := sha256.New()
	for range size / len(chunk) {
		h.Write(chunk)
	}
	w := Want{Length: size, Hashes: map[string]string{"sha256": hex.EncodeToString(h.Sum(nil))}}
	c := open(t)
	out := filepath.Join(t.TempDir(), "out")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	path, err := c.Fetch(background, w, func(_ context.Context, s Sink) error {
		for range size / len(chunk) {
			if _, err := s.Write(chunk); err != nil {
				return err
			}
		}
		return nil
	}, nil)
	require.NoError(t, err)
	_, ok := c.Find(background, w)
	require.True(t, ok)
	require.NoError(t, Export(background, path, w, out))
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(2<<20), "bytes allocated by three passes")
}

// What lies under the name and cannot be removed is said, not overwritten.
func TestNameIsTakenByADirectory(t *testing.T) {
	c := open(t)
	b := []byte("whole")
	want := signedOf(b)
	path := c.path(&want)
	require.NoError(t, os.MkdirAll(filepath.Join(path, "sub"), 0o700))
	_, ok := c.Find(background, wantOf(b))
	require.False(t, ok)
	_, err := c.Fetch(background, wantOf(b), bytesOf(b), nil)
	require.Equal(t, protocol.CodeLocalIO, tuferr.CodeOf(err))
	require.Contains(t, err.Error(), "cannot write "+path)
	require.Empty(t, files(t, c.dir))
}

func TestLocalErrorsAreTyped(t *testing.T) {
	e := tuferr.As(localError("write", "some/file", &os.PathError{Op: "write", Path: "some/file", Err: errors.New("odd")}))
	require.Equal(t, protocol.CodeLocalIO, e.Code)
	require.Equal(t, "cannot write some/file: odd; check the directory, or choose another one", e.Error())
}

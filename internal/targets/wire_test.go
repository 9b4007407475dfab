package targets

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/transport"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// From the wire to the disk: a connection that breaks half-way is made good, and
// the repository's errors come through unchanged.
func TestFetchOverTheWire(t *testing.T) {
	b := []byte(strings.Repeat("plugin ", 100_000))
	var broken atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/targets/a" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		if broken.CompareAndSwap(false, true) {
			_, _ = w.Write(b[:len(b)/2])
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(b)
	}))
	defer s.Close()
	client, err := transport.New(transport.Options{BackoffMin: time.Millisecond})
	require.NoError(t, err)
	defer client.Close()
	from := func(path string) func(context.Context, Sink) error {
		return func(ctx context.Context, sink Sink) error {
			_, err := client.Stream(ctx, transport.Request{URL: s.URL + path, Limit: int64(len(b))}, sink)
			return err
		}
	}
	c := open(t)
	_, err = c.Fetch(background, wantOf(b), from("/targets/a"), nil)
	require.NoError(t, err)
	require.True(t, broken.Load())

	_, err = c.Fetch(background, wantOf([]byte("x")), from("/targets/b"), nil)
	require.Equal(t, protocol.CodeHTTPStatus, tuferr.CodeOf(err))
	require.Equal(t, 404, tuferr.As(err).Status)
	require.Len(t, files(t, c.dir), 1)

	ctx, cancel := context.WithCancel(background)
	_, err = c.Fetch(ctx, wantOf(b), from("/targets/a"), func(int64, int64) { cancel() })
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, protocol.CodeCancelled, tuferr.CodeOf(err))
}

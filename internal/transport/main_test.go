package transport

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quick are options under which nothing waits for long.
func quick() Options {
	return Options{BackoffMin: time.Millisecond, BackoffMax: time.Millisecond}
}

func newClient(t *testing.T, o Options) *Client {
	t.Helper()
	c, err := New(o)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// serve starts a server and counts its requests.
func serve(t *testing.T, h http.HandlerFunc) (string, *atomic.Int32) {
	t.Helper()
	var count atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		count.Add(1)
		h(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, &count
}

func get(t *testing.T, c *Client, url string) ([]byte, *tuferr.Error) {
	t.Helper()
	b, err := c.Get(context.Background(), Request{URL: url, Role: "timestamp", Limit: 1 << 20})
	if err == nil {
		return b, nil
	}
	e := tuferr.As(err)
	require.NotNil(t, e, "%v", err)
	require.Nil(t, b)
	return nil, e
}

// refused asks for url, requires an error and returns it.
func refused(t *testing.T, c *Client, url string, code protocol.Code) *tuferr.Error {
	t.Helper()
	_, e := get(t, c, url)
	require.NotNil(t, e)
	require.Equal(t, code, e.Code, "%v", e)
	return e
}

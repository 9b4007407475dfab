package targets

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/transport"
)

// plugin is a target of which a part may be left; breakOff is where its
// connection breaks.
var plugin = func() []byte {
	b := make([]byte, 3<<20+17)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return b
}()

const breakOff = 2 << 20

// origin is a server that answers request after request as told, the last answer
// again and again, and keeps what was asked and how many bytes it sent.
type origin struct {
	*httptest.Server
	mu     sync.Mutex
	ranges []string
	sent   int64
}

func newOrigin(t testing.TB, answers ...http.HandlerFunc) *origin {
	t.Helper()
	o := &origin{}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		n := len(o.ranges)
		asked := r.Header.Get("Range")
		if asked != "" {
			asked += " if " + r.Header.Get("If-Range")
		}
		o.ranges = append(o.ranges, asked)
		o.mu.Unlock()
		answers[min(n, len(answers)-1)](counted{w, o}, r)
	}))
	t.Cleanup(o.Close)
	return o
}

// asked returns the ranges of all requests, empty for the whole file.
func (o *origin) asked() ([]string, int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string{}, o.ranges...), o.sent
}

type counted struct {
	http.ResponseWriter
	o *origin
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.o.mu.Lock()
	c.o.sent += int64(n)
	c.o.mu.Unlock()
	return n, err
}

func (c counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// serves is an honest server.
func serves(b []byte, tag string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", tag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
	}
}

// breaks sends the first bytes of plugin, then lets go of the connection.
func breaks(header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		begin(w, header...)
		panic(http.ErrAbortHandler)
	}
}

// stalls sends the first bytes of plugin, then waits until the client has gone.
func stalls(header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		begin(w, header...)
		<-r.Context().Done()
	}
}

func begin(w http.ResponseWriter, header ...string) {
	w.Header().Set("Content-Length", strconv.Itoa(len(plugin)))
	for i := 0; i < len(header); i += 2 {
		w.Header().Set(header[i], header[i+1])
	}
	_, _ = w.Write(plugin[:breakOff])
	_ = http.NewResponseController(w).Flush()
}

// says sends status, body and headers as they are.
func says(status int, body []byte, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}
}

func newClient() *transport.Client {
	c, err := transport.New(transport.Options{Attempts: 1})
	if err != nil {
		panic(err)
	}
	return c
}

// from downloads what lies at url.
func from(client *transport.Client, url string) func(context.Context, Sink) error {
	return func(ctx context.Context, sink Sink) error {
		defer client.Close()
		_, err := client.Stream(ctx, transport.Request{URL: url, Limit: int64(len(plugin))}, sink)
		return err
	}
}

func fetch(t *testing.T, c *Cache, o *origin) error {
	t.Helper()
	path, err := c.Fetch(background, wantOf(plugin), from(newClient(), o.URL), nil)
	if err == nil {
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.True(t, bytes.Equal(plugin, got))
		require.Equal(t, []string{"sha256/" + sum256(plugin)}, files(t, c.dir))
	}
	return err
}

// partialOf and noteOf are what is left of plugin.
func partialOf(c *Cache) string { return filepath.Join(c.dir, "sha256", partialPrefix+sum256(plugin)) }
func noteOf(c *Cache) string    { return filepath.Join(c.dir, "sha256", notePrefix+sum256(plugin)) }

// leave puts there what a download would have left.
func leave(t *testing.T, c *Cache, b []byte, validator string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Join(c.dir, "sha256"), 0o700))
	require.NoError(t, os.WriteFile(partialOf(c), b, 0o600))
	require.NoError(t, os.WriteFile(noteOf(c), []byte(validator), 0o600))
}

package webserver

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lines is a buffer that a log may write to while a test reads.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// objects returns the lines, each of which must be an object of JSON.
func (l *lines) objects(t *testing.T) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(l.String()) {
		var o map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &o), line)
		all = append(all, o)
	}
	return all
}

// running is a server that answers on loopback.
type running struct {
	*Server
	url, addr string
	log       *lines
	// stop ends it and returns what Serve did.
	stop func() error
}

// start runs a server. edit may change it before.
func start(t *testing.T, c Config, h http.Handler, edit func(*Server)) *running {
	t.Helper()
	if c.MaxConnections == 0 {
		c.MaxConnections = DefaultMaxConnections
	}
	r := &running{log: &lines{}}
	c.Log = NewLog(r.log)
	c.Access = c.Log
	t.Cleanup(c.Log.Close)
	var err error
	r.Server, err = New(c, h)
	require.NoError(t, err)
	if edit != nil {
		edit(r.Server)
	}
	l, err := r.Listen(t.Context(), "127.0.0.1", 0)
	require.NoError(t, err)
	r.addr = l.Addr().String()
	r.url = r.Scheme() + "://" + r.addr
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Serve(ctx, l) }()
	r.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { require.NoError(t, r.stop()) })
	return r
}

// logged waits for a line of the log with these values.
func (r *running) logged(t *testing.T, want map[string]any) map[string]any {
	t.Helper()
	var found map[string]any
	require.Eventually(t, func() bool {
		for _, o := range r.log.objects(t) {
			same := true
			for key, value := range want {
				same = same && o[key] == value
			}
			if same {
				found = o
				return true
			}
		}
		return false
	}, time.Minute, time.Millisecond, "%v is not logged", want)
	return found
}

var hello = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "public, max-age=1, immutable")
	_, _ = io.WriteString(w, "hello")
})

// newClient returns a client that closes its connections with the test.
func newClient(t *testing.T, tr *http.Transport) *http.Client {
	t.Helper()
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func get(t *testing.T, client *http.Client, url string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(body)
}

func write(t *testing.T, path string, data []byte, perm os.FileMode) string {
	t.Helper()
	require.NoError(t, os.WriteFile(path+".new", data, perm))
	require.NoError(t, os.Rename(path+".new", path))
	return path
}

func file(t *testing.T, name, data string, perm os.FileMode) string {
	t.Helper()
	return write(t, filepath.Join(t.TempDir(), name), []byte(data), perm)
}

package transport

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func zip(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(b)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

func deflate(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	_, err := w.Write(b)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

// raw starts a server that reads one request header from each connection and
// then does as it likes until the test ends.
func raw(t *testing.T, answer func(conn *net.TCPConn, over <-chan struct{})) (string, *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var count atomic.Int32
	var all sync.WaitGroup
	over := make(chan struct{})
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			count.Add(1)
			all.Go(func() {
				defer conn.Close()
				for r := bufio.NewReader(conn); ; {
					if line, err := r.ReadString('\n'); err != nil || line == "\r\n" {
						break
					}
				}
				answer(conn.(*net.TCPConn), over)
			})
		}
	})
	t.Cleanup(func() {
		close(over)
		_ = l.Close()
		all.Wait()
	})
	return "http://" + l.Addr().String(), &count
}

// drip writes s one byte at a time for ever.
func drip(conn net.Conn, s string, over <-chan struct{}) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		if _, err := conn.Write([]byte{s[i%len(s)]}); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-over:
			return
		}
	}
}

func TestBrokenBodiesAreRetried(t *testing.T) {
	for name, answer := range map[string]func(*net.TCPConn, <-chan struct{}){
		"closed without a word": func(*net.TCPConn, <-chan struct{}) {},
		"reset without a word":  func(c *net.TCPConn, _ <-chan struct{}) { _ = c.SetLinger(0) },
		"not HTTP":              func(c *net.TCPConn, _ <-chan struct{}) { fmt.Fprint(c, "SSH-2.0-OpenSSH\r\n\r\n") },
		"short body": func(c *net.TCPConn, _ <-chan struct{}) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
		},
		"unfinished chunk": func(c *net.TCPConn, _ <-chan struct{}) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf")
		},
		"garbage chunk": func(c *net.TCPConn, _ <-chan struct{}) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhalf")
		},
		"reset in mid-body": func(c *net.TCPConn, _ <-chan struct{}) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
			_ = c.SetLinger(0)
		},
		"two lengths": func(c *net.TCPConn, _ <-chan struct{}) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab")
		},
		"a header without bound": func(c *net.TCPConn, _ <-chan struct{}) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 2*maxHeaderBytes)+"\r\n\r\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			url, _ := raw(t, answer)
			e := refused(t, newClient(t, quick()), url, protocol.CodeUnreachable)
			require.True(t, strings.HasPrefix(e.Msg, "repository not accessible"))
			require.Equal(t, DefaultAttempts, e.Attempts)
			require.Zero(t, e.Status)
			require.Error(t, e.Err)
		})
	}
}

func TestSinkIsResetBeforeASecondAttempt(t *testing.T) {
	var n atomic.Int32
	url, _ := raw(t, func(c *net.TCPConn, _ <-chan struct{}) {
		body := "half"
		if n.Add(1) == 2 {
			body = "whole"
		}
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"+body)
	})
	var m memory
	k, err := newClient(t, quick()).Stream(context.Background(), Request{URL: url, Limit: 5}, &m)
	require.NoError(t, err)
	require.EqualValues(t, 5, k)
	require.Equal(t, "whole", string(m.body))
}

func TestConnectionRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	e := refused(t, newClient(t, quick()), "http://"+l.Addr().String(), protocol.CodeUnreachable)
	require.Equal(t, DefaultAttempts, e.Attempts)
	require.ErrorIs(t, e, syscall.ECONNREFUSED)
	require.Contains(t, e.Error(), l.Addr().String())
}

func TestSilenceIsNotRetried(t *testing.T) {
	o := quick()
	o.FirstByteTimeout, o.ConnectTimeout = 50*time.Millisecond, 50*time.Millisecond
	wait := func(_ *net.TCPConn, over <-chan struct{}) { <-over }
	header := func(c *net.TCPConn, over <-chan struct{}) { drip(c, "HTTP/1.1 200 OK\r\nX-Endless: x", over) }
	for name, answer := range map[string]func(*net.TCPConn, <-chan struct{}){"silent": wait, "dripping header": header} {
		for _, scheme := range []string{"http", "https"} {
			t.Run(name+" "+scheme, func(t *testing.T) {
				url, count := raw(t, answer)
				url = strings.Replace(url, "http", scheme, 1)
				e := refused(t, newClient(t, o), url, protocol.CodeUnreachable)
				require.EqualValues(t, 1, count.Load())
				require.NotErrorIs(t, e, context.DeadlineExceeded)
				if name == "silent" {
					require.ErrorIs(t, e, errSilent)
				}
			})
		}
	}
}

func TestSilentHTTP2(t *testing.T) {
	over := make(chan struct{})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-over }))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	defer close(over)
	o := quick()
	o.FirstByteTimeout = 50 * time.Millisecond
	o.RootCAs = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	e := refused(t, newClient(t, o), s.URL, protocol.CodeUnreachable)
	require.Equal(t, 1, e.Attempts)
	require.ErrorIs(t, e, errSilent)
}

func TestSlowBodies(t *testing.T) {
	for name, answer := range map[string]func(*net.TCPConn, <-chan struct{}){
		"stalled": func(c *net.TCPConn, over <-chan struct{}) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\nhalf")
			<-over
		},
		"dripping": func(c *net.TCPConn, over <-chan struct{}) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\n")
			drip(c, "x", over)
		},
	} {
		t.Run(name, func(t *testing.T) {
			url, count := raw(t, answer)
			o := quick()
			o.MinRate, o.MinRateWindow = 1<<20, 100*time.Millisecond
			e := refused(t, newClient(t, o), url, protocol.CodeUnreachable)
			require.ErrorIs(t, e, errSlow)
			require.EqualValues(t, 1, count.Load())

			o = quick()
			o.TotalTimeout, o.StreamTimeout = 50*time.Millisecond, 50*time.Millisecond
			c := newClient(t, o)
			e = refused(t, c, url, protocol.CodeUnreachable)
			require.ErrorIs(t, e, errTotal)
			_, err := c.Stream(context.Background(), Request{URL: url, Limit: 1 << 20}, &memory{})
			require.ErrorIs(t, err, errTotal)
			require.Equal(t, protocol.CodeUnreachable, tuferr.CodeOf(err))
		})
	}
}

// A body that is slow overall but always above the rate comes through, and the
// time that the sink takes is not held against the repository.
func TestSteadyBodyComesThrough(t *testing.T) {
	url, _ := raw(t, func(c *net.TCPConn, _ <-chan struct{}) {
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n")
		for range 30 {
			time.Sleep(10 * time.Millisecond)
			fmt.Fprint(c, "x")
		}
	})
	o := quick()
	o.MinRate, o.MinRateWindow = 1, 2*time.Second
	var m lazy
	n, err := newClient(t, o).Stream(context.Background(), Request{URL: url, Limit: 30}, &m)
	require.NoError(t, err)
	require.EqualValues(t, 30, n)
}

// lazy is a sink that takes its time once.
type lazy struct {
	memory
	once sync.Once
}

func (l *lazy) Write(p []byte) (int, error) {
	l.once.Do(func() { time.Sleep(2100 * time.Millisecond) })
	return l.memory.Write(p)
}

func TestEndlessBodyIsCutOff(t *testing.T) {
	var sent atomic.Int64
	url, count := raw(t, func(c *net.TCPConn, _ <-chan struct{}) {
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\n")
		for chunk := make([]byte, 64<<10); ; {
			n, err := c.Write(chunk)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	var m memory
	_, err := newClient(t, quick()).Stream(context.Background(), Request{URL: url, Limit: 1000}, &m)
	require.Equal(t, protocol.CodeEndlessData, tuferr.CodeOf(err))
	require.LessOrEqual(t, len(m.body), 1000)
	require.EqualValues(t, 1, count.Load())
}

// A 404 whose body never ends must not hold the caller up.
func TestUnwantedBodyIsDroppedSoon(t *testing.T) {
	url, _ := raw(t, func(c *net.TCPConn, over <-chan struct{}) {
		fmt.Fprint(c, "HTTP/1.1 404 Not Found\r\nContent-Length: 1000000\r\n\r\n")
		drip(c, "x", over)
	})
	e := refused(t, newClient(t, quick()), url, protocol.CodeHTTPStatus)
	require.Equal(t, 404, e.Status)
}

// The environment is read once per process, hence the child.
func TestProxyFromEnvironment(t *testing.T) {
	if url := os.Getenv("TEST_PROXY_URL"); url != "" {
		b, err := newClient(t, quick()).Get(context.Background(), Request{URL: url, Limit: 100})
		fmt.Printf("got %q, %v\n", b, err)
		return
	}
	proxy, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "proxied ", r.RequestURI) })
	run := func(proxy string) string {
		cmd := exec.Command(os.Args[0], "-test.run=^TestProxyFromEnvironment$")
		cmd.Env = append(os.Environ(), "TEST_PROXY_URL=http://repository.invalid/a.json", "HTTP_PROXY="+proxy, "NO_PROXY=")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return string(out)
	}
	require.Contains(t, run(proxy), `got "proxied http://repository.invalid/a.json", <nil>`)
	out := run("http://u:s3cret@bad host")
	require.Contains(t, out, "repository not accessible")
	require.NotContains(t, out, "s3cret")
}

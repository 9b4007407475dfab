package webserver

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestRateByClient(t *testing.T) {
	s := start(t, Config{Rate: 1}, hello, nil)
	client := newClient(t, &http.Transport{})
	begin := time.Now()
	answered := 0
	for {
		resp, _ := get(t, client, s.url+"/health/tuf")
		if resp.StatusCode == http.StatusOK {
			answered++
			continue
		}
		require.Equal(t, http.StatusTooManyRequests, resp.StatusCode)
		require.Equal(t, "1", resp.Header.Get("Retry-After"))
		require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
		break
	}
	require.GreaterOrEqual(t, answered, burst)
	require.LessOrEqual(t, answered, burst+1+int(time.Since(begin).Seconds()))
	s.logged(t, map[string]any{"status": 429.0})
}

// blocking answers when released is closed, and tells who is waiting.
func blocking() (h http.Handler, waiting, released chan struct{}) {
	waiting, released = make(chan struct{}), make(chan struct{})
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		waiting <- struct{}{}
		<-released
		_, _ = io.WriteString(w, "done")
	}), waiting, released
}

func TestRequestsAtATime(t *testing.T) {
	for name, c := range map[string]struct {
		rate, fit, status int
	}{
		"all":        {0, 8, http.StatusServiceUnavailable},
		"one client": {1, 2, http.StatusTooManyRequests},
	} {
		t.Run(name, func(t *testing.T) {
			h, waiting, released := blocking()
			s := start(t, Config{MaxConnections: 16, Rate: c.rate}, h, nil)
			client := newClient(t, &http.Transport{})
			var work sync.WaitGroup
			answers := make(chan string, c.fit)
			for range c.fit {
				work.Go(func() {
					resp, err := client.Get(s.url)
					if err == nil {
						body, _ := io.ReadAll(resp.Body)
						_ = resp.Body.Close()
						answers <- string(body)
					}
				})
				<-waiting
			}
			resp, _ := get(t, client, s.url)
			require.Equal(t, c.status, resp.StatusCode)
			require.Equal(t, "1", resp.Header.Get("Retry-After"))
			close(released)
			work.Wait()
			for range c.fit {
				require.Equal(t, "done", <-answers)
			}
			go func() { <-waiting }()
			resp, _ = get(t, client, s.url)
			require.Equal(t, http.StatusOK, resp.StatusCode, "there is room again")
		})
	}
}

// exchange sends bytes and returns all that comes back until the end.
func exchange(t *testing.T, addr, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer c.Close()
	_, _ = io.WriteString(c, request) // may be refused before its end
	data, _ := io.ReadAll(c)          // likewise
	return string(data)
}

func TestRequestsThatAreRefused(t *testing.T) {
	s := start(t, Config{}, hello, func(s *Server) { s.header = time.Second })
	for name, c := range map[string]struct{ request, status string }{
		"body":           {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody", "413"},
		"no end":         {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n", "413"},
		"asked before":   {"PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n", "413"},
		"huge header":    {"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 2*maxHeader) + "\r\n\r\n", "431"},
		"two lengths":    {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400"},
		"no host":        {"GET / HTTP/1.1\r\n\r\n", "400"},
		"another tongue": {"\x16\x03\x01\x00\x00", "400"},
		"half a header":  {"GET / HTTP/1.1\r\nHost: x\r\n", ""},
		"nothing":        {"", ""},
	} {
		answer := exchange(t, s.addr, c.request)
		require.NotContains(t, answer, "hello", name)
		require.NotContains(t, answer, "100 Continue", name)
		if c.status != "" {
			require.True(t, strings.HasPrefix(answer, "HTTP/1.1 "+c.status), "%s: %s", name, answer)
		}
	}
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	s := start(t, Config{}, hello, func(s *Server) { s.idle = 50 * time.Millisecond })
	require.Contains(t, exchange(t, s.addr, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "hello")
}

// large is far more than the buffers of a connection hold.
const large = 64 << 20

func files(t *testing.T) http.Handler {
	t.Helper()
	dir := t.TempDir()
	f, err := os.Create(dir + "/large")
	require.NoError(t, err)
	require.NoError(t, f.Truncate(large))
	require.NoError(t, f.Close())
	return http.FileServer(http.Dir(dir))
}

func TestWhoDoesNotReadIsGivenUp(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		c := Config{}
		ca := newAuthority(t)
		if encrypted {
			c.TLSCert, c.TLSKey = ca.issue(t, "server")
		}
		s := start(t, c, files(t), func(s *Server) { s.progress = 200 * time.Millisecond })
		client := newClient(t, &http.Transport{TLSClientConfig: ca.trusting(), ForceAttemptHTTP2: true})
		resp, err := client.Get(s.url + "/large")
		require.NoError(t, err)
		s.logged(t, map[string]any{"path": "/large", "status": 200.0})
		n, err := io.Copy(io.Discard, resp.Body)
		require.Error(t, err)
		require.Less(t, n, int64(large))
		require.NoError(t, resp.Body.Close())
	}
}

// TestSlowButSteady: an answer may take longer than the time for each piece of it.
func TestSlowButSteady(t *testing.T) {
	const progress = 2 * time.Second
	s := start(t, Config{}, files(t), func(s *Server) { s.progress = progress })
	c, err := net.Dial("tcp", s.addr)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.(*net.TCPConn).SetReadBuffer(32<<10))
	_, err = io.WriteString(c, "GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	require.NoError(t, err)
	begin := time.Now()
	total := int64(0)
	for time.Since(begin) < progress*3/2 {
		n, err := io.CopyN(io.Discard, c, 64<<10)
		require.NoError(t, err)
		total += n
		time.Sleep(20 * time.Millisecond)
	}
	rest, err := io.Copy(io.Discard, c)
	require.NoError(t, err)
	require.Greater(t, total+rest, int64(large))
	s.logged(t, map[string]any{"bytes": float64(large)})
}

func TestTheEnd(t *testing.T) {
	h, waiting, released := blocking()
	s := start(t, Config{}, h, nil)
	client := newClient(t, &http.Transport{})
	answer := make(chan string, 1)
	go func() {
		if resp, err := client.Get(s.url); err == nil {
			body, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			answer <- string(body)
		}
	}()
	<-waiting
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", s.addr)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	}, time.Minute, time.Millisecond, "no new connections")
	close(released)
	require.Equal(t, "done", <-answer)
	require.NoError(t, <-stopped)
}

// TestTheEndDoesNotWaitForEver: what does not finish in time is cut off.
func TestTheEndDoesNotWaitForEver(t *testing.T) {
	s := start(t, Config{}, files(t), func(s *Server) { s.grace = 50 * time.Millisecond })
	client := newClient(t, &http.Transport{})
	resp, err := client.Get(s.url + "/large")
	require.NoError(t, err)
	defer resp.Body.Close()
	require.NoError(t, s.stop())
	_, err = io.Copy(io.Discard, resp.Body)
	require.Error(t, err)
}

func TestAnswersArrivePiecewise(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), progressBytes/16*3+1)
	s := start(t, Config{}, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(content))
	}), nil)
	client := newClient(t, &http.Transport{})
	resp, body := get(t, client, s.url)
	require.Equal(t, string(content), body)
	require.Equal(t, int64(len(content)), resp.ContentLength)
	_, body = get(t, client, s.url, "Range", fmt.Sprintf("bytes=%d-", progressBytes-1))
	require.Equal(t, string(content[progressBytes-1:]), body)
	s.logged(t, map[string]any{"status": 206.0, "bytes": float64(len(content) - progressBytes + 1)})
}

func requireCode(t *testing.T, err error, code protocol.Code, says string) {
	t.Helper()
	require.ErrorIs(t, err, tuferr.OfCode(code), "%v", err)
	require.ErrorContains(t, err, says)
}

func TestConfigIsChecked(t *testing.T) {
	ok := Config{MaxConnections: 8}
	for says, edit := range map[string]func(*Config){
		"fewer than 8":            func(c *Config) { c.MaxConnections = 7 },
		"negative":                func(c *Config) { c.Rate = -1 },
		"go together; give both":  func(c *Config) { c.TLSCert = "x" },
		"go together":             func(c *Config) { c.TLSKey = "x" },
		"a part of TLS":           func(c *Config) { c.ClientCA = "x" },
		"either tokens or client": func(c *Config) { c.ClientCA, c.TokenFile, c.TLSCert, c.TLSKey = "x", "x", "x", "x" },
	} {
		c := ok
		edit(&c)
		_, err := New(c, hello)
		requireCode(t, err, protocol.CodeUsage, says)
	}
	_, err := New(ok, hello)
	require.NoError(t, err)
}

func TestListenErrors(t *testing.T) {
	s, err := New(Config{MaxConnections: 8}, hello)
	require.NoError(t, err)
	l, err := s.Listen(t.Context(), "127.0.0.1", 0)
	require.NoError(t, err)
	defer l.Close()
	_, err = s.Listen(t.Context(), "127.0.0.1", uint16(l.Addr().(*net.TCPAddr).Port))
	requireCode(t, err, protocol.CodeLocalIO, "is another server running? choose another --port")
	for _, host := range []string{"192.0.2.1", "no such host", "256.1.1.1", "[::1]"} {
		_, err = s.Listen(t.Context(), host, 0)
		requireCode(t, err, protocol.CodeUsage, "--host must be an address of this machine")
	}
	requireCode(t, listenError(":80", 80, os.NewSyscallError("bind", syscall.EACCES)), protocol.CodePermissions, "port 80 is for privileged users")
}

func TestTokensNeedTLSOrLoopback(t *testing.T) {
	tokens := file(t, "tokens", "a-token-of-some-length\n", 0o600)
	c := Config{MaxConnections: 8, TokenFile: tokens}
	s, err := New(c, hello)
	require.NoError(t, err)
	for _, host := range []string{"", "0.0.0.0", "::"} {
		_, err = s.Listen(t.Context(), host, 0)
		requireCode(t, err, protocol.CodeUsage, "without TLS anybody on the way could read the tokens")
	}
	l, err := s.Listen(t.Context(), "localhost", 0)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	c.TLSCert, c.TLSKey = newAuthority(t).issue(t, "server")
	s, err = New(c, hello)
	require.NoError(t, err)
	l, err = s.Listen(t.Context(), "0.0.0.0", 0)
	require.NoError(t, err)
	require.NoError(t, l.Close())
}

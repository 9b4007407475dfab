package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestOptionsRefused(t *testing.T) {
	for _, o := range []Options{
		{ConnectTimeout: -1}, {FirstByteTimeout: -1}, {TotalTimeout: -1}, {StreamTimeout: -1},
		{MinRate: -1}, {MinRateWindow: -1}, {Attempts: -1}, {BackoffMin: -1}, {BackoffMax: -1},
		{MaxRedirects: -1}, {BackoffMin: 2, BackoffMax: 1},
		{MaxRequests: -1}, {MaxWaiting: -1}, {BytesPerSecond: -1}, {RequestsPerSecond: -1},
		{RequestsPerSecond: math.NaN()}, {RequestsPerSecond: math.Inf(1)},
		{BearerToken: "a\r\nX: y"}, {UserAgent: "é"},
	} {
		_, err := New(o)
		require.Equal(t, protocol.CodeUsage, tuferr.CodeOf(err), "%+v", o)
	}
	o, err := Options{BackoffMin: time.Minute}.withDefaults()
	require.NoError(t, err)
	require.Equal(t, time.Minute, o.BackoffMax)
	require.Zero(t, o.StreamTimeout)
}

func TestGetSendsWhatItShould(t *testing.T) {
	var got *http.Request
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		fmt.Fprint(w, "body")
	})
	o := quick()
	o.BearerToken, o.UserAgent = "secret", "tester"
	b, e := get(t, newClient(t, o), url+"/metadata/2.a%2Fb.json")
	require.Nil(t, e)
	require.Equal(t, "body", string(b))
	require.Equal(t, "/metadata/2.a%2Fb.json", got.RequestURI)
	require.Equal(t, http.Header{
		"Accept-Encoding": {"identity"}, "Authorization": {"Bearer secret"}, "User-Agent": {"tester"},
	}, got.Header)
}

func TestStatusIsTypedAndNotRetried(t *testing.T) {
	for _, status := range []int{201, 203, 204, 206, 300, 302, 304, 400, 401, 403, 404, 407, 410, 416, 501, 505, 599} {
		url, count := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		e := refused(t, newClient(t, quick()), url+"/x.json", protocol.CodeHTTPStatus)
		require.Equal(t, status, e.Status)
		require.Equal(t, 1, e.Attempts)
		require.Equal(t, "timestamp", e.Role)
		require.Equal(t, url+"/x.json", e.URL)
		require.Contains(t, e.Error(), fmt.Sprint(status))
		require.EqualValues(t, 1, count.Load())
	}
}

func TestRetriableStatus(t *testing.T) {
	for _, status := range []int{408, 425, 429, 500, 502, 503, 504} {
		n := 0
		url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			if n++; n < 3 {
				w.WriteHeader(status)
				return
			}
			fmt.Fprint(w, "ok")
		})
		b, e := get(t, newClient(t, quick()), url)
		require.Nil(t, e)
		require.Equal(t, "ok", string(b))

		url, count := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		e = refused(t, newClient(t, quick()), url, protocol.CodeHTTPStatus)
		require.Equal(t, status, e.Status)
		require.Equal(t, DefaultAttempts, e.Attempts)
		require.EqualValues(t, DefaultAttempts, count.Load())
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	for in, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, " 7 ": 7 * time.Second, "-3": 0, "soon": 0, "1.5": 0,
		"99999999999999999999999":                        (1 << 31) * time.Second,
		now.Add(time.Minute).Format(http.TimeFormat):     time.Minute,
		now.Add(-time.Minute).Format(http.TimeFormat):    0,
		now.Add(90 * time.Second).Format(time.RFC850):    90 * time.Second,
		now.Add(24 * time.Hour).Format(http.TimeFormat):  24 * time.Hour,
		now.Add(time.Minute).Format(time.RFC3339) + " x": 0,
	} {
		require.Equal(t, want, retryAfter(http.Header{"Retry-After": {in}}, now), "%q", in)
	}
	t.Run("beyond the deadline: the error comes at once", func(t *testing.T) {
		url, count := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		c := newClient(t, quick())
		e := refused(t, c, url, protocol.CodeHTTPStatus)
		require.Equal(t, 1, e.Attempts)
		_, err := c.Stream(context.Background(), Request{URL: url, Limit: 1}, &memory{})
		require.Equal(t, 503, tuferr.As(err).Status)
		require.EqualValues(t, 2, count.Load())
	})
	t.Run("within it: waited for", func(t *testing.T) {
		var times []time.Time
		url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			if times = append(times, time.Now()); len(times) == 1 {
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(http.StatusTooManyRequests)
			}
		})
		_, e := get(t, newClient(t, quick()), url)
		require.Nil(t, e)
		require.GreaterOrEqual(t, times[1].Sub(times[0]), time.Second)
	})
}

func TestDelayGrowsWithJitter(t *testing.T) {
	c := newClient(t, Options{BackoffMin: 100, BackoffMax: 300})
	for attempt, most := range map[int]time.Duration{1: 100, 2: 200, 3: 300, 40: 300} {
		for range 100 {
			d := c.delay(attempt, 0)
			require.GreaterOrEqual(t, d, most/2)
			require.LessOrEqual(t, d, most)
		}
	}
	require.EqualValues(t, 1000, c.delay(1, 1000))
}

func TestLimit(t *testing.T) {
	body := strings.Repeat("x", 100<<10)
	for name, h := range map[string]http.HandlerFunc{
		"announced": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			fmt.Fprint(w, body)
		},
		"chunked": func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			fmt.Fprint(w, body)
		},
	} {
		t.Run(name, func(t *testing.T) {
			url, count := serve(t, h)
			c := newClient(t, quick())
			got, err := c.Get(context.Background(), Request{URL: url, Limit: int64(len(body))})
			require.NoError(t, err)
			require.Equal(t, body, string(got))
			for _, limit := range []int64{0, 1, int64(len(body)) - 1} {
				count.Store(0)
				var m memory
				_, err = c.Stream(context.Background(), Request{URL: url, Role: "root", Limit: limit}, &m)
				e := tuferr.As(err)
				require.Equal(t, protocol.CodeEndlessData, e.Code)
				require.Equal(t, "5.3.3", e.Spec)
				require.LessOrEqual(t, int64(len(m.body)), limit)
				require.EqualValues(t, 1, count.Load())
			}
		})
	}
	c := newClient(t, quick())
	_, err := c.Get(context.Background(), Request{URL: "http://localhost", Limit: -1})
	require.Equal(t, protocol.CodeUsage, tuferr.CodeOf(err))
}

func TestLimitSections(t *testing.T) {
	for role, want := range map[string]string{
		"": "5.7.3", "root": "5.3.3", "timestamp": "5.4.1", "snapshot": "5.5.1", "targets": "5.6.1", "team": "5.6.1",
	} {
		require.Equal(t, want, limitSection(role))
	}
}

func TestEmptyBody(t *testing.T) {
	url, _ := serve(t, func(http.ResponseWriter, *http.Request) {})
	n, err := newClient(t, quick()).Stream(context.Background(), Request{URL: url}, &memory{})
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestRedirects(t *testing.T) {
	other, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		if back := r.URL.Query().Get("back"); back != "" {
			http.Redirect(w, r, back, http.StatusFound)
			return
		}
		fmt.Fprint(w, "elsewhere")
	})
	var url string
	url, count := serve(t, func(w http.ResponseWriter, r *http.Request) {
		auth := r.Header.Get("Authorization") != ""
		to, _ := strings.CutPrefix(r.URL.Path, "/to/")
		switch to {
		case "loop":
			http.Redirect(w, r, "/to/loop", http.StatusFound)
		case "same":
			http.Redirect(w, r, "../home", http.StatusTemporaryRedirect)
		case "other":
			http.Redirect(w, r, other+"/?X-Signature=s3cret", http.StatusMovedPermanently)
		case "back":
			http.Redirect(w, r, other+"/?back="+url+"/home", http.StatusSeeOther)
		case "file", "user", "garbage":
			w.Header().Set("Location", map[string]string{
				"file": "file:///etc/passwd", "user": "http://u:s3cret@" + r.Host + "/home", "garbage": "http://[::1",
			}[to])
			w.WriteHeader(http.StatusPermanentRedirect)
		default:
			fmt.Fprint(w, "home ", auth)
		}
	})
	o := quick()
	o.BearerToken = "secret"
	c := newClient(t, o)
	for path, want := range map[string]string{
		"/home": "home true", "/to/same": "home true", "/to/other": "elsewhere", "/to/back": "home false",
	} {
		b, e := get(t, c, url+path)
		require.Nil(t, e, path)
		require.Equal(t, want, string(b), path)
	}
	for _, path := range []string{"/to/file", "/to/user", "/to/garbage"} {
		e := refused(t, c, url+path, protocol.CodeHTTPStatus)
		require.Equal(t, http.StatusPermanentRedirect, e.Status)
		require.NotContains(t, e.Error(), "s3cret")
	}
	count.Store(0)
	e := refused(t, c, url+"/to/loop", protocol.CodeHTTPStatus)
	require.Equal(t, http.StatusFound, e.Status)
	require.EqualValues(t, DefaultMaxRedirects+1, count.Load())
}

func TestSecretsStayOutOfErrorsAndLogs(t *testing.T) {
	var log bytes.Buffer
	o := quick()
	o.BearerToken = "s3cret"
	o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c := newClient(t, o)
	url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	e := refused(t, c, url+"/f?sig=s3cret", protocol.CodeHTTPStatus)
	require.Equal(t, url+"/f?redacted", e.URL)
	require.Equal(t, 3, strings.Count(log.String(), "msg=request"))
	for _, bad := range []string{"http://u:s3cret@localhost/", "http://u:s3cret@local host/", "ftp://u:s3cret@h/?s3cret"} {
		e := refused(t, c, bad, protocol.CodeUsage)
		require.NotContains(t, e.Error(), "s3cret")
	}
	require.NotContains(t, log.String(), "s3cret")
}

func TestContentCodings(t *testing.T) {
	plain := strings.Repeat("metadata ", 1000)
	send := func(encoding string, body []byte) string {
		url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", encoding)
			_, _ = w.Write(body)
		})
		return url
	}
	c := newClient(t, quick())
	for encoding, body := range map[string][]byte{
		"identity":   []byte(plain),
		"gzip":       zip(t, []byte(plain)),
		"GZIP":       zip(t, []byte(plain)),
		"deflate":    deflate(t, []byte(plain)),
		"gzip, gzip": zip(t, zip(t, []byte(plain))),
	} {
		b, e := get(t, c, send(encoding, body))
		require.Nil(t, e, encoding)
		require.Equal(t, plain, string(b))
	}
	for _, encoding := range []string{"br", "gzip, br", "gzip,gzip,gzip,gzip"} {
		e := refused(t, c, send(encoding, []byte("x")), protocol.CodeHTTPStatus)
		require.Equal(t, 1, e.Attempts)
	}
	e := refused(t, c, send("gzip", []byte("not gzip at all")), protocol.CodeUnreachable)
	require.Equal(t, 3, e.Attempts)
}

func TestCompressionBombs(t *testing.T) {
	const limit = 64 << 10
	bomb := zip(t, make([]byte, 64<<20))
	empty := zip(t, nil)
	for name, h := range map[string]http.HandlerFunc{
		"bomb": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb)
		},
		"double bomb": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip, gzip")
			_, _ = w.Write(zip(t, bomb))
		},
		"endless nothing": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			for r.Context().Err() == nil {
				_, _ = w.Write(empty)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			url, count := serve(t, h)
			var m memory
			_, err := newClient(t, quick()).Stream(context.Background(), Request{URL: url, Limit: limit}, &m)
			require.Equal(t, protocol.CodeEndlessData, tuferr.CodeOf(err), "%v", err)
			require.LessOrEqual(t, len(m.body), limit)
			require.EqualValues(t, 1, count.Load())
		})
	}
}

// failing is a sink that breaks, as a full disk does.
type failing struct {
	memory
	err error
}

func (f *failing) Write([]byte) (int, error) { return 0, f.err }

func TestSinkErrorsEndTheRequest(t *testing.T) {
	url, count := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "x") })
	c := newClient(t, quick())
	full := tuferr.New(protocol.CodeDiskFull, "full")
	_, err := c.Stream(context.Background(), Request{URL: url, Limit: 9}, &failing{err: full})
	require.Same(t, full, err)
	_, err = c.Stream(context.Background(), Request{URL: url, Limit: 9}, &failing{err: io.ErrClosedPipe})
	require.ErrorIs(t, err, io.ErrClosedPipe)
	require.Equal(t, protocol.CodeLocalIO, tuferr.CodeOf(err))
	require.EqualValues(t, 2, count.Load())
}

func TestCallersContext(t *testing.T) {
	asked := make(chan struct{}, 9)
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		if r.URL.Path == "/body" {
			w.(http.Flusher).Flush()
		}
		if r.URL.Path == "/busy" {
			w.Header().Set("Retry-After", "30")
			w.WriteHeader(503)
			return
		}
		<-r.Context().Done()
	})
	c := newClient(t, quick())
	for _, path := range []string{"/head", "/body", "/busy"} {
		ctx, cancel := context.WithCancel(context.Background())
		go func() { <-asked; cancel() }()
		_, err := c.Get(ctx, Request{URL: url + path, Limit: 9})
		require.Equal(t, protocol.CodeCancelled, tuferr.CodeOf(err), "%s: %v", path, err)
		require.ErrorIs(t, err, context.Canceled)
	}
	for _, path := range []string{"/head", "/body"} {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		_, err := c.Get(ctx, Request{URL: url + path, Limit: 9})
		cancel()
		require.Equal(t, protocol.CodeTimeout, tuferr.CodeOf(err), "%s: %v", path, err)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := c.Get(gone, Request{URL: url, Limit: 9})
	require.ErrorIs(t, err, context.Canceled)
}

func TestConnectionsAreReused(t *testing.T) {
	addrs := map[string]bool{}
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		addrs[r.RemoteAddr] = true
		switch r.URL.Path {
		case "/404":
			http.Error(w, strings.Repeat("no ", 1000), 404)
		case "/302":
			http.Redirect(w, r, "/ok", http.StatusFound)
		}
	})
	c := newClient(t, quick())
	for range 5 {
		for _, path := range []string{"/ok", "/404", "/302"} {
			_, _ = get(t, c, url+path)
		}
	}
	require.Len(t, addrs, 1)
}

func TestHTTP2AndPrivateCA(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	defer s.Close()

	e := refused(t, newClient(t, quick()), s.URL, protocol.CodeUnreachable)
	require.Equal(t, 1, e.Attempts)
	require.Equal(t, hintCA, e.Hint)
	var cert *tls.CertificateVerificationError
	require.ErrorAs(t, e, &cert)

	o := quick()
	o.RootCAs = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	b, e := get(t, newClient(t, o), s.URL)
	require.Nil(t, e)
	require.Equal(t, "HTTP/2.0", string(b))
}

func TestNeverFromHTTPSToHTTPAndNoCertificateElsewhere(t *testing.T) {
	plain, count := serve(t, func(http.ResponseWriter, *http.Request) {})
	start := func(h http.HandlerFunc) *httptest.Server {
		s := httptest.NewUnstartedServer(h)
		s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
		s.StartTLS()
		t.Cleanup(s.Close)
		return s
	}
	whoami := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%d certificates", len(r.TLS.PeerCertificates))
	}
	other := start(whoami)
	s := start(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/down":
			http.Redirect(w, r, plain, http.StatusFound)
		case "/other":
			http.Redirect(w, r, other.URL, http.StatusFound)
		default:
			whoami(w, r)
		}
	})
	o := quick()
	o.RootCAs = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	o.ClientCertificate = &s.TLS.Certificates[0]
	c := newClient(t, o)
	e := refused(t, c, s.URL+"/down", protocol.CodeHTTPStatus)
	require.Contains(t, e.Msg, "https")
	require.Zero(t, count.Load())
	for path, want := range map[string]string{"/": "1 certificates", "/other": "0 certificates"} {
		b, e := get(t, c, s.URL+path)
		require.Nil(t, e)
		require.Equal(t, want, string(b))
	}
}

func TestForeignHidesContextErrors(t *testing.T) {
	hidden := foreign(fmt.Errorf("dial: %w", context.DeadlineExceeded))
	require.NotErrorIs(t, hidden, context.DeadlineExceeded)
	require.Equal(t, io.EOF, foreign(io.EOF))
	require.NotErrorIs(t, foreign(context.Canceled), context.Canceled)
}

// null is a sink that keeps nothing.
type null struct{}

func (null) Write(p []byte) (int, error) { return len(p), nil }
func (null) Reset() error                { return nil }

func TestStreamMemoryIsConstant(t *testing.T) {
	const size = 64 << 20
	chunk := make([]byte, 64<<10)
	url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(size))
		for range size / len(chunk) {
			_, _ = w.Write(chunk)
		}
	})
	c := newClient(t, quick())
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, err := c.Stream(context.Background(), Request{URL: url, Limit: size}, null{})
	runtime.ReadMemStats(&after)
	require.NoError(t, err)
	require.EqualValues(t, size, n)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(2<<20), "bytes allocated, the server's included")
}

func TestErrorReads(t *testing.T) {
	f := &failure{msg: "repository not accessible", err: errors.New("why")}
	require.Equal(t, "repository not accessible: why", f.Error())
	require.Equal(t, "x", (&failure{msg: "x"}).Error())
	require.Equal(t, "599", statusLine(599))
}

// Package transport is the client's one HTTP stack. Every byte that reaches an
// engine or the disk from a repository comes through it, so that there is one
// place for deadlines, retries, redirects, proxies, size limits, credentials and
// typed errors.
//
// What it hands out is what the wire said and nothing more: whether the bytes
// are the publisher's is for others to find out. What it promises is that a
// request ends: in a body of at most the allowed size, or in an error that says
// which role, which URL, which status and how many attempts.
package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/telemetry"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// maxHeaderBytes bounds the header of an answer.
const maxHeaderBytes = 64 << 10

// Client asks a repository for files. It keeps connections open between
// requests and is safe for concurrent use.
type Client struct {
	opts Options
	// plain has no credentials; secret is the same transport with the client
	// certificate, or plain itself when there is none.
	plain, secret http.RoundTripper
	limits        *limits
	// unusable says why a URL cannot be asked, or nothing.
	unusable func(*url.URL) string
	// tel counts requests, bytes and waits; nil if nobody wants it.
	tel *telemetry.Telemetry
	// roundTrip is what the latest connection measured, in nanoseconds.
	roundTrip atomic.Int64
}

// Request names one file.
type Request struct {
	// URL is where the file lies: http or https, without user name or fragment; for
	// a client of a directory one below its [DirURL].
	URL string
	// Role is the TUF role the file belongs to, for errors; empty for a target.
	Role string
	// Limit is the most bytes the file may have; 0 allows an empty file only.
	Limit int64
	// ETag is that of a copy the caller has; see [Client.GetIfChanged].
	ETag string
	// Late, if not nil, is called from another goroutine, once at most, when the
	// first answer does not come at once: whoever has a guess at what will be asked
	// for next may act on it. It is not called when the answer came at once.
	Late func()
	// Guess says that the answer may never be needed: the request is made only if
	// the limits leave room for others too, and else fails at once with code busy.
	Guess bool
}

// Sink takes the body of a streamed file.
type Sink interface {
	io.Writer
	// Reset forgets what was written, because the file is about to come once
	// more from its first byte.
	Reset() error
}

// New makes a client. It returns an error of code usage when an option cannot be.
func New(opts Options) (*Client, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Client{opts: o, plain: newTransport(o, nil), limits: newLimits(o), unusable: unusable}
	c.secret = c.plain
	if o.ClientCertificate != nil {
		c.secret = newTransport(o, o.ClientCertificate)
	}
	return c, nil
}

// Measured lets t count what the client asks and gets. Call it before anything else.
func (c *Client) Measured(t *telemetry.Telemetry) { c.tel = t }

func newTransport(o Options, cert *tls.Certificate) *http.Transport {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.RootCAs != nil {
		conf.RootCAs = o.RootCAs.Clone()
	}
	if cert != nil {
		conf.Certificates = []tls.Certificate{*cert}
	}
	dialer := &net.Dialer{Timeout: o.ConnectTimeout}
	return &http.Transport{
		Proxy:                  proxy,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        conf,
		TLSHandshakeTimeout:    o.ConnectTimeout,
		ResponseHeaderTimeout:  o.FirstByteTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		ForceAttemptHTTP2:      true,
		// A dead HTTP/2 connection would otherwise be given to request after request.
		HTTP2:               &http.HTTP2Config{SendPingTimeout: o.FirstByteTimeout, PingTimeout: o.ConnectTimeout},
		DisableCompression:  true,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     90 * time.Second,
	}
}

// proxy chooses the proxy that the environment names. The standard library's
// error repeats the proxy's URL, which may hold a password.
func proxy(r *http.Request) (*url.URL, error) {
	u, err := http.ProxyFromEnvironment(r)
	if err != nil {
		return nil, errors.New("the proxy address in the environment is not a URL")
	}
	return u, nil
}

// Close closes idle connections. Requests under way go on.
func (c *Client) Close() {
	for _, t := range []http.RoundTripper{c.plain, c.secret} {
		if t, ok := t.(*http.Transport); ok {
			t.CloseIdleConnections()
		}
	}
}

// Get returns the whole body of a file. Every error is a *tuferr.Error: of class
// transport when the repository did not give the file, busy among them when it
// was not asked because of our own limits, endless_data when it has more than
// req.Limit bytes, cancelled or timeout when ctx ended, and usage for a URL that
// cannot be asked.
func (c *Client) Get(ctx context.Context, req Request) ([]byte, error) {
	req.ETag = ""
	raw, _, err := c.GetIfChanged(ctx, req)
	return raw, err
}

// GetIfChanged is Get for a file of which the caller may have a copy: it returns
// nil if the repository says that the copy with req.ETag is what it has. Beside
// a new body it returns the body's ETag, "" if it has none that can be used.
func (c *Client) GetIfChanged(ctx context.Context, req Request) (raw []byte, etag string, err error) {
	m := memory{body: []byte{}, have: req.ETag} // An empty body is not nil.
	if _, err := c.run(ctx, req, c.opts.TotalTimeout, &m); err != nil {
		return nil, "", err
	}
	if m.unchanged {
		return nil, req.ETag, nil
	}
	return m.body, m.etag, nil
}

// Stream writes the body of a file to sink in constant memory and returns its
// length. When an attempt fails half-way and another is made, sink is reset, or
// goes on where it is if it is a [Resumer] and the server allows.
// Errors are those of [Client.Get] and those of sink, which end the request.
func (c *Client) Stream(ctx context.Context, req Request, sink Sink) (int64, error) {
	return c.run(ctx, req, c.opts.StreamTimeout, sink)
}

// run makes attempts until one succeeds or no other may be made.
func (c *Client) run(ctx context.Context, req Request, total time.Duration, sink Sink) (int64, error) {
	u, err := parse(req.URL, c.unusable)
	if err != nil {
		return 0, err
	}
	if req.Limit < 0 {
		return 0, tuferr.New(protocol.CodeUsage, "the size limit of a request is negative")
	}
	e := &errand{caller: ctx, timed: ctx, guess: req.Guess, target: req.Role == "", late: req.Late, unwatch: func() {}}
	if total > 0 {
		var cancel context.CancelFunc
		e.timed, cancel = context.WithTimeoutCause(ctx, total, errTotal)
		defer cancel()
	}
	defer func() {
		e.unwatch()
		c.tel.Queued(e.waited)
	}()
	for attempt := 1; ; attempt++ {
		if attempt > 1 {
			c.tel.Retried()
		}
		n, f := c.attempt(e, u, req.Limit, sink, attempt > 1)
		c.opts.Logger.DebugContext(ctx, "request", "url", redact(u), "role", req.Role,
			"attempt", attempt, "bytes", n, "failure", f)
		if f == nil {
			return n, nil
		}
		if attempt >= c.opts.Attempts || !f.retry || !c.pause(e.timed, attempt, f.after) {
			return 0, e.blame(f, total).typed(ctx, u, req.Role, attempt)
		}
	}
}

// pause waits before the next attempt. It returns false, at once where that can
// be known, when the deadline leaves no time for it.
func (c *Client) pause(ctx context.Context, attempt int, after time.Duration) bool {
	wait := c.delay(attempt, after)
	if end, ok := ctx.Deadline(); ok && wait >= time.Until(end) || wait > c.opts.TotalTimeout {
		return false
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// delay is the pause after an attempt that failed, at least what the server
// asked for.
func (c *Client) delay(attempt int, after time.Duration) time.Duration {
	d := c.opts.BackoffMin
	for range attempt - 1 {
		d = min(2*d, c.opts.BackoffMax)
	}
	return max(d-rand.N(d/2+1), after)
}

// memory is a sink that keeps everything.
type memory struct {
	body []byte
	// have is the ETag of the caller's copy, etag that of body; unchanged says that
	// the copy will do.
	have, etag string
	unchanged  bool
}

func (m *memory) Write(p []byte) (int, error) {
	m.body = append(m.body, p...)
	return len(p), nil
}

func (m *memory) Reset() error {
	m.body = m.body[:0]
	return nil
}

// grow makes room for a body of known length.
func (m *memory) grow(n int64) {
	if int64(cap(m.body)) < n {
		m.body = make([]byte, 0, n)
	}
}

// maxETag bounds the ETag that is kept and sent back.
const maxETag = 256

// tagged keeps the ETag of an answer.
func (m *memory) tagged(h http.Header) {
	if m.etag = h.Get("ETag"); len(m.etag) > maxETag || !isHeaderValue(m.etag) {
		m.etag = ""
	}
}

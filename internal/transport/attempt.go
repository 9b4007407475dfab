package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

// The body of an answer that is not wanted is read within these bounds, so that
// its connection can be used again.
const (
	drainBytes = 16 << 10
	drainTime  = 100 * time.Millisecond
)

// exchange is one request and its answer, with a context of its own: whoever
// watches it can end it without ending the attempt.
type exchange struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	resp   *http.Response
	// It holds one of the slots of limits until it is closed.
	limits *limits
	errand *errand
}

// attempt asks once for the file, redirects included.
func (c *Client) attempt(e *errand, u *url.URL, limit int64, sink Sink, again bool) (int64, *failure) {
	if err := e.caller.Err(); err != nil {
		return 0, broken(e.caller, e.timed, err)
	}
	resumer, _ := sink.(Resumer)
	if again && resumer == nil {
		if err := sink.Reset(); err != nil {
			return 0, refusedBySink(err)
		}
	}
	header := http.Header{"Accept-Encoding": {"identity"}, "User-Agent": {c.opts.UserAgent}}
	m, whole := sink.(*memory)
	if whole && m.have != "" {
		header.Set("If-None-Match", m.have)
	}
	x, from, f := c.resume(e, u, header, limit, resumer)
	if f != nil {
		return 0, f
	}
	if whole && m.have != "" && x.resp.StatusCode == http.StatusNotModified {
		m.unchanged = true
		x.discard()
		return 0, nil
	}
	if from == 0 && x.resp.StatusCode != http.StatusOK {
		f := badStatus(x.resp)
		x.discard()
		return 0, f
	}
	defer x.close()
	if whole {
		m.tagged(x.resp.Header)
	}
	if resumer != nil && from == 0 {
		if err := resumer.Begin(validatorOf(x.resp)); err != nil {
			return 0, refusedBySink(err)
		}
	}
	return c.receive(x, from, limit, sink)
}

// follow sends the request and goes where redirects point.
func (c *Client) follow(e *errand, start *url.URL, header http.Header) (*exchange, *failure) {
	u, trusted := start, true
	for hops := 0; ; hops++ {
		x, f := c.send(e, u, header, trusted)
		if f != nil {
			return nil, f
		}
		location := x.resp.Header.Get("Location")
		if !isRedirect(x.resp.StatusCode) || location == "" {
			return x, nil
		}
		status := x.resp.StatusCode
		x.discard()
		if hops == c.opts.MaxRedirects {
			return nil, refusedRedirect(status, fmt.Sprintf("redirects more than %d times", hops))
		}
		next, f := redirected(u, location, status)
		if f != nil {
			return nil, f
		}
		// Who was sent away once gets no credentials again, not even at home:
		// the way back was chosen by somebody else.
		trusted = trusted && next.Scheme == start.Scheme && next.Host == start.Host
		u = next
	}
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// redirected resolves a Location header and checks that it may be followed.
func redirected(from *url.URL, location string, status int) (*url.URL, *failure) {
	next, err := from.Parse(location)
	if err != nil {
		return nil, refusedRedirect(status, "redirects to something that is not a URL")
	}
	next.Fragment, next.RawFragment = "", ""
	if why := unusable(next); why != "" {
		return nil, refusedRedirect(status, "redirects to "+redact(next)+", which "+why)
	}
	if from.Scheme == "https" && next.Scheme == "http" {
		return nil, refusedRedirect(status, "redirects from https to "+redact(next))
	}
	return next, nil
}

// send makes one request when its turn has come. A guard ends it when the
// transport's own timeouts leave a gap, such as a proxy that accepts and never
// connects.
func (c *Client) send(e *errand, u *url.URL, header http.Header, trusted bool) (*exchange, *failure) {
	if f := c.limits.enter(e); f != nil {
		return nil, f
	}
	if e.late != nil {
		e.timed, e.unwatch = watched(e.timed, &c.roundTrip, e.late)
		e.late = nil
	}
	x := &exchange{limits: c.limits, errand: e}
	x.ctx, x.cancel = context.WithCancelCause(e.timed)
	req := (&http.Request{
		Method: http.MethodGet,
		URL:    u,
		Host:   u.Host,
		Header: header.Clone(),
	}).WithContext(x.ctx)
	transport := c.plain
	if trusted {
		transport = c.secret
		if c.opts.BearerToken != "" {
			req.Header.Set("Authorization", "Bearer "+c.opts.BearerToken)
		}
	}
	guard := time.AfterFunc(2*c.opts.ConnectTimeout+c.opts.FirstByteTimeout, func() { x.cancel(errSilent) })
	defer guard.Stop()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		f := broken(e.caller, x.ctx, err)
		c.tel.Request(0, f.code)
		x.cancel(nil)
		c.limits.leave(e)
		return nil, f
	}
	c.tel.Request(resp.StatusCode, "")
	x.resp = resp
	return x, nil
}

// close ends the exchange; a connection whose body was read to its end is kept.
func (x *exchange) close() {
	_ = x.resp.Body.Close()
	x.cancel(nil)
	x.limits.leave(x.errand)
}

// discard ends an exchange whose body nobody wants.
func (x *exchange) discard() {
	t := time.AfterFunc(drainTime, func() { x.cancel(nil) })
	n, _ := io.CopyN(io.Discard, x.resp.Body, drainBytes)
	t.Stop()
	x.limits.spend(n)
	x.close()
}

// receive copies the body of a good answer, which begins at byte from of the
// file, to sink. It returns the length of the file.
func (c *Client) receive(x *exchange, from, limit int64, sink Sink) (int64, *failure) {
	encoding, length := encodingOf(x.resp), x.resp.ContentLength
	if encoding == "" && length > limit-from {
		return 0, tooLong(limit)
	}
	if f := c.limits.fits(x.errand, length); f != nil {
		return 0, f
	}
	if m, ok := sink.(*memory); ok && encoding == "" {
		m.grow(length)
	}
	w := newWatch(x, c.opts.MinRate, c.opts.MinRateWindow)
	n := from
	src, err := decoded(w, encoding, limit)
	if err == nil {
		n, err = copyBody(sink, src, from, limit)
		c.tel.Got(n-from, x.errand.target)
	}
	if err == nil {
		return n, nil
	}
	var f *failure
	if errors.As(err, &f) {
		return n, f
	}
	return n, broken(x.errand.caller, x.ctx, err)
}

// retryAfter reads a Retry-After header: seconds or a date. What cannot be
// understood counts as absent.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if s, err := strconv.ParseUint(v, 10, 63); err == nil || isRange(err) {
		return time.Duration(min(s, 1<<31)) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, t.Sub(now))
	}
	return 0
}

// badStatus is the failure of an answer that is not 200.
func badStatus(resp *http.Response) *failure {
	f := &failure{
		code:   protocol.CodeHTTPStatus,
		status: resp.StatusCode,
		msg:    "the repository answered " + statusLine(resp.StatusCode),
		hint:   statusHint(resp.StatusCode),
	}
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		f.retry = true
		f.after = retryAfter(resp.Header, time.Now())
	}
	return f
}

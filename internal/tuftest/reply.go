package tuftest

import (
	"bytes"
	"compress/gzip"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Exchange is one request on its way.
type Exchange struct {
	http.ResponseWriter
	Request *http.Request
	// Name of the file asked for, such as "metadata/timestamp.json".
	Name string

	server *Server
}

// Reply answers a request.
type Reply func(x *Exchange)

// File returns what the repository holds for this request. Names are looked up
// as the client meant them, and then as it wrote them.
func (x *Exchange) File() ([]byte, bool) {
	if raw, ok := x.server.repo.Get(x.Name); ok {
		return raw, true
	}
	return x.server.repo.Get(strings.TrimPrefix(x.Request.RequestURI, "/"))
}

// wait blocks for d, and reports false when the client or the server is gone.
func (x *Exchange) wait(d <-chan time.Time) bool {
	select {
	case <-d:
		return true
	case <-x.Request.Context().Done():
	case <-x.server.done:
	}
	return false
}

// hijack takes the connection over.
func (x *Exchange) hijack() *net.TCPConn {
	conn, _, err := http.NewResponseController(x.ResponseWriter).Hijack()
	if err != nil {
		panic(err)
	}
	return conn.(*net.TCPConn)
}

// File answers as if there were no fault: for use in [Then].
func File(x *Exchange) { x.server.file(x) }

// Status answers with a status code and a short text.
func Status(code int) Reply {
	return func(x *Exchange) { http.Error(x, http.StatusText(code), code) }
}

// RetryAfter answers with a status code and a Retry-After header in seconds.
func RetryAfter(code, seconds int) Reply {
	return func(x *Exchange) {
		x.Header().Set("Retry-After", strconv.Itoa(seconds))
		Status(code)(x)
	}
}

// Body answers 200 with these bytes.
func Body(raw []byte) Reply {
	return func(x *Exchange) { _, _ = x.Write(raw) }
}

// HTML answers 200 with the page of a captive portal.
func HTML(x *Exchange) {
	x.Header().Set("Content-Type", "text/html")
	_, _ = io.WriteString(x, "<!DOCTYPE html><html><body>Please log in.</body></html>")
}

// FileWithStatus answers with the file and an unusual status code.
func FileWithStatus(code int) Reply {
	return func(x *Exchange) {
		raw, _ := x.File()
		x.WriteHeader(code)
		_, _ = x.Write(raw)
	}
}

// Redirect answers 302 to a URL.
func Redirect(url string) Reply {
	return func(x *Exchange) { http.Redirect(x, x.Request, url, http.StatusFound) }
}

// RedirectTimes redirects a file n times to itself and then sends it.
func RedirectTimes(n int) Reply {
	return func(x *Exchange) {
		hop, _ := strconv.Atoi(x.Request.URL.Query().Get("hop"))
		if hop >= n {
			x.server.file(x)
			return
		}
		http.Redirect(x, x.Request, x.Request.URL.EscapedPath()+"?hop="+strconv.Itoa(hop+1), http.StatusFound)
	}
}

// Reset closes the connection with a TCP reset before any answer.
func Reset(x *Exchange) {
	conn := x.hijack()
	_ = conn.SetLinger(0)
	_ = conn.Close()
}

// Silence never answers.
func Silence(x *Exchange) { x.wait(nil) }

// Truncated promises the whole file and closes after half of it.
func Truncated(x *Exchange) {
	raw, _ := x.File()
	x.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	_, _ = x.Write(raw[:len(raw)/2])
	panic(http.ErrAbortHandler)
}

// Short sends half of the file and claims that this is all.
func Short(x *Exchange) {
	raw, _ := x.File()
	_, _ = x.Write(raw[:len(raw)/2])
}

// Garbage sends as many zero bytes as the file is long.
func Garbage(x *Exchange) {
	raw, _ := x.File()
	_, _ = x.Write(make([]byte, len(raw)))
}

// Endless sends data until the client gives up.
func Endless(x *Exchange) {
	block := bytes.Repeat([]byte(" "), 64<<10)
	for x.wait(time.After(0)) {
		if _, err := x.Write(block); err != nil {
			return
		}
	}
}

// Drip sends the file one byte at a time, with a pause after each.
func Drip(pause time.Duration) Reply {
	return func(x *Exchange) {
		raw, _ := x.File()
		x.Header().Set("Content-Length", strconv.Itoa(len(raw)))
		for i := range raw {
			_, err := x.Write(raw[i : i+1])
			if err != nil || http.NewResponseController(x.ResponseWriter).Flush() != nil || !x.wait(time.After(pause)) {
				panic(http.ErrAbortHandler)
			}
		}
	}
}

// Gzip sends the file compressed, whether the client accepts that or not.
func Gzip(x *Exchange) {
	raw, _ := x.File()
	x.Header().Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(x)
	_, _ = z.Write(raw)
	_ = z.Close()
}

// GzipIfAsked sends the file compressed to a client that accepts that.
func GzipIfAsked(x *Exchange) {
	if strings.Contains(x.Request.Header.Get("Accept-Encoding"), "gzip") {
		Gzip(x)
		return
	}
	File(x)
}

// DoubleGzip sends the file compressed twice, and says so.
func DoubleGzip(x *Exchange) {
	raw, _ := x.File()
	x.Header().Set("Content-Encoding", "gzip, gzip")
	outer := gzip.NewWriter(x)
	inner := gzip.NewWriter(outer)
	_, _ = inner.Write(raw)
	_, _ = inner.Close(), outer.Close()
}

// GzipBomb sends megabytes of spaces, compressed a thousandfold.
func GzipBomb(megabytes int) Reply {
	return func(x *Exchange) {
		x.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(x)
		block := bytes.Repeat([]byte(" "), 1<<20)
		for range megabytes {
			if _, err := z.Write(block); err != nil {
				return
			}
		}
		_ = z.Close()
	}
}

// Then answers the first n requests with one reply and later ones with another.
func Then(n int, first, later Reply) Reply {
	var count atomic.Int64
	return func(x *Exchange) {
		if count.Add(1) <= int64(n) {
			first(x)
			return
		}
		later(x)
	}
}

package transport

import (
	"errors"
	"io"
	"sync"
	"time"
)

// buffers holds the copy buffers of all clients.
var buffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// copyBody copies src, which begins at byte n of the file, to sink, and stops as
// soon as there is one byte more than limit. No byte beyond limit reaches sink.
// It returns the length of the file so far.
func copyBody(sink Sink, src io.Reader, n, limit int64) (int64, error) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	b := &body{src: src, n: n, limit: limit}
	if _, err := io.CopyBuffer(sink, b, *buf); err != nil && !errors.Is(err, b.err) {
		return b.n, refusedBySink(err)
	}
	return b.n, b.err
}

// body reads a file up to its limit.
type body struct {
	src      io.Reader
	n, limit int64
	// err is why it broke off, nil at a proper end: whoever copies it can tell its
	// errors from those of the other side.
	err error
}

func (b *body) Read(p []byte) (int, error) {
	if left := b.limit - b.n; left < int64(len(p)) {
		p = p[:left+1]
	}
	n, err := b.src.Read(p)
	if int64(n) > b.limit-b.n {
		n, err = 0, tooLong(b.limit)
	}
	b.n += int64(n)
	if err != io.EOF {
		b.err = err
	}
	return n, err
}

// watch reads a body and ends the exchange when it comes too slowly: every
// quota of bytes has to arrive within one window. Only time spent waiting for
// the network counts, so that a slow disk, a suspended process or our own limit
// is not taken for a slow repository.
type watch struct {
	x      *exchange
	timer  *time.Timer
	quota  int64
	window time.Duration

	got  int64
	left time.Duration
}

func newWatch(x *exchange, rate int64, window time.Duration) *watch {
	w := &watch{
		x: x, window: window, left: window,
		quota: max(1, int64(float64(rate)*window.Seconds())),
	}
	w.timer = time.AfterFunc(window, func() { x.cancel(errSlow) })
	w.timer.Stop()
	return w
}

func (w *watch) Read(p []byte) (int, error) {
	p = w.x.limits.part(p)
	start := time.Now()
	w.timer.Reset(max(w.left, 1))
	n, err := w.x.resp.Body.Read(p)
	w.timer.Stop()
	w.left -= time.Since(start)
	if w.got += int64(n); w.got >= w.quota {
		w.got, w.left = 0, w.window
	}
	// Our own limit counts for the bytes at the end, but nobody has to wait then.
	if err != nil {
		w.x.limits.spend(int64(n))
	} else if f := w.x.limits.pace(w.x.errand, n); f != nil {
		return n, f
	}
	return n, err
}

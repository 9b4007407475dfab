package transport

import (
	"io"
	"sync"
	"time"
)

// buffers holds the copy buffers of all clients.
var buffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// copyBody copies src to sink, and stops as soon as there is one byte more than
// limit. No byte beyond limit reaches sink.
func copyBody(sink Sink, src io.Reader, limit int64) (int64, error) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	var n int64
	for {
		part := *buf
		if left := limit - n; left < int64(len(part)) {
			part = part[:left+1]
		}
		k, err := src.Read(part)
		if n+int64(k) > limit {
			return n, tooLong(limit)
		}
		if k > 0 {
			n += int64(k)
			if _, err := sink.Write(part[:k]); err != nil {
				return n, refusedBySink(err)
			}
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// watch reads a body and ends the exchange when it comes too slowly: every
// quota of bytes has to arrive within one window. Only time spent waiting for
// the network counts, so that a slow disk or a suspended process is not taken
// for a slow repository.
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
	start := time.Now()
	w.timer.Reset(max(w.left, 1))
	n, err := w.x.resp.Body.Read(p)
	w.timer.Stop()
	w.left -= time.Since(start)
	if w.got += int64(n); w.got >= w.quota {
		w.got, w.left = 0, w.window
	}
	return n, err
}

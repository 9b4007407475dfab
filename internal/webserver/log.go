package webserver

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// Bounds of a log.
const (
	maxLines  = 4096    // that wait to be written
	maxBatch  = 1 << 20 // bytes written at once
	maxMethod = 16      // bytes
	maxPath   = 256     // bytes of a path, before JSON escapes them
	maxAgent  = 128     // bytes of a user agent
	flushTime = time.Second
	// gatherTime is how long lines are gathered: then a busy server is not
	// interrupted for each of them.
	gatherTime = 10 * time.Millisecond
)

// Log writes lines of JSON where writing may be slow, or stop for ever: a pipe
// that nobody reads, a disk that is full. Lines wait in a bounded queue; what
// finds no room, or cannot be written, is counted, and the count is a line as
// soon as one can be written again. It never makes anybody wait, and is safe for
// concurrent use.
type Log struct {
	// Logger logs to it.
	*slog.Logger

	lines chan []byte
	lost  atomic.Int64
	ended chan struct{} // closed by Close
	done  chan struct{} // closed by run
}

// NewLog starts a log that writes to w. Close ends it.
func NewLog(w io.Writer) *Log {
	l := &Log{lines: make(chan []byte, maxLines), ended: make(chan struct{}), done: make(chan struct{})}
	l.Logger = slog.New(slog.NewJSONHandler(queue{l}, nil))
	go l.run(w)
	return l
}

// OpenLog opens or makes a file to append log lines to, for its owner only. It
// may be truncated or, while nobody serves, moved away. A named pipe must have a
// reader. The caller closes it after the log.
func OpenLog(path string) (*os.File, error) {
	// Without O_NONBLOCK a pipe without a reader would hold us here.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, fileError(path, err)
	}
	return f, nil
}

// Close waits a second for the lines that wait to be written, and gives up.
func (l *Log) Close() {
	close(l.ended)
	select {
	case <-l.done:
	case <-time.After(flushTime):
	}
}

// queue takes the lines of a [slog.Handler].
type queue struct{ log *Log }

// Write never blocks and never fails.
func (q queue) Write(line []byte) (int, error) {
	select {
	case q.log.lines <- bytes.Clone(line):
	default:
		q.log.lost.Add(1)
	}
	return len(line), nil
}

func (l *Log) run(w io.Writer) {
	defer close(l.done)
	out := &lineWriter{w: w, lost: &l.lost}
	for {
		select {
		case line := <-l.lines:
			select {
			case <-time.After(gatherTime):
			case <-l.ended:
			}
			out.write(l.batch(line))
			continue
		case <-l.ended:
		}
		for {
			rest := l.batch(nil)
			out.write(rest)
			if len(rest) == 0 {
				return
			}
		}
	}
}

// batch puts further lines that wait behind the first.
func (l *Log) batch(first []byte) []byte {
	all := first
	for len(all) < maxBatch {
		select {
		case line := <-l.lines:
			all = append(all, line...)
		default:
			return all
		}
	}
	return all
}

// lineWriter writes whole lines, and counts those that it could not.
type lineWriter struct {
	w    io.Writer
	lost *atomic.Int64
	torn bool // the last line that was written has no end
}

func (o *lineWriter) write(lines []byte) {
	if lost := o.lost.Swap(0); lost > 0 {
		var note bytes.Buffer
		slog.New(slog.NewJSONHandler(&note, nil)).Warn("log lines were lost", "lines", lost)
		if !o.put(note.Bytes()) {
			o.lost.Store(lost + int64(bytes.Count(lines, newline)))
			return
		}
	}
	o.put(lines)
}

var newline = []byte{'\n'}

func (o *lineWriter) put(lines []byte) bool {
	n, err := 0, error(nil)
	if o.torn {
		_, err = o.w.Write(newline)
		o.torn = err != nil
	}
	if err == nil {
		n, err = o.w.Write(lines)
		o.torn = n > 0 && lines[n-1] != '\n'
	}
	o.lost.Add(int64(bytes.Count(lines[n:], newline)))
	return err == nil
}

// request logs one request: nothing of its query, and of its header the user
// agent alone.
func (l *Log) request(req *http.Request, a *answer, start time.Time) {
	agent := req.UserAgent()
	path := req.URL.EscapedPath()
	took := time.Since(start)
	l.LogAttrs(context.Background(), slog.LevelInfo, "request",
		slog.String("client", address(req)),
		slog.String("method", req.Method[:min(len(req.Method), maxMethod)]),
		slog.String("path", path[:min(len(path), maxPath)]),
		slog.Int("status", a.status),
		slog.Int64("bytes", a.bytes),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000),
		slog.String("agent", agent[:min(len(agent), maxAgent)]))
}

// address returns the address that the request comes from, without the port.
func address(req *http.Request) string {
	at, err := netip.ParseAddrPort(req.RemoteAddr)
	if err != nil {
		return ""
	}
	return at.Addr().Unmap().String()
}

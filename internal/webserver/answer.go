package webserver

import (
	"io"
	"math"
	"net/http"
	"os"
	"strings"
	"time"
)

// Whoever reads an answer must take progressBytes in progressTime, about the
// least that our own client puts up with. The kernel's buffers come on top.
const (
	progressBytes = 64 << 10
	progressTime  = time.Minute
)

// answer watches what is sent, and gives up on clients that do not read it.
type answer struct {
	http.ResponseWriter
	control *http.ResponseController
	// guarded says that not everybody may read the answer.
	guarded bool
	// progress is the time for progressBytes.
	progress time.Duration
	status   int
	bytes    int64
	// limit is what kept the request from being answered, if anything did.
	limit Limit
}

// Unwrap is for [http.ResponseController].
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// WriteHeader begins the answer. What only some may read must not be kept by a
// cache for all.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	if header := a.Header(); a.guarded {
		if control, ok := strings.CutPrefix(header.Get("Cache-Control"), "public,"); ok {
			header.Set("Cache-Control", "private,"+control)
		}
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write is for small answers: the time for it began with the request.
func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	n, err := a.ResponseWriter.Write(p)
	a.bytes += int64(n)
	return n, err
}

// ReadFrom sends content piece by piece, each with a deadline of its own. Where
// nothing is encrypted the kernel copies a file.
func (a *answer) ReadFrom(src io.Reader) (total int64, err error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	// The kernel must see the file itself, behind one limit.
	whole, ok := src.(*io.LimitedReader)
	if !ok {
		whole = &io.LimitedReader{R: src, N: math.MaxInt64}
	}
	to := io.Writer(a.ResponseWriter)
	if _, ok := whole.R.(*os.File); !ok {
		to = struct{ io.Writer }{to} // what is in memory goes with the header
	}
	for whole.N > 0 {
		if err := a.control.SetWriteDeadline(time.Now().Add(a.progress)); err != nil {
			return total, err
		}
		piece := &io.LimitedReader{R: whole.R, N: min(whole.N, progressBytes)}
		n, err := io.Copy(to, piece)
		total, a.bytes, whole.N = total+n, a.bytes+n, whole.N-n
		if err != nil || piece.N > 0 { // broken, or the end of the content
			return total, err
		}
	}
	return total, nil
}

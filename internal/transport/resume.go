package transport

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Resumer is a [Sink] that goes on where a connection broke off, in an attempt
// or a whole request before. The file it takes has exactly [Request.Limit] bytes.
type Resumer interface {
	Sink
	// Kept returns how many bytes of the file, from its first one, are there, and
	// the validator of the answer they came in. It returns 0 when they cannot be
	// gone on with, which what is written next then replaces.
	Kept() (n int64, validator string)
	// Begin forgets what was written, as Reset does, and notes the validator of the
	// answer whose bytes come next; it is empty if they cannot be gone on with.
	Begin(validator string) error
}

// resume asks for what sink has not got of a file of length bytes, and for the
// whole file when there is no such sink or the server does not go on with it. It
// returns where in the file the body of the answer begins.
func (c *Client) resume(e *errand, u *url.URL, header http.Header, length int64, sink Resumer) (*exchange, int64, *failure) {
	var from int64
	var validator string
	if sink != nil {
		from, validator = sink.Kept()
	}
	if from <= 0 || from >= length || validator == "" {
		x, f := c.follow(e, u, header)
		return x, 0, f
	}
	ranged := header.Clone()
	ranged.Set("Range", fmt.Sprintf("bytes=%d-", from))
	ranged.Set("If-Range", validator)
	x, f := c.follow(e, u, ranged)
	if f != nil {
		return nil, 0, f
	}
	if continues(x.resp, from, length, validator) {
		return x, from, nil
	}
	if x.resp.StatusCode == http.StatusOK || badStatus(x.resp).retry {
		return x, 0, nil
	}
	// What the server refuses in part it may still give whole.
	x.discard()
	x, f = c.follow(e, u, header)
	return x, 0, f
}

// continues tells whether an answer is the rest, from a byte on, of the file of
// length bytes that validator stands for (RFC 9110, 13.1.5 and 15.3.7).
func continues(resp *http.Response, from, length int64, validator string) bool {
	same := func(name string) bool {
		v := resp.Header.Get(name)
		return v == "" || v == validator
	}
	ranges := resp.Header.Values("Content-Range")
	return resp.StatusCode == http.StatusPartialContent &&
		len(ranges) == 1 && ranges[0] == fmt.Sprintf("bytes %d-%d/%d", from, length-1, length) &&
		(resp.ContentLength < 0 || resp.ContentLength == length-from) &&
		encodingOf(resp) == "" &&
		(isTag(validator) && same("ETag") || !isTag(validator) && same("Last-Modified"))
}

// validatorOf returns what stands for the file in an If-Range header: a strong
// entity tag, or else a date of change that is older than the answer by so much
// that no later change can bear it as well (RFC 9110, 8.8.2.2). It is empty if
// there is none, or if the answer cannot be gone on with.
func validatorOf(resp *http.Response) string {
	if encodingOf(resp) != "" || strings.EqualFold(resp.Header.Get("Accept-Ranges"), "none") {
		return ""
	}
	if tag := resp.Header.Get("ETag"); isTag(tag) && len(tag) <= maxETag && isHeaderValue(tag) {
		return tag
	}
	changed := resp.Header.Get("Last-Modified")
	at, err := http.ParseTime(changed)
	if err != nil || len(changed) > maxETag || !isHeaderValue(changed) {
		return ""
	}
	if now, err := http.ParseTime(resp.Header.Get("Date")); err != nil || now.Sub(at) < time.Second {
		return ""
	}
	return changed
}

// isTag tells a strong entity tag from a weak one, and from a date.
func isTag(validator string) bool { return strings.HasPrefix(validator, `"`) }

// encodingOf returns the content codings of an answer, empty if there are none.
func encodingOf(resp *http.Response) string {
	return strings.Join(resp.Header.Values("Content-Encoding"), ",")
}

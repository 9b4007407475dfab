package transport

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// keeper is a sink that resumes.
type keeper struct {
	memory
	validator string
	begun     int
}

func (k *keeper) Kept() (int64, string) { return int64(len(k.body)), k.validator }

func (k *keeper) Begin(validator string) error {
	k.validator = validator
	k.begun++
	return k.Reset()
}

// exchanges is a server that answers as told and keeps the requests' headers.
type exchanges struct {
	mu      sync.Mutex
	headers []http.Header
}

func (e *exchanges) serve(t *testing.T, answers ...http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		n := len(e.headers)
		e.headers = append(e.headers, r.Header)
		e.mu.Unlock()
		answers[min(n, len(answers)-1)](w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// ranges are the Range and If-Range headers of all requests.
func (e *exchanges) ranges() (all [][2]string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, h := range e.headers {
		all = append(all, [2]string{h.Get("Range"), h.Get("If-Range")})
	}
	return all
}

const resumed = "0123456789"

func content(etag string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", etag)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(resumed))
	}
}

// half breaks off after four bytes of ten.
func half(header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.Header().Set("Content-Length", "10")
		fmt.Fprint(w, resumed[:4])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

// answer sends status, headers and body as they are.
func answer(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Add(header[i], header[i+1])
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

func stream(t *testing.T, url string, k *keeper) error {
	t.Helper()
	n, err := newClient(t, quick()).Stream(context.Background(), Request{URL: url, Limit: int64(len(resumed))}, k)
	if err == nil {
		require.EqualValues(t, len(k.body), n)
	}
	return err
}

func TestASecondAttemptGoesOn(t *testing.T) {
	var e exchanges
	var k keeper
	require.NoError(t, stream(t, e.serve(t, half("ETag", `"a"`), half("ETag", `"a"`), content(`"a"`)), &k))
	require.Equal(t, resumed, string(k.body))
	require.Equal(t, 2, k.begun, "the second answer was whole again")
	require.Equal(t, [][2]string{{}, {"bytes=4-", `"a"`}, {"bytes=4-", `"a"`}}, e.ranges())
}

func TestAnotherRequestGoesOn(t *testing.T) {
	for _, validator := range []string{`"a"`, "Mon, 02 Jan 2006 15:04:05 GMT"} {
		var e exchanges
		k := keeper{memory: memory{body: []byte(resumed[:7])}, validator: validator}
		url := e.serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"a"`)
			http.ServeContent(w, r, "", time.Date(2006, 1, 2, 15, 4, 5, 0, time.UTC), strings.NewReader(resumed))
		})
		require.NoError(t, stream(t, url, &k))
		require.Equal(t, resumed, string(k.body))
		require.Zero(t, k.begun)
		require.Equal(t, [][2]string{{"bytes=7-", validator}}, e.ranges())
	}
}

// What can be gone on with, and what stands for it.
func TestValidators(t *testing.T) {
	const old, date = "Mon, 02 Jan 2006 15:04:05 GMT", "Mon, 02 Jan 2006 15:04:06 GMT"
	for name, c := range map[string]struct {
		header []string
		want   string
	}{
		"none":                {nil, ""},
		"strong":              {[]string{"ETag", `"a"`, "Last-Modified", old}, `"a"`},
		"weak, old":           {[]string{"ETag", `W/"a"`, "Last-Modified", old, "Date", date}, old},
		"weak, just changed":  {[]string{"ETag", `W/"a"`, "Last-Modified", date, "Date", date}, ""},
		"weak only":           {[]string{"ETag", `W/"a"`}, ""},
		"not a tag":           {[]string{"ETag", `a`}, ""},
		"not a date":          {[]string{"Last-Modified", "yesterday", "Date", date}, ""},
		"no date to compare":  {[]string{"Last-Modified", old, "Date", ""}, ""},
		"too long":            {[]string{"ETag", `"` + strings.Repeat("a", maxETag) + `"`}, ""},
		"not ASCII":           {[]string{"ETag", `"é"`}, ""},
		"ranges are not done": {[]string{"ETag", `"a"`, "Accept-Ranges", "none"}, ""},
		"encoded":             {[]string{"ETag", `"a"`, "Content-Encoding", "gzip"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := http.Header{}
			for i := 0; i < len(c.header); i += 2 {
				h.Set(c.header[i], c.header[i+1])
			}
			require.Equal(t, c.want, validatorOf(&http.Response{Header: h}))
		})
	}
}

// Whatever a server says to a range but the rest of the same file, the file
// comes whole, and no byte of the odd answer is kept.
func TestOddAnswersToARange(t *testing.T) {
	const rest = "bytes 4-9/10"
	for name, odd := range map[string]http.HandlerFunc{
		"whole":              answer(200, resumed, "ETag", `"b"`),
		"no range":           answer(206, "456789", "ETag", `"a"`),
		"two ranges":         answer(206, "456789", "ETag", `"a"`, "Content-Range", rest, "Content-Range", rest),
		"another start":      answer(206, "3456789", "ETag", `"a"`, "Content-Range", "bytes 3-9/10"),
		"another end":        answer(206, "4567", "ETag", `"a"`, "Content-Range", "bytes 4-7/10"),
		"another length":     answer(206, "456789", "ETag", `"a"`, "Content-Range", "bytes 4-9/11"),
		"unknown length":     answer(206, "456789", "ETag", `"a"`, "Content-Range", "bytes 4-9/*"),
		"another unit":       answer(206, "456789", "ETag", `"a"`, "Content-Range", "lines 4-9/10"),
		"more than it says":  answer(206, "456789xx", "ETag", `"a"`, "Content-Range", rest, "Content-Length", "8"),
		"less than it says":  answer(206, "4567", "ETag", `"a"`, "Content-Range", rest, "Content-Length", "4"),
		"another tag":        answer(206, "456789", "ETag", `"b"`, "Content-Range", rest),
		"a weak tag":         answer(206, "456789", "ETag", `W/"a"`, "Content-Range", rest),
		"encoded":            answer(206, "456789", "ETag", `"a"`, "Content-Range", rest, "Content-Encoding", "gzip"),
		"several parts":      answer(206, "--x", "Content-Type", "multipart/byteranges; boundary=x"),
		"not satisfiable":    answer(416, "", "Content-Range", "bytes */10"),
		"precondition":       answer(412, ""),
		"forbidden":          answer(403, "ranges are not for you"),
		"not modified":       answer(304, ""),
		"range without 206":  answer(200, resumed, "ETag", `"a"`, "Content-Range", rest),
		"partial, to a date": nil,
	} {
		t.Run(name, func(t *testing.T) {
			validator := `"a"`
			if odd == nil {
				validator = "Mon, 02 Jan 2006 15:04:05 GMT"
				odd = answer(206, "456789", "Content-Range", rest, "Last-Modified", "Tue, 03 Jan 2006 15:04:05 GMT")
			}
			var e exchanges
			k := keeper{memory: memory{body: []byte("wxyz")}, validator: validator}
			require.NoError(t, stream(t, e.serve(t, odd, content(`"b"`)), &k))
			require.Equal(t, resumed, string(k.body))
			require.Equal(t, 1, k.begun)
			require.Equal(t, [2]string{"bytes=4-", validator}, e.ranges()[0])
			require.LessOrEqual(t, len(e.headers), 2)
			if len(e.headers) == 2 {
				require.Equal(t, [2]string{}, e.ranges()[1])
				require.Equal(t, `"b"`, k.validator)
			}
		})
	}
}

// A rest that is longer than it may be is cut off at the file's length.
func TestEndlessRest(t *testing.T) {
	url := (&exchanges{}).serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Range", "bytes 4-9/10")
		w.WriteHeader(http.StatusPartialContent)
		for range 100 {
			fmt.Fprint(w, "456789")
			w.(http.Flusher).Flush()
		}
	})
	k := keeper{memory: memory{body: []byte("0123")}, validator: `"a"`}
	err := stream(t, url, &k)
	require.Equal(t, protocol.CodeEndlessData, tuferr.CodeOf(err))
	require.LessOrEqual(t, len(k.body), 10)
}

// A server that is busy is asked again for the rest; a target that is gone is
// an error like any, and nothing of what is kept is lost.
func TestErrorsOnARange(t *testing.T) {
	var e exchanges
	k := keeper{memory: memory{body: []byte("0123")}, validator: `"a"`}
	require.NoError(t, stream(t, e.serve(t, answer(503, ""), content(`"a"`)), &k))
	require.Equal(t, resumed, string(k.body))
	require.Equal(t, [][2]string{{"bytes=4-", `"a"`}, {"bytes=4-", `"a"`}}, e.ranges())

	k = keeper{memory: memory{body: []byte("0123")}, validator: `"a"`}
	err := stream(t, (&exchanges{}).serve(t, answer(404, "")), &k)
	require.Equal(t, 404, tuferr.As(err).Status)
	require.Equal(t, "0123", string(k.body))
	require.Zero(t, k.begun)
}

// Nothing is asked for in part that cannot be.
func TestNothingToGoOnFrom(t *testing.T) {
	for _, k := range []*keeper{
		{validator: `"a"`},
		{memory: memory{body: []byte("0123")}},
		{memory: memory{body: []byte(resumed)}, validator: `"a"`},
		{memory: memory{body: bytes.Repeat([]byte("x"), 11)}, validator: `"a"`},
	} {
		var e exchanges
		require.NoError(t, stream(t, e.serve(t, content(`"a"`)), k))
		require.Equal(t, resumed, string(k.body))
		require.Equal(t, [][2]string{{}}, e.ranges())
	}
}

// An encoded body that breaks off is not gone on with.
func TestEncodedBodyStartsAgain(t *testing.T) {
	var e exchanges
	packed := string(zip(t, []byte(resumed)))
	var k keeper
	require.NoError(t, stream(t, e.serve(t,
		half("ETag", `"a"`, "Content-Encoding", "gzip"),
		answer(200, packed, "ETag", `"a"`, "Content-Encoding", "gzip"),
	), &k))
	require.Equal(t, resumed, string(k.body))
	require.Equal(t, [][2]string{{}, {}}, e.ranges())
	require.Empty(t, k.validator)
}

// The range goes along with redirects.
func TestRangeIsRedirected(t *testing.T) {
	var e exchanges
	k := keeper{memory: memory{body: []byte("0123")}, validator: `"a"`}
	require.NoError(t, stream(t, e.serve(t, answer(302, "", "Location", "/elsewhere"), content(`"a"`)), &k))
	require.Equal(t, resumed, string(k.body))
	require.Equal(t, [][2]string{{"bytes=4-", `"a"`}, {"bytes=4-", `"a"`}}, e.ranges())
	require.Zero(t, k.begun)
}

func TestSinkThatRefusesToBegin(t *testing.T) {
	k := stubborn{}
	_, err := newClient(t, quick()).Stream(context.Background(),
		Request{URL: (&exchanges{}).serve(t, content(`"a"`)), Limit: 10}, &k)
	require.Equal(t, protocol.CodeLocalIO, tuferr.CodeOf(err))
	require.ErrorIs(t, err, http.ErrBodyNotAllowed)
}

type stubborn struct{ keeper }

func (*stubborn) Begin(string) error { return http.ErrBodyNotAllowed }

package transport

import (
	"compress/gzip"
	"compress/zlib"
	"io"
	"slices"
	"strings"
)

// maxCodings bounds how often a body may be encoded over.
const maxCodings = 3

// decoded undoes a body's content codings. None was asked for, but servers and
// proxies that compress regardless exist, and what comes out is verified anyway.
// Neither form may be longer than limit, give or take what incompressible
// data grows by: a bomb stops at the limit, and so does an endless run of
// compressed nothing.
func decoded(body io.Reader, encoding string, limit int64) (io.Reader, error) {
	codings := strings.Split(encoding, ",")
	if len(codings) > maxCodings {
		return nil, encodedBody(encoding)
	}
	for _, coding := range slices.Backward(codings) {
		var err error
		switch strings.ToLower(strings.TrimSpace(coding)) {
		case "", "identity":
		case "gzip", "x-gzip":
			body, err = gzip.NewReader(newBounded(body, limit))
		case "deflate":
			body, err = zlib.NewReader(newBounded(body, limit))
		default:
			err = encodedBody(encoding)
		}
		if err != nil {
			return nil, err
		}
	}
	return body, nil
}

// bounded fails once more has been read than a body of limit bytes can take
// up when it is encoded.
type bounded struct {
	r           io.Reader
	limit, left int64
}

func newBounded(r io.Reader, limit int64) *bounded {
	return &bounded{r: r, limit: limit, left: limit + limit>>8 + 4096}
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, tooLong(b.limit)
	}
	return n, err
}

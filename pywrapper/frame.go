package pywrapper

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	strict "github.com/go-json-experiment/json"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

// keptBuffer is the size up to which a line buffer is used again.
const keptBuffer = 64 << 10

// lineReader reads lines of a bounded length. Memory grows with the line that
// is there, never with the bound.
type lineReader struct {
	r   *bufio.Reader
	max int
	buf []byte
}

var errLineTooLong = errors.New("the line is too long")

func newLineReader(r io.Reader, limit int) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, 64<<10), max: limit}
}

// next returns the next line without its newline; it is valid until the next
// call. A last line without a newline is io.ErrUnexpectedEOF.
func (l *lineReader) next() ([]byte, error) {
	if cap(l.buf) > keptBuffer {
		l.buf = nil
	}
	l.buf = l.buf[:0]
	for {
		part, err := l.r.ReadSlice('\n')
		if len(l.buf)+len(part) > l.max {
			return nil, errLineTooLong
		}
		l.buf = append(l.buf, part...)
		switch {
		case err == nil:
			return l.buf[:len(l.buf)-1], nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(l.buf) > 0:
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}

// decode reads one frame of the worker. Names must be exact and unique.
func decode(line []byte) (*protocol.Message, error) {
	var m protocol.Message
	if err := strict.Unmarshal(line, &m); err != nil {
		return nil, fmt.Errorf("not a frame: %w", err)
	}
	set := 0
	for _, there := range []bool{m.Hello != nil, m.Fatal != nil, m.Event != "", m.OK != nil} {
		if there {
			set++
		}
	}
	switch {
	case set != 1:
		return nil, errors.New("not exactly one of hello, fatal, event and ok")
	case m.OK != nil && !*m.OK && (m.Error == nil || m.Error.Code == ""):
		return nil, errors.New("a failed reply without an error code")
	case m.OK != nil && *m.OK && m.Error != nil:
		return nil, errors.New("a successful reply with an error")
	case m.Event != "" && (m.Event != protocol.EventFetch || m.Fetch == nil):
		return nil, fmt.Errorf("unknown event %.40q", m.Event)
	case m.Fetch != nil && (m.Fetch.Role == "" || m.Fetch.Version < 0 || m.Fetch.Length < 0):
		return nil, errors.New("a fetch without a role, or with a negative number")
	}
	return &m, nil
}

// encode writes one frame for the worker, newline included.
func encode(frame any, limit int) ([]byte, error) {
	raw, err := json.Marshal(frame)
	if err != nil {
		return nil, err
	}
	if len(raw)+1 > limit {
		return nil, fmt.Errorf("%w: %d bytes of %d", errLineTooLong, len(raw)+1, limit)
	}
	return append(raw, '\n'), nil
}

// encodeFetched writes the answer to a fetch. Its data may be as large as a
// frame, so they are encoded straight into the frame, and never copied. Beside
// an error there are none.
func encodeFetched(f protocol.Fetched, limit int) ([]byte, error) {
	data := f.Data
	f.Data = nil
	head, err := encode(protocol.FetchedFrame{Fetched: f}, limit)
	if err != nil || f.Error != nil || len(data) == 0 {
		return head, err
	}
	const end, before, after = "}}\n", `,"data":"`, `"` + "}}\n"
	head = head[:len(head)-len(end)]
	size := len(head) + len(before) + base64.StdEncoding.EncodedLen(len(data)) + len(after)
	if size > limit {
		return nil, fmt.Errorf("%w: %d bytes of %d", errLineTooLong, size, limit)
	}
	frame := append(append(make([]byte, 0, size), head...), before...)
	return append(base64.StdEncoding.AppendEncode(frame, data), after...), nil
}

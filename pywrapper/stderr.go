package pywrapper

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/time/rate"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

// tailSize is how much of standard error an error carries, in bytes.
const tailSize = 4 << 10

// Lines of standard error logged in a second, and at once: a flood is drained
// at full speed, but not logged.
const (
	logRate  = 100
	logBurst = 500
)

// stderrLog drains a worker's standard error into the log.
type stderrLog struct {
	log     *slog.Logger
	allow   *rate.Limiter
	dropped int

	mu   sync.Mutex
	tail []byte
}

func newStderrLog(log *slog.Logger) *stderrLog {
	return &stderrLog{log: log, allow: rate.NewLimiter(logRate, logBurst)}
}

// drain reads to the end of r. Lines are cut at protocol.MaxLogLine.
func (s *stderrLog) drain(r io.Reader) {
	br := bufio.NewReaderSize(r, protocol.MaxLogLine)
	continued := false
	for {
		part, err := br.ReadSlice('\n')
		s.keep(part)
		if line := strings.TrimSpace(string(part)); line != "" && !continued {
			s.write(line)
		}
		continued = errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !continued {
			break
		}
	}
	if s.dropped > 0 {
		s.log.Warn("log lines of the python worker were dropped", "lines", s.dropped)
	}
}

func (s *stderrLog) keep(part []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tail = append(s.tail, part[max(0, len(part)-tailSize):]...)
	if extra := len(s.tail) - tailSize; extra > 0 {
		s.tail = append(s.tail[:0], s.tail[extra:]...)
	}
}

// text returns the end of what has been read so far.
func (s *stderrLog) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.ToValidUTF8(string(s.tail), string(utf8.RuneError))
}

func (s *stderrLog) write(line string) {
	if !s.allow.Allow() {
		s.dropped++
		return
	}
	var rec struct {
		Level, Logger, Message string
		Trace                  string `json:"trace_id"`
		Span                   string `json:"span_id"`
	}
	if json.Unmarshal([]byte(line), &rec) != nil || rec.Message == "" {
		s.log.Info(line, "stream", "stderr")
		return
	}
	attrs := []slog.Attr{slog.String("logger", rec.Logger)}
	if rec.Trace != "" {
		attrs = append(attrs, slog.String("trace_id", rec.Trace), slog.String("span_id", rec.Span))
	}
	s.log.LogAttrs(context.Background(), levelOf(rec.Level), rec.Message, attrs...)
}

func levelOf(name string) slog.Level {
	switch strings.ToLower(name) {
	case "debug":
		return slog.LevelDebug
	case "warning", "warn":
		return slog.LevelWarn
	case "error", "critical", "fatal":
		return slog.LevelError
	default:
		return slog.LevelInfo
	}
}

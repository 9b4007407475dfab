package webserver

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRequestsAreLogged(t *testing.T) {
	s := start(t, Config{}, hello, nil)
	long := "/" + strings.Repeat("p", 2*maxPath)
	for _, line := range []string{
		"GET /metadata/a%0ab%22.json?token=secret HTTP/1.1\r\nHost: x\r\nUser-Agent: client/1 \"\xff\r\nAuthorization: Bearer secret\r\nCookie: secret",
		"GET " + long + " HTTP/1.1\r\nHost: x\r\nUser-Agent: " + strings.Repeat("u", 2*maxAgent),
		strings.Repeat("M", 2*maxMethod) + " / HTTP/1.1\r\nHost: x",
	} {
		require.Contains(t, exchange(t, s.addr, line+"\r\nConnection: close\r\n\r\n"), "hello")
	}
	first := s.logged(t, map[string]any{"path": "/metadata/a%0ab%22.json"})
	require.Less(t, first["duration_ms"], 60_000.0)
	require.NotEmpty(t, first["time"])
	delete(first, "duration_ms")
	delete(first, "time")
	require.Equal(t, map[string]any{"level": "INFO", "msg": "request", "client": "127.0.0.1", "method": "GET",
		"path": "/metadata/a%0ab%22.json", "status": 200.0, "bytes": 5.0, "agent": "client/1 \"\ufffd"}, first)
	s.logged(t, map[string]any{"path": long[:maxPath], "agent": strings.Repeat("u", maxAgent)})
	s.logged(t, map[string]any{"method": strings.Repeat("M", maxMethod)})
	require.NotContains(t, s.log.String(), "secret")
}

// TestBlockedLog: nobody waits for a log that nobody reads.
func TestBlockedLog(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	l := NewLog(w)
	const many = 20 * maxLines
	for n := range many {
		l.Info("line", "n", n)
	}
	require.Positive(t, l.lost.Load())
	l.Close() // gives up
	read := make(chan []byte)
	go func() {
		data, _ := io.ReadAll(r)
		read <- data
	}()
	<-l.done
	require.NoError(t, w.Close())
	out := &lines{}
	_, _ = out.Write(<-read)
	require.NoError(t, r.Close())
	requireAccounted(t, out, many)
}

// requireAccounted wants each line to be there or to be counted as lost.
func requireAccounted(t *testing.T, out *lines, many int) {
	t.Helper()
	there, lost := 0, 0
	for _, o := range out.objects(t) {
		switch o["msg"] {
		case "line":
			there++
		case "log lines were lost":
			lost += int(o["lines"].(float64))
		}
	}
	require.Equal(t, many, there+lost)
	require.Positive(t, lost)
}

// failing fails when told to, after part of what it is given.
type failing struct {
	lines
	fail chan int // how many bytes it takes of the next write
}

func (f *failing) Write(p []byte) (int, error) {
	select {
	case n := <-f.fail:
		n = min(n, len(p))
		_, _ = f.lines.Write(p[:n])
		return n, errors.New("no space left")
	default:
		return f.lines.Write(p)
	}
}

// TestFullDisk: a line that was torn does not take the next one with it.
func TestFullDisk(t *testing.T) {
	out := &failing{fail: make(chan int, 10)}
	lost := &Log{}
	w := &lineWriter{w: out, lost: &lost.lost}
	line := func(n int) []byte { return fmt.Appendf(nil, "{\"msg\":\"line\",\"n\":%d}\n", n) }
	w.write(line(1))
	out.fail <- 5
	w.write(append(line(2), line(3)...))
	require.EqualValues(t, 2, lost.lost.Load())
	out.fail <- 0 // still full: the note cannot be written either
	w.write(line(4))
	require.EqualValues(t, 3, lost.lost.Load())
	w.write(line(5))
	require.Zero(t, lost.lost.Load())
	w.write(line(6))
	written := strings.Split(out.String(), "\n")
	require.Equal(t, []string{`{"msg":"line","n":1}`, `{"msg`}, written[:2])
	require.Regexp(t, `^\{"time":".*","level":"WARN","msg":"log lines were lost","lines":3\}$`, written[2])
	require.Equal(t, []string{`{"msg":"line","n":5}`, `{"msg":"line","n":6}`, ""}, written[3:])
}

func TestLogsOnDevicesThatAreFull(t *testing.T) {
	f, err := OpenLog("/dev/full")
	if err != nil {
		t.Skip("no /dev/full here")
	}
	l := NewLog(f)
	l.Info("line")
	require.Eventually(t, func() bool { return l.lost.Load() == 1 }, time.Minute, time.Millisecond)
	l.Close()
	require.NoError(t, f.Close())
}

func TestLogFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	for range 2 {
		f, err := OpenLog(path)
		require.NoError(t, err)
		l := NewLog(f)
		for range 1000 {
			l.Info("line")
		}
		l.Close()
		require.NoError(t, f.Close())
	}
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, 2000, strings.Count(string(data), "\n"))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())

	pipe := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	for _, bad := range []string{t.TempDir(), path + "/x", pipe} {
		_, err := OpenLog(bad)
		require.ErrorContains(t, err, "cannot be used", bad)
	}
}

// TestServingGoesOnWithoutALog: the log's reader has stopped reading.
func TestServingGoesOnWithoutALog(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	l := NewLog(w)
	s := start(t, Config{}, hello, func(s *Server) { s.config.Access = l })
	client := newClient(t, &http.Transport{})
	for range maxLines + 1000 {
		_, body := get(t, client, s.url)
		require.Equal(t, "hello", body)
	}
	require.NoError(t, s.stop())
	require.NoError(t, r.Close()) // a broken pipe is an error like any other
	l.Close()
	<-l.done
	require.NoError(t, w.Close())
}

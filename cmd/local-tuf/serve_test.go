package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/repository"
)

// helloPath is the plugin of [newRepository].
const helloPath = "plugins/ragnos/hello-world.1.0.0.tar.gz"

// newRepository makes a repository with one plugin, by the command.
func newRepository(t *testing.T, flags ...string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "repo")
	packed := "../../testdata/plugins/hello-world.1.0.0"
	for _, args := range [][]string{append([]string{"init", "--plain-keys"}, flags...), {"publish", packed + ".tar.gz", packed + ".json"}} {
		code, _, stderr := runCommand(t, append(args, "--dir", dir)...)
		require.Zero(t, code, stderr)
	}
	return dir
}

// server is a running process of "local-tuf serve".
type server struct {
	url string
	// metrics is the URL of its metrics, "" without --metrics-listen.
	metrics string
	cmd     *exec.Cmd
	log     *logLines
}

// logLines collects what a process writes to stderr.
type logLines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// startServe starts a server of a repository on any free port.
func startServe(t *testing.T, dir string, flags ...string) *server {
	t.Helper()
	return startServeAs(t, dir, exec.Command("local-tuf", append([]string{"serve", "--dir", dir, "--port", "0"}, flags...)...))
}

// startServeAs starts a server by a command.
func startServeAs(t *testing.T, dir string, cmd *exec.Cmd) *server {
	t.Helper()
	s := &server{cmd: cmd, log: &logLines{}}
	s.cmd.Stderr = s.log
	s.cmd.WaitDelay = 10 * time.Second
	out, err := s.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, s.cmd.Start())
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // has most often ended
		_ = s.cmd.Wait()
	})
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	require.NoError(t, err, "%s", s.log)
	before, url, ok := strings.Cut(strings.TrimSpace(line), " at ")
	require.True(t, ok)
	require.Equal(t, "serving "+dir, before)
	s.url = url
	if slices.Contains(cmd.Args, metricsFlag) {
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		s.metrics, ok = strings.CutPrefix(strings.TrimSpace(line), "metrics at ")
		require.True(t, ok)
	}
	return s
}

// stop ends the server by a signal and returns its exit code.
func (s *server) stop(t *testing.T) int {
	t.Helper()
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
	_ = s.cmd.Wait() // the exit code says it
	return s.cmd.ProcessState.ExitCode()
}

// says waits until the log says something, and returns that line.
func (s *server) says(t *testing.T, msg string) (line map[string]any) {
	t.Helper()
	require.Eventually(t, func() bool {
		for text := range strings.Lines(s.log.String()) {
			var o map[string]any
			if json.Unmarshal([]byte(text), &o) == nil && o["msg"] == msg {
				line = o
				return true
			}
		}
		return false
	}, time.Minute, 10*time.Millisecond, "not logged: %s", msg)
	return line
}

// oneByOne is a client that keeps no connection.
func oneByOne() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
}

func get(t *testing.T, client *http.Client, url string) (int, []byte) {
	t.Helper()
	resp, err := client.Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, body
}

func (s *server) health(t *testing.T) (code int, st repository.Status) {
	t.Helper()
	code, body := get(t, oneByOne(), s.url+repository.HealthPath)
	require.NoError(t, json.Unmarshal(body, &st))
	return code, st
}

func (s *server) timestamp(t *testing.T) int64 {
	t.Helper()
	code, body := get(t, oneByOne(), s.url+"/metadata/timestamp.json")
	require.Equal(t, http.StatusOK, code)
	var doc struct{ Signed struct{ Version int64 } }
	require.NoError(t, json.Unmarshal(body, &doc))
	return doc.Signed.Version
}

func TestServeKeepsTheRepositoryFreshAndStops(t *testing.T) {
	dir := newRepository(t, "--timestamp-lifetime", "4s", "--snapshot-lifetime", "6s")
	s := startServe(t, dir)
	first := s.timestamp(t)
	require.Eventually(t, func() bool { return s.timestamp(t) >= first+2 }, time.Minute, 50*time.Millisecond)
	code, st := s.health(t)
	require.Equal(t, http.StatusOK, code)
	require.NotEqual(t, repository.Down, st.Status)
	require.Zero(t, s.stop(t))
	_, err := oneByOne().Get(s.url)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	for text := range strings.Lines(s.log.String()) {
		require.True(t, json.Valid([]byte(text)), text)
	}
}

// TestServeSaysThatItCannotSign: in the log and in the health, and goes on.
func TestServeSaysThatItCannotSign(t *testing.T) {
	dir := newRepository(t, "--timestamp-lifetime", "4s")
	keys := filepath.Join(dir, "keys")
	require.NoError(t, os.Rename(keys, dir+"-keys"))
	require.NoError(t, os.Mkdir(keys, 0o700))
	s := startServe(t, dir)
	missing := s.says(t, "keys are not at hand: somebody else must sign these roles in time")
	require.Equal(t, []any{"snapshot", "timestamp"}, missing["roles"])
	require.Contains(t, s.says(t, "cannot sign anew; tried again each minute")["error"], "timestamp")
	var st repository.Status
	require.Eventually(t, func() bool {
		_, st = s.health(t)
		return strings.Contains(strings.Join(st.Problems, "\n"), "timestamp and snapshot cannot be signed anew: ")
	}, time.Minute, 50*time.Millisecond)
	require.NotEqual(t, repository.Healthy, st.Status)
	require.Eventually(t, func() bool {
		code, st := s.health(t)
		return code == http.StatusServiceUnavailable && st.Status == repository.Down
	}, time.Minute, 50*time.Millisecond)
	code, _ := get(t, oneByOne(), s.url+"/metadata/timestamp.json")
	require.Equal(t, http.StatusOK, code)
	require.Zero(t, s.stop(t))
}

// TestServeWithEncryptedKeys: the passphrase is wanted at the start, and then never
// again.
func TestServeWithEncryptedKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "repo")
	phrase := filepath.Join(t.TempDir(), "phrase")
	require.NoError(t, os.WriteFile(phrase, []byte("correct horse battery staple\n"), 0o600))
	wrong := filepath.Join(t.TempDir(), "wrong")
	require.NoError(t, os.WriteFile(wrong, []byte("Tr0ub4dor&3\n"), 0o600))
	code, _, stderr := runCommand(t, "init", "--dir", dir, "--timestamp-lifetime", "6s", "--passphrase-file", phrase)
	require.Zero(t, code, stderr)
	for _, flags := range [][]string{nil, {"--passphrase-file", wrong}} {
		cmd := exec.CommandContext(t.Context(), "local-tuf", append([]string{"serve", "--dir", dir, "--port", "0"}, flags...)...)
		out, err := cmd.CombinedOutput()
		require.Error(t, err)
		require.Positive(t, cmd.ProcessState.ExitCode())
		require.Contains(t, string(out), "passphrase")
		require.NotContains(t, string(out), "serving")
		require.NotContains(t, string(out), "Tr0ub4dor")
	}
	s := startServe(t, dir, "--passphrase-file", phrase)
	require.NoError(t, os.Remove(phrase))
	first := s.timestamp(t)
	require.Eventually(t, func() bool { return s.timestamp(t) >= first+2 }, time.Minute, 50*time.Millisecond)
	require.Zero(t, s.stop(t))
	require.NotContains(t, s.log.String(), "horse")
}

// TestServeSaysWhatPeopleMustDo: at the start, if it is late already.
func TestServeSaysWhatPeopleMustDo(t *testing.T) {
	dir := newRepository(t, "--targets-lifetime", "2s")
	require.Eventually(t, func() bool {
		code, _, _ := runCommand(t, "status", "--dir", dir)
		return code != 0
	}, time.Minute, 50*time.Millisecond)
	s := startServe(t, dir)
	line := s.says(t, "the repository needs attention")
	require.Equal(t, "down", line["status"])
	require.Contains(t, line["problems"].([]any)[0], "targets")
	require.Zero(t, s.stop(t))
}

func TestServeLetsRunningAnswersFinish(t *testing.T) {
	dir := newRepository(t)
	// Far more than the buffers of a connection hold.
	name := strings.Repeat("a", 64) + ".large"
	large := make([]byte, 32<<20)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "targets", name), large, 0o600))
	s := startServe(t, dir)
	resp, err := oneByOne().Get(s.url + "/targets/" + name)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	}, time.Minute, time.Millisecond, "no new connections")
	n, err := io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	require.Equal(t, int64(len(large)), n)
	require.NoError(t, s.cmd.Wait())
}

// TestServeGoesOnWithoutItsLog: nobody reads its stderr, and the disk of its
// access log is full.
func TestServeGoesOnWithoutItsLog(t *testing.T) {
	dir := newRepository(t)
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full here")
	}
	for _, flags := range [][]string{nil, {"--access-log", "/dev/full"}} {
		r, w, err := os.Pipe()
		require.NoError(t, err)
		s := &server{cmd: exec.Command("local-tuf", append([]string{"serve", "--dir", dir, "--port", "0", "--rate", "0"}, flags...)...)}
		s.cmd.Stderr = w
		out, err := s.cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, s.cmd.Start())
		line, err := bufio.NewReader(out).ReadString('\n')
		require.NoError(t, err)
		_, url, _ := strings.Cut(strings.TrimSpace(line), " at ")
		client := &http.Client{Transport: &http.Transport{}}
		for range 2000 { // some 300 kB of log, where a pipe holds 64
			code, _ := get(t, client, url+"/metadata/timestamp.json")
			require.Equal(t, http.StatusOK, code)
		}
		client.CloseIdleConnections()
		require.Zero(t, s.stop(t))
		require.NoError(t, w.Close())
		require.NoError(t, r.Close())
	}
}

// TestNoFilesLeftIsNotAbsence: a server that cannot open a file must not say that
// there is no such root version.
func TestNoFilesLeftIsNotAbsence(t *testing.T) {
	dir := newRepository(t)
	s := startServeAs(t, dir, exec.Command("sh", "-c", `ulimit -n 40; exec local-tuf "$@"`, "sh", "serve", "--dir", dir, "--port", "0"))
	addr := strings.TrimPrefix(s.url, "http://")
	ask := func(c net.Conn) int {
		_, err := io.WriteString(c, "GET /metadata/2.root.json HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode
	}
	dial := func() net.Conn {
		c, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	c := dial()
	require.Equal(t, http.StatusNotFound, ask(c))
	var others []net.Conn
	for ask(c) == http.StatusNotFound {
		require.Less(t, len(others), 60)
		others = append(others, dial())
	}
	require.Equal(t, http.StatusInternalServerError, ask(c))
	for _, o := range others {
		require.NoError(t, o.Close())
	}
	require.Eventually(t, func() bool { return ask(c) == http.StatusNotFound }, time.Minute, 10*time.Millisecond)
	require.Zero(t, s.stop(t))
}

func TestAccessLogFile(t *testing.T) {
	dir := newRepository(t)
	path := filepath.Join(t.TempDir(), "access.log")
	s := startServe(t, dir, "--access-log", path)
	get(t, oneByOne(), s.url+"/metadata/1.root.json?secret")
	require.Zero(t, s.stop(t))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Regexp(t, `^\{"time":"[^"]*","level":"INFO","msg":"request","client":"127.0.0.1","method":"GET","path":"/metadata/1.root.json",`+
		`"status":200,"bytes":[0-9]+,"duration_ms":[0-9.]+,"agent":"Go-http-client/1.1"\}\n$`, string(data))
	require.NotContains(t, s.log.String(), "request")
}

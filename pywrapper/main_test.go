//go:build unix

package pywrapper

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// TestMain is also the scripted child (see child_test.go) and the host that is
// killed (see real_test.go): the test binary is executed again as both.
func TestMain(m *testing.M) {
	if len(os.Args) > 4 && os.Args[1] == "-I" {
		runChild(os.Args[4])
	}
	if os.Getenv(hostEnv) != "" {
		runHost()
	}
	// The runtime's poller takes its descriptors before any test counts them.
	r, w, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	_, _ = r.Close(), w.Close()
	goleak.VerifyTestMain(m)
}

// harness is a supervisor over the scripted child, and all that it may leave behind.
type harness struct {
	*Supervisor
	log *logBuffer
}

// start makes a supervisor whose child plays the script. After the test nothing
// of it may be left.
func start(t *testing.T, script string, options ...func(*Supervisor)) *harness {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	before := descriptors(t)
	log := &logBuffer{}
	s := New(Options{
		Python: self, Script: []byte(script), MinBackoff: time.Millisecond, MaxBackoff: 4 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	for _, o := range options {
		o(s)
	}
	var pids []int
	t.Cleanup(func() {
		if w := s.w; w != nil {
			pids = append(pids, w.cmd.Process.Pid)
		}
		require.NoError(t, s.Close(context.Background()))
		require.NoError(t, s.Close(context.Background()), "closing twice does no harm")
		require.Empty(t, dirEntries(t, tmp), "temporary files")
		require.Equal(t, before, descriptors(t), "descriptors")
		for _, pid := range pids {
			require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH, "the worker is gone")
		}
		require.NoError(t, goleak.Find(goleak.IgnoreCurrent()))
	})
	return &harness{s, log}
}

func (h *harness) call(t *testing.T, method string, params any) (string, error) {
	t.Helper()
	raw, err := h.Call(t.Context(), Call{Method: method, Params: params})
	return string(raw), err
}

// fails calls and returns the error that it must have.
func (h *harness) fails(t *testing.T, method string, params any) *Error {
	t.Helper()
	_, err := h.call(t, method, params)
	return asError(t, err)
}

func asError(t *testing.T, err error) *Error {
	t.Helper()
	var e *Error
	require.ErrorAs(t, err, &e)
	return e
}

func dirEntries(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// descriptors lists what the process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		require.ErrorIs(t, err, fs.ErrNotExist)
		return 0 // this system does not tell
	}
	return len(entries)
}

// logBuffer is a log that tests read while it is written.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// eventually waits for something that no channel tells of.
func eventually(t *testing.T, ok func() bool, what string) {
	t.Helper()
	require.Eventually(t, ok, 20*time.Second, 2*time.Millisecond, what)
}

func alive(pid int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return syscall.Kill(pid, 0) == nil
	}
	_, after, _ := strings.Cut(string(raw), ") ")
	return !strings.HasPrefix(after, "Z")
}

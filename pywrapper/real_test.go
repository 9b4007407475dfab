//go:build unix

package pywrapper

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	vaulttuf "github.com/ragnos-labs/vault-tuf"
	"github.com/ragnos-labs/vault-tuf/internal/pyenv/pyenvtest"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// hostEnv makes the test binary the host that is killed: it names the interpreter.
// hostHurryEnv lets it not wait for the worker's greeting.
const (
	hostEnv      = "PYWRAPPER_TEST_HOST"
	hostHurryEnv = "PYWRAPPER_TEST_HOST_HURRY"
)

// runHost starts a real worker, tells its process when the worker is ready, or at
// once, and waits to be killed.
func runHost() {
	s := New(Options{Python: os.Getenv(hostEnv), Script: vaulttuf.PythonClient})
	started := make(chan error, 1)
	go func() { started <- s.Start(context.Background()) }()
	if os.Getenv(hostHurryEnv) == "" {
		if err := <-started; err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	for s.Status().PID == 0 {
		time.Sleep(time.Millisecond)
	}
	fmt.Println(s.Status().PID)
	// A request in flight must not keep the worker alive either.
	go func() { _, _ = s.Call(context.Background(), Call{Method: protocol.MethodPing}) }()
	_, _ = io.Copy(io.Discard, os.Stdin)
	select {}
}

func real(s *Supervisor, python string) {
	s.o.Python, s.o.Script = python, vaulttuf.PythonClient
}

func TestRealWorker(t *testing.T) {
	python := pyenvtest.Python(t)
	h := start(t, "", func(s *Supervisor) { real(s, python) })
	began := time.Now()
	require.NoError(t, h.Start(t.Context()))
	cold := time.Since(began)
	st := h.Status()
	require.Equal(t, protocol.Version, st.Hello.Protocol)
	require.Equal(t, st.PID, st.Hello.PID)
	require.True(t, strings.HasPrefix(st.Hello.TUF, "7."), st.Hello.TUF)

	began = time.Now()
	_, err := h.call(t, protocol.MethodPing, nil)
	require.NoError(t, err)
	t.Logf("start %s, ping %s, resident %d KiB", cold, time.Since(began), h.Status().RSS>>10)

	e := h.fails(t, "no-such-method", nil)
	require.True(t, e.Replied)
	require.Equal(t, protocol.CodeUsage, e.Code)
	e = h.fails(t, protocol.MethodRefresh, protocol.TUFParams{ReferenceTime: "yesterday"})
	require.True(t, e.Replied)

	w := h.w
	require.NoError(t, h.Close(t.Context()))
	require.Equal(t, 0, w.state.ExitCode(), "it shuts down when asked: %s", w.log.text())
}

func TestRealWorkerWithoutPythonTUF(t *testing.T) {
	bare, err := exec.LookPath("python3")
	require.NoError(t, err)
	script := strings.Replace(string(vaulttuf.PythonClient), "from __future__ import annotations",
		"from __future__ import annotations\nimport sys\nsys.modules['tuf'] = None", 1)
	h := start(t, "", func(s *Supervisor) { s.o.Python, s.o.Script = bare, []byte(script) })
	e := h.fails(t, protocol.MethodPing, nil)
	require.Equal(t, protocol.CodeMissingDependency, e.Code)
	require.ErrorContains(t, e, "Missing python-tuf dependency")
	require.Equal(t, protocol.CodeMissingDependency.Exit(), e.ExitCode)
}

func TestRealWorkerUnderAMemoryLimit(t *testing.T) {
	python := pyenvtest.Python(t)
	h := start(t, "", func(s *Supervisor) { real(s, python); s.o.MemoryLimit = 32 << 20 })
	_, err := h.Call(t.Context(), Call{Method: protocol.MethodRefresh, Fetch: func(context.Context, protocol.Fetch) protocol.Fetched {
		t.Error("it has no memory to work in")
		return protocol.Fetched{}
	}})
	require.Equal(t, protocol.CodeEngineInternal, asError(t, err).Code, "it answers that it cannot work: %v", err)
}

func TestDeadHostTakesItsWorkerAlong(t *testing.T) {
	python := pyenvtest.Python(t)
	for _, hurry := range []string{"", "1"} {
		for range 5 {
			killHost(t, python, hurry)
		}
	}
}

// killHost kills a host whose worker is ready, or still starting.
func killHost(t *testing.T, python, hurry string) {
	t.Helper()
	tmp := t.TempDir()
	self, err := os.Executable()
	require.NoError(t, err)
	host := exec.Command(self)
	host.Env = append(os.Environ(), hostEnv+"="+python, hostHurryEnv+"="+hurry, "TMPDIR="+tmp)
	host.Stderr = os.Stderr
	_, err = host.StdinPipe()
	require.NoError(t, err)
	out, err := host.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, host.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	var pid int
	_, err = fmt.Sscan(line, &pid)
	require.NoError(t, err, line)
	require.True(t, hurry != "" || alive(pid))

	require.NoError(t, host.Process.Kill())
	_ = host.Wait()
	eventually(t, func() bool { return !alive(pid) }, "the worker is gone")
	require.Empty(t, dirEntries(t, tmp))
}

// A worker has nothing open but its three pipes and its own copy of one of them
// (and what the test's own parent may have left open), and no directory in use.
func TestRealWorkerHoldsNothing(t *testing.T) {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		return // this system does not tell
	}
	python := pyenvtest.Python(t)
	h := start(t, "", func(s *Supervisor) { real(s, python) })
	require.NoError(t, h.Start(t.Context()))
	proc := fmt.Sprintf("/proc/%d/", h.Status().PID)
	for _, fd := range dirEntries(t, proc+"fd") {
		file, err := os.Readlink(proc + "fd/" + fd)
		require.NoError(t, err)
		require.Regexp(t, `^(pipe:|/dev/null$)`, file)
	}
	dir, err := os.Readlink(proc + "cwd")
	require.NoError(t, err)
	require.Equal(t, "/", dir)
}

func TestRealWorkerTellsWhereItFails(t *testing.T) {
	bare, err := exec.LookPath("python3")
	require.NoError(t, err)
	h := start(t, "", func(s *Supervisor) { s.o.Python, s.o.Script = bare, []byte("import os\n\nraise OSError('odd')\n") })
	e := h.fails(t, protocol.MethodPing, nil)
	require.Equal(t, protocol.CodeWorkerUnavailable, e.Code)
	require.Contains(t, e.Stderr, `File "<python-tuf-client.py>", line 3`)
	require.ErrorContains(t, e, "OSError: odd")
}

func TestRealWorkerDoesNotOutliveItsStandardInput(t *testing.T) {
	python := pyenvtest.Python(t)
	h := start(t, "", func(s *Supervisor) { real(s, python) })
	require.NoError(t, h.Start(t.Context()))
	w := h.w
	require.NoError(t, w.stdin.Close())
	<-w.dead
	_, err := h.call(t, protocol.MethodPing, nil)
	require.NoError(t, err, "a fresh one is started")
}

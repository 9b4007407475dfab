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
const hostEnv = "PYWRAPPER_TEST_HOST"

// runHost starts a real worker, tells its process, and waits to be killed.
func runHost() {
	s := New(Options{Python: os.Getenv(hostEnv), Script: vaulttuf.PythonClient})
	if err := s.Start(context.Background()); err != nil {
		fmt.Println(err)
		os.Exit(1)
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
	_, err := h.call(t, protocol.MethodPing, nil)
	require.Equal(t, protocol.ClassFault, asError(t, err).Class, "it cannot even start: %v", err)
}

func TestDeadHostTakesItsWorkerAlong(t *testing.T) {
	python := pyenvtest.Python(t)
	tmp := t.TempDir()
	self, err := os.Executable()
	require.NoError(t, err)
	host := exec.Command(self)
	host.Env = append(os.Environ(), hostEnv+"="+python, "TMPDIR="+tmp)
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
	require.True(t, alive(pid))

	require.NoError(t, host.Process.Kill())
	_ = host.Wait()
	eventually(t, func() bool { return !alive(pid) }, "the worker is gone")
	require.Empty(t, dirEntries(t, tmp))
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

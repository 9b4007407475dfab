//go:build unix

package pywrapper

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup makes the child the leader of a new process group, so that a signal
// reaches everything it has started, and Ctrl-C in a terminal does not reach it.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}

// killGroup kills the group that pid leads; no such group is no error.
func killGroup(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) }

// terminateGroup asks the group that pid leads to end.
func terminateGroup(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGTERM) }

func signalName(state *os.ProcessState) string {
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return ws.Signal().String()
	}
	return ""
}

// systemEnv names the variables that a process needs on this system.
var systemEnv = []string{"PATH"}

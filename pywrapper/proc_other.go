//go:build !unix

package pywrapper

import (
	"os"
	"os/exec"
)

func ownGroup(*exec.Cmd) {}

func killGroup(p *os.Process) { _ = p.Kill() }

func terminateGroup(p *os.Process) { _ = p.Kill() }

func signalName(*os.ProcessState) string { return "" }

// systemEnv names the variables that a process needs on this system.
var systemEnv = []string{"PATH", "SystemRoot", "SystemDrive", "windir"}

//go:build !linux

package main

import (
	"os"
	"os/exec"
)

// modest is a command: modest COMMAND ARGS. Tests as root are for Linux.
func modest() {
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	_ = cmd.Run()
	os.Exit(cmd.ProcessState.ExitCode())
}

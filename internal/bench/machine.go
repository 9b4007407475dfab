//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// machine says in one line what the figures are of.
func machine(ctx context.Context, python string) (string, error) {
	const script = "import platform, importlib.metadata as m; print(platform.python_version(), m.version('tuf'))"
	out, err := exec.CommandContext(ctx, python, "-c", script).Output()
	if err != nil {
		return "", fmt.Errorf("%s has no python-tuf: %w", python, err)
	}
	versions := strings.Fields(string(out))
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "", err
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "", err
	}
	before, _, _ := strings.Cut(string(load), " ")
	return fmt.Sprintf("%d CPUs (%s), load %s at the start, Linux %s; %s, go-tuf %s; Python %s, python-tuf %s",
		runtime.NumCPU(), runtime.GOARCH, before, unix.ByteSliceToString(name.Release[:]),
		runtime.Version(), goTUF(), versions[0], versions[1]), nil
}

// goTUF is the version of go-tuf in this program.
func goTUF() string {
	info, _ := debug.ReadBuildInfo()
	for _, m := range info.Deps {
		if m.Path == "github.com/theupdateframework/go-tuf/v2" {
			return strings.TrimPrefix(m.Version, "v")
		}
	}
	return "unknown"
}

//go:build linux

// Package proc reads what the kernel tells of a process.
package proc

import (
	"fmt"
	"os"
	"strings"
)

// PeakKiB returns the peak resident memory of a process, 0 if it has ended.
func PeakKiB(pid string) (kib int64) {
	raw, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0
	}
	if _, rest, ok := strings.Cut(string(raw), "VmHWM:"); ok {
		_, _ = fmt.Sscan(rest, &kib) // stays 0 if it is no number
	}
	return kib
}

//go:build unix

package pyenv

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
)

func ownedByUs(info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 || int(st.Uid) == os.Geteuid() {
		return nil
	}
	return fmt.Errorf("it belongs to user %d", st.Uid)
}

// killTogether makes the end of the command's context end its children as well.
func killTogether(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

//go:build unix

package repository

import (
	"os"

	"golang.org/x/sys/unix"
)

// identify says which file f is, in which state.
func identify(f *os.File) (identity, bool) {
	conn, err := f.SyscallConn()
	if err != nil {
		return identity{}, false
	}
	var st unix.Stat_t
	var statErr error
	if err := conn.Control(func(fd uintptr) { statErr = unix.Fstat(int(fd), &st) }); err != nil || statErr != nil {
		return identity{}, false
	}
	return identity{device: uint64(st.Dev), inode: uint64(st.Ino), size: int64(st.Size), modified: st.Mtim.Nano(), changed: st.Ctim.Nano()}, true
}

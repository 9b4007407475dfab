//go:build unix

package targets

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// noFollow refuses to open a symbolic link.
const noFollow = syscall.O_NOFOLLOW

// own tells whether a file is regular, this user's, nobody else's to read or
// write, and known by one name only.
func own(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode() == 0o600 && int(st.Uid) == os.Geteuid() && st.Nlink == 1
}

// readWhole fills b with the regular file at path and returns false for any
// other kind, any other length, and any error. It is four bare system calls
// because it is what a warm client spends its time on: an os.File would also be
// shown to the poller, read to its end twice, and collected as garbage.
func readWhole(path string, b []byte) bool {
	fd, err := uninterrupted(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size != int64(len(b)) {
		return false
	}
	for len(b) > 0 {
		n, err := uninterrupted(func() (int, error) { return unix.Read(fd, b) })
		if err != nil || n == 0 {
			return false
		}
		b = b[n:]
	}
	return true
}

// uninterrupted repeats a system call that a signal broke off.
func uninterrupted(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); err != unix.EINTR {
			return n, err
		}
	}
}

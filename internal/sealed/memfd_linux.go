package sealed

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const allSeals = unix.F_SEAL_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL

// memfd makes a file in memory that can be sealed.
func memfd(name string, exec bool) (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	kind := unix.MFD_NOEXEC_SEAL
	if exec {
		kind = unix.MFD_EXEC
	}
	fd, err := unix.MemfdCreate(name, flags|kind)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3 there was only one kind
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "memfd:"+name)
	// Systems that imitate Linux may have files in memory and no seals.
	if seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0); err != nil || seals&unix.F_SEAL_SEAL != 0 {
		_ = f.Close()
		return nil, unix.ENOSYS
	}
	return f, nil
}

// unavailable tells whether the system will not give a file in memory to anybody,
// unlike one that is short of something now.
func unavailable(err error) bool {
	return errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EINVAL)
}

// seal takes from everybody the right to change the file, and sees that it did.
func seal(f *os.File) error {
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, allSeals); err != nil {
		return err
	}
	seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	if err == nil && seals&allSeals != allSeals {
		err = errors.New("the system did not seal it")
	}
	return err
}

func descriptor(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

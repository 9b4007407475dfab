//go:build unix

package keyfile

import (
	"io/fs"
	"syscall"
)

// nonBlock keeps an open of what has become a pipe from waiting.
const nonBlock = syscall.O_NONBLOCK

// othersReach tells whether group or others may read, write or enter.
func othersReach(info fs.FileInfo) bool { return info.Mode().Perm()&0o077 != 0 }

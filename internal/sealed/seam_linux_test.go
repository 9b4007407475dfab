package sealed

import "syscall"

var errNoMemory error = syscall.ENOSYS

//go:build unix

package transport

import "syscall"

// nonBlock opens a pipe without waiting for somebody who writes to it.
const nonBlock = syscall.O_NONBLOCK

//go:build !linux

package sealed

import "errors"

var errNoMemory = errors.ErrUnsupported

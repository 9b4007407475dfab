//go:build !unix

package keyfile

import "io/fs"

const nonBlock = 0

// othersReach cannot be told from the mode of a file here.
func othersReach(fs.FileInfo) bool { return false }

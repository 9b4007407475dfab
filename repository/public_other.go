//go:build !linux

package repository

import "os"

func openBelow(dir, name string) (*os.File, error) { return walkBelow(dir, name) }

//go:build !linux

package sealed

import (
	"errors"
	"os"
)

func memfd(string, bool) (*os.File, error) { return nil, errors.ErrUnsupported }

func unavailable(err error) bool { return errors.Is(err, errors.ErrUnsupported) }

func seal(*os.File) error { return errors.ErrUnsupported }

func descriptor(f *os.File) string { return f.Name() }

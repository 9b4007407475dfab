// Package pyenv finds the Python interpreter for the python engine, checks it,
// and makes a private virtual environment with python-tuf in it.
package pyenv

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// The environment variables that name an interpreter and the user data directory.
const (
	EnvPython = "RAGNOS_PYTHON_BIN"
	EnvHome   = "RAGNOS_TUF_HOME"
)

// InstallHint is the command that makes the private environment.
const InstallHint = "run: ragnos-tuf python install"

// Source says where an interpreter was found.
type Source string

// The sources, in the order in which they are asked.
const (
	SourceOption  Source = "option"
	SourceEnv     Source = EnvPython
	SourcePrivate Source = "private environment"
	SourcePath    Source = "PATH"
)

// Interpreter is a Python interpreter that has been found, and not yet checked.
type Interpreter struct {
	// Path is absolute.
	Path   string
	Source Source
}

// Find returns the interpreter to use: explicit if it is not empty, else
// $RAGNOS_PYTHON_BIN, else the private environment, else python3 in PATH.
// One that is asked for by name and is not there is an error and never passed
// over, and so is a private environment that others could have written to.
// Errors are *tuferr.Error with the code worker_unavailable, or permissions.
func Find(explicit string) (Interpreter, error) {
	for _, named := range []Interpreter{{explicit, SourceOption}, {os.Getenv(EnvPython), SourceEnv}} {
		if named.Path != "" {
			return resolve(named)
		}
	}
	if venv, err := VenvDir(); err == nil {
		if _, err := os.Lstat(venv); err == nil {
			if err := checkPrivate(venv); err != nil {
				return Interpreter{}, err
			}
			return resolve(Interpreter{interpreterIn(venv), SourcePrivate})
		}
	}
	return resolve(Interpreter{"python3", SourcePath})
}

func resolve(i Interpreter) (Interpreter, error) {
	path, err := exec.LookPath(i.Path)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		e := tuferr.New(protocol.CodeWorkerUnavailable, "no Python interpreter at %s (from %s): %w", i.Path, i.Source, err)
		e.Hint = "install Python 3.10 or newer, or name one with " + EnvPython
		if i.Source == SourcePrivate {
			e.Hint = InstallHint
		}
		return Interpreter{}, e
	}
	return Interpreter{path, i.Source}, nil
}

// Home returns the user data directory: $RAGNOS_TUF_HOME, else ragnos-tuf in
// $XDG_DATA_HOME, else in ~/.local/share.
func Home() (string, error) {
	if dir := os.Getenv(EnvHome); dir != "" {
		return filepath.Abs(dir)
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "ragnos-tuf"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", tuferr.New(protocol.CodeLocalIO, "the user data directory is unknown; set %s: %w", EnvHome, err)
	}
	return filepath.Join(home, ".local", "share", "ragnos-tuf"), nil
}

// VenvDir returns the directory of the private environment.
func VenvDir() (string, error) {
	home, err := Home()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, "venv"), nil
}

func interpreterIn(venv string) string {
	if runtime.GOOS == "windows" {
		return filepath.Join(venv, "Scripts", "python.exe")
	}
	return filepath.Join(venv, "bin", "python")
}

// checkPrivate refuses an environment that anybody but us and root may change.
func checkPrivate(venv string) error {
	python := interpreterIn(venv)
	paths := []string{filepath.Dir(venv), venv, filepath.Dir(python)}
	if real, err := filepath.EvalSymlinks(python); err == nil {
		paths = append(paths, real)
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err == nil {
			err = ownedByUs(info)
		}
		if err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0 {
			err = fmt.Errorf("others may write to it (mode %#o)", info.Mode().Perm())
		}
		if err != nil {
			e := tuferr.New(protocol.CodePermissions, "the private Python environment is not used: %w", err)
			e.Path, e.Hint = path, "remove it, then "+InstallHint
			return e
		}
	}
	return nil
}

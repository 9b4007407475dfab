// Package pyenvtest tells tests which Python interpreter to use.
package pyenvtest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ragnos-labs/vault-tuf/internal/pyenv"
)

// checks has one check for each interpreter: it takes a third of a second.
var checks sync.Map // path → func() error

// Python returns the path of an interpreter with python-tuf: the one that
// RAGNOS_PYTHON_BIN names, else that of .venv at the root of the module. Without
// one the test fails, and says what to do.
func Python(t testing.TB) string {
	t.Helper()
	path := os.Getenv(pyenv.EnvPython)
	if path == "" {
		path = filepath.Join(ModuleRoot(t), ".venv", "bin", "python")
	}
	check, _ := checks.LoadOrStore(path, sync.OnceValue(func() error {
		_, err := pyenv.Check(context.Background(), path)
		return err
	}))
	if err := check.(func() error)(); err != nil {
		t.Fatalf("this test needs python-tuf (%v): run make .venv, or name an interpreter that has it with %s", err, pyenv.EnvPython)
	}
	return path
}

// ModuleRoot returns the directory of go.mod.
func ModuleRoot(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatalf("go env GOMOD: %v", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out)))
}

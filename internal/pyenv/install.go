package pyenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// newPrefix and oldPrefix name the siblings of an environment in the making and
// of one that has been replaced.
const newPrefix, oldPrefix = ".new-", ".old-"

// Install makes the virtual environment dir (see [VenvDir]) from requirements,
// every package pinned by hash and without running any package's code to build
// it, and replaces the one that is there. What the tools print goes to out.
//
// The environment is made in a sibling directory, verified by importing
// python-tuf, and then renamed, so that dir is never half-made; what a killed
// installation has left is removed by the next. Safe for concurrent use, also
// by several processes. Errors are *tuferr.Error.
func Install(ctx context.Context, dir string, requirements []byte, out io.Writer) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return localError(dir, err)
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return localError(parent, err)
	}
	base, err := basePython(ctx)
	if err != nil {
		return err
	}
	lock := flock.New(filepath.Join(parent, ".install.lock"))
	if _, err := lock.TryLockContext(ctx, 50*time.Millisecond); err != nil {
		if ctx.Err() != nil {
			return ended(ctx)
		}
		return localError(parent, err)
	}
	defer func() { _ = lock.Close() }()
	if err := sweep(parent); err != nil {
		return localError(parent, err)
	}
	defer func() { _ = sweep(parent) }() // leaves only what the next one sweeps

	fresh, err := os.MkdirTemp(parent, newPrefix) // 0700
	if err != nil {
		return localError(parent, err)
	}
	if err := build(ctx, base, fresh, requirements, out); err != nil {
		return err
	}
	if err := replace(fresh, dir); err != nil {
		return localError(dir, err)
	}
	// Scripts of the environment name the old directory and are not used; the
	// interpreter finds its packages by its own place.
	_, err = Check(ctx, interpreterIn(dir))
	return err
}

// build fills the environment and checks that it works.
func build(ctx context.Context, base, venv string, requirements []byte, out io.Writer) error {
	list := filepath.Join(venv, "requirements.txt")
	if err := run(ctx, out, base, "-I", "-m", "venv", venv); err != nil {
		return err
	}
	if err := os.WriteFile(list, requirements, 0o600); err != nil {
		return localError(list, err)
	}
	python := interpreterIn(venv)
	if err := run(ctx, out, python, "-I", "-m", "pip", "install", "--disable-pip-version-check", "--no-input",
		"--require-hashes", "--only-binary=:all:", "-r", list); err != nil {
		return err
	}
	if err := os.Chmod(venv, 0o700); err != nil {
		return localError(venv, err)
	}
	_, err := Check(ctx, python)
	return err
}

// replace puts fresh in the place of dir.
func replace(fresh, dir string) error {
	old, err := os.MkdirTemp(filepath.Dir(dir), oldPrefix)
	if err != nil {
		return err
	}
	if err := os.Rename(dir, filepath.Join(old, "venv")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Rename(fresh, dir)
}

// sweep removes what an installation leaves when it ends, or when it was killed.
func sweep(parent string) error {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), newPrefix) || strings.HasPrefix(e.Name(), oldPrefix) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(parent, e.Name())))
		}
	}
	return err
}

// basePython returns a Python in PATH that is new enough.
func basePython(ctx context.Context) (string, error) {
	var first error
	for _, name := range []string{"python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10", "python"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		_, err = Check(ctx, path)
		if err == nil || tuferr.CodeOf(err) == protocol.CodeMissingDependency {
			return path, nil // what is missing is what will be installed
		}
		if first == nil {
			first = err
		}
	}
	if first != nil {
		return "", first
	}
	e := tuferr.New(protocol.CodeWorkerUnavailable, "there is no Python %d.%d or newer in PATH", minMajor, minMinor)
	e.Hint = "install Python 3 with its venv module first"
	return "", e
}

// run runs a tool. The user's pip configuration (mirror, proxy, certificates)
// applies; the hashes decide what is installed.
func run(ctx context.Context, out io.Writer, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	killTogether(cmd)
	cmd.WaitDelay = 5 * time.Second
	cmd.Stdout, cmd.Stderr = out, out
	for _, kv := range os.Environ() {
		if !redirects(kv) {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	err := cmd.Run()
	if ctx.Err() != nil {
		return ended(ctx)
	}
	if err != nil {
		e := tuferr.New(protocol.CodeWorkerUnavailable, "the private Python environment cannot be made: %s: %w", strings.Join(args[1:3], " "), err)
		e.Hint = "see the output above; Python's venv module and access to a package index are needed"
		return e
	}
	return nil
}

// redirects tells whether a variable would make pip install to another place.
func redirects(kv string) bool {
	name, _, _ := strings.Cut(kv, "=")
	switch name {
	case "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_REQUIRE_VIRTUALENV", "PIP_PYTHON", "VIRTUAL_ENV":
		return true
	}
	return strings.HasPrefix(name, "PYTHON")
}

func localError(path string, err error) error {
	code := protocol.CodeLocalIO
	if errors.Is(err, os.ErrPermission) {
		code = protocol.CodePermissions
	}
	e := tuferr.New(code, "%w", fmt.Errorf("the private Python environment cannot be made: %w", err))
	e.Path = path
	return e
}

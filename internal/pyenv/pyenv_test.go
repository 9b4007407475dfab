package pyenv

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	vaulttuf "github.com/ragnos-labs/vault-tuf"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// fake is a python3 that makes environments by copying itself. It answers the
// probe with $answer, and does $pip when it is asked to install.
const fake = `#!/bin/sh
case "$2 $3" in
"-m venv") mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
"-m pip") echo "$@" >"$(dirname "$0")/pip-arguments"; env >"$(dirname "$0")/pip-environment"
	PIP ;;
*) case "$0" in */venv/*|*/.new-*) echo 'VENV' ;; *) echo 'BASE' ;; esac ;;
esac
`

const (
	good    = `{"Python":"3.12.1","Major":3,"Minor":12,"TUF":"7.0.1"}`
	old     = `{"Python":"3.9.2","Major":3,"Minor":9,"TUF":"7.0.1"}`
	missing = `{"Python":"3.12.1","Major":3,"Minor":12,"Missing":"ModuleNotFoundError: No module named 'tuf'"}`
)

// scene is an empty home, with a fake python3 as all that is in PATH but the
// tools that it needs itself.
func scene(t *testing.T, base, venv, pip string) (home, python string) {
	t.Helper()
	dir := t.TempDir()
	python = script(t, filepath.Join(dir, "bin", "python3"),
		strings.NewReplacer("BASE", base, "VENV", venv, "PIP", pip).Replace(fake))
	home = filepath.Join(dir, "home")
	t.Setenv("PATH", filepath.Dir(python)+string(os.PathListSeparator)+"/usr/bin:/bin")
	t.Setenv(EnvHome, home)
	t.Setenv(EnvPython, "")
	return home, python
}

func script(t *testing.T, path, text string) string {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o700))
	return path
}

func code(t *testing.T, want protocol.Code, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, want, tuferr.CodeOf(err), err)
}

func TestFindInOrder(t *testing.T) {
	home, inPath := scene(t, good, good, ":")
	got, err := Find("")
	require.NoError(t, err)
	require.Equal(t, Interpreter{inPath, SourcePath}, got)

	private := script(t, filepath.Join(home, "venv", "bin", "python"), "#!/bin/sh\n")
	got, err = Find("")
	require.NoError(t, err)
	require.Equal(t, Interpreter{private, SourcePrivate}, got)

	named := script(t, filepath.Join(t.TempDir(), "mine"), "#!/bin/sh\n")
	t.Setenv(EnvPython, named)
	got, err = Find("")
	require.NoError(t, err)
	require.Equal(t, Interpreter{named, SourceEnv}, got)

	got, err = Find("python3")
	require.NoError(t, err)
	require.Equal(t, Interpreter{inPath, SourceOption}, got)
}

func TestFindNeverPassesOverWhatWasNamed(t *testing.T) {
	home, _ := scene(t, good, good, ":")
	plain := filepath.Join(t.TempDir(), "not-executable")
	require.NoError(t, os.WriteFile(plain, nil, 0o600))
	for _, path := range []string{"/no/such/python", "no-such-python", plain, t.TempDir()} {
		_, err := Find(path)
		code(t, protocol.CodeWorkerUnavailable, err)
		require.ErrorContains(t, err, path)
		t.Setenv(EnvPython, path)
		_, err = Find("")
		code(t, protocol.CodeWorkerUnavailable, err)
		require.ErrorContains(t, err, EnvPython)
		t.Setenv(EnvPython, "")
	}
	require.NoError(t, os.MkdirAll(filepath.Join(home, "venv", "bin"), 0o700))
	_, err := Find("")
	code(t, protocol.CodeWorkerUnavailable, err)
	require.ErrorContains(t, err, InstallHint)
	t.Setenv("PATH", t.TempDir())
	require.NoError(t, os.RemoveAll(home))
	_, err = Find("")
	code(t, protocol.CodeWorkerUnavailable, err)
}

func TestFindRefusesWhatOthersMayWrite(t *testing.T) {
	home, _ := scene(t, good, good, ":")
	python := script(t, filepath.Join(home, "venv", "bin", "python"), "#!/bin/sh\n")
	for _, path := range []string{home, filepath.Join(home, "venv"), filepath.Dir(python), python} {
		require.NoError(t, os.Chmod(path, 0o770))
		_, err := Find("")
		code(t, protocol.CodePermissions, err)
		require.ErrorContains(t, err, path)
		require.ErrorContains(t, err, "others may write to it")
		require.NoError(t, os.Chmod(path, 0o700))
	}
	if os.Geteuid() == 0 {
		require.NoError(t, os.Chown(python, 4711, 0))
		_, err := Find("")
		code(t, protocol.CodePermissions, err)
		require.ErrorContains(t, err, "user 4711")
	}
}

func TestHome(t *testing.T) {
	t.Setenv(EnvHome, "")
	t.Setenv("XDG_DATA_HOME", "/data")
	dir, err := VenvDir()
	require.NoError(t, err)
	require.Equal(t, "/data/ragnos-tuf/venv", dir)
	t.Setenv("XDG_DATA_HOME", "relative")
	t.Setenv("HOME", "/home/me")
	dir, err = Home()
	require.NoError(t, err)
	require.Equal(t, "/home/me/.local/share/ragnos-tuf", dir)
	t.Setenv("HOME", "")
	_, err = VenvDir()
	code(t, protocol.CodeLocalIO, err)
}

func TestCheck(t *testing.T) {
	_, python := scene(t, good, good, ":")
	v, err := Check(t.Context(), python)
	require.NoError(t, err)
	require.Equal(t, Versions{Python: "3.12.1", TUF: "7.0.1"}, v)

	_, python = scene(t, missing, good, ":")
	v, err = Check(t.Context(), python)
	code(t, protocol.CodeMissingDependency, err)
	require.Equal(t, "3.12.1", v.Python)
	require.ErrorContains(t, err, "Missing python-tuf dependency")
	require.ErrorContains(t, err, "ragnos-tuf python install")

	_, python = scene(t, old, good, ":")
	_, err = Check(t.Context(), python)
	code(t, protocol.CodeWorkerUnavailable, err)
	require.ErrorContains(t, err, "3.10 or newer")

	for _, text := range []string{"#!/bin/sh\necho no JSON\n", "#!/bin/sh\necho broken >&2; exit 3\n", "nonsense"} {
		_, err = Check(t.Context(), script(t, filepath.Join(t.TempDir(), "python"), text))
		code(t, protocol.CodeWorkerUnavailable, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Check(ctx, python)
	code(t, protocol.CodeCancelled, err)
	require.ErrorIs(t, err, context.Canceled)
}

// content lists a directory, the lock aside.
func content(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		if e.Name() != ".install.lock" {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestInstall(t *testing.T) {
	home, _ := scene(t, missing, good, "echo collecting")
	t.Setenv("PIP_TARGET", "/elsewhere")
	t.Setenv("PYTHONPATH", "/elsewhere")
	venv := filepath.Join(home, "venv")
	require.NoError(t, os.MkdirAll(filepath.Join(home, newPrefix+"left-by-a-killed-one"), 0o700))
	var out bytes.Buffer
	require.NoError(t, Install(t.Context(), venv, []byte("tuf==7.0.1 --hash=x\n"), &out))
	require.Contains(t, out.String(), "collecting")
	require.Equal(t, []string{"venv"}, content(t, home))
	info, err := os.Stat(venv)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	arguments, err := os.ReadFile(filepath.Join(venv, "bin", "pip-arguments"))
	require.NoError(t, err)
	require.Contains(t, string(arguments), "--require-hashes --only-binary=:all: -r ")
	environment, err := os.ReadFile(filepath.Join(venv, "bin", "pip-environment"))
	require.NoError(t, err)
	require.NotContains(t, string(environment), "/elsewhere")

	require.NoError(t, os.WriteFile(filepath.Join(venv, "old"), nil, 0o600))
	require.NoError(t, Install(t.Context(), venv, nil, &out))
	require.NoFileExists(t, filepath.Join(venv, "old"), "it has been replaced")
	require.Equal(t, []string{"venv"}, content(t, home))
	found, err := Find("")
	require.NoError(t, err)
	require.Equal(t, SourcePrivate, found.Source)
}

func TestFailedInstallKeepsWhatWasThere(t *testing.T) {
	tests := map[string]struct {
		base, venv, pip string
		code            protocol.Code
	}{
		"pip fails":      {missing, good, "exit 1", protocol.CodeWorkerUnavailable},
		"still missing":  {missing, missing, ":", protocol.CodeMissingDependency},
		"python too old": {old, good, ":", protocol.CodeWorkerUnavailable},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			home, _ := scene(t, tt.base, tt.venv, tt.pip)
			// Only the fake one is to be found.
			for _, v := range []string{"python3.14", "python3.13", "python3.12", "python3.11", "python3.10", "python"} {
				script(t, filepath.Join(filepath.Dir(mustLook(t, "python3")), v), "#!/bin/sh\necho '"+tt.base+"'\nexit 9\n")
			}
			before := script(t, filepath.Join(home, "venv", "bin", "python"), "#!/bin/sh\n")
			code(t, tt.code, Install(t.Context(), filepath.Join(home, "venv"), nil, &bytes.Buffer{}))
			require.FileExists(t, before)
			require.Equal(t, []string{"venv"}, content(t, home))
		})
	}
}

func mustLook(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	require.NoError(t, err)
	return path
}

// cancelWhen ends a context once it is written to.
type cancelWhen struct{ cancel context.CancelFunc }

func (c cancelWhen) Write(p []byte) (int, error) {
	c.cancel()
	return len(p), nil
}

func TestInterruptedInstallLeavesNothing(t *testing.T) {
	home, _ := scene(t, missing, good, "echo collecting; sleep 600")
	ctx, cancel := context.WithCancel(t.Context())
	err := Install(ctx, filepath.Join(home, "venv"), nil, cancelWhen{cancel})
	code(t, protocol.CodeCancelled, err)
	require.Empty(t, content(t, home))
}

func TestInstallWhereNothingCanBeWritten(t *testing.T) {
	scene(t, missing, good, ":")
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	code(t, protocol.CodeLocalIO, Install(t.Context(), filepath.Join(file, "venv"), nil, &bytes.Buffer{}))
}

// TestInstallForReal makes an environment from the locked requirements; it needs
// a package index.
func TestInstallForReal(t *testing.T) {
	venv := filepath.Join(t.TempDir(), "home", "venv")
	var out bytes.Buffer
	require.NoError(t, Install(t.Context(), venv, vaulttuf.Requirements, &out), "%s", &out)
	v, err := Check(t.Context(), interpreterIn(venv))
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(v.TUF, "7."), v.TUF)
	require.NotEmpty(t, v.Cryptography)
	t.Setenv(EnvHome, filepath.Dir(venv))
	t.Setenv(EnvPython, "")
	found, err := Find("")
	require.NoError(t, err)
	require.Equal(t, SourcePrivate, found.Source)
}

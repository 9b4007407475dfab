package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuftest/plain"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"ragnos-tuf": main,
		"interrupt":  interrupt,
		"modest":     modest,
	})
}

func TestScripts(t *testing.T) {
	python, err := plain.Interpreter()
	require.NoError(t, err)
	require.NoError(t, exec.Command(python, "-c", "import tuf").Run(), "%s has no python-tuf", python)
	basePython, err := exec.LookPath("python3")
	require.NoError(t, err)
	command, err := exec.LookPath("ragnos-tuf")
	require.NoError(t, err)
	plugins, err := filepath.Abs("../../testdata/plugins")
	require.NoError(t, err)
	commands := map[string]func(*testscript.TestScript, bool, []string){
		"code": exitCode, "serve": serve, "publish": publish, "answer": answer, "asked": asked,
		"json": jsonFile, "empty": emptyDir,
	}
	maps.Copy(commands, vaultCommands)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PLUGINS", plugins)
			env.Setenv("PYTHON", python)
			env.Setenv("BASEPYTHON", basePython)
			env.Setenv("RAGNOS_PYTHON_BIN", python)
			env.Setenv("RAGNOS_TUF_HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("BIN", filepath.Dir(command)) // nothing but what TestMain names
			for _, name := range []string{"RAGNOS_TUF_CLIENT", "RAGNOS_TUF_REPO_URL", "RAGNOS_TUF_ROOT",
				"RAGNOS_TUF_METADATA_DIR", "RAGNOS_TUF_CACHE_DIR", "DEBUG", "HTTP_PROXY", "http_proxy"} {
				env.Setenv(name, "")
			}
			return nil
		},
		Condition: func(name string) (bool, error) {
			if name != "mount" {
				return false, fmt.Errorf("no such condition")
			}
			return exec.Command("unshare", "-m", "true").Run() == nil, nil
		},
		Cmds: commands,
	})
}

// exitCode runs a command that must exit with a code: code N COMMAND ARGS.
func exitCode(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Fatalf("%v", err)
	}
	got := 0
	if exit != nil {
		got = exit.ExitCode()
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit code %d, not %s", got, args[0])
	}
}

// emptyDir checks that no regular file lies below a directory, which may be
// missing: empty DIR...
func emptyDir(ts *testscript.TestScript, _ bool, args []string) {
	for _, dir := range args {
		err := filepath.WalkDir(ts.MkAbs(dir), func(path string, e os.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				ts.Fatalf("%s is left", path)
			}
			return nil
		})
		ts.Check(err)
	}
}

// interrupt is a command: interrupt FILE COMMAND ARGS. It interrupts the command
// as soon as FILE exists, and exits as that one does.
func interrupt() {
	cmd := exec.Command(os.Args[2], os.Args[3:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	ticks := time.NewTicker(5 * time.Millisecond)
	defer ticks.Stop()
	for waiting := true; waiting; {
		select {
		case <-ended:
			waiting = false
		case <-ticks.C:
			if _, err := os.Stat(os.Args[1]); err == nil {
				_ = cmd.Process.Signal(os.Interrupt)
				waiting = false
			}
		}
	}
	<-ended
	os.Exit(cmd.ProcessState.ExitCode())
}

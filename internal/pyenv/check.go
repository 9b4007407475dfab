package pyenv

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// The oldest Python that works.
const minMajor, minMinor = 3, 10

// checkTimeout bounds how long an interpreter may take to tell its versions.
const checkTimeout = 30 * time.Second

// Versions are what an interpreter has. A package that is missing is "".
type Versions struct {
	Python, TUF, SecureSystemsLib, Cryptography string
}

// probe prints the versions, and why python-tuf cannot be imported if so.
const probe = `
import json, sys
from importlib import import_module, metadata
out = {"Python": "%d.%d.%d" % sys.version_info[:3], "Major": sys.version_info[0], "Minor": sys.version_info[1]}
for field, package in (("TUF", "tuf"), ("SecureSystemsLib", "securesystemslib"), ("Cryptography", "cryptography")):
    try:
        out[field] = metadata.version(package)
    except Exception:
        out[field] = ""
try:
    import_module("tuf.ngclient")
    import_module("cryptography.hazmat.primitives.asymmetric.ed25519")
except Exception as e:
    out["Missing"] = "%s: %s" % (type(e).__name__, e)
print(json.dumps(out))
`

// Check runs the interpreter and tells what it has. Its errors are
// *tuferr.Error: missing_dependency if python-tuf cannot be imported,
// worker_unavailable if the interpreter is too old or does not work, cancelled
// or timeout when ctx ends. The versions are filled as far as they are known.
func Check(ctx context.Context, path string) (Versions, error) {
	bounded, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	cmd := exec.CommandContext(bounded, path, "-I", "-c", probe)
	killTogether(cmd)
	cmd.WaitDelay = time.Second
	cmd.Env = scrubbed()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	raw, err := cmd.Output()
	if ctx.Err() != nil {
		return Versions{}, ended(ctx)
	}
	var got struct {
		Versions
		Major, Minor int
		Missing      string
	}
	if err == nil {
		err = json.Unmarshal(raw, &got)
	}
	if err != nil {
		e := tuferr.New(protocol.CodeWorkerUnavailable, "%s is no working Python: %w%s", path, err, lastWords(stderr.String()))
		e.Hint = "name another one with " + EnvPython
		return Versions{}, e
	}
	if got.Major < minMajor || got.Major == minMajor && got.Minor < minMinor {
		e := tuferr.New(protocol.CodeWorkerUnavailable, "%s is Python %s; %d.%d or newer is needed", path, got.Python, minMajor, minMinor)
		e.Hint = "name a newer one with " + EnvPython
		return got.Versions, e
	}
	if got.Missing != "" {
		e := tuferr.New(protocol.CodeMissingDependency, "Missing python-tuf dependency in %s (%s)", path, got.Missing)
		e.Hint = InstallHint
		return got.Versions, e
	}
	return got.Versions, nil
}

// scrubbed is the environment of an interpreter that is only asked for versions.
func scrubbed() []string {
	env := []string{"LANG=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1"}
	for _, name := range []string{"PATH", "HOME", "SystemRoot"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

func ended(ctx context.Context) error {
	code := protocol.CodeCancelled
	if ctx.Err() == context.DeadlineExceeded {
		code = protocol.CodeTimeout
	}
	return tuferr.New(code, "given up: %w", ctx.Err())
}

func lastWords(stderr string) string {
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return fmt.Sprintf(" (it wrote: %s)", last)
	}
	return ""
}

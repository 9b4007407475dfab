package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/ragnos-labs/vault-tuf/internal/pyenv/pyenvtest"
	"github.com/ragnos-labs/vault-tuf/repository"
)

// leakCheckedMain checks for leaked goroutines after all tests have passed.
type leakCheckedMain struct{ m *testing.M }

func (l leakCheckedMain) Run() int {
	code := l.m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func TestMain(m *testing.M) {
	testscript.Main(leakCheckedMain{m}, map[string]func(){"local-tuf": func() { os.Exit(mainCode()) }})
}

func TestScripts(t *testing.T) {
	plugins, err := filepath.Abs("../../testdata/plugins")
	if err != nil {
		t.Fatal(err)
	}
	python := pyenvtest.Python(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PLUGINS", plugins)
			env.Setenv("PYTHON", python)
			gather(env, python)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"archive": makeArchive, "code": exitCode, "freeport": freePort, "http": httpRequest, "terminate": terminate,
			"crowd": crowdCommand, "attack": attackCommand,
		},
	})
}

// makeArchive writes an archive of the kind named: archive KIND FILE.
func makeArchive(ts *testscript.TestScript, _ bool, args []string) {
	regular := func(name string, size int64) tar.Header {
		return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size}
	}
	link := func(kind byte, name, target string) tar.Header {
		return tar.Header{Typeflag: kind, Name: name, Linkname: target}
	}
	entries := map[string][]tar.Header{
		"good": {regular("a", 1)}, "dotdot": {regular("../a", 1)}, "absolute": {regular("/a", 1)},
		"symlink-out": {regular("a", 1), link(tar.TypeSymlink, "l", "../../etc/passwd")},
		"hardlink":    {regular("a", 1), link(tar.TypeLink, "l", "/etc/passwd")},
		"device":      {regular("a", 1), {Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}},
		"bomb":        {regular("a", 64<<20)}, "empty": {},
	}[args[0]]
	if args[0] == "many" {
		for i := range repository.MaxEntries + 1 {
			entries = append(entries, regular(fmt.Sprintf("f%d", i), 0))
		}
	}
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	w := tar.NewWriter(z)
	for _, h := range entries {
		ts.Check(w.WriteHeader(&h))
		_, err := io.CopyN(w, zeros{}, h.Size)
		ts.Check(err)
	}
	ts.Check(errors.Join(w.Close(), z.Close(), os.WriteFile(ts.MkAbs(args[1]), buf.Bytes(), 0o600)))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// exitCode runs a command and wants that exit code: code N COMMAND ARGS…
func exitCode(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	var exit interface{ ExitCode() int }
	got := "0"
	if errors.As(err, &exit) {
		got = fmt.Sprint(exit.ExitCode())
	} else {
		ts.Check(err)
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, not %s", got, args[0])
	}
}

// freePort sets a variable to a port nobody listens on: freeport NAME
func freePort(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	_, port, err := net.SplitHostPort(l.Addr().String())
	ts.Check(errors.Join(err, l.Close()))
	ts.Setenv(args[0], port)
}

// httpRequest prints status, headers and body of an answer, and waits for a
// server that is just starting: http METHOD URL [HEADER:VALUE…]
func httpRequest(ts *testscript.TestScript, _ bool, args []string) {
	req, err := http.NewRequest(args[0], args[1], nil)
	ts.Check(err)
	for _, h := range args[2:] {
		name, value, _ := strings.Cut(h, ":")
		req.Header.Set(name, value)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	for range 12000 {
		if !errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
		ts.Check(ts.Exec("sleep", "0.01"))
		resp, err = transport.RoundTrip(req)
	}
	ts.Check(err)
	defer resp.Body.Close()
	out := ts.Stdout()
	fmt.Fprintln(out, resp.Status)
	ts.Check(resp.Header.Write(out))
	_, err = io.Copy(out, resp.Body)
	ts.Check(err)
}

// terminate sends SIGTERM to all background commands.
func terminate(ts *testscript.TestScript, _ bool, _ []string) {
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(syscall.SIGTERM))
	}
}

func runCommand(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	code = run(context.Background(), args, &out, &errOut)
	return code, out.String(), errOut.String()
}

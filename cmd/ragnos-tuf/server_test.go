package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/repository"
)

// helloPath is the target of the test repository, and how long it is.
const (
	helloPath = "plugins/acme/hello.1.0.0.tar.gz"
	helloSize = 1 << 20
)

// servers holds the server of each running script.
var servers sync.Map

type testServer struct {
	repo *tuftest.Repo
	http *tuftest.Server
}

func serverOf(ts *testscript.TestScript) *testServer {
	s, ok := servers.Load(ts)
	if !ok {
		ts.Fatalf("nothing is served")
	}
	return s.(*testServer)
}

// serve makes a repository with one plugin and serves it until the script ends:
// serve, or serve real for one of package repository. It writes root.json and
// sets RAGNOS_TUF_REPO_URL, NAME and SHA256.
func serve(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) > 0 {
		serveReal(ts)
		return
	}
	repo := tuftest.NewRepo(tuftest.Config{})
	content := bytes.Repeat([]byte("0123456789abcdef"), helloSize/16)
	repo.AddTarget("targets", helloPath, content, map[string]any{"description": "says hello \u202e\u0007"})
	repo.Publish("targets")
	s := &testServer{repo, tuftest.NewServer(repo)}
	servers.Store(ts, s)
	ts.Defer(func() {
		servers.Delete(ts)
		s.http.Close()
	})
	announce(ts, s.http.URL, repo.RootBytes(1), helloPath, tuftest.SHA256(content))
	ts.Check(os.WriteFile(ts.MkAbs("plugin"), content, 0o600))
}

func serveReal(ts *testscript.TestScript) {
	ctx := context.Background()
	repo, err := repository.Init(ctx, ts.MkAbs("repo"), repository.InitOptions{Options: repository.Options{Keys: repository.Keys{Passphrase: repository.PlainKeys}}})
	ts.Check(err)
	packed := filepath.Join(ts.Getenv("PLUGINS"), "hello-world.1.0.0")
	target, _, err := repo.Publish(ctx, packed+".tar.gz", packed+".json", repository.PublishOptions{})
	ts.Check(err)
	s := httptest.NewServer(repo.Handler())
	ts.Defer(s.Close)
	root, err := os.ReadFile(filepath.Join(repo.Dir(), "root.json"))
	ts.Check(err)
	announce(ts, s.URL, root, target.Path, target.SHA256)
}

func announce(ts *testscript.TestScript, url string, root []byte, name, sum string) {
	ts.Setenv("RAGNOS_TUF_REPO_URL", url)
	ts.Setenv("NAME", name)
	ts.Setenv("SHA256", sum)
	ts.Check(os.WriteFile(ts.MkAbs("root.json"), root, 0o600))
}

// publish changes the repository: publish KIND.
func publish(ts *testscript.TestScript, _ bool, args []string) {
	repo := serverOf(ts).repo
	switch args[0] {
	case "odd-signature": // go-tuf cannot decode it, and it counts for nothing
		repo.Timestamp.EditSignatures = func(list []any) []any {
			return append(list, tuftest.Map{"keyid": strings.Repeat("ab", 32), "sig": "not hex"})
		}
		repo.Publish()
	case "forged":
		repo.Timestamp.EditSignatures = func([]any) []any {
			return tuftest.SignatureList([]byte("something else"), repo.Timestamp.Signers[0])
		}
		repo.Publish()
	case "expired":
		repo.Timestamp.Signed["expires"] = "2020-01-01T00:00:00Z"
		repo.Publish()
	case "just-expired":
		repo.Timestamp.Signed["expires"] = time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
		repo.Publish()
	case "rollback":
		repo.Timestamp.SetVersion(1)
		repo.Store(repo.Timestamp)
	default:
		ts.Fatalf("publish %s: no such kind", args[0])
	}
}

// answer sets what the server answers for a file, or for the plugin: answer FILE REPLY.
func answer(ts *testscript.TestScript, _ bool, args []string) {
	s := serverOf(ts)
	name := args[0]
	if name == "plugin" {
		name = "targets/plugins/acme/" + ts.Getenv("SHA256") + ".hello.1.0.0.tar.gz"
	}
	marker := ts.MkAbs("stalled")
	replies := map[string]tuftest.Reply{
		"html": tuftest.HTML, "404": tuftest.Status(404), "silence": tuftest.Silence,
		"garbage": tuftest.Garbage, "truncated": tuftest.Truncated, "endless": tuftest.Endless, "itself": nil,
		"stall": func(x *tuftest.Exchange) { stall(x, marker) },
	}
	reply, ok := replies[args[1]]
	if !ok {
		ts.Fatalf("answer %s: no such reply", args[1])
	}
	s.http.On(name, reply)
}

// stall sends half of the file, makes the marker, and then nothing more.
func stall(x *tuftest.Exchange, marker string) {
	raw, _ := x.File()
	x.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	_, _ = x.Write(raw[:len(raw)/2])
	if err := os.WriteFile(marker, nil, 0o600); err != nil {
		panic(err)
	}
	tuftest.Silence(x)
}

// asked checks that the server has been asked for a file that matches, and
// forgets all requests: [!] asked PATTERN.
func asked(ts *testscript.TestScript, neg bool, args []string) {
	s := serverOf(ts).http
	pattern, err := regexp.Compile(args[0])
	ts.Check(err)
	names := s.Requests()
	s.Forget()
	found := false
	for _, name := range names {
		found = found || pattern.MatchString(name)
	}
	if found == neg {
		ts.Fatalf("requests: %q", names)
	}
}

// jsonFile checks that a file, or stdout, is exactly one JSON object on one
// line, and that fields have these values: json FILE PATH=VALUE...; a path is
// error.code or plugins.0.name, and VALUE * means that it is there.
func jsonFile(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile(args[0])
	if strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "\n") {
		ts.Fatalf("not one line: %q", text)
	}
	var object map[string]any
	ts.Check(json.Unmarshal([]byte(text), &object))
	for _, want := range args[1:] {
		path, value, _ := strings.Cut(want, "=")
		var at any = object
		for part := range strings.SplitSeq(path, ".") {
			switch in := at.(type) {
			case map[string]any:
				at = in[part]
			case []any:
				i, err := strconv.Atoi(part)
				if at = nil; err == nil && i < len(in) {
					at = in[i]
				}
			default:
				at = nil
			}
		}
		var wanted any
		if json.Unmarshal([]byte(value), &wanted) != nil {
			wanted = value
		}
		if value == "*" && at != nil {
			continue
		}
		if !reflect.DeepEqual(at, wanted) {
			ts.Fatalf("%s is %v in %s", path, at, text)
		}
	}
}

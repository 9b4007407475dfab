package main

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/vault"
)

// vaultCommands are the commands of scripts about several repositories.
var vaultCommands = map[string]func(*testscript.TestScript, bool, []string){
	"repo": newRepo, "use": useRepo, "offer": offer, "down": takeDown, "expand": expand, "application": application,
	"line": editLine, "stampede": stampede,
}

// several holds the repositories of each script by their names.
var several sync.Map

func reposOf(ts *testscript.TestScript) map[string]*testServer {
	m, ok := several.Load(ts)
	if !ok {
		m = map[string]*testServer{}
		several.Store(ts, m)
		ts.Defer(func() { several.Delete(ts) })
	}
	return m.(map[string]*testServer)
}

// newRepo makes a repository with a root of its own and serves it until the script
// ends: repo NAME. It is the one in use; its root is NAME.json, its URL NAME_URL.
func newRepo(ts *testscript.TestScript, _ bool, args []string) {
	all, name := reposOf(ts), args[0]
	repo := tuftest.NewRepo(tuftest.Config{})
	for i, role := range []string{"root", "timestamp", "snapshot", "targets"} {
		repo.SetKeys(role, 1, tuftest.Keys(100+10*len(all)+i, 1)...)
	}
	repo.PublishRoot()
	repo.Publish("targets")
	s := &testServer{repo, tuftest.NewServer(repo)}
	all[name] = s
	ts.Defer(s.http.Close)
	ts.Check(os.WriteFile(ts.MkAbs(name+".json"), repo.RootBytes(2), 0o600))
	ts.Setenv(name+"_URL", s.http.URL)
	useRepo(ts, false, args)
}

// useRepo says which repository answer, asked, publish and offer are about: use NAME.
func useRepo(ts *testscript.TestScript, _ bool, args []string) {
	s, ok := reposOf(ts)[args[0]]
	if !ok {
		ts.Fatalf("there is no repository %s", args[0])
	}
	servers.Store(ts, s)
	ts.Defer(func() { servers.Delete(ts) })
}

// takeDown ends the server of a repository: down NAME.
func takeDown(ts *testscript.TestScript, _ bool, args []string) { reposOf(ts)[args[0]].http.Close() }

// offer publishes plugins in the repository in use, signed as local-tuf signs them:
// offer PUBLISHER/NAME@VERSION[,MEMBER=VALUE]... with channel, yanked, description
// and content. It sets FILE and SUM to the file and the SHA-256 of the last one.
func offer(ts *testscript.TestScript, _ bool, args []string) {
	repo := serverOf(ts).repo
	for _, arg := range args {
		parts := strings.Split(arg, ",")
		id, version, _ := strings.Cut(parts[0], "@")
		publisher, name, _ := strings.Cut(id, "/")
		release := map[string]any{"channel": "stable"}
		custom := map[string]any{"name": name, "publisher": publisher, "version": version, "description": "a tool", "release": release}
		path := fmt.Sprintf("plugins/%s/%s.%s.tar.gz", publisher, name, version)
		content := path + " as its publisher made it"
		for _, part := range parts[1:] {
			switch key, value, _ := strings.Cut(part, "="); key {
			case "channel":
				release["channel"] = value
			case "yanked":
				release["yanked"] = map[string]any{"reason": value, "at": "2026-01-02T03:04:05Z"}
			case "description":
				custom["description"] = value
			case "content":
				content = value
			default:
				ts.Fatalf("offer: no such member %s", key)
			}
		}
		repo.AddTarget("targets", path, []byte(content), custom)
		ts.Setenv("SUM", tuftest.SHA256([]byte(content)))
		ts.Setenv("FILE", fmt.Sprintf("targets/plugins/%s/%s.%s.%s.tar.gz", publisher, tuftest.SHA256([]byte(content)), name, version))
	}
	repo.Publish("targets")
}

// expand puts variables of the environment into files: expand FILE...
func expand(ts *testscript.TestScript, _ bool, args []string) {
	for _, file := range args {
		text := os.Expand(ts.ReadFile(file), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
	}
}

// editLine replaces text that has to be in a file: line FILE OLD NEW.
func editLine(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile(args[0])
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("no %q in %s", args[1], text)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.ReplaceAll(text, args[1], args[2])), 0o600))
}

// application runs an application that embeds a vault until the script ends:
// application CONFIG [TARGET]. It has refreshed and, if asked, installed once. Its
// health handler is at HEALTH_URL.
func application(ts *testscript.TestScript, _ bool, args []string) {
	dir := filepath.Join(ts.Getenv("WORK"), "application")
	v, err := vault.New(vault.Options{
		File: ts.MkAbs(args[0]), MetadataDir: filepath.Join(dir, "metadata"), CacheDir: filepath.Join(dir, "cache"),
	})
	ts.Check(err)
	ctx := context.Background()
	err = v.RefreshMetadata(ctx)
	for _, target := range args[1:] {
		_, more := v.VerifyAndDownloadPlugin(ctx, target, vault.InstallOptions{})
		err = errors.Join(err, more)
	}
	if err != nil {
		ts.Logf("the application: %v", err)
	}
	s := httptest.NewServer(v.HealthHandler())
	ts.Defer(func() {
		s.Close()
		ts.Check(v.Shutdown(ctx))
	})
	ts.Setenv("HEALTH_URL", s.URL+vault.HealthPath)
}

package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"sync/atomic"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// crowd is clients in every mode that live through a script, and what they are
// served: by the publisher, or by an attacker in between.
type crowd struct {
	web     *httptest.Server
	dir     atomic.Pointer[string]
	root    []byte
	python  string
	clients map[hybrid.Mode]*hybrid.Client
	stores  map[hybrid.Mode]string
}

// gather makes the crowd of a script.
func gather(env *testscript.Env, python string) {
	c := &crowd{python: python, stores: map[hybrid.Mode]string{}}
	c.web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		http.FileServer(http.Dir(*c.dir.Load())).ServeHTTP(w, req)
	}))
	env.Defer(func() {
		c.leave()
		c.web.Close()
	})
	env.Values["crowd"] = c
}

func (c *crowd) leave() {
	for _, client := range c.clients {
		_ = client.Shutdown(context.Background())
	}
}

// crowdCommand is "crowd", which says what happens to the clients:
//
//	crowd trusts ROOT      they are started, or started again with another root
//	crowd asks DIR         from now on it is that directory that answers
//	crowd gets TARGET…     every client, and a new one, verifies and gets them
//	crowd refuses CODE TARGET   every client refuses with that code
func crowdCommand(ts *testscript.TestScript, _ bool, args []string) {
	c := ts.Value("crowd").(*crowd)
	switch verb := args[0]; verb {
	case "asks":
		dir := ts.MkAbs(args[1])
		c.dir.Store(&dir)
	case "trusts":
		again := c.clients != nil
		c.leave()
		c.root, c.clients = []byte(ts.ReadFile(args[1])), map[hybrid.Mode]*hybrid.Client{}
		for _, mode := range []hybrid.Mode{hybrid.ModeGo, hybrid.ModePython, hybrid.ModeDual, hybrid.ModeAuto} {
			if c.stores[mode] == "" {
				dir, err := os.MkdirTemp(ts.Getenv("WORK"), "client-")
				ts.Check(err)
				c.stores[mode] = dir
			}
			c.clients[mode] = c.client(ts, mode, c.stores[mode], again)
		}
	case "gets":
		for _, target := range args[1:] {
			for mode, client := range c.clients {
				if err := bring(client, target); err != nil {
					ts.Fatalf("the client in mode %s: %v", mode, err)
				}
			}
			dir, err := os.MkdirTemp(ts.Getenv("WORK"), "new-")
			ts.Check(err)
			fresh := c.client(ts, hybrid.ModeDual, dir, false)
			if err := errors.Join(bring(fresh, target), fresh.Shutdown(context.Background())); err != nil {
				ts.Fatalf("a new client: %v", err)
			}
		}
	case "refuses":
		for mode, client := range c.clients {
			if err := bring(client, args[2]); tuferr.CodeOf(err) != protocol.Code(args[1]) {
				ts.Fatalf("the client in mode %s does not refuse with %s but with: %v", mode, args[1], err)
			}
		}
	default:
		ts.Fatalf("crowd %s?", verb)
	}
}

func (c *crowd) client(ts *testscript.TestScript, mode hybrid.Mode, dir string, replace bool) *hybrid.Client {
	client, err := hybrid.New(hybrid.Options{RepositoryURL: c.web.URL, Root: c.root, ReplaceRoot: replace, Mode: mode,
		MetadataDir: dir + "/metadata", CacheDir: dir + "/cache", Python: c.python})
	ts.Check(err)
	return client
}

func bring(c *hybrid.Client, target string) error {
	_, err := c.VerifyAndDownloadPlugin(context.Background(), target, hybrid.DownloadOptions{})
	return err
}

// attackCommand signs whatever the keys in a directory can sign, as a thief would:
//
//	attack DIR KEYS VERSION ROLE…
//
// In DIR, a copy of what is served, each role gets a file of that version, in
// this order; targets roles list a plugin plugins/ragnos/evil.1.0.0.tar.gz or
// plugins/acme/evil.1.0.0.tar.gz, root trusts only the thief's keys.
func attackCommand(ts *testscript.TestScript, _ bool, args []string) {
	version, err := strconv.ParseInt(args[2], 10, 64)
	ts.Check(err)
	a := newAttack(ts, ts.MkAbs(args[0]), ts.MkAbs(args[1]), version)
	for _, role := range args[3:] {
		a.forge(role)
	}
}

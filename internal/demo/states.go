package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
)

// states serves testdata/fallback: files on a plain web server, in the state
// that was published last.
type states struct {
	url  string
	root []byte

	dir    string
	http   *http.Server
	state  atomic.Value // string
	forged atomic.Bool
}

// serveStates serves the unreadable state on a free port. Close ends it.
func serveStates(dir string) (*states, error) {
	root, err := os.ReadFile(filepath.Join(dir, "root.json"))
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &states{url: "http://" + l.Addr().String(), root: root, dir: dir}
	s.show("unreadable")
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: stopTimeout}
	go func() { _ = s.http.Serve(l) }() // it ends with Close
	return s, nil
}

// Close ends the server.
func (s *states) Close() { _ = s.http.Close() }

// resigned is how often the publisher signs the unreadable timestamp again.
const resigned = 3

// resignedState is the state after n such signatures.
func resignedState(n int) string { return fmt.Sprintf("unreadable-resigned-%d", n) }

// show publishes a state: "unreadable", one of resignedState, or "readable".
func (s *states) show(state string) { s.state.Store(state) }

// tamper changes one byte of every plugin from now on.
func (s *states) tamper() { s.forged.Store(true) }

// ServeHTTP serves metadata of the current state and the targets of both.
func (s *states) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	file, plugin := path.Clean(r.URL.Path), true
	if path.Dir(file) == "/metadata" {
		file, plugin = "/"+s.state.Load().(string)+file, false
	}
	raw, err := os.ReadFile(filepath.Join(s.dir, filepath.FromSlash(file)))
	if err != nil && strings.HasPrefix(file, "/unreadable-") { // What was not signed again.
		raw, err = os.ReadFile(filepath.Join(s.dir, "unreadable", "metadata", path.Base(file)))
	}
	if err != nil {
		http.NotFound(w, r)
		return
	}
	if plugin && s.forged.Load() {
		raw = tampered(raw)
	}
	_, _ = w.Write(raw) // the client's end notices
}

// Command server serves a directory over HTTP as an ordinary server of static
// files does: with Range, ETag, If-None-Match and If-Range.
//
// The first line on its stdout is its URL. For each line on its stdin, a
// duration, it prints what was asked for since the last one as a JSON list, and
// from then on waits that long before it answers a request. It ends with stdin.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "`address` to listen on")
	dir := flag.String("dir", ".", "`directory` to serve")
	flag.Parse()
	if err := run(*listen, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

func run(listen, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	s := &server{root: root}
	srv := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go func() { _ = srv.Serve(l) }() // ends with the process
	defer srv.Close()
	fmt.Printf("http://%s\n", l.Addr())
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		delay, err := time.ParseDuration(in.Text())
		if err != nil {
			return err
		}
		if err := json.NewEncoder(os.Stdout).Encode(s.next(delay)); err != nil {
			return err
		}
	}
	return in.Err()
}

type server struct {
	root *os.Root

	mu       sync.Mutex
	delay    time.Duration
	requests []string
}

// next returns the requests so far and starts anew.
func (s *server) next(delay time.Duration) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	requests := s.requests
	s.delay, s.requests = delay, []string{}
	return requests
}

func (s *server) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	s.mu.Lock()
	delay := s.delay
	s.requests = append(s.requests, req.URL.Path)
	s.mu.Unlock()
	time.Sleep(delay)
	f, err := s.root.Open(strings.TrimPrefix(req.URL.Path, "/"))
	if err != nil {
		http.NotFound(w, req)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		http.NotFound(w, req)
		return
	}
	w.Header().Set("ETag", fmt.Sprintf(`"%x-%x"`, info.ModTime().UnixNano(), info.Size()))
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, req, "", info.ModTime(), f)
}

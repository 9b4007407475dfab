package tuftest

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
)

// Server serves a repository over HTTP on the loopback interface: metadata
// under /metadata/, targets under /targets/. It is safe for concurrent use.
type Server struct {
	// URL is the base URL, without a slash at the end.
	URL string

	http *httptest.Server
	repo *Repo
	done chan struct{}
	once sync.Once

	mu       sync.Mutex
	requests []string
	replies  map[string]Reply
	before   map[string]func()
}

// NewServer starts a server for a repository.
func NewServer(repo *Repo) *Server {
	s := &Server{repo: repo, done: make(chan struct{}), replies: map[string]Reply{}, before: map[string]func(){}}
	s.http = httptest.NewServer(s)
	s.URL = s.http.URL
	return s
}

// MetadataURL is the base URL of metadata, with a slash at the end.
func (s *Server) MetadataURL() string { return s.URL + "/metadata/" }

// TargetsURL is the base URL of targets, with a slash at the end.
func (s *Server) TargetsURL() string { return s.URL + "/targets/" }

// Close ends all connections, also those that a fault holds open, and the
// server. It may be called twice.
func (s *Server) Close() {
	s.once.Do(func() {
		close(s.done)
		s.http.CloseClientConnections()
		s.http.Close()
	})
}

// Requests returns the names asked for so far, such as "metadata/2.root.json".
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Forget empties the list of requests.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = nil
}

// On answers requests for a file with a reply instead of the file; a nil reply
// removes it. The name "" stands for every file that has no reply of its own.
func (s *Server) On(name string, reply Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if reply == nil {
		delete(s.replies, name)
		return
	}
	s.replies[name] = reply
}

// Before calls f once, before the next request for a file is answered: a
// repository that changes in the middle of a client's update.
func (s *Server) Before(name string, f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before[name] = f
}

// Heal removes all replies and hooks.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.replies)
	clear(s.before)
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	name := strings.TrimPrefix(req.URL.Path, "/")
	reply, before := s.record(name)
	if before != nil {
		before()
	}
	if reply == nil {
		reply = s.file
	}
	reply(&Exchange{ResponseWriter: w, Request: req, Name: name, server: s})
}

func (s *Server) record(name string) (Reply, func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, name)
	before := s.before[name]
	delete(s.before, name)
	if reply, ok := s.replies[name]; ok {
		return reply, before
	}
	return s.replies[""], before
}

// file answers with the repository's file, or 404.
func (s *Server) file(x *Exchange) {
	raw, ok := x.File()
	if !ok {
		http.NotFound(x, x.Request)
		return
	}
	_, _ = x.Write(raw)
}

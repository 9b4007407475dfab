package repository

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"path"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Cache headers: what has its version or hash in its name never changes, all
// else is asked for again, which costs a 304 while it stays as it is.
const (
	cacheForever = "public, max-age=31536000, immutable"
	cacheNever   = "no-cache"
)

// HealthPath is where [Repository.Handler] answers health checks.
const HealthPath = "/health/tuf"

// A health check verifies all metadata, which must not become a lever against
// the server: its answer is used again for a second, and for ten times as long
// as it took to find.
const (
	healthAge   = time.Second
	healthTimes = 10
)

// smallFile is the largest metadata file, in bytes, that is read into memory to
// be served: its ETag is the hash of the very bytes that are sent.
const smallFile = 64 << 10

var (
	versionedName = regexp.MustCompile(`^[1-9][0-9]*\.[^/]+\.json$`)
	// hashedPathName is how tough asks for a target: HASH.DIR/FILE where the
	// specification (6.2) has DIR/HASH.FILE.
	hashedPathName = regexp.MustCompile(`^([0-9a-f]{64}|[0-9a-f]{128})\.([^/].*)/([^/]+)$`)
)

// hashOf returns the SHA-256 or SHA-512 that the name of a target's file begins
// with, "" if it does not.
func hashOf(file string) string {
	digest, rest, _ := strings.Cut(path.Base(file), ".")
	if rest == "" || len(digest) != 64 && len(digest) != 128 || strings.Trim(digest, "0123456789abcdef") != "" {
		return ""
	}
	return digest
}

// Handler serves one repository. Use [Repository.Handler].
type Handler struct {
	r       *Repository
	digests digests
	health  health
}

// Handler serves the repository: metadata below /metadata/, plugins below
// /targets/, and a [Status] as JSON at [HealthPath] (503 if it is [Down]). Each
// amend, called by one goroutine at a time, may add to that status what only
// the server knows.
//
// It answers GET and HEAD only, lists no directories, follows no symbolic links,
// serves nothing hidden, and is safe for concurrent use. Requests may be
// conditional (If-None-Match) and for a range (If-Range). Answers are never
// compressed: the length in TUF metadata, and the ranges by which a client goes
// on with a download that broke off, are of the plain bytes.
func (r *Repository) Handler(amend ...func(*Status)) *Handler {
	return &Handler{r: r, digests: digests{settled: settledAfter}, health: health{r: r, amend: amend, age: healthAge, memory: newMemory()}}
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", cacheNever)
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	p := req.URL.Path
	if name, ok := strings.CutPrefix(p, "/metadata/"); ok && path.Ext(name) == ".json" && !strings.Contains(name, "/") {
		h.serveMetadata(w, req, name)
	} else if name, ok := strings.CutPrefix(p, "/targets/"); ok && hashOf(name) != "" {
		h.serveTarget(w, req, name)
	} else if ok && hashedPathName.MatchString(name) {
		h.serveTarget(w, req, hashedPathName.ReplaceAllString(name, "$2/$1.$3"))
	} else if p == HealthPath {
		h.health.serve(w)
	} else {
		notFound(w)
	}
}

// Health is the status that health checks are told. It says nothing of keys and
// proposals, which concern nobody outside. What was verified before and has not
// changed is not verified again, and an answer is remembered for a second or
// more, so that it costs much less than [Repository.Status].
func (h *Handler) Health() Status { return h.health.status() }

func (h *Handler) serveTarget(w http.ResponseWriter, req *http.Request, name string) {
	f, _, err := openPublic(path.Join(h.r.dir, targetsName), name)
	if err != nil {
		refuse(w, err)
		return
	}
	defer f.Close()
	kind := "application/octet-stream"
	if strings.HasSuffix(name, ".gz") {
		kind = "application/gzip"
	}
	header := w.Header()
	header.Set("Content-Type", kind)
	header.Set("Cache-Control", cacheForever)
	header.Set("ETag", quoted(hashOf(name)))
	serveContent(w, req, f)
}

func (h *Handler) serveMetadata(w http.ResponseWriter, req *http.Request, name string) {
	f, size, err := openPublic(path.Join(h.r.dir, metadataName), name)
	if err != nil {
		refuse(w, err)
		return
	}
	defer f.Close()
	// All that follows is about this one descriptor: the name may be given to
	// another file at any moment.
	var content io.ReadSeeker = f
	var digest string
	if size <= smallFile {
		data := make([]byte, size)
		_, err = io.ReadFull(f, data)
		content, digest = bytes.NewReader(data), hash(data)
	} else {
		digest, err = h.digests.of(f)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	if digest != "" {
		header.Set("ETag", quoted(digest))
	}
	if versionedName.MatchString(name) {
		header.Set("Cache-Control", cacheForever)
	}
	serveContent(w, req, content)
}

// lastNothing asks for the last 0 bytes.
var lastNothing = regexp.MustCompile(`[=,]\s*-0+\s*(,|$)`)

// serveContent answers with the whole content, a part of it, or 304.
func serveContent(w http.ResponseWriter, req *http.Request, content io.ReadSeeker) {
	// A unit that is not known must be ignored (RFC 9110, 14.2), and net/http refuses
	// it; for the last 0 bytes it sends a part that ends before it begins.
	if asked := req.Header.Get("Range"); !strings.HasPrefix(asked, "bytes=") || lastNothing.MatchString(asked) {
		req.Header.Del("Range")
	}
	// No modification time: it has whole seconds only, and timestamp.json may
	// change twice in one.
	http.ServeContent(w, req, "", time.Time{}, content)
}

func quoted(digest string) string { return `"` + digest + `"` }

func notFound(w http.ResponseWriter) { http.Error(w, "not found", http.StatusNotFound) }

// refuse answers for a file that cannot be served. Why is the operator's
// business, not the client's. But "not found" is an answer in TUF: it ends the
// search for newer root versions, and is said of files that do not exist only.
func refuse(w http.ResponseWriter, err error) {
	if isMissing(err) {
		notFound(w)
		return
	}
	http.Error(w, "the file cannot be read", http.StatusInternalServerError)
}

// health answers health checks, and remembers the answer for a while.
type health struct {
	r     *Repository
	amend []func(*Status)
	age   time.Duration

	mu sync.Mutex
	// memory is what has been verified before: only what changed is read again.
	memory *memory
	last   Status
	until  time.Time
}

func (h *health) serve(w http.ResponseWriter) {
	st := h.status()
	body, err := json.Marshal(st)
	if err != nil {
		http.Error(w, "cannot encode the status", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if st.Status == Down {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = w.Write(append(body, '\n')) // the client's loss
}

func (h *health) status() Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	start := time.Now()
	if start.Before(h.until) {
		return h.last
	}
	// The status says "down" by itself; the error may name local paths.
	st, _ := h.r.status(context.Background(), h.memory, nil)
	for _, f := range h.amend {
		f(&st)
	}
	now := time.Now()
	h.last, h.until = st, now.Add(max(h.age, healthTimes*now.Sub(start)))
	return st
}

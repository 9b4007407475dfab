package repository

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"regexp"
	"strings"
	"time"
)

// Cache headers: what has its version or hash in its name never changes.
const (
	cacheForever = "public, max-age=31536000, immutable"
	cacheNever   = "no-cache"
)

// healthAge is how long the answer of a health check is used again: it
// verifies all metadata, which must not become a lever against the server.
const healthAge = time.Second

// HealthPath is where [Repository.Handler] answers health checks.
const HealthPath = "/health/tuf"

var (
	versionedName = regexp.MustCompile(`^[1-9][0-9]*\.[^/]+\.json$`)
	hashedName    = regexp.MustCompile(`^([0-9a-f]{64})\.[^/]+$`)
)

// Handler serves the repository: metadata below /metadata/, plugins below
// /targets/, and a [Status] as JSON at [HealthPath] (503 if it is Down). It
// answers GET and HEAD only, lists no directories, never leaves those two
// directories, symbolic links included, and is safe for concurrent use.
func (r *Repository) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", cacheNever)
		if req.Method != http.MethodGet && req.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
			return
		}
		p := req.URL.Path
		if name, ok := strings.CutPrefix(p, "/metadata/"); ok && path.Ext(name) == ".json" && !strings.Contains(name, "/") {
			r.serveFile(w, req, metadataName, name)
		} else if name, ok := strings.CutPrefix(p, "/targets/"); ok && hashedName.MatchString(path.Base(name)) {
			r.serveFile(w, req, targetsName, name)
		} else if p == HealthPath {
			r.serveHealth(w)
		} else {
			http.Error(w, "not found", http.StatusNotFound)
		}
	})
}

// serveFile serves the file name below dir.
func (r *Repository) serveFile(w http.ResponseWriter, req *http.Request, dir, name string) {
	f, err := openPublic(path.Join(r.dir, dir), name)
	if err != nil {
		// Why is the operator's business, not the client's.
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	defer f.Close()
	h := w.Header()
	if dir == targetsName {
		h.Set("Content-Type", "application/gzip")
		h.Set("Cache-Control", cacheForever)
		h.Set("ETag", `"`+hashedName.FindStringSubmatch(path.Base(name))[1]+`"`)
	} else {
		sum := sha256.New()
		_, err := io.Copy(sum, f)
		if err == nil {
			_, err = f.Seek(0, io.SeekStart)
		}
		if err != nil {
			http.Error(w, "the file cannot be read", http.StatusInternalServerError)
			return
		}
		h.Set("Content-Type", "application/json")
		h.Set("ETag", `"`+hex.EncodeToString(sum.Sum(nil))+`"`)
		if versionedName.MatchString(name) {
			h.Set("Cache-Control", cacheForever)
		}
	}
	// No modification time: it has whole seconds only, and timestamp.json may
	// change twice in one.
	http.ServeContent(w, req, "", time.Time{}, f)
}

// openPublic opens a regular file below dir, and nothing hidden.
func openPublic(dir, name string) (*os.File, error) {
	if !fs.ValidPath(name) || strings.Contains("/"+name, "/.") {
		return nil, fs.ErrNotExist
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	info, err := root.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fs.ErrNotExist
	}
	return root.Open(name)
}

func (r *Repository) serveHealth(w http.ResponseWriter) {
	st := r.health()
	body, err := json.Marshal(st)
	if err != nil {
		http.Error(w, "cannot encode the status", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if st.Status == Down {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = w.Write(append(body, '\n'))
}

func (r *Repository) health() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	if age := r.clock().Sub(r.memoAt); age >= 0 && age < healthAge {
		return r.memo
	}
	// The status says "down" by itself; the error may name local paths.
	st, _ := r.Status()
	r.memo, r.memoAt = st, r.clock()
	return st
}

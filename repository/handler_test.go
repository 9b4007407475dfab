package repository

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func startServer(t *testing.T, r *Repository) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(r.Handler())
	t.Cleanup(s.Close)
	return s
}

// ask sends a request and returns the answer and its body.
func ask(t *testing.T, s *httptest.Server, method, path string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, nil)
	require.NoError(t, err)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := s.Client().Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(body)
}

func TestHandlerServesMetadataAndTargets(t *testing.T) {
	r, _ := newTestRepository(t)
	target, _, err := r.Publish(t.Context(), helloArchive, helloManifest, PublishOptions{})
	require.NoError(t, err)
	s := startServer(t, r)
	plugin := "/targets/plugins/ragnos/" + target.SHA256 + ".hello-world.1.0.0.tar.gz"
	for path, want := range map[string]struct{ file, kind, cache string }{
		"/metadata/timestamp.json":  {"metadata/timestamp.json", "application/json", cacheNever},
		"/metadata/1.root.json":     {"metadata/1.root.json", "application/json", cacheForever},
		"/metadata/2.targets.json":  {"metadata/2.targets.json", "application/json", cacheForever},
		"/metadata/2.snapshot.json": {"metadata/2.snapshot.json", "application/json", cacheForever},
		plugin:                      {plugin[1:], "application/gzip", cacheForever},
	} {
		data, err := os.ReadFile(filepath.Join(r.Dir(), want.file))
		require.NoError(t, err)
		resp, body := ask(t, s, "GET", path)
		require.Equal(t, http.StatusOK, resp.StatusCode, path)
		require.Equal(t, string(data), body, path)
		require.Equal(t, want.kind, resp.Header.Get("Content-Type"))
		require.Equal(t, want.cache, resp.Header.Get("Cache-Control"))
		require.Empty(t, resp.Header.Get("Last-Modified"))
		etag := resp.Header.Get("ETag")
		require.Len(t, etag, 66, path)

		resp, body = ask(t, s, "HEAD", path)
		require.Equal(t, int64(len(data)), resp.ContentLength)
		require.Empty(t, body)
		resp, body = ask(t, s, "GET", path, "If-None-Match", etag)
		require.Equal(t, http.StatusNotModified, resp.StatusCode)
		require.Empty(t, body)
		resp, body = ask(t, s, "GET", path, "Range", "bytes=10-19", "If-Range", etag)
		require.Equal(t, http.StatusPartialContent, resp.StatusCode)
		require.Equal(t, string(data[10:20]), body)
		resp, _ = ask(t, s, "GET", path, "Range", "bytes=999999-")
		require.Equal(t, http.StatusRequestedRangeNotSatisfiable, resp.StatusCode)
	}
}

func TestHandlerETagFollowsTheContent(t *testing.T) {
	r, _ := newTestRepository(t)
	s := startServer(t, r)
	before, _ := ask(t, s, "GET", "/metadata/timestamp.json")
	_, _, err := r.Publish(t.Context(), helloArchive, helloManifest, PublishOptions{})
	require.NoError(t, err)
	after, _ := ask(t, s, "GET", "/metadata/timestamp.json", "If-None-Match", before.Header.Get("ETag"))
	require.Equal(t, http.StatusOK, after.StatusCode, "also within the same second")
}

func TestHandlerKeepsToItsDirectories(t *testing.T) {
	r, _ := newTestRepository(t)
	_, _, err := r.Publish(t.Context(), helloArchive, helloManifest, PublishOptions{})
	require.NoError(t, err)
	hash := strings.Repeat("a", 64)
	require.NoError(t, os.Symlink("../keys/root.pem", r.metadataPath("leak.json")))
	require.NoError(t, os.Symlink(filepath.Join(r.Dir(), "keys/root.pem"), filepath.Join(r.Dir(), "targets", hash+".leak")))
	require.NoError(t, os.WriteFile(r.metadataPath(tempPrefix+"1.json"), []byte("{}"), 0o600))
	require.NoError(t, os.MkdirAll(r.metadataPath("dir.json"), 0o700))
	s := startServer(t, r)
	for _, path := range []string{
		"/", "/metadata", "/metadata/", "/targets", "/targets/", "/targets/plugins/", "/targets/plugins/ragnos",
		"/keys/", "/keys/root.pem", "/root.json", "/repository.json", "/.lock", "/health", "/health/", "/health/tuf/",
		"/metadata/2.root.json", "/metadata/dir.json", "/metadata/" + tempPrefix + "1.json", "/metadata/leak.json",
		"/targets/" + hash + ".leak", "/targets/plugins/ragnos/hello-world.1.0.0.tar.gz",
		"/metadata/../keys/root.pem", "/metadata/%2e%2e/keys/root.pem", "/metadata/..%2fkeys%2froot.pem",
		"/metadata/../root.json", "/metadata/%2e%2e%2froot.json", "/metadata//1.root.json", "/metadata/.%2f1.root.json",
		"/targets/../keys/" + hash + ".x", "/targets/..%5ckeys%5c" + hash + ".x", "/metadata/x%00.json", "//metadata/1.root.json",
	} {
		status, body := rawRequest(t, s, "GET "+path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		require.Equal(t, "HTTP/1.1 404 Not Found", status, path)
		require.NotContains(t, body, "PRIVATE")
		require.NotContains(t, body, r.Dir())
		require.Contains(t, body, "Cache-Control: no-cache")
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		resp, _ := ask(t, s, method, "/metadata/timestamp.json")
		require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)
		require.Equal(t, "GET, HEAD", resp.Header.Get("Allow"))
	}
}

// rawRequest sends bytes that a well-behaved client would clean first.
func rawRequest(t *testing.T, s *httptest.Server, request string) (status, answer string) {
	t.Helper()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	_, err = io.WriteString(c, request)
	require.NoError(t, err)
	data, err := io.ReadAll(c)
	require.NoError(t, err)
	status, _, _ = strings.Cut(string(data), "\r\n")
	return status, string(data)
}

func TestHealth(t *testing.T) {
	r, clock := newTestRepository(t)
	s := startServer(t, r)
	health := func() (int, Status) {
		resp, body := ask(t, s, "GET", HealthPath)
		require.Equal(t, "application/json", resp.Header.Get("Content-Type"))
		require.Equal(t, cacheNever, resp.Header.Get("Cache-Control"))
		var st Status
		require.NoError(t, json.Unmarshal([]byte(body), &st))
		return resp.StatusCode, st
	}
	code, st := health()
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, Healthy, st.Status)
	require.Len(t, st.Roles, 4)
	require.Equal(t, int64(86400), st.Roles[3].SecondsLeft)

	clock.now = clock.now.Add(20 * time.Hour)
	code, st = health()
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, Degraded, st.Status)

	clock.now = clock.now.Add(20 * time.Hour)
	code, st = health()
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Equal(t, Down, st.Status)

	require.NoError(t, os.WriteFile(r.metadataPath("timestamp.json"), []byte("<html>"), 0o600))
	_, again := health()
	require.Equal(t, st, again, "within a second the answer is used again")
	clock.now = clock.now.Add(time.Second)
	code, st = health()
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Equal(t, Down, st.Status)
	require.Empty(t, st.Roles)
	resp, body := ask(t, s, "GET", HealthPath)
	require.NotContains(t, body, r.Dir())
	require.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
}

package repository

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
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
		"/targets/" + target.SHA256 + ".plugins/ragnos/hello-world.1.0.0.tar.gz": {plugin[1:], "application/gzip", cacheForever},
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
		for _, ignored := range []string{"items=0-1", "Bytes=0-1", "bytes=-0", "bytes=0-1, -00"} {
			resp, body = ask(t, s, "GET", path, "Range", ignored)
			require.Equal(t, http.StatusOK, resp.StatusCode, ignored)
			require.Equal(t, string(data), body)
		}
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

// replace puts a file in place as a publishing process does.
func replace(t *testing.T, path string, data []byte) {
	t.Helper()
	assert.NoError(t, errors.Join(os.WriteFile(path+".new", data, 0o600), os.Rename(path+".new", path)))
}

func TestETagOfLargeMetadata(t *testing.T) {
	r, _ := newTestRepository(t)
	path := filepath.Join(r.Dir(), "metadata", "7.targets.json")
	first, second := bytes.Repeat([]byte("1"), smallFile+1), bytes.Repeat([]byte("2"), smallFile+1)
	replace(t, path, first)
	h := r.Handler()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	resp, body := ask(t, s, "GET", "/metadata/7.targets.json")
	require.Equal(t, string(first), body)
	require.Empty(t, resp.Header.Get("ETag"), "the file has just been changed, and may be again")

	h.digests.settled = 0
	for range 2 {
		resp, _ = ask(t, s, "HEAD", "/metadata/7.targets.json")
		require.Equal(t, quoted(hash(first)), resp.Header.Get("ETag"))
		require.Len(t, h.digests.known, 1)
	}
	resp, body = ask(t, s, "GET", "/metadata/7.targets.json", "If-None-Match", quoted(hash(first)))
	require.Equal(t, http.StatusNotModified, resp.StatusCode)
	require.Empty(t, body)
	resp, body = ask(t, s, "GET", "/metadata/7.targets.json", "Range", "bytes=65530-", "If-Range", quoted(hash(first)))
	require.Equal(t, http.StatusPartialContent, resp.StatusCode)
	require.Equal(t, "1111111", body)

	replace(t, path, second)
	resp, body = ask(t, s, "GET", "/metadata/7.targets.json", "If-None-Match", quoted(hash(first)))
	require.Equal(t, string(second), body)
	require.Equal(t, quoted(hash(second)), resp.Header.Get("ETag"))

	for i := range uint64(maxDigests + 1) {
		h.digests.put(identity{inode: i}, "")
	}
	require.LessOrEqual(t, len(h.digests.known), maxDigests)
}

// TestETagBelongsToTheBytes: whatever is renamed over the files meanwhile.
func TestETagBelongsToTheBytes(t *testing.T) {
	r, _ := newTestRepository(t)
	s := startServer(t, r)
	for _, size := range []int{1000, smallFile + 1000} {
		path := filepath.Join(r.Dir(), "metadata", "timestamp.json")
		version := func(n int) []byte { return bytes.Repeat([]byte{byte('a' + n%26)}, size) }
		replace(t, path, version(0))
		ctx, cancel := context.WithCancel(t.Context())
		var work sync.WaitGroup
		work.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				replace(t, path, version(n))
			}
		})
		for range 500 {
			resp, body := ask(t, s, "GET", "/metadata/timestamp.json")
			require.Equal(t, http.StatusOK, resp.StatusCode)
			require.Equal(t, strings.Repeat(body[:1], size), body)
			if etag := resp.Header.Get("ETag"); etag != "" || size <= smallFile {
				require.Equal(t, quoted(hash([]byte(body))), etag)
			}
		}
		cancel()
		work.Wait()
	}
}

func TestHandlerKeepsToItsDirectories(t *testing.T) {
	r, _ := newTestRepository(t)
	_, _, err := r.Publish(t.Context(), helloArchive, helloManifest, PublishOptions{})
	require.NoError(t, err)
	secret := strings.Repeat("a", 64) + ".secret"
	in := func(parts ...string) string { return filepath.Join(append([]string{r.Dir()}, parts...)...) }
	for path, data := range map[string]string{
		in("keys", "1.root.json"): "PRIVATE", in("keys", secret): "PRIVATE", in("keys", "root.key"): "PRIVATE",
		in("metadata", ".hidden.json"): "PRIVATE", in("targets", "."+secret): "PRIVATE",
	} {
		require.NoError(t, os.WriteFile(path, []byte(data), 0o600))
	}
	require.NoError(t, os.Mkdir(in("targets", ".hidden"), 0o700))
	require.NoError(t, os.WriteFile(in("targets", ".hidden", secret), []byte("PRIVATE"), 0o600))
	require.NoError(t, os.Mkdir(in("metadata", "dir.json"), 0o700))
	require.NoError(t, os.Mkdir(in("targets", strings.Repeat("b", 64)+".dir"), 0o700))
	for link, to := range map[string]string{
		in("metadata", "1.leak.json"): "../keys/1.root.json", in("metadata", "2.leak.json"): in("keys", "1.root.json"),
		in("metadata", "3.leak.json"): "1.root.json", in("targets", strings.Repeat("c", 64)+".leak"): in("keys", secret),
		in("targets", "keys"): in("keys"), in("targets", "inner"): "../keys", in("targets", "shown"): ".hidden",
		in("targets", "up"): "..", in("targets", "also"): "plugins",
	} {
		require.NoError(t, os.Symlink(to, link))
	}
	published, err := filepath.Glob(in("targets", "plugins", "ragnos", "*.gz"))
	require.NoError(t, err)
	plugin := filepath.Base(published[0])
	s := startServer(t, r)
	for _, path := range []string{
		"/", "/metadata", "/metadata/", "/targets", "/targets/", "/targets/plugins/", "/targets/plugins/ragnos",
		"/keys/", "/keys/root.key", "/keys/1.root.json", "/root.json", "/repository.json", "/.lock", "/health", "/health/", "/health/tuf/",
		"/metadata/2.root.json", "/metadata/dir.json", "/metadata/.hidden.json",
		"/metadata/1.leak.json", "/metadata/2.leak.json", "/metadata/3.leak.json",
		"/targets/" + strings.Repeat("b", 64) + ".dir", "/targets/" + strings.Repeat("c", 64) + ".leak",
		"/targets/." + secret, "/targets/.hidden/" + secret, "/targets/shown/" + secret, "/targets/keys/" + secret,
		"/targets/inner/" + secret, "/targets/up/keys/" + secret, "/targets/also/ragnos/" + plugin,
		"/targets/" + strings.Repeat("a", 64) + "...//keys/secret", "/targets/" + strings.Repeat("a", 64) + "...%2fkeys/secret",
		"/targets/" + strings.Repeat("a", 64) + ".keys/secret", "/targets/" + strings.Repeat("a", 64) + "./keys/secret",
		"/targets/plugins/ragnos/" + plugin + "/" + plugin, "/targets/plugins/ragnos/" + plugin[65:],
		"/../keys/root.key", "/../../etc/passwd", "/metadata/../keys/1.root.json", "/metadata/%2e%2e/keys/1.root.json",
		"/metadata/..%2fkeys%2f1.root.json", "/metadata/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/metadata/../root.json",
		"/metadata/%252e%252e/keys/1.root.json", "/metadata/..\\keys\\1.root.json", "/metadata/..%5ckeys%5c1.root.json",
		"/metadata//1.root.json", "/metadata/./1.root.json", "/metadata/.%2f1.root.json", "/metadata/%2e/1.root.json",
		"/targets/../keys/" + secret, "/targets/..%5ckeys%5c" + secret, "/targets//plugins/ragnos/" + plugin,
		"/targets/plugins/../../keys/" + secret, "/targets/plugins/ragnos/./" + plugin, "/targets//etc/passwd",
		"/metadata/x%00.json", "/metadata/1.root.json%00.json", "/metadata/1.root.json%0a.json", "/targets/%00/" + secret,
		"//metadata/1.root.json", "/./metadata/1.root.json", "/%2fmetadata/1.root.json", "/METADATA/1.root.json",
		"/metadata/1.root.json/", "/metadata/1.root.json/x.json", "/metadata/" + strings.Repeat("n", 300) + ".json",
		"/targets/" + strings.Repeat("d/", 2000) + secret, "http://x/../keys/1.root.json", "http://x//keys/1.root.json",
	} {
		status, answer := rawRequest(t, s, "GET "+path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		require.Equal(t, "HTTP/1.1 404 Not Found", status, path)
		require.True(t, strings.HasSuffix(answer, "\r\n\r\nnot found\n"), answer)
		require.Contains(t, answer, "Cache-Control: no-cache")
		require.NotContains(t, answer, "ETag")
	}
	for _, path := range []string{"/metadata/\x00.json", "/metadata/1.root.json\x00", "/metadata/%", "/metadata/%zz.json", "metadata/1.root.json", "*"} {
		status, answer := rawRequest(t, s, "GET "+path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		require.Regexp(t, "^HTTP/1.1 40[04] ", status, path)
		require.NotContains(t, answer, r.Dir())
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"} {
		resp, _ := ask(t, s, method, "/metadata/timestamp.json")
		require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)
		require.Equal(t, "GET, HEAD", resp.Header.Get("Allow"))
	}
}

// TestTroubleIsNotAbsence: a client that is told "not found" takes the root that
// it has for the newest.
func TestTroubleIsNotAbsence(t *testing.T) {
	r, _ := newTestRepository(t)
	s := startServer(t, r)
	for _, dir := range []string{"metadata", "targets"} {
		require.NoError(t, os.Rename(filepath.Join(r.Dir(), dir), filepath.Join(r.Dir(), "elsewhere-"+dir)))
	}
	for range 2 { // missing at first, then no directories
		for _, path := range []string{"/metadata/2.root.json", "/targets/" + strings.Repeat("a", 64) + ".x"} {
			resp, body := ask(t, s, "GET", path)
			require.Equal(t, http.StatusInternalServerError, resp.StatusCode)
			require.Equal(t, "the file cannot be read\n", body)
		}
		for _, dir := range []string{"metadata", "targets"} {
			require.NoError(t, os.WriteFile(filepath.Join(r.Dir(), dir), nil, 0o600))
		}
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
	var more []string
	h := r.Handler(func(st *Status) { st.Problems = append(st.Problems, more...) })
	h.health.age = 0
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	health := func() (int, Status) {
		h.health.until = time.Time{}
		resp, body := ask(t, s, "GET", HealthPath)
		require.Equal(t, "application/json", resp.Header.Get("Content-Type"))
		require.Equal(t, cacheNever, resp.Header.Get("Cache-Control"))
		require.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
		require.NotContains(t, body, r.Dir())
		var st Status
		require.NoError(t, json.Unmarshal([]byte(body), &st))
		return resp.StatusCode, st
	}
	code, st := health()
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, Healthy, st.Status)
	require.GreaterOrEqual(t, len(st.Roles), 4)
	require.Equal(t, int64(86400), st.Roles[3].SecondsLeft)
	require.Empty(t, st.Problems)
	more = []string{"the server's own"}
	_, st = health()
	require.Equal(t, more, st.Problems)

	clock.now = clock.now.Add(20 * time.Hour)
	code, st = health()
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, Degraded, st.Status)

	clock.now = clock.now.Add(20 * time.Hour)
	code, st = health()
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Equal(t, Down, st.Status)

	require.NoError(t, os.WriteFile(filepath.Join(r.Dir(), "metadata", "timestamp.json"), []byte("<html>"), 0o600))
	code, st = health()
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Equal(t, Down, st.Status)
	require.Empty(t, st.Roles)
}

func TestHealthIsRememberedForAWhile(t *testing.T) {
	r, _ := newTestRepository(t)
	calls := 0
	h := r.Handler(func(*Status) { calls++ })
	h.health.age = time.Hour
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	_, first := ask(t, s, "GET", HealthPath)
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			resp, err := s.Client().Head(s.URL + HealthPath)
			if assert.NoError(t, err) {
				assert.NoError(t, resp.Body.Close())
			}
		})
	}
	work.Wait()
	_, again := ask(t, s, "GET", HealthPath)
	require.Equal(t, first, again)
	require.Equal(t, 1, calls)
}

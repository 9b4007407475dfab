package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestServer: it is what an ordinary server of static files is, and remembers
// what it was asked for.
func TestServer(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), []byte("0123456789"), 0o600))
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, root.Close()) })
	s := &server{root: root}
	get := func(path string, header ...string) *http.Response {
		req := httptest.NewRequest(http.MethodGet, path, nil)
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, req)
		return w.Result()
	}
	whole := get("/file")
	etag := whole.Header.Get("ETag")
	require.Equal(t, http.StatusOK, whole.StatusCode)
	require.NotEmpty(t, etag)
	for _, c := range []struct {
		status int
		path   string
		header []string
	}{
		{http.StatusNotModified, "/file", []string{"If-None-Match", etag}},
		{http.StatusPartialContent, "/file", []string{"Range", "bytes=5-", "If-Range", etag}},
		{http.StatusOK, "/file", []string{"Range", "bytes=5-", "If-Range", `"other"`}},
		{http.StatusNotFound, "/none", nil},
		{http.StatusNotFound, "/", nil},
		{http.StatusNotFound, "/../file", nil},
	} {
		require.Equal(t, c.status, get(c.path, c.header...).StatusCode, "%s %v", c.path, c.header)
	}
	require.Equal(t, []string{"/file", "/file", "/file", "/file", "/none", "/", "/../file"}, s.next(0))
	require.Empty(t, s.next(0))
}

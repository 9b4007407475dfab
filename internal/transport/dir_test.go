package transport

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// local is a repository in a directory with an awkward name, and a client of it.
type local struct {
	t         *testing.T
	dir, base string
	c         *Client
}

func newLocal(t *testing.T, edit ...func(*Options)) *local {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a %2F? #repo")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "metadata"), 0o700))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "targets", "a b"), 0o700))
	o := quick()
	for _, f := range edit {
		f(&o)
	}
	base, err := DirURL(dir)
	require.NoError(t, err)
	c, err := NewDir(dir, o)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return &local{t, dir, base, c}
}

func (l *local) write(name, content string) string {
	l.t.Helper()
	path := filepath.Join(l.dir, name)
	require.NoError(l.t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func (l *local) metadata(role string, version int64) string {
	l.t.Helper()
	u, err := MetadataURL(l.base+"/metadata", role, version)
	require.NoError(l.t, err)
	return u
}

func TestDirectory(t *testing.T) {
	l := newLocal(t)
	l.write("metadata/timestamp.json", "now")
	l.write("metadata/3.a b%2F?.json", "odd")
	l.write("targets/a b/c%41", "target")
	l.write("targets/empty", "")
	b, e := get(t, l.c, l.metadata("timestamp", 0))
	require.Nil(t, e)
	require.Equal(t, "now", string(b))
	b, e = get(t, l.c, l.metadata("a b%2F?", 3))
	require.Nil(t, e)
	require.Equal(t, "odd", string(b))
	b, e = get(t, l.c, l.base+"/targets/a%20b/c%2541")
	require.Nil(t, e)
	require.Equal(t, "target", string(b))
	b, e = get(t, l.c, l.base+"/targets/empty")
	require.Nil(t, e)
	require.Empty(t, b)
	requireIdle(t, l.c)

	_, err := l.c.Get(context.Background(), Request{URL: l.metadata("timestamp", 0), Role: "timestamp", Limit: 2})
	require.Equal(t, protocol.CodeEndlessData, tuferr.CodeOf(err))
	_, err = l.c.Stream(context.Background(), Request{URL: l.metadata("timestamp", 0), Limit: 3}, &failingSink{})
	require.Equal(t, protocol.CodeLocalIO, tuferr.CodeOf(err))
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = l.c.Get(gone, Request{URL: l.metadata("timestamp", 0), Limit: 3})
	require.Equal(t, protocol.CodeCancelled, tuferr.CodeOf(err))
	requireIdle(t, l.c)
}

type failingSink struct{ memory }

func (*failingSink) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// TestNoSuchFile is the status 404, which ends the chain of roots: it is said
// only where there is a repository that lacks the file.
func TestNoSuchFile(t *testing.T) {
	l := newLocal(t)
	l.write("targets/file", "")
	l.write("secret", "")
	for _, url := range []string{
		l.metadata("root", 2), l.metadata("x/../../secret", 1), l.base + "/targets/a%20b/..%2F..%2Fsecret",
		l.base + "/metadata/../secret", l.base + "/metadata//x", l.base + "/targets/file/below", l.base + "/targets/a%00b",
		l.base + "/targets/" + strings.Repeat("x", 300), l.base + "/",
	} {
		e := refused(t, l.c, url, protocol.CodeHTTPStatus)
		require.Equal(t, http.StatusNotFound, e.Status, url)
		require.Equal(t, 1, e.Attempts)
	}
}

// TestNotARepository: where metadata or all of it is missing, nothing is said to
// be the newest root.
func TestNotARepository(t *testing.T) {
	l := newLocal(t)
	require.NoError(t, os.Remove(filepath.Join(l.dir, "metadata")))
	e := refused(t, l.c, l.metadata("root", 2), protocol.CodeLocalIO)
	require.Equal(t, filepath.Join(l.dir, "metadata"), e.Path)
	require.Equal(t, "timestamp", e.Role)
	require.Empty(t, e.URL)
	require.Contains(t, e.Hint, "mounted")
	l.write("metadata", "a file")
	refused(t, l.c, l.metadata("root", 2), protocol.CodeLocalIO)
	require.NoError(t, os.RemoveAll(l.dir))
	e = refused(t, l.c, l.metadata("root", 2), protocol.CodeLocalIO)
	require.Equal(t, l.dir, e.Path)
	require.ErrorIs(t, e, os.ErrNotExist)
	require.NoError(t, os.WriteFile(l.dir, nil, 0o600))
	refused(t, l.c, l.metadata("root", 2), protocol.CodeLocalIO)
}

// TestUnreadable files are no missing files.
func TestUnreadable(t *testing.T) {
	l := newLocal(t)
	require.NoError(t, os.Mkdir(filepath.Join(l.dir, "metadata/2.root.json"), 0o700))
	e := refused(t, l.c, l.metadata("root", 2), protocol.CodeLocalIO)
	require.Contains(t, e.Error(), "not a regular file")
	require.Equal(t, filepath.Join(l.dir, "metadata", "2.root.json"), e.Path)
	require.NoError(t, os.Symlink("loop", filepath.Join(l.dir, "targets/loop")))
	refused(t, l.c, l.base+"/targets/loop", protocol.CodeLocalIO)
	requireIdle(t, l.c)
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	path := l.write("metadata/3.root.json", "")
	require.NoError(t, os.Chmod(path, 0))
	e = refused(t, l.c, l.metadata("root", 3), protocol.CodePermissions)
	require.Equal(t, path, e.Path)
}

// TestLinks may lead anywhere but out of the directory.
func TestLinks(t *testing.T) {
	l := newLocal(t)
	l.write("targets/file", "inside")
	outside := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(outside, []byte("outside"), 0o600))
	for link, to := range map[string]string{
		"targets/in": "file", "metadata/5.root.json": "../targets/file", "metadata/2.root.json": outside,
		"metadata/3.root.json": "../../outside", "targets/up": "../..", "metadata/4.root.json": "nothing",
	} {
		require.NoError(t, os.Symlink(to, filepath.Join(l.dir, link)))
	}
	require.NoError(t, os.WriteFile(filepath.Join(l.dir, "../outside"), nil, 0o600))
	for _, good := range []string{l.base + "/targets/in", l.metadata("root", 5)} {
		b, e := get(t, l.c, good)
		require.Nil(t, e)
		require.Equal(t, "inside", string(b))
	}
	for _, bad := range []string{l.metadata("root", 2), l.metadata("root", 3), l.base + "/targets/up/outside"} {
		e := refused(t, l.c, bad, protocol.CodeLocalIO)
		require.Contains(t, e.Error(), "out of it")
		require.Equal(t, 1, e.Attempts)
	}
	require.Equal(t, http.StatusNotFound, refused(t, l.c, l.metadata("root", 4), protocol.CodeHTTPStatus).Status)
}

// TestAFileThatShrinks is read again.
func TestAFileThatShrinks(t *testing.T) {
	l := newLocal(t)
	path := l.write("targets/file", strings.Repeat("x", 1<<20))
	s := &shrinkingSink{path: path}
	_, err := l.c.Stream(context.Background(), Request{URL: l.base + "/targets/file", Limit: 1 << 20}, s)
	require.NoError(t, err)
	require.Equal(t, "short", string(s.body))

	l = newLocal(t, func(o *Options) { o.Attempts = 1 })
	path = l.write("targets/file", strings.Repeat("x", 1<<20))
	_, err = l.c.Stream(context.Background(), Request{URL: l.base + "/targets/file", Limit: 1 << 20}, &shrinkingSink{path: path})
	e := tuferr.As(err)
	require.Equal(t, protocol.CodeLocalIO, e.Code)
	require.Contains(t, e.Error(), "shorter")
	require.Equal(t, path, e.Path)
}

// shrinkingSink makes the file shorter while it is being read.
type shrinkingSink struct {
	memory
	path string
}

func (s *shrinkingSink) Write(p []byte) (int, error) {
	if s.path != "" {
		if err := os.WriteFile(s.path, []byte("short"), 0o600); err != nil {
			return 0, err
		}
		s.path = ""
	}
	return s.memory.Write(p)
}

// TestLimitsHoldForADirectory as for a server.
func TestLimitsHoldForADirectory(t *testing.T) {
	l := newLocal(t, func(o *Options) { o.RequestsPerSecond = once })
	l.write("metadata/timestamp.json", "now")
	_, e := get(t, l.c, l.metadata("timestamp", 0))
	require.Nil(t, e)
	refused(t, l.c, l.metadata("timestamp", 0), protocol.CodeBusy)
}

// TestSchemesDoNotMix: a repository on the network cannot send its clients to
// local files, and a client of a directory asks no network.
func TestSchemesDoNotMix(t *testing.T) {
	l := newLocal(t)
	l.write("metadata/timestamp.json", "now")
	file := l.metadata("timestamp", 0)
	url, count := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, file, http.StatusFound) })
	web := newClient(t, quick())
	e := refused(t, web, url, protocol.CodeHTTPStatus)
	require.Equal(t, http.StatusFound, e.Status)
	require.Contains(t, e.Error(), "neither http nor https")
	refused(t, web, file, protocol.CodeUsage)
	require.EqualValues(t, 1, count.Load())
	for _, odd := range []string{url, "file://host" + strings.TrimPrefix(file, "file://"), file + "?x", "file:x", "file:///etc/passwd", l.base, l.base + "x/metadata/timestamp.json"} {
		refused(t, l.c, odd, protocol.CodeUsage)
	}
	require.EqualValues(t, 1, count.Load())
}

func TestNewDirRefusesOptions(t *testing.T) {
	_, err := NewDir(t.TempDir(), Options{Attempts: -1})
	require.Equal(t, protocol.CodeUsage, tuferr.CodeOf(err))
	for dir, want := range map[string]string{"/": "file://", "/a/../b c/": "file:///b%20c"} {
		u, err := DirURL(dir)
		require.NoError(t, err)
		require.Equal(t, want, u)
	}
	c, err := NewDir("/", quick())
	require.NoError(t, err)
	refused(t, c, "file:///metadata/timestamp.json", protocol.CodeLocalIO)
}

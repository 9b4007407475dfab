package hybrid

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// wire records the headers of requests, by file name.
type wire struct {
	mu   sync.Mutex
	seen []string
}

// tagged answers with the file and an ETag, to conditions and ranges as well, and
// records one header of each request.
func (r *wire) tagged(etag, header string) tuftest.Reply {
	return func(x *tuftest.Exchange) {
		r.mu.Lock()
		r.seen = append(r.seen, x.Request.Header.Get(header))
		r.mu.Unlock()
		raw, ok := x.File()
		if !ok {
			http.NotFound(x, x.Request)
			return
		}
		x.Header().Set("ETag", etag)
		http.ServeContent(x, x.Request, "", time.Time{}, bytes.NewReader(raw))
	}
}

func (r *wire) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.seen
	r.seen = nil
	return seen
}

// TestETagsBelongToTheirMirror: another mirror's would let it keep the client
// where it never was.
func TestETagsBelongToTheirMirror(t *testing.T) {
	for _, mode := range []Mode{ModeGo, ModeDual} {
		w := newMirrored(t, 2)
		var a, b wire
		w.servers[0].On("metadata/timestamp.json", a.tagged(`"a"`, "If-None-Match"))
		w.servers[1].On("metadata/timestamp.json", b.tagged(`"b"`, "If-None-Match"))
		c := w.client(mode)
		w.get(c)
		w.get(c)
		require.Equal(t, []string{"", `"a"`}, a.take())

		w.servers[0].On("metadata/2.root.json", tuftest.Status(500))
		w.get(c)
		w.get(c)
		require.Equal(t, []string{"", `"b"`}, b.take())

		a.take() // what was asked for ahead
		w.servers[0].On("metadata/2.root.json", nil)
		w.pass(minCoolDown)
		w.get(c)
		w.get(c)
		require.Equal(t, []string{"", `"a"`}, a.take())
		require.Empty(t, b.take())
	}
}

// TestUnchangedMirrorNeedsNoEngine: what was verified is known by its bytes, not
// by where they come from.
func TestUnchangedMirrorNeedsNoEngine(t *testing.T) {
	w := newMirrored(t, 2)
	c := w.client(ModeAuto)
	runs := counted(c)
	w.get(c)
	w.servers[0].On("metadata/timestamp.json", tuftest.Status(500))
	w.get(c)
	require.EqualValues(t, 2, runs.Load(), "for what the first one did not give")
	w.get(c)
	require.EqualValues(t, 2, runs.Load())
}

// broken sends the first half of what is given and breaks off.
func broken(raw []byte, etag string) tuftest.Reply {
	return func(x *tuftest.Exchange) {
		x.Header().Set("ETag", etag)
		x.Header().Set("Content-Length", strconv.Itoa(len(raw)))
		_, _ = x.Write(raw[:len(raw)/2])
		_ = http.NewResponseController(x.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
}

// TestStreamGoesOnElsewhere: a target whose first half came from a mirror that
// broke off. The rest is asked for, and taken only from whoever has the same file.
func TestStreamGoesOnElsewhere(t *testing.T) {
	other := bytes.Repeat([]byte("x"), len(content))
	half := fmt.Sprintf("bytes=%d-", len(content)/2)
	for name, row := range map[string]struct {
		first []byte
		etag  string
		asked []string
	}{
		"the same file":        {content, `"a"`, []string{half}},
		"another tag":          {content, `"b"`, []string{half}},
		"the same tag, a lie":  {other, `"a"`, []string{half, ""}},
		"another tag and file": {other, `"b"`, []string{half}},
	} {
		for _, mode := range []Mode{ModeGo, ModeDual} {
			t.Run(name+"/"+string(mode), func(t *testing.T) {
				w := newMirrored(t, 2)
				var b wire
				w.servers[0].On(targetFile, broken(row.first, `"a"`))
				w.servers[1].On(targetFile, b.tagged(row.etag, "Range"))
				c := w.client(mode)
				w.get(c)
				require.Equal(t, row.asked, b.take())
				require.Equal(t, []string{"down", "in use"}, states(t, c))
				require.Empty(t, w.events("refused"))
			})
		}
	}
}

// TestTargetsElsewhere: a target that one mirror lacks, or that all lack.
func TestTargetsElsewhere(t *testing.T) {
	w := newMirrored(t, 3)
	for _, s := range w.servers[:2] {
		s.On(targetFile, tuftest.Status(404))
	}
	c := w.client(ModeGo, hour)
	w.get(c)
	require.Equal(t, []string{"down", "down", "in use"}, states(t, c))
	require.NotContains(t, w.servers[1].Requests(), "metadata/timestamp.json", "metadata came from one")

	w.servers[2].On(targetFile, tuftest.Status(410))
	e := w.refused(w.client(ModeGo, func(o *Options) { o.CacheDir += "2" }), ErrTransport)
	require.Len(t, e.Causes, 3)
	require.Equal(t, plugin, e.Target)
	require.Equal(t, 404, e.Status)
}

// TestBothHalvesOfARefusedTarget: the verdict is about whoever sent the file as a
// whole, not about the one that broke off before.
func TestBothHalvesOfARefusedTarget(t *testing.T) {
	w := newMirrored(t, 2)
	w.servers[0].On(targetFile, broken(content, `"a"`))
	w.servers[1].On(targetFile, tuftest.Garbage)
	c := w.client(ModeGo)
	w.refused(c, ErrMismatch)
	require.Equal(t, []string{"down", "set back"}, states(t, c))
}

// delegated is a mirrored world with two delegated roles.
func delegated(t *testing.T, n int) *mirrored {
	w := newMirrored(t, n)
	for _, name := range []string{"alice", "bob"} {
		w.repo.Delegate("targets", tuftest.Delegation{Name: name, Paths: []string{name + "/*"}})
		w.repo.AddTarget(name, name+"/x", []byte(name), nil)
	}
	w.repo.Publish("targets", "alice", "bob")
	w.sync()
	return w
}

// TestSessionKeepsToItsMirror, for as long as that one answers; then the look-up
// starts again at another.
func TestSessionKeepsToItsMirror(t *testing.T) {
	for _, mode := range mirrorModes {
		t.Run(string(mode), func(t *testing.T) {
			w := delegated(t, 2)
			w.servers[0].On("metadata/timestamp.json", tuftest.Status(500))
			c := w.client(mode, hour)
			require.NoError(t, c.Refresh(context.Background()))
			w.servers[0].Heal()
			w.forget()
			_, err := c.Lookup(context.Background(), "alice/x")
			require.NoError(t, err)
			require.Equal(t, []bool{false, true}, w.asked(), "the session is of the second")

			w.servers[1].On("metadata/1.bob.json", tuftest.Status(404))
			w.forget()
			_, err = c.Lookup(context.Background(), "bob/x")
			require.NoError(t, err)
			require.Equal(t, []string{"metadata/1.bob.json"}, w.servers[1].Requests())
			require.Contains(t, w.servers[0].Requests(), "metadata/timestamp.json", "starts again")
			require.Contains(t, w.servers[0].Requests(), "metadata/1.bob.json")
			require.Equal(t, []string{"in use", "down"}, states(t, c))
		})
	}
}

// TestTargetsComeFromTheSessionsMirror while that one is well.
func TestTargetsComeFromTheSessionsMirror(t *testing.T) {
	w := newMirrored(t, 2)
	w.servers[0].On("metadata/timestamp.json", tuftest.Status(500))
	c := w.client(ModeGo, hour)
	require.NoError(t, c.Refresh(context.Background()))
	w.servers[0].Heal()
	w.pass(minCoolDown)
	w.forget()
	w.get(c)
	require.Equal(t, []bool{false, true}, w.asked())
}

// TestRestartStaysAtItsMirror, when another process has moved the store on.
func TestRestartStaysAtItsMirror(t *testing.T) {
	w := newMirrored(t, 2)
	w.servers[0].Close()
	c := w.client(ModeGo)
	w.servers[1].Before("metadata/2.snapshot.json", func() {
		w.repo.Publish("targets")
		w.sync()
		other := w.world.client(ModeGo, func(o *Options) { o.RepositoryURL = w.servers[1].URL })
		if err := other.Refresh(context.Background()); err != nil {
			t.Error(err)
		}
	})
	require.EqualValues(t, 3, w.get(c).Versions.Timestamp)
	require.Equal(t, []string{"down", "in use"}, states(t, c))
}

// TestOrder: by preference; those in trouble last, the least troubled first.
func TestOrder(t *testing.T) {
	w := newMirrored(t, 4)
	ms := w.client(ModeGo).mirrors
	order := func(first *mirror) (list []int) {
		for _, m := range ms.order(first) {
			list = append(list, slices.Index(ms.all, m))
		}
		return list
	}
	fail := func(i int) { ms.note(ms.begin(ms.all[i], partTop), tuferr.New(protocol.CodeUnreachable, "")) }
	require.Equal(t, []int{0, 1, 2, 3}, order(nil))
	require.Equal(t, []int{2, 0, 1, 3}, order(ms.all[2]))
	fail(0)
	w.pass(minCoolDown)
	fail(0)
	fail(2)
	require.Equal(t, []int{1, 3, 2, 0}, order(nil))
	require.Equal(t, []int{1, 3, 2, 0}, order(ms.all[0]))
	fail(1)
	fail(3)
	require.Equal(t, []int{1, 2, 3, 0}, order(nil))
	w.pass(minCoolDown)
	require.Equal(t, []int{1, 2, 3, 0}, order(nil))
	w.pass(minCoolDown)
	require.Equal(t, []int{0, 1, 2, 3}, order(nil))
}

// TestDelegatedRoleNobodyHas is asked for once at each mirror.
func TestDelegatedRoleNobodyHas(t *testing.T) {
	w := delegated(t, 3)
	for _, s := range w.servers {
		s.On("metadata/1.bob.json", tuftest.Status(404))
	}
	c := w.client(ModeGo, hour)
	for range 2 {
		w.forget()
		_, err := c.Lookup(context.Background(), "bob/x")
		require.ErrorIs(t, err, ErrTransport)
		var all int
		for _, s := range w.servers {
			all += len(slices.DeleteFunc(s.Requests(), func(name string) bool { return name != "metadata/1.bob.json" }))
		}
		require.Equal(t, 3, all)
	}
	_, err := c.List(context.Background())
	require.ErrorIs(t, err, ErrTransport)
	w.servers[1].Heal()
	list, err := c.List(context.Background())
	require.NoError(t, err)
	require.Len(t, list, 3)
}

// TestVerdictOfALookUp ends it; the next one leaves the session's mirror.
func TestVerdictOfALookUp(t *testing.T) {
	for _, mode := range mirrorModes {
		w := delegated(t, 2)
		w.servers[0].On("metadata/1.bob.json", tuftest.Body([]byte(`{"signatures":[],"signed":{"_type":"targets"}}`)))
		c := w.client(mode, hour)
		_, err := c.Lookup(context.Background(), "bob/x")
		require.ErrorIs(t, err, ErrVerdict)
		require.Equal(t, []bool{true, false}, w.asked())
		require.Equal(t, []string{"set back", "ready"}, states(t, c))
		_, err = c.Lookup(context.Background(), "bob/x")
		require.NoError(t, err)
		require.Equal(t, []string{"set back", "in use"}, states(t, c))
	}
}

// TestManyCallsWhileAMirrorStops all get their answers.
func TestManyCallsWhileAMirrorStops(t *testing.T) {
	w := delegated(t, 3)
	c := w.client(ModeAuto, func(o *Options) { o.RefreshInterval = 3 * time.Microsecond })
	var all sync.WaitGroup
	for i := range 8 {
		name := []string{plugin, "alice/x", "bob/x"}[i%3]
		all.Go(func() {
			for n := range 20 {
				if i == 0 && n == 5 {
					w.servers[0].Close()
				}
				if i == 0 && n == 10 {
					w.servers[1].On("", tuftest.Status(500))
				}
				w.pass(time.Microsecond)
				if _, err := c.VerifyAndDownloadPlugin(context.Background(), name, DownloadOptions{}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	w.pass(time.Millisecond)
	w.get(c)
	require.Equal(t, []string{"down", "down", "in use"}, states(t, c))
}

// TestCredentialsStayWithTheRepository, unless a mirror says that they are for it
// as well.
func TestCredentialsStayWithTheRepository(t *testing.T) {
	repo := tuftest.NewRepo(tuftest.Config{})
	repo.AddTarget("targets", plugin, content, nil)
	repo.Publish("targets")
	type shown struct{ token, cert bool }
	var mu sync.Mutex
	seen := map[string]shown{}
	var working http.HandlerFunc
	serve := func(name string) *httptest.Server {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			mu.Lock()
			seen[name] = shown{r.Header.Get("Authorization") == "Bearer s3cret", len(r.TLS.PeerCertificates) > 0}
			mu.Unlock()
			if name != "last" {
				http.Error(rw, "down", http.StatusInternalServerError)
				return
			}
			working(rw, r)
		}))
		s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
		s.StartTLS()
		t.Cleanup(s.Close)
		return s
	}
	files := tuftest.NewServer(repo)
	t.Cleanup(files.Close)
	working = files.ServeHTTP
	first, stranger, friend, last := serve("first"), serve("stranger"), serve("friend"), serve("last")
	pool := x509.NewCertPool()
	for _, s := range []*httptest.Server{first, stranger, friend, last} {
		pool.AddCert(s.Certificate())
	}
	c, err := New(Options{
		RepositoryURL: first.URL, Root: repo.RootBytes(1), Mode: ModeGo, MetadataDir: t.TempDir(), CacheDir: t.TempDir(),
		Mirrors: []Mirror{{URL: stranger.URL}, {URL: friend.URL, SendCredentials: true}, {URL: first.URL + "/other"}, {URL: last.URL}},
		HTTP:    HTTPOptions{BearerToken: "s3cret", ClientCertificate: &first.TLS.Certificates[0], RootCAs: pool, Attempts: 1},
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Shutdown(context.Background())) }()
	r, err := c.VerifyAndDownloadPlugin(context.Background(), plugin, DownloadOptions{})
	require.NoError(t, err)
	require.FileExists(t, r.Path)
	require.Equal(t, map[string]shown{"first": {}, "stranger": {}, "friend": {true, true}, "last": {}}, seen,
		"the last request to the first was for the mirror that lies there")
	require.NoError(t, c.Refresh(context.Background()))

	c2, err := New(Options{
		RepositoryURL: first.URL, Root: repo.RootBytes(1), Mode: ModeGo, MetadataDir: t.TempDir(), CacheDir: t.TempDir(),
		Mirrors: []Mirror{{URL: last.URL}},
		HTTP:    HTTPOptions{BearerToken: "s3cret", ClientCertificate: &first.TLS.Certificates[0], RootCAs: pool, Attempts: 1},
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, c2.Shutdown(context.Background())) }()
	require.NoError(t, c2.Refresh(context.Background()))
	require.Equal(t, shown{true, true}, seen["first"])
	require.Equal(t, shown{}, seen["last"])
}

// TestBundlesBesideMirrors: they are made over any mirror, and one that is
// refused is held against none.
func TestBundlesBesideMirrors(t *testing.T) {
	for _, mode := range mirrorModes {
		w := newMirrored(t, 2)
		w.servers[0].Close()
		var b bytes.Buffer
		_, err := w.client(mode).ExportBundle(context.Background(), &b, plugin)
		require.NoError(t, err)

		w.servers[1].Close()
		away := w.client(mode, func(o *Options) { o.MetadataDir += "2"; o.CacheDir += "2" })
		_, err = away.ImportBundle(context.Background(), bytes.NewReader(b.Bytes()), ImportOptions{})
		require.NoError(t, err)
		_, err = away.ImportBundle(context.Background(), bytes.NewReader(b.Bytes()[:b.Len()/2]), ImportOptions{})
		require.ErrorIs(t, err, ErrVerdict)
		require.Equal(t, []string{"in use", "ready"}, states(t, away))
		r := w.get(away)
		require.True(t, r.Offline)
		_, err = os.Stat(r.Path)
		require.NoError(t, err)
	}
}

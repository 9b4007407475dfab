package hybrid

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// mirrored is a world whose repository is served in more places than one. Each
// has a copy of its own: what is published reaches it with sync.
type mirrored struct {
	*world
	servers []*tuftest.Server
	copies  []*tuftest.Repo

	clock sync.Mutex
	now   time.Time
}

// newMirrored is newWorld with n places; the first is the world's own.
func newMirrored(t *testing.T, n int) *mirrored {
	w := &mirrored{world: newWorld(t), now: time.Now()}
	w.servers = []*tuftest.Server{w.server}
	for range n - 1 {
		held := tuftest.NewRepo(tuftest.Config{})
		w.copies = append(w.copies, held)
		s := tuftest.NewServer(held)
		t.Cleanup(s.Close)
		w.servers = append(w.servers, s)
	}
	w.sync()
	return w
}

// sync brings all copies up to date.
func (w *mirrored) sync() {
	for _, held := range w.copies {
		held.SetFiles(w.repo.Files())
	}
}

func (w *mirrored) client(mode Mode, edit ...func(*Options)) *Client {
	return w.world.client(mode, append([]func(*Options){func(o *Options) {
		for _, s := range w.servers[1:] {
			o.Mirrors = append(o.Mirrors, Mirror{URL: s.URL})
		}
		o.HTTP.Attempts = 1
		o.Now = func() time.Time {
			w.clock.Lock()
			defer w.clock.Unlock()
			return w.now
		}
	}}, edit...)...)
}

// pass lets the clients' clock go ahead. It stands still otherwise: no cool-down
// depends on how fast the machine is.
func (w *mirrored) pass(d time.Duration) {
	w.clock.Lock()
	defer w.clock.Unlock()
	w.now = w.now.Add(d)
}

func (w *mirrored) forget() {
	for _, s := range w.servers {
		s.Forget()
	}
}

// asked says which servers have been asked for anything since forget.
func (w *mirrored) asked() []bool {
	var asked []bool
	for _, s := range w.servers {
		asked = append(asked, len(s.Requests()) > 0)
	}
	return asked
}

func (w *mirrored) events(code string) []Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []Event
	for _, e := range w.world.events {
		if e.Code == code {
			found = append(found, e)
		}
	}
	return found
}

func states(t *testing.T, c *Client) []string {
	var list []string
	for _, m := range status(t, c).Mirrors {
		list = append(list, m.State)
	}
	return list
}

var (
	mirrorModes = []Mode{ModeGo, ModeAuto, ModePython, ModeDual}
	fresh       = []string{
		"metadata/2.root.json", "metadata/timestamp.json", "metadata/2.snapshot.json", "metadata/2.targets.json", targetFile,
	}
)

// TestMirrorAnswers in place of one that does not give what is needed, from the
// first file on: no operation sees files of two mirrors.
func TestMirrorAnswers(t *testing.T) {
	for name, spoil := range map[string]func(s *tuftest.Server){
		"stopped":        func(s *tuftest.Server) { s.Close() },
		"500":            func(s *tuftest.Server) { s.On("", tuftest.Status(500)) },
		"no timestamp":   func(s *tuftest.Server) { s.On("metadata/timestamp.json", tuftest.Status(404)) },
		"no snapshot":    func(s *tuftest.Server) { s.On("metadata/2.snapshot.json", tuftest.Status(404)) },
		"no targets":     func(s *tuftest.Server) { s.On("metadata/2.targets.json", tuftest.Truncated) },
		"captive portal": func(s *tuftest.Server) { s.On("", tuftest.HTML) },
		"no JSON":        func(s *tuftest.Server) { s.On("metadata/timestamp.json", tuftest.Garbage) },
		"hangs":          func(s *tuftest.Server) { s.On("metadata/timestamp.json", tuftest.Silence) },
	} {
		for _, mode := range mirrorModes {
			t.Run(name+"/"+string(mode), func(t *testing.T) {
				w := newMirrored(t, 2)
				spoil(w.servers[0])
				c := w.client(mode, func(o *Options) {
					if name == "hangs" {
						o.HTTP.FirstByteTimeout = time.Second
					}
				})
				require.Equal(t, []string{"in use", "ready"}, states(t, c))
				r := w.get(c)
				require.False(t, r.Offline)
				want := fresh
				if name == "no targets" { // The snapshot has been verified, and stays.
					want = slices.Delete(slices.Clone(fresh), 2, 3)
				}
				// On a machine that is busy the timestamp may have been asked for ahead.
				require.ElementsMatch(t, want, w.servers[1].Requests())

				require.Equal(t, []string{"down", "in use"}, states(t, c))
				down := status(t, c).Mirrors[0]
				require.NotEmpty(t, down.LastError)
				require.Equal(t, minCoolDown, down.Until.Sub(w.now))
				events := w.events("mirror")
				require.Len(t, events, 1)
				require.Equal(t, SeverityWarning, events[0].Severity)
				require.Contains(t, events[0].Message, w.servers[0].URL)
				require.Contains(t, events[0].Message, w.servers[1].URL)
				require.ErrorIs(t, events[0].Err, ErrTransport)
				require.Empty(t, w.events("refused"))
				require.Empty(t, w.events("fallback"))

				w.forget()
				w.get(c)
				require.Equal(t, []bool{false, true}, w.asked(), "the next call begins there")
			})
		}
	}
}

// TestNoMirrorAnswers: the error names each, and no secret; what was verified
// before stands in only then.
func TestNoMirrorAnswers(t *testing.T) {
	for _, mode := range mirrorModes {
		t.Run(string(mode), func(t *testing.T) {
			w := newMirrored(t, 3)
			secret := func(o *Options) { o.HTTP.BearerToken = "s3cret" }
			w.get(w.client(mode))
			w.servers[0].On("", tuftest.Status(404))
			w.servers[1].Close()
			w.servers[2].On("", tuftest.HTML)
			e := w.refused(w.client(mode, secret, func(o *Options) { o.MaxMetadataAge = -1 }), ErrTransport)
			require.Equal(t, protocol.CodeUnreachable, e.Code)
			require.Len(t, e.Causes, 3)
			for i, code := range []protocol.Code{protocol.CodeHTTPStatus, protocol.CodeUnreachable, protocol.CodeNotARepository} {
				require.Equal(t, code, tuferr.CodeOf(e.Causes[i]))
				require.Contains(t, e.Error(), w.servers[i].URL)
			}
			require.NotContains(t, e.Error(), "s3cret")

			c := w.client(mode)
			require.True(t, w.get(c).Offline)
			require.Equal(t, []string{"down", "down", "down"}, states(t, c))
			require.Error(t, c.Refresh(context.Background()))
			w.servers[2].Heal()
			require.False(t, w.get(c).Offline, "a mirror that is down is asked at once if all are")
		})
	}
}

// TestOneMirrorIsAsBefore: without mirrors nothing is counted, and the error is
// the repository's own.
func TestOneMirrorIsAsBefore(t *testing.T) {
	w := newWorld(t)
	w.server.On("metadata/timestamp.json", tuftest.Status(503))
	c := w.client(ModeGo, func(o *Options) { o.HTTP.Attempts = 1 })
	for range 3 {
		w.server.Forget()
		e := w.refused(c, ErrTransport)
		require.Equal(t, 503, e.Status)
		require.Empty(t, e.Causes)
		require.Contains(t, w.server.Requests(), "metadata/timestamp.json", "asked each time")
	}
	require.Nil(t, status(t, c).Mirrors)
	require.NotContains(t, w.codes(), "mirror")
}

// TestVerdictIsFinal for the call, whatever other mirrors have; the next call
// begins with another.
func TestVerdictIsFinal(t *testing.T) {
	for name, attack := range map[string]struct {
		family error
		do     func(w *mirrored)
	}{
		"lags behind": {ErrRollback, func(w *mirrored) {
			old := w.repo.Files()
			w.repo.Publish("targets")
			w.sync()
			w.get(w.client(ModeGo))
			w.repo.SetFiles(old)
		}},
		"unsigned": {ErrUnsigned, func(w *mirrored) {
			w.repo.Timestamp.Signers = tuftest.Keys(90, 1)
			w.repo.PublishTimestamp()
		}},
		"expired": {ErrExpired, func(w *mirrored) {
			w.repo.Timestamp.Signed["expires"] = "2020-01-01T00:00:00Z"
			w.repo.PublishTimestamp()
		}},
		"malformed": {ErrMalformed, func(w *mirrored) {
			w.servers[0].On("metadata/timestamp.json", tuftest.Body([]byte(`{"signatures":[],"signed":{"_type":"timestamp"}}`)))
		}},
		"mixed": {ErrMismatch, func(w *mirrored) {
			w.servers[0].On("metadata/2.snapshot.json", tuftest.Body(bytes.Replace(must(w.repo.Get("metadata/2.snapshot.json")), []byte("2099"), []byte("2098"), 1)))
		}},
		"endless metadata": {ErrEndlessData, func(w *mirrored) { w.servers[0].On("metadata/2.snapshot.json", tuftest.Endless) }},
		"wrong bytes":      {ErrMismatch, func(w *mirrored) { w.servers[0].On(targetFile, tuftest.Garbage) }},
		"short":            {ErrMismatch, func(w *mirrored) { w.servers[0].On(targetFile, tuftest.Short) }},
		"endless target":   {ErrEndlessData, func(w *mirrored) { w.servers[0].On(targetFile, tuftest.Endless) }},
		"portal as target": {ErrVerdict, func(w *mirrored) { w.servers[0].On(targetFile, tuftest.HTML) }},
	} {
		for _, mode := range mirrorModes {
			t.Run(name+"/"+string(mode), func(t *testing.T) {
				w := newMirrored(t, 2)
				attack.do(w)
				w.forget()
				c := w.client(mode, func(o *Options) { o.CacheDir += "2" })
				w.refused(c, attack.family)
				require.Equal(t, []bool{true, false}, w.asked(), "nobody is asked to overrule it")
				require.Len(t, w.events("refused"), 1)
				require.Equal(t, []string{"set back", "ready"}, states(t, c))

				w.forget()
				w.get(c)
				require.Equal(t, []bool{false, true}, w.asked())
				require.Len(t, w.events("mirror"), 1)
				require.ErrorIs(t, w.events("mirror")[0].Err, attack.family)
				require.Equal(t, []string{"set back", "in use"}, states(t, c))
			})
		}
	}
}

func must(raw []byte, ok bool) []byte {
	if !ok {
		panic("no such file")
	}
	return raw
}

// TestNewerThenOlder: what one mirror has served holds against all others.
func TestNewerThenOlder(t *testing.T) {
	w := newMirrored(t, 2)
	w.repo.Publish("targets") // The copy lags behind.
	c := w.client(ModeDual)
	w.get(c)
	w.servers[0].On("", tuftest.Status(500))
	e := w.refused(c, ErrRollback)
	require.EqualValues(t, 3, e.Trusted)
	require.EqualValues(t, 2, e.Received)
	require.Equal(t, []string{"down", "set back"}, states(t, c))

	w.forget()
	w.servers[0].Heal()
	w.get(c)
	require.Equal(t, []bool{true, false}, w.asked(), "both are in trouble: the preferred one is asked")
}

// TestVerdictsOfOurOwn are not held against a mirror.
func TestVerdictsOfOurOwn(t *testing.T) {
	w := newMirrored(t, 2)
	c := w.client(ModeGo)
	_, err := c.VerifyAndDownloadPlugin(context.Background(), plugin, DownloadOptions{ExpectedHash: tuftest.SHA256(nil)})
	require.ErrorIs(t, err, ErrExpectedHash)
	_, err = c.Lookup(context.Background(), "no/such")
	require.ErrorIs(t, err, ErrNotFound)
	ctx, cancel := context.WithCancel(context.Background())
	asked := make(chan struct{})
	w.servers[0].Before("metadata/timestamp.json", func() { close(asked) })
	w.servers[0].On("metadata/timestamp.json", tuftest.Silence)
	go func() { <-asked; cancel() }()
	_, err = c.refresh(ctx) // Refresh would not wait for its end.
	require.ErrorIs(t, err, ErrCancelled)
	require.Equal(t, []string{"in use", "ready"}, states(t, c))
	require.Equal(t, []bool{true, false}, w.asked())
}

// TestWhoIsAskedNext has every code that there is.
func TestWhoIsAskedNext(t *testing.T) {
	next := []protocol.Code{protocol.CodeUnreachable, protocol.CodeHTTPStatus, protocol.CodeNotARepository, protocol.CodeStale}
	ours := []protocol.Code{protocol.CodeRootConflict, protocol.CodeExpectedHash, protocol.CodePolicyDenied}
	for _, info := range protocol.Codes {
		w := newMirrored(t, 2)
		c := w.client(ModeGo)
		err := tuferr.New(info.Code, "")
		want := "in use"
		switch {
		case slices.Contains(next, info.Code):
			want = "down"
		case info.Class == protocol.ClassVerdict && !slices.Contains(ours, info.Code):
			want = "set back"
		}
		require.Equal(t, want == "down", c.mirrors.note(c.mirrors.begin(c.mirrors.all[0], partTop), err), info.Code)
		require.Equal(t, want, states(t, c)[0], info.Code)
	}
}

// TestCoolDown doubles up to its bound, ends with a success, and is over at once
// where no other mirror is well.
func TestCoolDown(t *testing.T) {
	w := newMirrored(t, 2)
	c := w.client(ModeGo)
	w.servers[0].On("", tuftest.Status(503))
	cool := minCoolDown
	for range 9 {
		w.get(c)
		require.Equal(t, cool, status(t, c).Mirrors[0].Until.Sub(w.now))
		w.pass(cool - time.Second)
		w.forget()
		w.get(c)
		require.Equal(t, []bool{false, true}, w.asked(), "not before %s", cool)
		w.pass(time.Second)
		w.get(c)
		require.Equal(t, []bool{true, true}, w.asked(), "tried again after %s", cool)
		cool = min(2*cool, maxCoolDown)
	}
	require.Equal(t, maxCoolDown, cool)
	require.Len(t, w.events("mirror"), 1, "said once")

	w.servers[0].Heal()
	w.pass(maxCoolDown)
	w.forget()
	w.get(c)
	require.Equal(t, []bool{true, false}, w.asked(), "the preferred one is back")
	require.Equal(t, []string{"in use", "ready"}, states(t, c))
	require.Empty(t, status(t, c).Mirrors[0].LastError)
	require.Equal(t, SeverityInfo, w.events("mirror")[1].Severity)

	w.servers[0].On("", tuftest.Status(503))
	w.get(c)
	require.Equal(t, minCoolDown, status(t, c).Mirrors[0].Until.Sub(w.now), "the success has reset it")
	w.pass(-time.Hour)
	require.Equal(t, "ready", states(t, c)[0], "a clock that is set back prolongs nothing")
}

// TestBadTargetsBesideGoodMetadata: success with the one does not make up for the
// other, or every fifth second would bring a verdict.
func TestBadTargetsBesideGoodMetadata(t *testing.T) {
	w := newMirrored(t, 2)
	w.servers[0].On(targetFile, tuftest.Garbage)
	c := w.client(ModeGo)
	cool := minCoolDown
	for i := range 3 {
		w.refused(c, ErrMismatch)
		require.Equal(t, "set back", states(t, c)[0])
		require.Equal(t, cool, status(t, c).Mirrors[0].Until.Sub(w.now))
		w.pass(cool)
		require.NoError(t, c.Refresh(context.Background()))
		require.Len(t, w.events("refused"), i+1)
		cool *= 2
	}
	w.servers[0].Heal()
	w.get(c)
	require.Equal(t, "in use", states(t, c)[0])
	require.Empty(t, status(t, c).Mirrors[0].LastError)
}

// TestAProbeHoldsUpOneCall: while one call waits for a mirror that was down,
// others go where they get an answer.
func TestAProbeHoldsUpOneCall(t *testing.T) {
	w := newMirrored(t, 2)
	w.servers[0].On("", tuftest.Status(503))
	c := w.client(ModeGo)
	w.get(c)
	w.pass(minCoolDown)
	w.servers[0].Heal()
	asked := make(chan struct{})
	w.servers[0].On("metadata/timestamp.json", tuftest.Silence)
	w.servers[0].Before("metadata/timestamp.json", func() { close(asked) })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		_, err := c.refresh(ctx)
		done <- err
	}()
	<-asked
	w.get(c)
	cancel()
	require.ErrorIs(t, <-done, ErrCancelled)
}

// TestMirrorThatOutlastsItsCallers: their deadlines may be shorter than those of
// the HTTP stack; a mirror that hangs must not cost each call its time.
func TestMirrorThatOutlastsItsCallers(t *testing.T) {
	w := newMirrored(t, 2)
	c := w.client(ModeGo)
	require.NoError(t, c.Initialize(context.Background()))
	w.servers[0].On("metadata/timestamp.json", tuftest.Silence)
	for _, waited := range []time.Duration{0, minCoolDown} {
		ctx, cancel := context.WithCancel(context.Background())
		w.servers[0].Before("metadata/timestamp.json", func() {
			w.pass(waited)
			cancel()
		})
		_, err := c.refresh(ctx) // Refresh would not wait for its end.
		require.ErrorIs(t, err, ErrCancelled)
		require.Equal(t, waited > 0, states(t, c)[0] == "down")
	}
	w.get(c)
	require.Equal(t, []string{"down", "in use"}, states(t, c))
}

// TestStatusOfMirrors shows no secrets, and its names are those of its JSON form.
func TestStatusOfMirrors(t *testing.T) {
	w := newMirrored(t, 2)
	w.servers[0].Close()
	c := w.client(ModeGo, func(o *Options) { o.HTTP.BearerToken = "s3cret" })
	w.get(c)
	raw, err := json.Marshal(status(t, c))
	require.NoError(t, err)
	require.NotContains(t, string(raw), "s3cret")
	var s struct {
		Mirrors []map[string]any `json:"mirrors"`
	}
	require.NoError(t, json.Unmarshal(raw, &s))
	require.Len(t, s.Mirrors, 2)
	require.Equal(t, "down", s.Mirrors[0]["state"])
	require.NotEmpty(t, s.Mirrors[0]["until"])
	require.NotEmpty(t, s.Mirrors[0]["last_error"])
	require.Equal(t, map[string]any{
		"metadata_url": w.servers[1].URL + "/metadata", "targets_url": w.servers[1].URL + "/targets", "state": "in use",
	}, s.Mirrors[1])
	require.Equal(t, "http://x/m", shown("http://user:pw@x/m?key=s3cret#f"))
}

func TestMirrorOptions(t *testing.T) {
	for _, m := range []Mirror{
		{}, {URL: "ftp://x"}, {URL: "http://user:secret@x/"}, {MetadataURL: "http://x/metadata"}, {TargetsURL: "http://x/targets"},
		{URL: "http://x", TargetsURL: "/here"}, {URL: "http://x/?token=secret"}, {MetadataURL: "http://x/#secret", TargetsURL: "http://x"},
	} {
		_, err := New(Options{Mirrors: []Mirror{m}})
		require.ErrorIs(t, err, ErrUsage, m)
		require.NotContains(t, err.Error(), "secret")
	}
	given := []Mirror{{URL: "http://x/"}, {URL: "http://y", TargetsURL: "http://z/t/"}, {MetadataURL: "http://a/m", TargetsURL: "http://a/t"}}
	list, err := located(given)
	require.NoError(t, err)
	require.Equal(t, []Mirror{
		{URL: "http://x/", MetadataURL: "http://x/metadata", TargetsURL: "http://x/targets"},
		{URL: "http://y", MetadataURL: "http://y/metadata", TargetsURL: "http://z/t"},
		{MetadataURL: "http://a/m", TargetsURL: "http://a/t"},
	}, list)
	require.Empty(t, given[0].MetadataURL, "the caller's own")
}

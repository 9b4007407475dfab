package source_test

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/source"
	"github.com/ragnos-labs/vault-tuf/internal/transport"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// trusted is what a store holds.
type trusted struct {
	root, timestamp, snapshot *admission.Doc
	roles                     map[string]*admission.Doc
}

func (h trusted) RootDoc() *admission.Doc            { return h.root }
func (h trusted) TimestampDoc() *admission.Doc       { return h.timestamp }
func (h trusted) SnapshotDoc() *admission.Doc        { return h.snapshot }
func (h trusted) RoleDoc(role string) *admission.Doc { return h.roles[role] }

type world struct {
	t      *testing.T
	repo   *tuftest.Repo
	server *tuftest.Server
	limits admission.Limits
	client *transport.Client
	memo   *source.Memo
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, repo: tuftest.NewRepo(tuftest.Config{}), memo: &source.Memo{}}
	w.server = tuftest.NewServer(w.repo)
	t.Cleanup(w.server.Close)
	var err error
	w.client, err = transport.New(transport.Options{BackoffMin: time.Millisecond, BackoffMax: time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(w.client.Close)
	return w
}

func (w *world) doc(role string, version int) *admission.Doc {
	w.t.Helper()
	raw, ok := w.repo.Get(w.repo.MetadataName(role, version))
	require.True(w.t, ok, role)
	doc, err := admission.Parse(admission.KindOf(role), raw, admission.DefaultLimits())
	require.NoError(w.t, err)
	return doc
}

func (w *world) source() *source.Source {
	inquiry := source.Inquire(source.Remote{Client: w.client, MetadataURL: w.server.URL + "/metadata", Limits: w.limits}, w.memo)
	w.t.Cleanup(inquiry.Close)
	return source.New(inquiry,
		trusted{root: w.doc("root", 1), timestamp: w.doc("timestamp", 1), snapshot: w.doc("snapshot", 1),
			roles: map[string]*admission.Doc{"targets": w.doc("targets", 1)}})
}

var (
	timestamp = engine.File{Role: "timestamp"}
	nextRoot  = engine.File{Role: "root", Version: 2}
)

// TestMemo: a file is fetched once for all operations that share a memo, and so
// is the answer that it cannot be had.
func TestMemo(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	docs := make([]*admission.Doc, 16)
	for i := range docs {
		wg.Go(func() { docs[i], _ = w.source().Remote(t.Context(), timestamp) })
	}
	wg.Wait()
	for _, d := range docs {
		require.Same(t, docs[0], d)
	}
	require.Equal(t, w.doc("timestamp", 1).SHA256, docs[0].SHA256)
	for range 3 {
		_, err := w.source().Remote(t.Context(), nextRoot)
		require.Equal(t, protocol.CodeNotFound, tuferr.CodeOf(err))
		_, err = w.source().Remote(t.Context(), engine.File{Role: "gone", Version: 7})
		require.Equal(t, protocol.CodeHTTPStatus, tuferr.CodeOf(err))
	}
	require.ElementsMatch(t, []string{"metadata/timestamp.json", "metadata/2.root.json", "metadata/7.gone.json"}, w.server.Requests())

	doc, err, asked := w.memo.Answer(timestamp)
	require.True(t, asked)
	require.NoError(t, err)
	require.Same(t, docs[0], doc)
	_, err, asked = w.memo.Answer(nextRoot)
	require.True(t, asked)
	require.Equal(t, protocol.CodeNotFound, tuferr.CodeOf(err))
	_, _, asked = w.memo.Answer(engine.File{Role: "snapshot", Version: 1})
	require.False(t, asked)

	w.memo = &source.Memo{}
	_, err = w.source().Remote(t.Context(), timestamp)
	require.NoError(t, err)
	require.Len(t, w.server.Requests(), 4, "a new memo asks again")
}

// TestCancelIsNotRemembered: one caller that gives up does not spoil it for others.
func TestCancelIsNotRemembered(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.server.On("metadata/timestamp.json", tuftest.Silence)
	w.server.Before("metadata/timestamp.json", cancel)
	_, err := w.source().Remote(ctx, timestamp)
	require.ErrorIs(t, err, context.Canceled)
	_, _, asked := w.memo.Answer(timestamp)
	require.False(t, asked)
	w.server.Heal()
	_, err = w.source().Remote(t.Context(), timestamp)
	require.NoError(t, err)
}

func TestAnswersOfARepository(t *testing.T) {
	snapshot := engine.File{Role: "snapshot", Version: 1}
	for name, tt := range map[string]struct {
		file  engine.File
		reply tuftest.Reply
		code  protocol.Code
	}{
		"root 404":            {nextRoot, tuftest.Status(404), protocol.CodeNotFound},
		"root 403":            {nextRoot, tuftest.Status(403), protocol.CodeNotFound},
		"root 410":            {nextRoot, tuftest.Status(410), protocol.CodeHTTPStatus},
		"root 401":            {nextRoot, tuftest.Status(401), protocol.CodeHTTPStatus},
		"root 500":            {nextRoot, tuftest.Status(500), protocol.CodeHTTPStatus},
		"root reset":          {nextRoot, tuftest.Reset, protocol.CodeUnreachable},
		"root HTML":           {nextRoot, tuftest.HTML, protocol.CodeNotARepository},
		"timestamp 404":       {timestamp, tuftest.Status(404), protocol.CodeHTTPStatus},
		"timestamp 403":       {timestamp, tuftest.Status(403), protocol.CodeHTTPStatus},
		"timestamp HTML":      {timestamp, tuftest.HTML, protocol.CodeNotARepository},
		"timestamp garbage":   {timestamp, tuftest.Garbage, protocol.CodeNotARepository},
		"timestamp empty":     {timestamp, tuftest.Body(nil), protocol.CodeNotARepository},
		"timestamp half":      {timestamp, tuftest.Body([]byte(`{"signatures":[],"signed":{"_ty`)), protocol.CodeMalformed},
		"timestamp cut off":   {timestamp, tuftest.Truncated, protocol.CodeUnreachable},
		"timestamp no role":   {timestamp, tuftest.Body([]byte(`{"signatures":[],"signed":{"_type":"root"}}`)), protocol.CodeMalformed},
		"timestamp is a list": {timestamp, tuftest.Body([]byte(`[]`)), protocol.CodeNotARepository},
		"endless":             {timestamp, tuftest.Endless, protocol.CodeEndlessData},
		"longer than signed":  {engine.File{Role: "snapshot", Version: 1, Length: 10}, tuftest.File, protocol.CodeEndlessData},
		"as long as signed":   {snapshot, tuftest.File, ""},
		"a role with a slash": {engine.File{Role: "../x", Version: 1}, tuftest.File, protocol.CodeHTTPStatus},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.server.On("", tt.reply)
			doc, err := w.source().Remote(t.Context(), tt.file)
			require.Equal(t, tt.code, tuferr.CodeOf(err), err)
			if tt.code == "" {
				require.NotNil(t, doc)
				return
			}
			require.Nil(t, doc)
			e := tuferr.As(err)
			require.Equal(t, tt.file.Role, e.Role)
			require.Contains(t, e.URL, w.server.URL)
			if tt.code == protocol.CodeNotARepository {
				require.NotEmpty(t, e.Hint)
			}
			if e.Code == protocol.CodeNotFound || e.Code == protocol.CodeHTTPStatus {
				require.GreaterOrEqual(t, e.Status, http.StatusBadRequest)
			}
		})
	}
}

// TestLimit: the signed length can lower the limit of a kind and never raise it.
func TestLimit(t *testing.T) {
	w := newWorld(t)
	raw, _ := w.repo.Get("metadata/1.snapshot.json")
	size := int64(len(raw))
	file := engine.File{Role: "snapshot", Version: 1, Length: size + 1000}
	w.limits.Snapshot = size - 1
	_, err := w.source().Remote(t.Context(), file)
	require.Equal(t, protocol.CodeEndlessData, tuferr.CodeOf(err))

	w.limits.Snapshot, w.memo = size, &source.Memo{}
	_, err = w.source().Remote(t.Context(), file)
	require.NoError(t, err)

	// Whoever allows more than the first to ask, asks again.
	w.memo = &source.Memo{}
	w.server.Forget()
	for _, length := range []int64{size - 2, size - 3, size - 1, size} {
		file.Length = length
		_, err = w.source().Remote(t.Context(), file)
		require.Equal(t, length < size, err != nil)
	}
	require.Len(t, w.server.Requests(), 3)
}

func TestServed(t *testing.T) {
	w := newWorld(t)
	w.repo.PublishRoot()
	w.repo.PublishRoot()
	s := w.source()
	require.Nil(t, w.memo.Served("timestamp", ""))
	two, err := s.Remote(t.Context(), nextRoot)
	require.NoError(t, err)
	require.Same(t, two, w.memo.Served("root", ""))
	three, err := s.Remote(t.Context(), engine.File{Role: "root", Version: 3})
	require.NoError(t, err)
	require.Nil(t, w.memo.Served("root", ""), "which of them?")
	require.Same(t, two, w.memo.Served("root", two.SHA256))
	require.Same(t, three, w.memo.Served("root", three.SHA256))
	require.Nil(t, w.memo.Served("root", w.doc("timestamp", 1).SHA256))
	require.Nil(t, w.memo.Served("targets", two.SHA256))
	_, err = s.Remote(t.Context(), engine.File{Role: "root", Version: 4})
	require.Error(t, err)
	require.Nil(t, w.memo.Served("root", ""))
}

// TestRotationHides: once a root took a timestamp or snapshot key away, both
// trusted copies are out of the engines' sight (5.3.11), root and targets stay.
func TestRotationHides(t *testing.T) {
	for name, tt := range map[string]struct {
		rotate func(w *world)
		hidden bool
	}{
		"timestamp": {func(w *world) { w.repo.SetKeys("timestamp", 1, tuftest.NewKey(tuftest.Ed25519, 50)) }, true},
		"snapshot":  {func(w *world) { w.repo.SetKeys("snapshot", 1, tuftest.NewKey(tuftest.Ed25519, 50)) }, true},
		"targets":   {func(w *world) { w.repo.SetKeys("targets", 1, tuftest.NewKey(tuftest.Ed25519, 50)) }, false},
		"nothing":   {func(*world) {}, false},
		"there and back": {func(w *world) {
			w.repo.SetKeys("timestamp", 1, tuftest.NewKey(tuftest.Ed25519, 50))
			w.repo.PublishRoot()
			w.repo.SetKeys("timestamp", 1, tuftest.NewKey(tuftest.Ed25519, 1))
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tt.rotate(w)
			w.repo.PublishRoot()
			s := w.source()
			root := w.doc("root", 1)
			require.NotNil(t, s.Local("timestamp", root))
			require.NotNil(t, s.Local("snapshot", root))
			for v := int64(2); ; v++ {
				next, err := s.Remote(t.Context(), engine.File{Role: "root", Version: v})
				if err != nil {
					break
				}
				root = next
			}
			require.Equal(t, tt.hidden, s.Local("timestamp", root) == nil)
			require.Equal(t, tt.hidden, s.Local("snapshot", root) == nil)
			require.NotNil(t, s.Local("root", root))
			require.NotNil(t, s.Local("targets", root))
			require.Nil(t, s.Local("stranger", root))
		})
	}
}

// TestRootsFromElsewhereHide: under a chain that this source did not serve it
// gives out less.
func TestRootsFromElsewhereHide(t *testing.T) {
	w := newWorld(t)
	w.repo.PublishRoot()
	w.repo.PublishRoot()
	require.Nil(t, w.source().Local("timestamp", w.doc("root", 3)))
}

// TestBytesAreTheRepositorys: what an engine gets is what was sent, to the byte.
func TestBytesAreTheRepositorys(t *testing.T) {
	w := newWorld(t)
	w.repo.Timestamp.EditRaw = func(raw []byte) []byte { return append([]byte(" \n"), raw...) }
	w.repo.PublishTimestamp()
	doc, err := w.source().Remote(t.Context(), timestamp)
	require.NoError(t, err)
	raw, _ := w.repo.Get("metadata/timestamp.json")
	require.True(t, bytes.Equal(raw, doc.Raw))
}

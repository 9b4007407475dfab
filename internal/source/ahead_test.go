package source_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/source"
	"github.com/ragnos-labs/vault-tuf/internal/transport"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

const (
	timestampFile = "metadata/timestamp.json"
	nextRootFile  = "metadata/2.root.json"
)

// after answers when c is closed, and not at all if it never is.
func after(c <-chan struct{}, reply tuftest.Reply) tuftest.Reply {
	return func(x *tuftest.Exchange) {
		select {
		case <-c:
			reply(x)
		case <-x.Request.Context().Done():
		}
	}
}

// lateRoot has the answer to the next root come only when the timestamp has
// been asked for: a client that asks for one after the other never gets one.
func (w *world) lateRoot() {
	asked := make(chan struct{})
	w.server.Before(timestampFile, func() { close(asked) })
	w.server.On(nextRootFile, after(asked, tuftest.File))
}

func (w *world) asked(file string) int {
	n := 0
	for _, r := range w.server.Requests() {
		if r == file {
			n++
		}
	}
	return n
}

func TestTimestampIsAskedForWhileTheNextRootIsOut(t *testing.T) {
	w := newWorld(t)
	w.lateRoot()
	s := w.source()
	_, _, asked := w.memo.Answer(timestamp)
	require.False(t, asked)
	_, err := s.Remote(t.Context(), nextRoot)
	require.Equal(t, protocol.CodeNotFound, tuferr.CodeOf(err))
	_, _, asked = w.memo.Answer(timestamp)
	require.False(t, asked, "a guess is no answer")
	doc, err := s.Remote(t.Context(), timestamp)
	require.NoError(t, err)
	require.Equal(t, w.doc("timestamp", 1).SHA256, doc.SHA256)
	require.ElementsMatch(t, []string{nextRootFile, timestampFile}, w.server.Requests())
}

// TestExpectedRootIsAskedForOnce, in the background, and all that follows from
// its being late follows.
func TestExpectedRootIsAskedForOnce(t *testing.T) {
	w := newWorld(t)
	w.lateRoot()
	s := w.source()
	s.Expect(2)
	_, _, asked := w.memo.Answer(nextRoot)
	require.False(t, asked, "a guess is no answer")
	_, err := s.Remote(t.Context(), nextRoot)
	require.Equal(t, protocol.CodeNotFound, tuferr.CodeOf(err))
	_, err = s.Remote(t.Context(), timestamp)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{nextRootFile, timestampFile}, w.server.Requests())
	s.Close()
	s.Expect(3)
	s.Close()
	require.Len(t, w.server.Requests(), 2)
}

func TestTimestampFromBeforeANewRootIsDropped(t *testing.T) {
	w := newWorld(t)
	w.lateRoot()
	w.repo.PublishRoot()
	s := w.source()
	_, err := s.Remote(t.Context(), nextRoot)
	require.NoError(t, err)
	require.Equal(t, 1, w.asked(timestampFile))
	w.repo.PublishTimestamp()
	_, err = s.Remote(t.Context(), engine.File{Role: "root", Version: 3})
	require.Equal(t, protocol.CodeNotFound, tuferr.CodeOf(err))
	doc, err := s.Remote(t.Context(), timestamp)
	require.NoError(t, err)
	require.EqualValues(t, 2, doc.Version)
	require.Equal(t, 2, w.asked(timestampFile))
}

// TestRootsAreFetchedAheadInWideningWindows: no root of a window is answered
// before all of them have been asked for.
func TestRootsAreFetchedAheadInWideningWindows(t *testing.T) {
	const newest = 40
	w := newWorld(t)
	w.lateRoot()
	for range newest - 1 {
		w.repo.PublishRoot()
	}
	for from, size := 3, 2; from <= newest+16; from, size = from+size, min(2*size, 16) {
		var all sync.WaitGroup
		all.Add(size)
		complete := make(chan struct{})
		go func() { all.Wait(); close(complete) }()
		for v := from; v < from+size; v++ {
			name := fmt.Sprintf("metadata/%d.root.json", v)
			w.server.Before(name, all.Done)
			w.server.On(name, after(complete, tuftest.File))
			if v > newest { // Nobody need come so far.
				w.server.Before(name, nil)
				all.Done()
			}
		}
	}
	s := w.source()
	for v := int64(2); v <= newest; v++ {
		doc, err := s.Remote(t.Context(), engine.File{Role: "root", Version: v})
		require.NoError(t, err)
		require.Equal(t, w.repo.RootBytes(int(v)), doc.Raw)
	}
	_, err := s.Remote(t.Context(), engine.File{Role: "root", Version: newest + 1})
	require.Equal(t, protocol.CodeNotFound, tuferr.CodeOf(err))
	doc, err := s.Remote(t.Context(), timestamp)
	require.NoError(t, err)
	require.Equal(t, w.doc("timestamp", 1).SHA256, doc.SHA256)
	s.Close()

	requests := w.server.Requests()
	slices.Sort(requests)
	roots := slices.DeleteFunc(slices.Clone(requests), func(r string) bool { return !strings.HasSuffix(r, ".root.json") })
	require.Equal(t, len(roots), len(slices.Compact(roots)), "each once")
	require.LessOrEqual(t, len(roots), newest-1+16)
}

// TestGuessesThatFailAreNoAnswers: nor are those that never come.
func TestGuessesThatFailAreNoAnswers(t *testing.T) {
	for name, first := range map[string]tuftest.Reply{
		"failed":                    tuftest.Status(http.StatusTeapot),
		"not metadata":              tuftest.HTML,
		"one connection at a time":  tuftest.Silence,
		"more than is allowed then": tuftest.Body(make([]byte, 1<<20)),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.lateRoot()
			var once sync.Once
			w.server.On(timestampFile, func(x *tuftest.Exchange) {
				reply := tuftest.File
				once.Do(func() { reply = first })
				reply(x)
			})
			s := w.source()
			_, err := s.Remote(t.Context(), nextRoot)
			require.Equal(t, protocol.CodeNotFound, tuferr.CodeOf(err))
			doc, err := s.Remote(t.Context(), timestamp)
			require.NoError(t, err)
			require.Equal(t, w.doc("timestamp", 1).SHA256, doc.SHA256)
			require.Equal(t, 2, w.asked(timestampFile))
		})
	}
}

func TestGuessLongerThanTheEngineAllows(t *testing.T) {
	w := newWorld(t)
	w.lateRoot()
	s := w.source()
	_, err := s.Remote(t.Context(), nextRoot)
	require.Equal(t, protocol.CodeNotFound, tuferr.CodeOf(err))
	_, err = s.Remote(t.Context(), engine.File{Role: "timestamp", Length: 5})
	require.Equal(t, protocol.CodeEndlessData, tuferr.CodeOf(err))
}

func TestWhoGivesUpDoesNotWaitForAGuess(t *testing.T) {
	w := newWorld(t)
	w.lateRoot()
	w.server.On(timestampFile, tuftest.Silence)
	s := w.source()
	_, err := s.Remote(t.Context(), nextRoot)
	require.Equal(t, protocol.CodeNotFound, tuferr.CodeOf(err))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Remote(ctx, timestamp)
	require.ErrorIs(t, err, context.Canceled)
	s.Close()
	_, err = s.Remote(ctx, engine.File{Role: "root", Version: 3})
	require.ErrorIs(t, err, context.Canceled, "nothing is guessed any more")
}

func TestKnownTimestamp(t *testing.T) {
	w := newWorld(t)
	tagged := func(x *tuftest.Exchange) {
		raw, _ := x.File()
		tag := `"` + tuftest.SHA256(raw) + `"`
		x.Header().Set("ETag", tag)
		if x.Request.Header.Get("If-None-Match") == tag {
			x.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = x.Write(raw)
	}
	for name, reply := range map[string]tuftest.Reply{"with ETag": tagged, "without": tuftest.File} {
		t.Run(name, func(t *testing.T) {
			w.server.On(timestampFile, reply)
			w.memo = &source.Memo{}
			first, err := w.source().Remote(t.Context(), timestamp)
			require.NoError(t, err)
			tag := w.memo.ETag(timestamp)
			require.Equal(t, name == "with ETag", tag != "")

			for range 2 {
				w.memo = &source.Memo{}
				s := w.source()
				s.Have(first, tag)
				again, err := s.Remote(t.Context(), timestamp)
				require.NoError(t, err)
				require.Same(t, first, again)
				require.Equal(t, tag, w.memo.ETag(timestamp))
			}
			w.repo.PublishTimestamp()
			w.memo = &source.Memo{}
			s := w.source()
			s.Have(first, tag)
			next, err := s.Remote(t.Context(), timestamp)
			require.NoError(t, err)
			require.Equal(t, first.Version+1, next.Version)
		})
	}
}

// TestForbiddenGuessIsNoEnd: a server may refuse what it is asked for too many
// of at a time. Asked alone, 403 is the end of the chain as 404 is.
func TestForbiddenGuessIsNoEnd(t *testing.T) {
	w := newWorld(t)
	w.lateRoot()
	for range 3 {
		w.repo.PublishRoot()
	}
	for _, v := range []int{3, 4} {
		var once sync.Once
		w.server.On(fmt.Sprintf("metadata/%d.root.json", v), func(x *tuftest.Exchange) {
			reply := tuftest.File
			once.Do(func() { reply = tuftest.Status(http.StatusForbidden) })
			reply(x)
		})
	}
	w.server.On("metadata/5.root.json", tuftest.Status(http.StatusForbidden))
	s := w.source()
	for v := int64(2); v <= 4; v++ {
		_, err := s.Remote(t.Context(), engine.File{Role: "root", Version: v})
		require.NoError(t, err)
	}
	_, err := s.Remote(t.Context(), engine.File{Role: "root", Version: 5})
	require.Equal(t, protocol.CodeNotFound, tuferr.CodeOf(err))
}

// TestNothingIsKnownUnderANewRoot: the timestamp is asked for as if none were.
func TestNothingIsKnownUnderANewRoot(t *testing.T) {
	w := newWorld(t)
	w.repo.PublishRoot()
	var tag string
	w.server.On(timestampFile, func(x *tuftest.Exchange) {
		tag = x.Request.Header.Get("If-None-Match")
		tuftest.File(x)
	})
	s := w.source()
	s.Have(w.doc("timestamp", 1), `"tag"`)
	_, err := s.Remote(t.Context(), nextRoot)
	require.NoError(t, err)
	_, err = s.Remote(t.Context(), engine.File{Role: "root", Version: 3})
	require.Equal(t, protocol.CodeNotFound, tuferr.CodeOf(err))
	_, err = s.Remote(t.Context(), timestamp)
	require.NoError(t, err)
	require.Empty(t, tag)
}

// TestNoGuessWithoutASlotForIt: what is asked in earnest has its turn, and finds
// out all the same.
func TestNoGuessWithoutASlotForIt(t *testing.T) {
	w := newWorld(t)
	var err error
	w.client, err = transport.New(transport.Options{MaxRequests: 1})
	require.NoError(t, err)
	t.Cleanup(w.client.Close)
	w.server.On(nextRootFile, func(x *tuftest.Exchange) {
		time.Sleep(50 * time.Millisecond) // Late enough for a guess.
		tuftest.File(x)
	})
	s := w.source()
	s.Expect(2)
	require.Empty(t, w.server.Requests())
	_, err = s.Remote(t.Context(), nextRoot)
	require.Equal(t, protocol.CodeNotFound, tuferr.CodeOf(err))
	require.Equal(t, []string{nextRootFile}, w.server.Requests())
	doc, err := s.Remote(t.Context(), timestamp)
	require.NoError(t, err)
	require.Equal(t, w.doc("timestamp", 1).SHA256, doc.SHA256)
	require.Equal(t, []string{nextRootFile, timestampFile}, w.server.Requests())
}

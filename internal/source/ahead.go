package source

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/forced"
	"github.com/ragnos-labs/vault-tuf/internal/transport"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// maxWindow bounds the root versions that are fetched ahead at a time, and so
// the connections that it takes.
const maxWindow = 16

// guessGrace is how long a guess may be late, beyond twice the time that the
// answer before took, until the file is asked for in earnest. A server that
// answers one connection after the other would never come to the guess.
const guessGrace = time.Second

// ahead fetches what the engine will most likely ask for next, while it waits
// for an answer that does not come at once: the timestamp while the next root
// version is out, and root versions in widening windows once one new version
// has come that slowly. An answer that comes at once costs no guess.
//
// A guess is no answer until the engine asks for the file. What is verified, and
// in which order, is as if there were no guesses: the engine asks for the
// timestamp only when the newest root is known (5.3), and a timestamp that was
// asked for before a newer root turned up is dropped. Root versions are verified
// one after another. The first of them may also be asked for while the trust store
// is being made. What the limits of the transport leave no room for is not guessed.
type ahead struct {
	// late says that some root version did not come at once.
	late atomic.Bool
	// took is how long the latest root version that was asked for took.
	took atomic.Int64

	ctx    context.Context
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu      sync.Mutex
	guesses map[name]*guess
	// renewed says that a new root version has come.
	renewed bool
	// window is the number of root versions of the last window, reached its last one.
	window, reached int64
}

// guess is a file that was asked for ahead.
type guess struct {
	done   chan struct{}
	cancel context.CancelFunc
	doc    *admission.Doc
	etag   string
	err    error
}

func newAhead() *ahead {
	a := &ahead{guesses: map[name]*guess{}}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	return a
}

// close ends all guesses.
func (a *ahead) close() {
	a.mu.Lock()
	a.cancel() // Under the lock, so that no guess begins any more.
	a.mu.Unlock()
	a.all.Wait()
}

// guess fetches a file in the background, once.
func (s *Inquiry) guess(f engine.File, late func()) {
	a, n := s.ahead, name{f.Role, f.Version}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.guesses[n] != nil || a.ctx.Err() != nil {
		return
	}
	g := &guess{done: make(chan struct{})}
	var ctx context.Context
	ctx, g.cancel = context.WithCancel(a.ctx)
	a.guesses[n] = g
	a.all.Go(func() {
		defer g.cancel()
		defer close(g.done)
		g.doc, g.etag, g.err = s.get(ctx, f, transport.Request{Limit: s.limit(f), Late: late, Guess: true})
	})
}

// guessed returns what a guess brought, and false if there was none or nothing
// can be said by it. It waits for a guess that is still out, but not for ever.
func (s *Inquiry) guessed(ctx context.Context, f engine.File, limit int64) (*guess, bool) {
	a, n := s.ahead, name{f.Role, f.Version}
	a.mu.Lock()
	g := a.guesses[n]
	delete(a.guesses, n)
	a.mu.Unlock()
	if g == nil {
		return nil, false
	}
	patience := time.NewTimer(guessGrace + 2*time.Duration(a.took.Load()))
	defer patience.Stop()
	select {
	case <-g.done:
	case <-patience.C:
		g.cancel()
		return nil, false
	case <-ctx.Done():
		g.cancel()
		return nil, false
	}
	if g.err == nil {
		return g, int64(len(g.doc.Raw)) <= limit
	}
	// That there is no such root version is an answer, that a guess failed is none.
	// 403 may mean either: too many asked at a time.
	e := tuferr.As(g.err)
	return g, e != nil && e.Code == protocol.CodeNotFound && e.Status == http.StatusNotFound
}

// onLate is what to do when the answer to a request does not come at once.
func (s *Inquiry) onLate(f engine.File) func() {
	if admission.KindOf(f.Role) != admission.KindRoot || forced.NothingAhead.Load() {
		return nil
	}
	return func() {
		s.ahead.late.Store(true)
		s.guess(engine.File{Role: string(admission.KindTimestamp)}, nil)
	}
}

// cameRoot looks ahead from a new root version.
func (s *Inquiry) cameRoot(version int64) {
	a := s.ahead
	a.mu.Lock()
	// It may have been signed, or superseded, under an older root. The request is
	// left to end by itself: that keeps its connection.
	delete(a.guesses, name{string(admission.KindTimestamp), 0})
	a.renewed = true
	from := version + 1
	if !a.late.Load() || version < a.reached {
		a.mu.Unlock()
		return
	}
	a.window = min(max(2, 2*a.window), maxWindow)
	a.reached = version + a.window
	to := a.reached
	a.mu.Unlock()
	for v := from; v <= to; v++ {
		s.guess(engine.File{Role: string(admission.KindRoot), Version: v}, nil)
	}
}

// known returns the timestamp that the caller has, with its ETag. Under a new
// root nothing is known: what a server says is unchanged might have to change.
func (s *Inquiry) known() (*admission.Doc, string) {
	s.ahead.mu.Lock()
	defer s.ahead.mu.Unlock()
	if s.ahead.renewed {
		return nil, ""
	}
	return s.have, s.haveTag
}

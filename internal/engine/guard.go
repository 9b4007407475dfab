package engine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Guard wraps an engine that runs inside this process: a panic becomes the
// fault engine_crash, and more than timeout of work the fault engine_timeout.
// Time spent waiting for the source does not count. A run that timed out is
// left to end by itself, cut off from the source; its outcome is dropped. While
// maxAbandoned of those still work no further run begins.
func Guard(e Engine, timeout time.Duration) Engine { return &guard{Engine: e, timeout: timeout} }

type guard struct {
	Engine
	timeout   time.Duration
	abandoned atomic.Int32
}

// maxAbandoned bounds the runs that work on after their time was up.
const maxAbandoned = 2

type result struct {
	out *Outcome
	err error
}

func (g *guard) Run(ctx context.Context, op *Operation) (*Outcome, error) {
	if g.abandoned.Load() >= maxAbandoned {
		return &Outcome{}, g.late("the %s engine still works on %d requests whose time was up", g.Name(), maxAbandoned)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch := newStopwatch(g.timeout)
	defer watch.pause()
	guarded := *op
	guarded.Source = &timedSource{op.Source, watch}
	done := make(chan result, 1)
	go func() {
		out, err := recovered(ctx, g.Engine, &guarded)
		done <- result{out, err}
	}()
	select {
	case r := <-done:
		return r.out, r.err
	case <-watch.timer.C:
		g.abandon(done)
		return &Outcome{}, g.late("the %s engine worked for more than %s", g.Name(), g.timeout)
	case <-ctx.Done():
		return &Outcome{}, Cancelled(ctx)
	}
}

// abandon counts a run that nobody waits for until it ends.
func (g *guard) abandon(done <-chan result) {
	g.abandoned.Add(1)
	go func() {
		<-done
		g.abandoned.Add(-1)
	}()
}

func (g *guard) late(format string, args ...any) error {
	e := tuferr.New(protocol.CodeEngineTimeout, format, args...)
	e.Engine = g.Name()
	return e
}

func recovered(ctx context.Context, e Engine, op *Operation) (out *Outcome, err error) {
	defer func() {
		if p := recover(); p != nil {
			crash := tuferr.New(protocol.CodeEngineCrash, "the %s engine panicked: %v", e.Name(), p)
			crash.Engine = e.Name()
			out, err = &Outcome{}, crash
		}
	}()
	return e.Run(ctx, op)
}

// Cancelled is [tuferr.Cancelled].
func Cancelled(ctx context.Context) error { return tuferr.Cancelled(ctx) }

// stopwatch is a timer that can be held.
type stopwatch struct {
	mu      sync.Mutex
	timer   *time.Timer
	left    time.Duration
	started time.Time
	holds   int
}

func newStopwatch(d time.Duration) *stopwatch {
	return &stopwatch{timer: time.NewTimer(d), left: d, started: time.Now()}
}

func (s *stopwatch) pause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holds++; s.holds == 1 && s.timer.Stop() {
		s.left -= time.Since(s.started)
	}
}

func (s *stopwatch) resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holds--; s.holds == 0 {
		s.started = time.Now()
		s.timer.Reset(max(s.left, 0))
	}
}

// timedSource holds the stopwatch while the source works.
type timedSource struct {
	Source
	watch *stopwatch
}

func (s *timedSource) Remote(ctx context.Context, f File) (*admission.Doc, error) {
	s.watch.pause()
	defer s.watch.resume()
	if ctx.Err() != nil {
		return nil, Cancelled(ctx)
	}
	return s.Source.Remote(ctx, f)
}

func (s *timedSource) Local(role string, root *admission.Doc) *admission.Doc {
	s.watch.pause()
	defer s.watch.resume()
	return s.Source.Local(role, root)
}

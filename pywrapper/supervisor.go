// Package pywrapper supervises one python-tuf worker process: it starts and
// greets it, carries requests and the questions it asks back, measures its time,
// cancels, kills its whole process group, starts it anew with backoff, drains its
// standard error into the log, and leaves nothing behind.
//
// The package knows processes and the messages of package protocol. It does not
// know what the messages are about, and believes no reply: whatever the worker
// claims must be checked by the caller.
package pywrapper

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

// What the zero values of [Options] and [Call] mean.
const (
	DefaultPython       = "python3"
	DefaultStartTimeout = 30 * time.Second
	DefaultStopTimeout  = 2 * time.Second
	DefaultMemoryLimit  = 4 << 30
	DefaultMinBackoff   = 100 * time.Millisecond
	DefaultMaxBackoff   = 10 * time.Second
	DefaultTimeout      = 30 * time.Second
)

// maxCalls is how many calls may be on their way; others wait for their turn. It
// leaves each of them room for a cancel within protocol.MaxInFlight.
const maxCalls = protocol.MaxInFlight / 2

// Options configure a [Supervisor].
type Options struct {
	// Python is the interpreter: a path, or a name to look up in PATH.
	// Empty means [DefaultPython].
	Python string
	// Script is the source of the worker. It is copied.
	Script []byte
	// StartTimeout bounds the time from the start of the process to its
	// greeting. 0 means [DefaultStartTimeout].
	StartTimeout time.Duration
	// StopTimeout bounds the time that the worker has to end when it is asked
	// to, before it is killed. 0 means [DefaultStopTimeout].
	StopTimeout time.Duration
	// MemoryLimit is the address space of the worker in bytes. 0 means
	// [DefaultMemoryLimit].
	MemoryLimit int64
	// MinBackoff is the pause before the start that follows a worker's death,
	// doubled with every death up to MaxBackoff until a request succeeds. 0
	// means [DefaultMinBackoff] and [DefaultMaxBackoff].
	MinBackoff, MaxBackoff time.Duration
	// Logger gets what the worker logs, with the attribute "component" tuf:worker; nil
	// discards it. What the worker logs for debugging comes only if that level is
	// enabled when it is started. At [LevelFrames], and as component tuf:frames, it gets
	// every frame, cut short, without file contents and what may be secret.
	Logger *slog.Logger
	// OnStart, if not nil, is called before a worker is started; restart says that the
	// one before ended unasked. What it returns is called with the greeting or the
	// error. ctx has the values of the first caller that waits for the start, and does
	// not end.
	OnStart func(ctx context.Context, restart bool) func(*protocol.Hello, error)
}

func (o Options) withDefaults() Options {
	def(&o.Python, DefaultPython)
	def(&o.StartTimeout, DefaultStartTimeout)
	def(&o.StopTimeout, DefaultStopTimeout)
	def(&o.MemoryLimit, DefaultMemoryLimit)
	def(&o.MinBackoff, DefaultMinBackoff)
	def(&o.MaxBackoff, max(DefaultMaxBackoff, o.MinBackoff))
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.OnStart == nil {
		o.OnStart = func(context.Context, bool) func(*protocol.Hello, error) {
			return func(*protocol.Hello, error) {}
		}
	}
	o.Script = append([]byte(nil), o.Script...)
	return o
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Supervisor keeps one worker process at work. All methods are safe for
// concurrent use. Make one with [New], and [Supervisor.Close] it.
type Supervisor struct {
	o      Options
	log    *slog.Logger
	frames *slog.Logger
	slots  chan struct{}

	// maxLine bounds frames, cancelGrace is how long a worker may go on with a
	// cancelled request, slack how much later than the worker the host takes a
	// request's time to be over: one that is in order says so itself.
	maxLine     int
	cancelGrace time.Duration
	slack       time.Duration

	closing chan struct{}
	once    sync.Once
	stopErr error
	wg      sync.WaitGroup

	mu        sync.Mutex
	w         *worker // the last one started; nil once it has ended
	hello     *protocol.Hello
	launching *launch
	starts    int
	failures  int       // deaths and failed starts since the last success
	notBefore time.Time // the earliest next start
	startErr  *Error    // why the last start failed; nil if it did not
	lastErr   error
	waiting   bool // the launch waits for the backoff
}

// launch is one start that any number of callers wait for.
type launch struct {
	done chan struct{}
	w    *worker
	err  *Error
}

// New returns a supervisor that has started nothing yet.
func New(o Options) *Supervisor {
	o = o.withDefaults()
	return &Supervisor{
		o: o, log: o.Logger.With("component", "tuf:worker"), frames: o.Logger.With("component", "tuf:frames"),
		slots:   make(chan struct{}, maxCalls),
		maxLine: protocol.MaxLine, cancelGrace: time.Second, slack: time.Second,
		closing: make(chan struct{}),
	}
}

// Start starts the worker if it does not run, so that the first call need not
// wait for it. Its errors are those of [Supervisor.Call].
func (s *Supervisor) Start(ctx context.Context) error {
	if _, err := s.worker(ctx); err != nil {
		return err
	}
	return nil
}

// Call asks the worker and returns the result of its reply, starting the worker
// if it does not run. It blocks until there is a reply or ctx ends.
//
// Every error is an [*Error]: the worker's own (Replied), worker_unavailable or
// the code that the worker gave for not starting, engine_timeout after c.Timeout,
// protocol_violation, cancelled or timeout with the context's error when ctx
// ends, and engine_crash. A request whose worker died is asked once more of a
// fresh one before engine_crash is returned. For the length of the backoff after
// a failed start, calls return that start's error at once.
func (s *Supervisor) Call(ctx context.Context, c Call) (json.RawMessage, error) {
	def(&c.Timeout, DefaultTimeout)
	for attempt := 1; ; attempt++ {
		res, err := s.ask(ctx, c)
		if err == nil {
			s.succeeded()
			return res, nil
		}
		if attempt == 1 && err.crashed() && ctx.Err() == nil {
			s.log.Warn("asking a fresh python worker once more", "method", c.Method, "error", err)
			continue
		}
		s.failed(err)
		return nil, err
	}
}

// ask carries a request to one worker.
func (s *Supervisor) ask(ctx context.Context, c Call) (json.RawMessage, *Error) {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, contextError(ctx)
	case <-s.closing:
		return nil, closedError()
	}
	over := func() { <-s.slots }
	w, err := s.worker(ctx)
	if err != nil {
		over()
		return nil, err
	}
	x, err := w.open(c)
	if err != nil {
		over()
		return nil, err
	}
	return x.run(ctx, over)
}

// worker returns a greeted worker, starting one if need be.
func (s *Supervisor) worker(ctx context.Context) (*worker, *Error) {
	if ctx.Err() != nil {
		return nil, contextError(ctx)
	}
	s.mu.Lock()
	switch {
	case s.closed():
		s.mu.Unlock()
		return nil, closedError()
	case s.launching == nil && s.w != nil && s.w.usable():
		defer s.mu.Unlock()
		return s.w, nil
	case s.launching == nil && s.startErr != nil && time.Now().Before(s.notBefore):
		defer s.mu.Unlock()
		return nil, s.startErr
	case s.launching == nil:
		s.launching = &launch{done: make(chan struct{})}
		l := s.launching
		s.wg.Go(func() { s.launch(context.WithoutCancel(ctx), l) })
	}
	l := s.launching
	s.mu.Unlock()

	select {
	case <-l.done:
		return l.w, l.err
	case <-ctx.Done():
		return nil, contextError(ctx)
	case <-s.closing:
		return nil, closedError()
	}
}

// launch waits for the backoff, then starts and greets a worker.
func (s *Supervisor) launch(ctx context.Context, l *launch) {
	s.mu.Lock()
	old, restart := s.w, s.starts > 0
	s.mu.Unlock()
	if old != nil {
		<-old.dead // it is ending
	}
	var hello *protocol.Hello
	if l.err = s.backoff(); l.err == nil {
		l.w, hello, l.err = s.begin(ctx, restart)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	s.startErr, s.launching = l.err, nil
	if l.err != nil {
		l.w, s.lastErr = nil, l.err
	} else if s.w == l.w {
		s.hello = hello
	}
	close(l.done)
}

// backoff waits until the next start is due.
func (s *Supervisor) backoff() *Error {
	s.mu.Lock()
	s.waiting = true
	t := time.NewTimer(time.Until(s.notBefore))
	s.mu.Unlock()
	defer t.Stop()
	defer func() {
		s.mu.Lock()
		s.waiting = false
		s.mu.Unlock()
	}()
	select {
	case <-t.C:
		return nil
	case <-s.closing:
		return closedError()
	}
}

// begin is start, and tells of it.
func (s *Supervisor) begin(ctx context.Context, restart bool) (*worker, *protocol.Hello, *Error) {
	done := s.o.OnStart(ctx, restart)
	w, hello, err := s.start()
	if err != nil {
		done(nil, err)
		return nil, nil, err
	}
	told := *hello
	done(&told, nil)
	return w, hello, nil
}

// start starts a process and waits for its greeting.
func (s *Supervisor) start() (*worker, *protocol.Hello, *Error) {
	w, err := s.spawn()
	if err != nil {
		s.countFailure()
		return nil, nil, newError(protocol.CodeWorkerUnavailable,
			"the python worker cannot be started with %s: %w; %s", s.o.Python, err, startHint)
	}
	s.mu.Lock()
	s.w = w
	s.starts++
	s.mu.Unlock()
	hello, gerr := w.greet()
	if gerr == nil {
		return w, hello, nil
	}
	w.kill(gerr)
	<-w.dead
	return nil, nil, gerr.withEnd(w.state, w.log.text())
}

// Discard kills the worker because what it replied cannot be true; requests in
// flight fail with protocol_violation. The next call gets a fresh worker.
func (s *Supervisor) Discard(reason error) {
	s.mu.Lock()
	w := s.w
	s.mu.Unlock()
	if w != nil {
		w.violation(reason, nil)
	}
}

// countFailure puts the next start off.
func (s *Supervisor) countFailure() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures++
	d := s.o.MaxBackoff
	if n := s.failures - 1; n < 30 {
		d = min(d, s.o.MinBackoff<<n)
	}
	// At least half of it: jitter keeps many hosts from starting in step.
	s.notBefore = time.Now().Add(d/2 + rand.N(d/2+1))
}

// ended is called once for every worker, when its process and pipes are gone.
func (s *Supervisor) ended(w *worker) {
	s.countFailure()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.w, s.hello = nil, nil
}

func (s *Supervisor) succeeded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = 0
}

func (s *Supervisor) failed(err *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastErr = err
}

// background runs f unless the supervisor is closing, which waits for it.
func (s *Supervisor) background(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed() {
		return false
	}
	s.wg.Go(f)
	return true
}

func (s *Supervisor) closed() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

// Close fails the calls in flight with [ErrClosed], asks the worker to shut
// down, then terminates and at last kills its process group, within
// Options.StopTimeout or at once when ctx ends. It returns when process,
// goroutines and descriptors are gone. Closing twice does no harm. The error is not nil only if something could not be ended.
func (s *Supervisor) Close(ctx context.Context) error {
	s.once.Do(func() { s.stopErr = s.stop(ctx) })
	return s.stopErr
}

func (s *Supervisor) stop(ctx context.Context) error {
	s.mu.Lock()
	close(s.closing)
	l := s.launching
	s.mu.Unlock()
	if l != nil {
		<-l.done // it sees that we are closing
	}
	s.mu.Lock()
	w := s.w
	s.mu.Unlock()
	if w != nil {
		w.shutdown(ctx, s.o.StopTimeout)
	}
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	limit := time.NewTimer(s.o.StopTimeout + 2*drainTime)
	defer limit.Stop()
	select {
	case <-done:
		return nil
	case <-limit.C:
		return newError(protocol.CodeInternal, "%w", errors.New("the python worker could not be ended in time"))
	}
}

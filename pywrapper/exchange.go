package pywrapper

import (
	"context"
	"encoding/json"
	"time"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Call is one request to the worker.
type Call struct {
	// Method is one of protocol's methods.
	Method string
	// Params is encoded as JSON; nil sends none.
	Params any
	// Timeout is how long the worker may take in all, the time that it waits
	// for Fetch excluded. 0 means [DefaultTimeout].
	Timeout time.Duration
	// Fetch answers the worker's questions for files, one after another and
	// from Seq 1 again if the request is asked once more of a fresh worker. Its
	// context ends with the call, and the call does not return before it: Fetch
	// must honour its context. ID and Seq of its answer are filled in for it.
	// Nil: a question is a protocol violation.
	Fetch func(context.Context, protocol.Fetch) protocol.Fetched
	// TraceParent is the span that the call is part of, "" for none: see package
	// protocol.
	TraceParent string
}

// exchange is one request on its way through one worker.
type exchange struct {
	w     *worker
	call  Call
	id    int64
	frame []byte

	reply   chan *protocol.Message // capacity 1: one reply
	asks    chan *protocol.Fetch   // capacity 1: one question at a time
	fetched chan []byte            // capacity 1: its answer

	// Guarded by w.mu.
	seq    int64
	asking bool
}

func encodeParams(params any) (json.RawMessage, error) {
	if params == nil {
		return nil, nil
	}
	return json.Marshal(params)
}

// run sends the request and waits for its reply. When it returns, no Fetch is
// running. over is called once the worker has nothing to do with the request any
// more, which after a cancellation is later.
func (x *exchange) run(ctx context.Context, over func()) (json.RawMessage, *Error) {
	fctx, stop := context.WithCancel(ctx)
	running := false
	settle := func() {
		stop()
		if running {
			<-x.fetched
		}
	}
	clock := newStopwatch(x.call.Timeout + x.w.s.slack)
	defer clock.stop()

	sent := false
	frame, out := x.frame, x.w.writes
	for {
		select {
		case out <- frame:
			sent, out, frame = true, nil, nil
		case m := <-x.reply:
			settle()
			over()
			return result(m)
		case f := <-x.asks:
			running = true
			clock.pause()
			go func() { x.fetched <- x.fetch(fctx, f) }()
		case frame = <-x.fetched:
			running, out = false, x.w.writes
			x.answered()
			clock.resume()
		case <-clock.C():
			e := newError(protocol.CodeEngineTimeout, "the python worker took longer than %s for %s and was killed", x.call.Timeout, x.call.Method)
			e.Stderr = x.w.log.text()
			x.w.kill(e)
			settle()
			over()
			return nil, e
		case <-ctx.Done():
			settle()
			x.abandon(sent, over)
			return nil, contextError(ctx)
		case <-x.w.s.closing:
			settle()
			over()
			return nil, closedError()
		case <-x.w.dead:
			settle()
			over()
			select {
			case m := <-x.reply: // it answered before it died
				return result(m)
			default:
				return nil, x.w.failure()
			}
		}
	}
}

// fetch asks the caller for a file and encodes the answer.
func (x *exchange) fetch(ctx context.Context, f *protocol.Fetch) []byte {
	answer := x.call.Fetch(ctx, *f)
	answer.ID, answer.Seq = x.id, f.Seq
	frame, err := encodeFetched(answer, x.w.s.maxLine)
	if err != nil {
		code := protocol.CodeUnrepresentable
		// Cannot fail: it is short.
		frame, _ = encodeFetched(protocol.Fetched{ID: x.id, Seq: f.Seq, Error: &protocol.Error{
			Code: code, Class: code.Class(), Message: err.Error(), Role: f.Role,
		}}, x.w.s.maxLine)
	}
	return frame
}

// answered lets the worker ask the next question.
func (x *exchange) answered() {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	x.asking = false
}

// abandon tells the worker to drop a request, and kills it if it does not do so
// within the grace. The caller does not wait for that.
func (x *exchange) abandon(sent bool, over func()) {
	if !sent {
		x.w.forget(x)
		over()
		return
	}
	if !x.w.s.background(func() { x.cancel(); over() }) {
		over()
	}
}

func (x *exchange) cancel() {
	grace := time.NewTimer(x.w.s.cancelGrace)
	defer grace.Stop()
	cancel, err := x.w.open(Call{Method: protocol.MethodCancel, Params: map[string]int64{"id": x.id}})
	if err != nil {
		return // it is ending already
	}
	out := x.w.writes
	for {
		select {
		case out <- cancel.frame:
			out = nil
		case <-x.reply:
			return
		case <-grace.C:
			x.w.kill(newError(protocol.CodeEngineCrash, "the python worker did not stop a cancelled request and was killed"))
			return
		case <-x.w.s.closing:
			return
		case <-x.w.dead:
			return
		}
	}
}

func result(m *protocol.Message) (json.RawMessage, *Error) {
	if *m.OK {
		return m.Result, nil
	}
	return nil, repliedError(m.Error)
}

// stopwatch is a timer that can be paused.
type stopwatch struct {
	t     *time.Timer
	left  time.Duration
	since time.Time
}

func newStopwatch(d time.Duration) *stopwatch {
	return &stopwatch{t: time.NewTimer(d), left: d, since: time.Now()}
}

func (s *stopwatch) C() <-chan time.Time { return s.t.C }

func (s *stopwatch) pause() {
	s.t.Stop()
	s.left -= time.Since(s.since)
}

func (s *stopwatch) resume() {
	s.since = time.Now()
	s.t.Reset(s.left)
}

func (s *stopwatch) stop() { s.t.Stop() }

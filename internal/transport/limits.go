package transport

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

// limits is the bulkhead around one repository: how much may be asked of it at a
// time and in a second. To wait there is nobody's fault: when it takes too long,
// or would, the error is busy and says nothing about the repository. It is safe
// for concurrent use.
type limits struct {
	// slots has room for the requests that may be out, ahead for the guesses among
	// them.
	slots, ahead chan struct{}
	// requests and bytes are nil where nothing limits them.
	requests, bytes *rate.Limiter
	// waiting counts the requests that wait, maxWaiting at most; queued counts those
	// of them that have no slot yet.
	waiting, queued atomic.Int64
	maxWaiting      int64
}

func newLimits(o Options) *limits {
	l := &limits{maxWaiting: int64(o.MaxWaiting), slots: make(chan struct{}, o.MaxRequests)}
	// A quarter, one at least, is for what is asked in earnest.
	l.ahead = make(chan struct{}, o.MaxRequests-max(1, o.MaxRequests/4))
	if o.RequestsPerSecond > 0 {
		l.requests = newRate(o.RequestsPerSecond)
	}
	if o.BytesPerSecond > 0 {
		l.bytes = newRate(float64(o.BytesPerSecond))
	}
	return l
}

// newRate makes a token bucket that has room for one second, and for one token.
func newRate(perSecond float64) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(perSecond), int(min(math.Ceil(perSecond), math.MaxInt32)))
}

// errand is one [Client.Get] or [Client.Stream] with all its requests. One
// goroutine runs it.
type errand struct {
	// caller is the caller's context, timed the same under our own deadline.
	caller, timed context.Context
	// guess: it must not wait for its turn.
	guess bool
	// target: it is no metadata that is asked for.
	target bool
	// waited is how long it has waited for what the limits allow.
	waited time.Duration
	// late is called as [Request.Late] says, once there is a request; unwatch ends that.
	late, unwatch func()
}

// enter waits for the turn of one request. When it is over, leave must be called.
func (l *limits) enter(e *errand) *failure {
	if e.guess {
		return l.enterAhead()
	}
	joined := false
	defer func() {
		if joined {
			l.waiting.Add(-1)
		}
	}()
	select {
	case l.slots <- struct{}{}:
	default:
		if joined = l.join(); !joined {
			return l.full()
		}
		if f := l.queue(e); f != nil {
			return f
		}
	}
	if l.requests == nil {
		return nil
	}
	var f *failure
	r := l.requests.Reserve()
	d := r.Delay()
	if d > 0 && !joined {
		joined = l.join()
	}
	if d > 0 && !joined {
		f = l.full()
	} else {
		f = e.sleep(d)
	}
	if f != nil {
		r.Cancel()
		l.leave(e)
	}
	return f
}

// leave ends what enter began.
func (l *limits) leave(e *errand) {
	<-l.slots
	if e.guess {
		<-l.ahead
	}
}

// join counts one more request that waits, unless there are too many.
func (l *limits) join() bool {
	if l.waiting.Add(1) > l.maxWaiting {
		l.waiting.Add(-1)
		return false
	}
	return true
}

// queue waits for a slot. Those who come first are served first.
func (l *limits) queue(e *errand) *failure {
	begin := time.Now()
	defer func() { e.waited += time.Since(begin) }()
	n := l.queued.Add(1)
	defer l.queued.Add(-1)
	if l.requests != nil && !e.hasTimeFor(shortage(l.requests, n)) {
		return outOfTime()
	}
	select {
	case l.slots <- struct{}{}:
		return nil
	case <-e.timed.Done():
		return e.overdue()
	}
}

// shortage returns how long it takes, in seconds, until a bucket has n tokens for
// those who wait now.
func shortage(bucket *rate.Limiter, n int64) float64 {
	return (float64(n) - bucket.Tokens()) / float64(bucket.Limit())
}

// enterAhead lets a guess pass if it is its turn at once, and if as much is left
// for others as they can be expected to need.
func (l *limits) enterAhead() *failure {
	none := busy("nothing is asked ahead while others may need what the limits allow")
	if !spare(l.requests, 1) || !spare(l.bytes, 0) {
		return none
	}
	select {
	case l.ahead <- struct{}{}:
	default:
		return none
	}
	select {
	case l.slots <- struct{}{}:
	default:
		<-l.ahead
		return none
	}
	if l.requests != nil && !l.requests.Allow() {
		l.leave(&errand{guess: true})
		return none
	}
	return nil
}

// spare says whether a bucket would be half full still without n tokens.
func spare(bucket *rate.Limiter, n float64) bool {
	return bucket == nil || bucket.Tokens()-n >= float64(bucket.Burst())/2
}

// part returns as much of a buffer as may be filled in one go.
func (l *limits) part(p []byte) []byte {
	if l.bytes == nil {
		return p
	}
	return p[:min(len(p), l.bytes.Burst())]
}

// pace waits after n bytes of a body, part of a buffer at most.
func (l *limits) pace(e *errand, n int) *failure {
	if l.bytes == nil || n <= 0 {
		return nil
	}
	return e.sleep(l.bytes.ReserveN(time.Now(), n).Delay())
}

// spend counts n bytes that nobody waits for any more.
func (l *limits) spend(n int64) {
	if l.bytes != nil {
		l.bytes.ReserveN(time.Now(), int(min(n, int64(l.bytes.Burst()))))
	}
}

// fits says at once when a body of n bytes cannot come before the deadline.
func (l *limits) fits(e *errand, n int64) *failure {
	if l.bytes == nil || n <= 0 || e.hasTimeFor(shortage(l.bytes, n)) {
		return nil
	}
	return outOfTime()
}

// hasTimeFor says whether the deadline is more than a number of seconds away.
func (e *errand) hasTimeFor(seconds float64) bool {
	end, ok := e.timed.Deadline()
	return !ok || seconds <= 0 || seconds < time.Until(end).Seconds()
}

// sleep waits, unless it would be for too long.
func (e *errand) sleep(d time.Duration) *failure {
	if d <= 0 {
		return nil
	}
	if !e.hasTimeFor(d.Seconds()) {
		return outOfTime()
	}
	begin := time.Now()
	defer func() { e.waited += time.Since(begin) }()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-e.timed.Done():
		return e.overdue()
	}
}

// overdue says why the wait for a turn ended without one.
func (e *errand) overdue() *failure {
	over := ended(e.caller)
	if over == nil {
		return outOfTime()
	}
	f := &failure{code: protocol.CodeCancelled, msg: "the request was cancelled before its turn came", err: over}
	if errors.Is(over, context.DeadlineExceeded) {
		f.code, f.msg, f.hint = protocol.CodeTimeout, "the caller's deadline passed before it was the request's turn", hintBusy
	}
	return f
}

// blame makes a failure busy when the deadline passed because the request has
// spent the larger part of the time in our own queue.
func (e *errand) blame(f *failure, total time.Duration) *failure {
	if errors.Is(f.err, errTotal) && e.waited > total/2 {
		return outOfTime()
	}
	return f
}

// hintBusy goes with everything that happens in the queue.
const hintBusy = "try again later, or raise what the HTTP options allow"

func busy(msg string) *failure {
	return &failure{code: protocol.CodeBusy, msg: "too much is being asked of this repository at once: " + msg, hint: hintBusy}
}

func (l *limits) full() *failure {
	return busy(fmt.Sprintf("%d requests wait already", l.maxWaiting))
}

func outOfTime() *failure { return busy("the request's turn does not come in the time allowed") }

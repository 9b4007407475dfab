package hybrid

import (
	"errors"
	"sync/atomic"

	"github.com/sony/gobreaker/v2"

	"github.com/ragnos-labs/vault-tuf/internal/forced"
)

// breaker is the circuit breaker around go-tuf.
type breaker struct {
	cb *gobreaker.TwoStepCircuitBreaker[struct{}]
	// told is the state that was last told of. It may be read without the lock of cb,
	// under which the application is called.
	told atomic.Pointer[string]
}

var (
	errFailed     = errors.New("fault")
	errNotCounted = errors.New("not counted")
)

func newBreaker(o Options, ev *events) *breaker {
	b := &breaker{}
	first := gobreaker.StateClosed.String()
	b.told.Store(&first)
	b.cb = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        "go-tuf",
		MaxRequests: 1,
		Timeout:     o.BreakerCoolDown,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= o.BreakerFailures },
		IsExcluded:  func(err error) bool { return errors.Is(err, errNotCounted) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			// Called under the breaker's lock: it may tell, and not ask.
			now := to.String()
			b.told.Store(&now)
			ev.breaker(from.String(), now)
		},
	})
	for forced.BreakerOpen.Load() && !b.open() {
		if report, ok := b.allow(); ok {
			report(failed)
		}
	}
	return b
}

// allow says whether go-tuf may be asked. If so the caller must call report
// exactly once: a report that is lost would wedge a half-open breaker.
func (b *breaker) allow() (report func(tally), ok bool) {
	done, err := b.cb.Allow()
	if err != nil {
		return nil, false
	}
	return func(t tally) {
		switch t {
		case worked:
			done(nil)
		case failed:
			done(errFailed)
		default:
			done(errNotCounted)
		}
	}, true
}

func (b *breaker) closed() bool { return b.cb.State() == gobreaker.StateClosed }

func (b *breaker) open() bool { return b.cb.State() == gobreaker.StateOpen }

// troubled says that go-tuf has failed, and has not worked since.
func (b *breaker) troubled() bool { return !b.closed() || b.cb.Counts().ConsecutiveFailures > 0 }

func (b *breaker) status() BreakerStatus {
	c := b.cb.Counts()
	return BreakerStatus{
		State: b.cb.State().String(), Requests: c.Requests, TotalSuccesses: c.TotalSuccesses,
		TotalFailures: c.TotalFailures, ConsecutiveFailures: c.ConsecutiveFailures,
	}
}

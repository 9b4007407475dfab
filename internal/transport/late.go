package transport

import (
	"context"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// patience is how long an answer may take that comes "at once" from nearby.
	patience = 10 * time.Millisecond
	// farAway is the round trip from which on no answer can come at once, so that
	// there is nothing to wait for.
	farAway = 5 * time.Millisecond
)

// lateness watches one request and calls late, once, as soon as it is known that
// its answer does not come at once: the way is long, as a connection that is
// being made shows, or one made before has shown, or patience has run out.
type lateness struct {
	late func()
	// roundTrip is the time that the latest connection took to be made.
	roundTrip *atomic.Int64

	mu      sync.Mutex
	timer   *time.Timer
	dialled time.Time
	decided bool
}

// watched returns the context of a request that is watched until its first answer
// begins, or until end is called.
func watched(ctx context.Context, roundTrip *atomic.Int64, late func()) (_ context.Context, end func()) {
	l := &lateness{late: late, roundTrip: roundTrip}
	wait := patience
	if time.Duration(roundTrip.Load()) >= farAway {
		wait = 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer = time.AfterFunc(wait, func() {
		if l.decide() {
			late()
		}
	})
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		ConnectStart:         func(string, string) { l.dialling() },
		ConnectDone:          func(string, string, error) { l.connected() },
		GotFirstResponseByte: func() { l.decide() },
	}), func() { l.decide() }
}

// decide ends the watch; it returns true to whoever comes first.
func (l *lateness) decide() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer.Stop()
	first := !l.decided
	l.decided = true
	return first
}

func (l *lateness) dialling() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dialled = time.Now(); !l.decided {
		l.timer.Reset(farAway)
	}
}

func (l *lateness) connected() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.roundTrip.Store(int64(time.Since(l.dialled)))
	if !l.decided {
		l.timer.Reset(patience)
	}
}

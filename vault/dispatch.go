package vault

import (
	"cmp"
	"context"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
)

// maxQueued is how many events wait for one subscriber before less than critical
// ones are dropped, and critical ones merged.
const maxQueued = 1024

// maxRecent is how many events status tells of, critical ones and others apart.
const maxRecent = 64

// readerGrace is how long a reader of events that takes none may hold up a
// shutdown.
const readerGrace = 2 * time.Second

// dispatcher hands the events of a vault to whoever wants them. Each subscriber
// has a queue and a goroutine of its own, which runs no longer than needed: who is
// slow holds up neither the vault nor other subscribers. It is safe for concurrent
// use.
//
// Every subscriber gets events in the order of their IDs. Of critical ones none is
// lost. When more than maxQueued events wait for a subscriber
//
//   - the oldest that are not critical are dropped; an [EventLost] in their place
//     has their number as Count, and the ID and Time of the last of them;
//   - critical ones with the same code, repository and target become one: ID, Time
//     and place are those of the first, Count is how many they are, all else is
//     the latest's. So memory is bounded by the number of different things.
type dispatcher struct {
	now   func() time.Time
	log   *slog.Logger
	grace time.Duration
	// callback is OnSecurityEvent, nil if there is none.
	callback *subscriber
	// closing is closed when no more events are accepted, quit when nobody waits
	// any longer for those that are queued.
	closing, quit chan struct{}

	mu      sync.Mutex
	last    uint64
	readers map[*subscriber]bool
	// others and critical are the newest events, the oldest first.
	others, critical []Event
	closed           bool
	// running is the number of goroutines; idle is closed when closed and 0.
	running int
	idle    chan struct{}
}

// subscriber is one receiver of events: a function, or a channel.
type subscriber struct {
	on      func(Event)
	ch      chan Event
	waiting queue
	// wake holds one if something may wait for the reader of ch.
	wake chan struct{}
	// running says that somebody is calling on.
	running bool
}

// newDispatcher makes a dispatcher that calls on, if not nil, for each event,
// never concurrently. It starts no goroutine. Nil for now is time.Now, for log none.
func newDispatcher(on func(Event), now func() time.Time, log *slog.Logger) *dispatcher {
	if now == nil {
		now = time.Now
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	d := &dispatcher{
		now: now, log: log, grace: readerGrace, readers: map[*subscriber]bool{},
		closing: make(chan struct{}), quit: make(chan struct{}), idle: make(chan struct{}),
	}
	if on != nil {
		d.callback = &subscriber{on: on}
	}
	return d
}

// emit gives an event its ID, a time if it has none and a count of 1, and queues
// it for everybody. It never blocks, whatever subscribers do. An event without a
// code is none. After close events only show in recent.
func (d *dispatcher) emit(e Event) {
	if e.Code == "" {
		return
	}
	if e.Time.IsZero() {
		e.Time = d.now()
	}
	e.Count = 1
	d.queue(&e)
	d.log.Debug(e.Message, "event", e.Code, "id", e.ID, "severity", e.Severity, "repository", e.Repository, "target", e.Target)
}

func (d *dispatcher) queue(e *Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last++
	e.ID = d.last
	d.remember(*e)
	if d.closed {
		return
	}
	if s := d.callback; s != nil {
		s.waiting.push(*e)
		if !s.running {
			s.running = true
			d.running++
			go d.drain(s)
		}
	}
	for s := range d.readers {
		s.waiting.push(*e)
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// drain calls a subscriber until nothing waits for it.
func (d *dispatcher) drain(s *subscriber) {
	returned := false
	defer func() {
		if !returned { // The callback ended the goroutine, not the vault.
			go d.drain(s)
		}
	}()
	for {
		e, ok := d.take(s)
		if !ok {
			returned = true
			return
		}
		d.call(s, e)
	}
}

// take returns what a callback is called with next. If there is nothing, its
// goroutine has to end.
func (d *dispatcher) take(s *subscriber) (Event, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, ok := s.waiting.pop()
	if !ok {
		s.running = false
		d.ended()
	}
	return e, ok
}

// call hands over one event. What a callback breaks is not the vault's to break:
// a panic is logged, and later events go on.
func (d *dispatcher) call(s *subscriber, e Event) {
	defer func() {
		if p := recover(); p != nil {
			d.log.Error("OnSecurityEvent panicked", "panic", p, "event", e.Code, "id", e.ID, "stack", string(debug.Stack()))
		}
	}()
	s.on(e)
}

// ended notes under the lock that a goroutine ends.
func (d *dispatcher) ended() {
	d.running--
	if d.closed && d.running == 0 {
		close(d.idle)
	}
}

// subscribe returns the events from now on. The channel is closed when ctx ends,
// or after close, once everything queued has been taken.
func (d *dispatcher) subscribe(ctx context.Context) <-chan Event {
	s := &subscriber{ch: make(chan Event), wake: make(chan struct{}, 1)}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		close(s.ch)
		return s.ch
	}
	d.readers[s] = true
	d.running++
	go d.serve(ctx, s)
	return s.ch
}

// serve sends what waits for a reader.
func (d *dispatcher) serve(ctx context.Context, s *subscriber) {
	defer func() {
		close(s.ch)
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.readers, s)
		d.ended()
	}()
	for {
		d.mu.Lock()
		e, ok := s.waiting.pop()
		closed := d.closed
		d.mu.Unlock()
		switch {
		case ok:
			if !d.send(ctx, s, e) {
				return
			}
		case closed:
			return
		default:
			select {
			case <-s.wake:
			case <-d.closing:
			case <-ctx.Done():
				return
			}
		}
	}
}

// send waits for a reader to take an event: as long as it likes, but not while
// the vault shuts down.
func (d *dispatcher) send(ctx context.Context, s *subscriber, e Event) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case s.ch <- e:
		return true
	case <-ctx.Done():
		return false
	case <-d.closing:
	}
	t := time.NewTimer(d.grace)
	defer t.Stop()
	select {
	case s.ch <- e:
		return true
	case <-ctx.Done():
		return false
	case <-d.quit:
	case <-t.C:
	}
	d.log.Warn("nobody reads the events of a vault that shuts down", "id", e.ID)
	return false
}

// remember keeps the newest events for status. Critical ones are kept apart, so
// that others cannot push them out; where they are too many, one that has happened
// again goes first.
func (d *dispatcher) remember(e Event) {
	list, goes := &d.others, 0
	if e.Severity == hybrid.SeverityCritical {
		list = &d.critical
		goes = max(0, slices.IndexFunc(*list, func(old Event) bool { return subjectOf(&old) == subjectOf(&e) }))
	}
	if len(*list) == maxRecent {
		*list = slices.Delete(*list, goes, goes+1)
	}
	*list = append(*list, e)
}

// recent returns the newest events in the order of their IDs: up to maxRecent
// critical ones, and as many others.
func (d *dispatcher) recent() []Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := append(append([]Event{}, d.others...), d.critical...)
	slices.SortFunc(all, func(a, b Event) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// close accepts no more events, and waits until those that are queued have been
// delivered, or ctx ends: then they are not any more, and the error is of class
// cancelled. A reader who takes nothing for readerGrace holds it up no longer. It
// may be called more than once, but not by OnSecurityEvent.
func (d *dispatcher) close(ctx context.Context) error {
	d.mu.Lock()
	if !d.closed {
		d.closed = true
		close(d.closing)
		if d.running == 0 {
			close(d.idle)
		}
	}
	d.mu.Unlock()
	select {
	case <-d.idle:
		return nil
	default:
	}
	select {
	case <-d.idle:
		return nil
	case <-ctx.Done():
	}
	d.abandon()
	return engine.Cancelled(ctx)
}

// abandon drops what is queued.
func (d *dispatcher) abandon() {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.quit:
		return
	default:
		close(d.quit)
	}
	if s := d.callback; s != nil {
		if n := s.waiting.len(); n > 0 {
			d.log.Warn("events were not delivered before the shutdown had to end", "count", n)
		}
		s.waiting = queue{}
	}
}

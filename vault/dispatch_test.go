package vault

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
)

func infoEvent(n int) Event {
	return Event{Code: EventAllowed, Severity: hybrid.SeverityInfo, Target: fmt.Sprint(n), Message: "allowed"}
}

func criticalEvent(target string) Event {
	return Event{Code: EventRefused, Severity: hybrid.SeverityCritical, Repository: "acme", Target: target, Message: "refused"}
}

// inbox is a callback that remembers. One with a gate blocks until it is closed.
type inbox struct {
	gate chan struct{}
	mu   sync.Mutex
	got  []Event
}

func (i *inbox) on(e Event) {
	if i.gate != nil {
		<-i.gate
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.got = append(i.got, e)
}

func (i *inbox) events() []Event {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.got
}

func ids(events []Event) (list []uint64) {
	for _, e := range events {
		list = append(list, e.ID)
	}
	return list
}

func only(events []Event, severity hybrid.Severity) (list []Event) {
	for _, e := range events {
		if e.Severity == severity {
			list = append(list, e)
		}
	}
	return list
}

func TestEventsArriveInOrderAndComplete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := &inbox{}
		d := newDispatcher(in.on, nil, nil)
		reader := d.subscribe(t.Context())
		set := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
		d.emit(Event{Code: EventRoot, Severity: hybrid.SeverityWarning, Time: set, ID: 77, Count: 5})
		d.emit(Event{Message: "no code: no event"})
		d.emit(criticalEvent("x"))
		require.Equal(t, uint64(1), (<-reader).ID)
		require.Equal(t, uint64(2), (<-reader).ID)
		require.NoError(t, d.close(context.Background()))

		got := in.events()
		require.Equal(t, []uint64{1, 2}, ids(got))
		require.Equal(t, set, got[0].Time)
		require.Equal(t, time.Now(), got[1].Time)
		require.Equal(t, 1, got[0].Count)
		_, open := <-reader
		require.False(t, open)
	})
}

func TestWithoutSubscribersNothingRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := runtime.NumGoroutine()
		d := newDispatcher(func(Event) {}, nil, nil)
		newDispatcher(nil, nil, nil).emit(infoEvent(1))
		require.Equal(t, before, runtime.NumGoroutine())
		d.emit(infoEvent(1))
		synctest.Wait()
		require.Equal(t, before, runtime.NumGoroutine(), "nothing waits, nothing runs")
	})
}

// TestASlowSubscriberLosesOnlyWhatIsNotCritical and is told how much that was.
// Others lose nothing.
func TestASlowSubscriberLosesOnlyWhatIsNotCritical(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &inbox{gate: make(chan struct{})}
		d := newDispatcher(slow.on, nil, nil)
		reader := d.subscribe(t.Context())
		const n = 3000
		for i := range n {
			e := infoEvent(i)
			if i%1000 == 500 {
				e = criticalEvent(fmt.Sprint(i))
			}
			d.emit(e)
			require.Equal(t, uint64(i+1), (<-reader).ID)
		}
		close(slow.gate)
		require.NoError(t, d.close(context.Background()))

		got := slow.events()
		require.IsIncreasing(t, ids(got))
		require.Len(t, only(got, hybrid.SeverityCritical), 3)
		require.Equal(t, n, total(got))
		lost := only(got, hybrid.SeverityWarning)
		require.Len(t, lost, 1)
		require.Equal(t, EventLost, lost[0].Code)
		require.LessOrEqual(t, len(got), maxQueued+2)
	})
}

// total is how many events the given ones stand for.
func total(events []Event) (n int) {
	for _, e := range events {
		n += e.Count
	}
	return n
}

func TestCriticalEventsAreMergedBeyondTheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := &inbox{gate: make(chan struct{})}
		d := newDispatcher(in.on, nil, nil)
		d.emit(infoEvent(0)) // held by the callback
		synctest.Wait()
		for i := range 5 * maxQueued {
			e := criticalEvent(fmt.Sprint(i % 2000))
			e.Message = fmt.Sprint("attempt ", i)
			e.Evidence.Received = int64(i)
			d.emit(e)
		}
		require.Equal(t, 2000, d.callback.waiting.len())
		close(in.gate)
		require.NoError(t, d.close(context.Background()))

		got := in.events()
		require.Equal(t, 1+5*maxQueued, total(got))
		require.IsIncreasing(t, ids(got))
		first := got[1]
		require.Equal(t, uint64(2), first.ID, "of the first")
		require.Equal(t, 3, first.Count)
		require.Equal(t, "attempt 4000", first.Message, "of the latest")
		require.EqualValues(t, 4000, first.Evidence.Received)
	})
}

func TestBelowTheBoundNothingIsMerged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := &inbox{gate: make(chan struct{})}
		d := newDispatcher(in.on, nil, nil)
		for range maxQueued {
			d.emit(criticalEvent("same"))
		}
		close(in.gate)
		require.NoError(t, d.close(context.Background()))
		require.Len(t, in.events(), maxQueued)
	})
}

// TestQueueLosesNothingUntold: whatever comes and goes, order and sums are right,
// and what waits stays within its bound.
func TestQueueLosesNothingUntold(t *testing.T) {
	for seed := range int64(20) {
		r := rand.New(rand.NewSource(seed))
		var q queue
		var id uint64
		var pushed, pushedCritical int
		var got []Event
		for range 10_000 {
			if r.Intn(10) < int(seed)%8 {
				if e, ok := q.pop(); ok {
					got = append(got, e)
				}
				continue
			}
			id++
			e := infoEvent(0)
			if r.Intn(3) == 0 {
				e = criticalEvent(fmt.Sprint(r.Intn(40)))
				pushedCritical++
			}
			e.ID, e.Count = id, 1
			pushed++
			q.push(e)
			if q.len() > maxQueued+40 {
				t.Fatalf("seed %d: %d events wait", seed, q.len())
			}
		}
		for e, ok := q.pop(); ok; e, ok = q.pop() {
			got = append(got, e)
		}
		require.IsIncreasing(t, ids(got), "seed %d", seed)
		require.Equal(t, pushed, total(got), "seed %d", seed)
		require.Equal(t, pushedCritical, total(only(got, hybrid.SeverityCritical)), "seed %d", seed)
		require.Empty(t, q.latest)
	}
}

// TestACallbackThatBreaksLosesNoOtherEvent.
func TestACallbackThatBreaksLosesNoOtherEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		in := &inbox{}
		d := newDispatcher(func(e Event) {
			in.on(e)
			switch e.ID {
			case 1:
				panic("of the application")
			case 2:
				runtime.Goexit()
			}
		}, nil, slog.New(slog.NewTextHandler(&log, nil)))
		for i := range 4 {
			d.emit(infoEvent(i))
		}
		require.NoError(t, d.close(context.Background()))
		require.Equal(t, []uint64{1, 2, 3, 4}, ids(in.events()))
		require.Contains(t, log.String(), "of the application")
		require.Contains(t, log.String(), "dispatch_test.go")
	})
}

func TestACallbackMayUseTheVault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d *dispatcher
		var seen [][]Event
		d = newDispatcher(func(e Event) {
			seen = append(seen, d.recent())
			if e.ID == 1 {
				d.emit(criticalEvent("from the callback"))
			}
		}, nil, nil)
		d.emit(infoEvent(1))
		synctest.Wait()
		require.NoError(t, d.close(context.Background()))
		require.Len(t, seen, 2)
		require.Len(t, seen[1], 2)
	})
}

func TestAReaderIsServedUntilItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(nil, nil, nil)
		ctx, cancel := context.WithCancel(t.Context())
		idle, busy := d.subscribe(ctx), d.subscribe(ctx)
		d.emit(infoEvent(1))
		d.emit(infoEvent(2))
		require.Equal(t, uint64(1), (<-idle).ID)
		require.Equal(t, uint64(2), (<-idle).ID)
		synctest.Wait()
		cancel()
		synctest.Wait()
		for _, ch := range []<-chan Event{idle, busy} {
			_, open := <-ch
			require.False(t, open)
		}
		require.Empty(t, d.readers)
		require.NoError(t, d.close(context.Background()))
	})
}

// TestCloseDeliversWhatIsQueued also to a reader that is slow, but not to one that
// has gone away.
func TestCloseDeliversWhatIsQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(nil, nil, nil)
		slow, gone := d.subscribe(context.Background()), d.subscribe(context.Background())
		for i := range 10 {
			d.emit(infoEvent(i))
		}
		var got []Event
		read := make(chan struct{})
		go func() {
			defer close(read)
			for e := range slow {
				time.Sleep(readerGrace / 2)
				got = append(got, e)
			}
		}()
		require.NoError(t, d.close(context.Background()))
		synctest.Wait()
		_, open := <-gone
		require.False(t, open)
		<-read
		require.Equal(t, 10, total(got))

		d.emit(infoEvent(11))
		_, open = <-d.subscribe(context.Background())
		require.False(t, open, "after the end there is nothing to read")
		require.Len(t, d.recent(), 11)
		require.NoError(t, d.close(context.Background()))
	})
}

func TestCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := &inbox{gate: make(chan struct{})}
		d := newDispatcher(in.on, nil, nil)
		gone := d.subscribe(context.Background())
		d.emit(infoEvent(1))
		d.emit(criticalEvent("x"))
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, d.close(ctx), hybrid.ErrCancelled)
		require.ErrorIs(t, d.close(ctx), hybrid.ErrCancelled)
		_, open := <-gone
		for open {
			_, open = <-gone
		}
		close(in.gate)
		require.NoError(t, d.close(context.Background()))
		require.Len(t, in.events(), 1, "the one that it was called with")
	})
}

func TestRecentKeepsCriticalEvents(t *testing.T) {
	d := newDispatcher(nil, nil, nil)
	require.NotNil(t, d.recent())
	d.emit(criticalEvent("first"))
	for i := range 10 * maxRecent {
		d.emit(infoEvent(i))
	}
	require.Len(t, d.recent(), maxRecent+1)
	require.Equal(t, "first", d.recent()[0].Target)
	require.IsIncreasing(t, ids(d.recent()))
	for range 10 * maxRecent {
		d.emit(criticalEvent("again and again"))
	}
	require.Len(t, d.recent(), 2*maxRecent)
	require.Equal(t, "first", d.recent()[0].Target, "what happens again and again does not push it out")
	for i := range maxRecent {
		d.emit(criticalEvent(fmt.Sprint(i)))
	}
	require.NotEqual(t, "first", d.recent()[0].Target)
	require.Len(t, only(d.recent(), hybrid.SeverityCritical), maxRecent)
}

func TestManyEmitAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := &inbox{}
		d := newDispatcher(in.on, nil, nil)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for i := range 100 {
					d.emit(infoEvent(i))
					d.recent()
				}
			})
		}
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() {
			for range d.subscribe(ctx) {
				cancel()
			}
		})
		wg.Wait()
		require.NoError(t, d.close(context.Background()))
		require.Equal(t, 800, total(in.events()))
		require.IsIncreasing(t, ids(in.events()))
	})
}

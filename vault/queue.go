package vault

import (
	"time"

	"github.com/ragnos-labs/vault-tuf/hybrid"
)

// queue is what waits for one subscriber; see [dispatcher]. The zero value is empty.
type queue struct {
	// Each is in the order of IDs.
	critical []*Event
	others   []Event
	// latest is the last one of each subject in critical.
	latest map[subject]*Event
	// lost are dropped events: how many, and ID and time of the last one.
	lost     int
	lostID   uint64
	lostTime time.Time
}

// subject is what makes two critical events the same.
type subject struct {
	code               EventCode
	repository, target string
}

func subjectOf(e *Event) subject { return subject{e.Code, e.Repository, e.Target} }

// len is the number of events that wait.
func (q *queue) len() int { return len(q.critical) + len(q.others) }

// push adds the newest event, at the expense of what matters less.
func (q *queue) push(e Event) {
	if e.Severity == hybrid.SeverityCritical {
		q.pushCritical(e)
	} else {
		q.others = append(q.others, e)
	}
	for q.len() > maxQueued && len(q.others) > 0 {
		dropped := shift(&q.others)
		q.lost++
		q.lostID, q.lostTime = dropped.ID, dropped.Time
	}
}

func (q *queue) pushCritical(e Event) {
	s := subjectOf(&e)
	if same := q.latest[s]; same != nil && q.len() >= maxQueued {
		e.ID, e.Time, e.Count = same.ID, same.Time, same.Count+e.Count
		*same = e
		return
	}
	if q.latest == nil {
		q.latest = map[subject]*Event{}
	}
	q.critical = append(q.critical, &e)
	q.latest[s] = &e
}

// pop removes and returns the event with the lowest ID; ok is false if there is
// none.
func (q *queue) pop() (e Event, ok bool) {
	const none = ^uint64(0)
	critical, other, lost := none, none, none
	if len(q.critical) > 0 {
		critical = q.critical[0].ID
	}
	if len(q.others) > 0 {
		other = q.others[0].ID
	}
	if q.lost > 0 {
		lost = q.lostID
	}
	switch min(critical, other, lost) {
	case none:
		return Event{}, false
	case critical:
		first := shift(&q.critical)
		if s := subjectOf(first); q.latest[s] == first {
			delete(q.latest, s)
		}
		return *first, true
	case other:
		return shift(&q.others), true
	}
	e = Event{
		ID: q.lostID, Time: q.lostTime, Severity: hybrid.SeverityWarning, Code: EventLost, Count: q.lost,
		Message: "events that are not critical were dropped: this subscriber is too slow",
	}
	q.lost = 0
	return e, true
}

// shift removes and returns the first element of a list that has one.
func shift[T any](list *[]T) T {
	var zero T
	first := (*list)[0]
	(*list)[0] = zero
	*list = (*list)[1:]
	return first
}

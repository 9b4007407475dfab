package store

import (
	"context"
	"log/slog"
)

// Severity says how much an event matters.
type Severity string

// The severities.
const (
	// Info: the store mended something that a crash or another tool leaves.
	Info Severity = "info"
	// Warning: something was damaged.
	Warning Severity = "warning"
	// Critical: somebody should look at this.
	Critical Severity = "critical"
)

// EventCode names what happened.
type EventCode string

// The events.
const (
	EventQuarantined    EventCode = "quarantined"
	EventFloorsRebuilt  EventCode = "floors_rebuilt"
	EventClockLost      EventCode = "clock_lost"
	EventClockLowered   EventCode = "clock_lowered"
	EventRollback       EventCode = "rollback_refused"
	EventRootConflict   EventCode = "root_conflict"
	EventRootRepaired   EventCode = "root_repaired"
	EventRootBehind     EventCode = "root_behind"
	EventRotated        EventCode = "keys_rotated"
	EventAnchorReplaced EventCode = "anchor_replaced"
)

// Event is something about the trust store that a user may want to know.
type Event struct {
	Code     EventCode
	Severity Severity
	// Role is the TUF role concerned and Path the file; empty if there is none.
	Role, Path string
	// Trusted and Received are versions, 0 if they do not apply.
	Trusted, Received int64
	Message           string
}

// emit hands events to the application. The lock is not held then, so that a
// listener may use the store.
func (s *Store) emit(events []Event) {
	for _, e := range events {
		level := slog.LevelInfo
		if e.Severity != Info {
			level = slog.LevelWarn
		}
		s.log.Log(context.Background(), level, e.Message, "event", e.Code, "role", e.Role, "path", e.Path,
			"trusted", e.Trusted, "received", e.Received)
		if s.onEvent != nil {
			s.onEvent(e)
		}
	}
}

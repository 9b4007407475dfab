package hybrid

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/store"
)

// events hands events to the application, one at a time, and to the log.
type events struct {
	mu  sync.Mutex
	on  func(Event)
	log *slog.Logger
	now func() time.Time
}

func newEvents(o Options) *events { return &events{on: o.OnEvent, log: o.Logger, now: o.Now} }

func (e *events) emit(severity Severity, code, message string, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.log.Info(message, "event", code, "severity", severity)
	if e.on != nil {
		e.on(Event{Time: e.now(), Severity: severity, Code: code, Message: message, Err: err})
	}
}

func (e *events) breaker(from, to string) {
	severity := SeverityInfo
	if to == "open" {
		severity = SeverityWarning
	}
	e.emit(severity, "breaker", fmt.Sprintf("the breaker around go-tuf went from %s to %s", from, to), nil)
}

func (e *events) fromStore(ev store.Event) {
	e.emit(Severity(ev.Severity), string(ev.Code), ev.Message, nil)
}

package hybrid

import (
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/store"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
)

// events hands events to the application, one at a time, and to the log.
type events struct {
	mu  sync.Mutex
	on  func(Event)
	log *slog.Logger
	now func() time.Time
	// root is the latest one that was told of.
	root atomic.Pointer[admission.Doc]
}

func newEvents(o Options) *events {
	return &events{on: o.OnEvent, log: o.component("client"), now: o.Now}
}

func (e *events) emit(severity Severity, code, message string, err error) {
	e.send(Event{Severity: severity, Code: code, Message: message, Err: err})
}

func (e *events) send(ev Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.log.Info(ev.Message, "event", ev.Code, "severity", ev.Severity)
	if e.on != nil {
		ev.Time = e.now()
		e.on(ev)
	}
}

// refused tells of a verdict. It returns the error as one that was told of.
func (e *events) refused(code string, err error) error {
	e.emit(SeverityCritical, code, err.Error(), err)
	return tuferr.Tell(err)
}

func (e *events) breaker(from, to string) {
	severity := SeverityInfo
	if to == "open" {
		severity = SeverityWarning
	}
	e.send(Event{Severity: severity, Code: "breaker", From: from, To: to,
		Message: fmt.Sprintf("the breaker around go-tuf went from %s to %s", from, to)})
}

// rootMoved tells that after is trusted now where before was. Operations that run
// side by side may have committed the same root; it is told of once.
func (e *events) rootMoved(before, after *admission.Doc) {
	if before.SHA256 == after.SHA256 {
		return
	}
	if last := e.root.Swap(after); last != nil && last.SHA256 == after.SHA256 {
		return
	}
	e.send(Event{Severity: SeverityWarning, Code: "root_changed", From: strconv.FormatInt(before.Version, 10),
		To: strconv.FormatInt(after.Version, 10), Role: string(admission.KindRoot),
		Message: fmt.Sprintf("the trusted root moved from version %d to %d", before.Version, after.Version)})
}

func (e *events) fromStore(ev store.Event) {
	e.send(Event{Severity: Severity(ev.Severity), Code: string(ev.Code), Message: ev.Message,
		Role: ev.Role, Path: ev.Path, Trusted: ev.Trusted, Received: ev.Received})
}

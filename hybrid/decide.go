package hybrid

import (
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// action is what follows from an engine's answer.
type action struct {
	// fallback: another engine may verify everything from scratch.
	fallback bool
	// commit: what the engine verified before may be kept.
	commit bool
	// breaker: what the breaker is told about the engine. A failure is told
	// only once the other engine has verified the same bytes.
	breaker tally
	// event: somebody should know.
	event Severity
}

// tally is what the breaker is told.
type tally string

// What the breaker can be told.
const (
	worked     tally = "success"
	failed     tally = "failure"
	notCounted tally = "not counted"
)

// decisions is the fallback table. The class of an error decides; no error text
// is ever looked at. One line for each class, and the rule in one sentence: only
// a fault may be answered by another engine, and only in auto.
var decisions = map[protocol.Class]action{
	"":                      {commit: true, breaker: worked},
	protocol.ClassNotFound:  {commit: true, breaker: worked},
	protocol.ClassVerdict:   {commit: true, breaker: worked, event: SeverityCritical},
	protocol.ClassFault:     {fallback: true, breaker: failed, event: SeverityWarning},
	protocol.ClassTransport: {commit: true, breaker: notCounted},
	protocol.ClassLocal:     {breaker: notCounted, event: SeverityWarning},
	protocol.ClassUsage:     {breaker: notCounted},
	protocol.ClassCancelled: {breaker: notCounted},
}

// decide returns what follows when an engine answered with err in the given
// mode. A foreign error counts as a fault. It is pure.
func decide(mode Mode, err error) action {
	a, ok := decisions[tuferr.ClassOf(err)]
	if !ok {
		a = decisions[protocol.ClassFault]
	}
	if mode != ModeAuto {
		a.fallback = false
		a.breaker = notCounted
	}
	return a
}

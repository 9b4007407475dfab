package vault

import (
	"errors"
	"regexp"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/vault/policy"
)

// Everything that happens in a call is told of once. Where from:
//
//	what happened                            event                  from
//	success                                  allowed                the vault itself
//	target not in verified metadata          not_found              eventOf
//	verdict of an engine or the host         refused, disagreement  translate; the error is marked as told of
//	verdict of nobody who told of it         refused, disagreement  eventOf
//	trust store refused or healed            store                  translate; a verdict is marked as told of
//	fault, the other engine answered         fallback               translate
//	fault, nobody answered                   fault                  eventOf
//	breaker changed its state                breaker                translate
//	newer root trusted                       root_changed           translate
//	another mirror answers                   mirror                 translate
//	unreachable, metadata in the store does  offline                translate; an error is marked as told of
//	unreachable, nothing answers             unreachable, busy      eventOf
//	this machine in the way                  local                  eventOf
//	cancelled by the caller                  cancelled              eventOf
//	the policy refuses                       policy_denied          eventOf
//	asked for what cannot be                 none
//
// Package hybrid also tells of a fault or a local error of one engine. What came of
// it is told by another row: these events are none here.

// kind is a code of events with its severity; "" leaves it as it came.
type kind struct {
	code     EventCode
	severity hybrid.Severity
}

// translated are the events of package hybrid, by their codes there.
var translated = map[string]kind{
	"refused":      {EventRefused, hybrid.SeverityCritical},
	"disagreement": {EventDisagreement, hybrid.SeverityCritical},
	"fallback":     {EventFallback, hybrid.SeverityWarning},
	"breaker":      {EventBreaker, ""},
	"offline":      {EventOffline, hybrid.SeverityWarning},
	"mirror":       {EventMirror, ""},
	"root_changed": {EventRoot, hybrid.SeverityWarning},

	"expiry_overridden": {EventBreakGlass, hybrid.SeverityCritical},

	"quarantined":      {EventStore, ""},
	"floors_rebuilt":   {EventStore, ""},
	"clock_lost":       {EventStore, ""},
	"clock_lowered":    {EventStore, ""},
	"rollback_refused": {EventStore, ""},
	"root_conflict":    {EventStore, ""},
	"root_repaired":    {EventStore, ""},
	"root_behind":      {EventStore, ""},
	"keys_rotated":     {EventStore, ""},
	"anchor_replaced":  {EventStore, ""},
}

// byClass are the events of errors, by their class; a class that is not there, or
// has no code, raises none.
var byClass = map[protocol.Class]kind{
	protocol.ClassVerdict:   {EventRefused, hybrid.SeverityCritical},
	protocol.ClassFault:     {EventFault, hybrid.SeverityWarning},
	protocol.ClassTransport: {EventUnreachable, hybrid.SeverityWarning},
	protocol.ClassLocal:     {EventLocal, hybrid.SeverityWarning},
	protocol.ClassCancelled: {EventCancelled, hybrid.SeverityInfo},
	protocol.ClassNotFound:  {EventNotFound, hybrid.SeverityInfo},
	protocol.ClassUsage:     {},
}

// byCode goes before byClass.
var byCode = map[protocol.Code]kind{
	protocol.CodeDisagreement: {EventDisagreement, hybrid.SeverityCritical},
	protocol.CodePolicyDenied: {EventPolicyDenied, hybrid.SeverityWarning},
	protocol.CodeBusy:         {EventBusy, hybrid.SeverityWarning},
}

// grave are the rules of the policy whose denials are critical.
var grave = map[string]bool{"yanked": true, ruleDowngrade: true, ruleTakenBack: true}

// translate makes an event of a repository's client the vault's. An event without
// a code is none: see the table above. One of an unknown code is taken for the
// trust store's, with its severity.
func translate(repository string, e hybrid.Event) Event {
	k, known := translated[e.Code]
	if !known {
		if info, isError := protocol.Code(e.Code).Lookup(); isError && (info.Class == protocol.ClassFault || info.Class == protocol.ClassLocal) {
			return Event{}
		}
		k = kind{code: EventStore}
	}
	if k.severity == "" {
		k.severity = e.Severity
	}
	ev := Event{Time: e.Time, Code: k.code, Severity: k.severity, Repository: repository, Message: scrub(e.Message)}
	ev.rest(e.Err)
	x := &ev.Evidence
	x.From, x.To = e.From, e.To
	if k.code == EventStore {
		x.Store = e.Code
	}
	if e.Role != "" {
		x.Role = e.Role
	}
	if e.Path != "" {
		x.Path = e.Path
	}
	if e.Trusted != 0 || e.Received != 0 {
		x.Trusted, x.Received = e.Trusted, e.Received
	}
	return ev
}

// eventOf makes an event of the error of a call. It has no code, and so is none,
// if err is nil, of class usage, or one that an event told of already. Severities
// are fixed by code, but a denial is critical for what was withdrawn or is older
// than what is installed. What is no *hybrid.Error is a fault.
func eventOf(repository, target string, err error) Event {
	if err == nil || tuferr.Told(err) {
		return Event{}
	}
	k, ok := byCode[tuferr.CodeOf(err)]
	if !ok {
		k = byClass[tuferr.ClassOf(err)]
	}
	if k.code == "" {
		return Event{}
	}
	e := Event{Code: k.code, Severity: k.severity, Repository: repository, Target: target, Message: scrub(err.Error())}
	e.rest(err)
	var denial *policy.Denial
	if e.Code == EventPolicyDenied && errors.As(err, &denial) {
		e.Evidence.Rule = denial.Rule
		if grave[denial.Rule] {
			e.Severity = hybrid.SeverityCritical
		}
	}
	return e
}

// rest rests an event on the evidence of an error.
func (e *Event) rest(err error) {
	if err == nil {
		return
	}
	e.Err = scrubbed(err)
	x := tuferr.As(err)
	if x == nil {
		e.Evidence.Code, e.Evidence.Class = tuferr.CodeOf(err), tuferr.ClassOf(err)
		return
	}
	if e.Target == "" {
		e.Target = x.Target
	}
	e.Evidence = Evidence{
		Code: x.Code, Class: x.Class(), Role: x.Role, Engine: x.Engine, Trusted: x.Trusted, Received: x.Received,
		Digest: x.Digest, Spec: x.Spec, URL: scrub(x.URL), Path: x.Path,
	}
}

var (
	userinfo    = regexp.MustCompile(`://[^\s/?#]*@`)
	queries     = regexp.MustCompile(`(://[^\s"'<>?]*\?)[^\s"'<>)]+`)
	credentials = regexp.MustCompile(`(?i)\b(authorization:\s*[a-z]+|bearer)\s+[^\s"',;]+`)
)

// scrub takes secrets out of a text: user names, passwords and queries out of URLs,
// and what follows "Bearer". Errors of this module hold none of these; those
// that they wrap may.
func scrub(s string) string {
	s = userinfo.ReplaceAllString(s, "://redacted@")
	s = queries.ReplaceAllString(s, "${1}redacted")
	return credentials.ReplaceAllString(s, "$1 redacted")
}

// quiet is an error whose text has been scrubbed.
type quiet struct {
	text string
	err  error
}

func scrubbed(err error) error {
	if text := scrub(err.Error()); text != err.Error() {
		return &quiet{text, err}
	}
	return err
}

// Error returns what may be shown.
func (q *quiet) Error() string { return q.text }

// Unwrap gives errors.Is and errors.As access to the error.
func (q *quiet) Unwrap() error { return q.err }

package vault

import (
	"time"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// EventCode names what an [Event] is about. Codes are stable.
type EventCode string

// The events. Severity is fixed for each code, except where it says "up to".
const (
	// EventAllowed: a plugin was verified, allowed by the policy or a break-glass, and
	// handed out. Info.
	EventAllowed EventCode = "allowed"
	// EventNotFound: verified metadata lists no such target. Info.
	EventNotFound EventCode = "not_found"
	// EventRefused: an engine or the host said no: a verdict. Critical.
	EventRefused EventCode = "refused"
	// EventFallback: python-tuf answered where go-tuf could not. Warning.
	EventFallback EventCode = "fallback"
	// EventFault: no engine could do its work. Warning.
	EventFault EventCode = "fault"
	// EventDisagreement: dual mode: the engines disagree. Critical.
	EventDisagreement EventCode = "disagreement"
	// EventBreaker: the breaker around go-tuf changed its state. Up to warning.
	EventBreaker EventCode = "breaker"
	// EventUnreachable: a repository could not be asked. Warning.
	EventUnreachable EventCode = "unreachable"
	// EventBusy: a bound on what waits for a repository was reached. Warning.
	EventBusy EventCode = "busy"
	// EventOffline: verified metadata answers for an unreachable repository. Warning.
	EventOffline EventCode = "offline"
	// EventMirror: another mirror answers for a repository. Up to warning.
	EventMirror EventCode = "mirror"
	// EventStore: a trust store was healed, or guarded something. Up to critical.
	EventStore EventCode = "store"
	// EventRoot: a repository's root of trust moved to a new version. Warning.
	EventRoot EventCode = "root_changed"
	// EventLocal: this machine was in the way. Warning.
	EventLocal EventCode = "local"
	// EventCancelled: the caller gave up. Info.
	EventCancelled EventCode = "cancelled"
	// EventPolicyDenied: the policy refused a plugin. Warning; critical if it was
	// withdrawn or is older than the one installed.
	EventPolicyDenied EventCode = "policy_denied"
	// EventConflict: repositories that must agree do not. Critical.
	EventConflict EventCode = "conflict"
	// EventDowngrade: an older version took the place of the installed one, as
	// the caller asked. Warning.
	EventDowngrade EventCode = "downgrade"
	// EventBreakGlass: somebody overrode policy or expiry; or tried to, and Evidence.Code
	// says why that failed. Critical.
	EventBreakGlass EventCode = "break_glass"
	// EventRunsOn: an installed plugin was opened although its metadata cannot be
	// verified now. Warning.
	EventRunsOn EventCode = "runs_on"
	// EventOpened: an installed plugin was handed out to be run. Info.
	EventOpened EventCode = "opened"
	// EventAudit: the audit log cannot be written; in the log itself: Count events
	// before could not be. Critical.
	EventAudit EventCode = "audit"
	// EventLost: a subscriber was too slow, and Count events of less than critical
	// severity were dropped for it. Warning.
	EventLost EventCode = "events_lost"
)

// Event is something that matters for security.
type Event struct {
	// ID grows by one with each event of a vault, from 1.
	ID       uint64          `json:"id"`
	Time     time.Time       `json:"time"`
	Severity hybrid.Severity `json:"severity"`
	Code     EventCode       `json:"code"`
	// Repository and Target are what it is about, "" if it is about none.
	Repository string   `json:"repository,omitempty"`
	Target     string   `json:"target,omitempty"`
	Message    string   `json:"message"`
	Evidence   Evidence `json:"evidence,omitzero"`
	// Count is how many events this one stands for: more than 1 where a subscriber
	// was slow and the same happened again, see [Vault.Events].
	Count int `json:"count"`
	// Err is the error that it is about, if any.
	Err error `json:"-"`
}

// Evidence is what an event rests on. Empty members do not apply.
type Evidence struct {
	Code   protocol.Code  `json:"code,omitempty"`
	Class  protocol.Class `json:"class,omitempty"`
	Role   string         `json:"role,omitempty"`
	Engine string         `json:"engine,omitempty"`
	// Trusted and Received are metadata versions.
	Trusted  int64 `json:"trusted,omitempty"`
	Received int64 `json:"received,omitempty"`
	// Digest is the lower-case hex SHA-256 of the bytes concerned.
	Digest string `json:"digest,omitempty"`
	// Spec is the section of the TUF specification that was enforced.
	Spec string `json:"spec,omitempty"`
	URL  string `json:"url,omitempty"`
	Path string `json:"path,omitempty"`
	// Rule is the rule of the policy.
	Rule string `json:"rule,omitempty"`
	// From and To are states or versions of plugins.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Store is what a trust store did: quarantined, floors_rebuilt, clock_lost,
	// clock_lowered, rollback_refused, root_conflict, root_repaired, root_behind,
	// keys_rotated or anchor_replaced.
	Store string `json:"store,omitempty"`
	// By and Reason are those of a break-glass.
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}

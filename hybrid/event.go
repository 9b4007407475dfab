package hybrid

import "time"

// Severity grades an [Event].
type Severity string

// The severities.
const (
	SeverityInfo     Severity = "info"
	SeverityWarning  Severity = "warning"
	SeverityCritical Severity = "critical"
)

// Event tells of something that matters for security: a refusal, a fallback, a
// breaker that opened, a trust store that had to be healed.
type Event struct {
	Time     time.Time `json:"time"`
	Severity Severity  `json:"severity"`
	// Code is stable: "refused", "fallback", "breaker", "disagreement", "offline",
	// "mirror", "expiry_overridden", "root_changed" once a newer root is trusted, the
	// code of the error of an engine that could not do its work, or one of the trust
	// store's, such as "quarantined".
	Code    string `json:"code"`
	Message string `json:"message"`
	// From and To are states of the breaker, or versions of the root.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Role, Path, Trusted and Received are those of an event of the trust store:
	// the role and the local file concerned, and metadata versions.
	Role     string `json:"role,omitempty"`
	Path     string `json:"path,omitempty"`
	Trusted  int64  `json:"trusted,omitempty"`
	Received int64  `json:"received,omitempty"`
	// Err is the error that the event is about, if any: the evidence.
	Err error `json:"-"`
}

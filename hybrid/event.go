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
	// "mirror", or one of the trust store's, such as "quarantined".
	Code    string `json:"code"`
	Message string `json:"message"`
	// Err is the error that the event is about, if any: the evidence.
	Err error `json:"-"`
}

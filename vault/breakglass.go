package vault

import "time"

// The bounds of a [BreakGlass].
const (
	MaxBreakGlass  = 24 * time.Hour
	MaxExpiryGrace = 30 * 24 * time.Hour
)

// BreakGlass overrides policy and expiry for one plugin: what somebody does in an
// emergency, knowing that it will be seen. It never overrides signatures, hashes,
// rollback of metadata, or what dual mode demands.
type BreakGlass struct {
	// Target and SHA256 are the one plugin that it is for.
	Target string `json:"target"`
	SHA256 string `json:"sha256"`
	// By and Reason say who does it, and why.
	By     string `json:"by"`
	Reason string `json:"reason"`
	// Until is when it ends, at most [MaxBreakGlass] from now.
	Until time.Time `json:"until"`
	// ExpiryGrace accepts metadata that has expired not longer ago than this, at
	// most [MaxExpiryGrace]; 0 overrides the policy only.
	ExpiryGrace time.Duration `json:"expiry_grace,omitempty"`
	// Confirm is what [BreakGlass.Phrase] returns, typed by a person.
	Confirm string `json:"confirm"`
}

// Phrase is what has to be typed to confirm it.
func (b *BreakGlass) Phrase() string {
	return "install " + b.Target + " " + b.SHA256[:min(12, len(b.SHA256))] + " against the policy"
}

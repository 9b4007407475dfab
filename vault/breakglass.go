package vault

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/targets"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/vault/policy"
)

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
	// Until is when it ends, at most [MaxBreakGlass] from now: until then the plugin may
	// be opened, too.
	Until time.Time `json:"until"`
	// ExpiryGrace accepts metadata that has expired not longer ago than this, at
	// most [MaxExpiryGrace]; 0 overrides the policy only.
	ExpiryGrace time.Duration `json:"expiry_grace,omitempty"`
	// Confirm is what [BreakGlass.Phrase] returns, typed by a person.
	Confirm string `json:"confirm"`
}

// Phrase is what has to be typed to confirm it: it names the target and the first 12
// digits of the hash, however that is written.
func (b *BreakGlass) Phrase() string {
	_, digest, _ := targets.ParseHash(b.SHA256) // What is none is refused.
	return fmt.Sprintf("install %s %.12s against the policy", b.Target, digest)
}

// maxWords bounds By and Reason in bytes.
const maxWords = 500

// check refuses what is not for this target, not now, not for one hash, or not
// confirmed. expected is the hash that the caller expects, "" if it does not say.
func (b *BreakGlass) check(target, expected string, now time.Time) error {
	algorithm, digest, err := targets.ParseHash(b.SHA256)
	var wrong []string
	for problem, is := range map[string]bool{
		"it is for another target, " + fmt.Sprintf("%.100q", b.Target): b.Target != target,
		"its sha256 is not one":                       err != nil || algorithm != "sha256",
		"its sha256 is not the one that is expected":  expected != "" && expected != digest,
		"by and reason must say who does it, and why": !said(b.By) || !said(b.Reason),
		"it has ended": !now.Before(b.Until),
		fmt.Sprintf("it ends more than %s from now", MaxBreakGlass):             b.Until.Sub(now) > MaxBreakGlass,
		fmt.Sprintf("its expiry grace is not between 0 and %s", MaxExpiryGrace): b.ExpiryGrace < 0 || b.ExpiryGrace > MaxExpiryGrace,
		"it is not confirmed": b.Confirm != b.Phrase(),
	} {
		if is {
			wrong = append(wrong, problem)
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	slices.Sort(wrong)
	e := tuferr.New(protocol.CodeUsage, "the break-glass cannot be used: %s", strings.Join(wrong, "; "))
	if e.Target = target; b.Confirm != b.Phrase() {
		e.Hint = fmt.Sprintf("to confirm it, type: %s", b.Phrase())
	}
	return e
}

func said(s string) bool { return strings.TrimSpace(s) != "" && len(s) <= maxWords }

// words say what was overridden.
func (b *BreakGlass) words(p *Plugin, overrode error) string {
	what := "nothing had to be overridden by the policy"
	if overrode != nil {
		what = "against " + overrode.Error()
	}
	return fmt.Sprintf("%s was installed by break-glass, by %s (%s): %s", p.Target, b.By, b.Reason, what)
}

// tried tells of a break-glass that opened nothing, and of who wanted it. Nothing of it
// has been checked.
func (b *BreakGlass) tried(repository, target string, err error) Event {
	e := Event{Code: EventBreakGlass, Severity: hybrid.SeverityCritical, Repository: repository, Target: target}
	e.rest(err)
	e.Message = "a break-glass failed: " + scrub(err.Error())
	e.Evidence.By, e.Evidence.Reason = cut(b.By), cut(b.Reason)
	return e
}

// cut keeps of a text what By and Reason may hold.
func cut(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxWords)], "\uFFFD") }

// ruleOf is the rule of the policy that an error is about, if it is about one.
func ruleOf(err error) string {
	var d *policy.Denial
	if errors.As(err, &d) {
		return d.Rule
	}
	return ""
}

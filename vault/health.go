package vault

import (
	"fmt"
	"slices"
	"time"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// topLevel are the roles without which a repository cannot answer.
var topLevel = []string{"root", "timestamp", "snapshot", "targets"}

// oftenSigned is by how much timestamp and snapshot may come closer to their expiry
// than other roles: their keys are online, and sign anew all the time.
const oftenSigned = 24

const (
	// unreadable is why a repository without a status is down.
	unreadable = "its trust store cannot be read"
	// unable is how a vault is down for what is wrong on this machine.
	unable = "nothing can be installed: "
)

// judge grades a status from the facts in it: Mode, Err, and the Name, Client and Err
// of each repository. It fills in Roles, Health and Reasons. A role is said to expire
// soon from warn before on; 0 means [DefaultExpiryWarning], negative never. It is pure.
//
// A repository is down if it cannot answer now: its mode is off, its trust store
// cannot be read or has no root, a top-level role has expired and the last call has
// found nothing newer, metadata is stale, nothing was ever verified and it cannot be
// reached, or there is no worker in a mode that needs one. The vault is down if it is
// off, if all repositories are, or if this machine is in the way of all of them.
// Everything else that somebody should look at makes it degraded.
func judge(s *Status, warn time.Duration, now time.Time) {
	if warn == 0 {
		warn = DefaultExpiryWarning
	}
	s.Health, s.Reasons = HealthOK, nil
	down := 0
	for i := range s.Repositories {
		r := &s.Repositories[i]
		r.judge(warn, now)
		if r.Health == HealthDown {
			down++
		}
		if r.Health != HealthOK {
			s.Health = HealthDegraded
		}
		for _, reason := range r.Reasons {
			s.Reasons = append(s.Reasons, r.Name+": "+reason)
		}
	}
	if down == len(s.Repositories) {
		s.Health = HealthDown
	}
	if s.Err != nil {
		s.Health = HealthDown
		s.Reasons = slices.Insert(s.Reasons, 0, unable+s.Err.Error())
	}
	if s.Mode == hybrid.ModeOff {
		s.Health = HealthDown
		s.Reasons = slices.Insert(s.Reasons, 0, "verification is switched off: every request is refused")
	}
	if len(s.Repositories) == 0 {
		s.Reasons = append(s.Reasons, "there are no repositories")
	}
}

func (r *RepositoryStatus) judge(warn time.Duration, now time.Time) {
	c := r.Client
	switch {
	case r.Err != nil:
		r.Health, r.Reasons = HealthDown, []string{unreadable + ": " + r.Err.Error()}
		return
	case c == nil:
		r.Health, r.Reasons = HealthDown, []string{unreadable}
		return
	}
	r.Health, r.Reasons, r.Roles = HealthOK, nil, []RoleStatus{}
	if c.Mode == hybrid.ModeOff {
		r.worsen(HealthDown, "its client is off")
	}
	r.judgeRoles(c.Roles, warn, now)
	if c.LastRefresh.IsZero() {
		r.worsen(HealthDegraded, "nothing of it has been verified yet")
	}
	r.judgeLastError()
	if info, _ := c.Offline.Lookup(); c.Offline != "" {
		r.worsen(HealthDegraded, "metadata that was verified before answers for it: "+info.Meaning)
	}
	r.judgeEngines()
	for _, m := range c.Mirrors {
		if m.State == "down" || m.State == "set back" {
			r.worsen(HealthDegraded, "the mirror "+publicURL(m.MetadataURL)+" is "+m.State)
		}
	}
}

// worsen adds a reason.
func (r *RepositoryStatus) worsen(to Health, reason string) {
	if r.Health != HealthDown {
		r.Health = to
	}
	r.Reasons = append(r.Reasons, reason)
}

func (r *RepositoryStatus) judgeRoles(roles []hybrid.RoleStatus, warn time.Duration, now time.Time) {
	if !slices.ContainsFunc(roles, func(role hybrid.RoleStatus) bool { return role.Name == "root" }) {
		reason := "no trusted root has been given yet"
		if r.rooted {
			reason = "its trusted root has not been pinned yet"
		}
		r.worsen(HealthDown, reason)
	}
	// What the caller got wrong, or gave up, says nothing of what there is.
	code := r.Client.LastErrorCode
	failed := code != "" && code != protocol.CodeExpectedHash && code != protocol.CodePolicyDenied && slices.Contains(
		[]protocol.Class{protocol.ClassVerdict, protocol.ClassTransport, protocol.ClassFault, protocol.ClassLocal}, code.Class())
	for _, role := range roles {
		left, warn := role.Expires.Sub(now), warn
		if role.Name == "timestamp" || role.Name == "snapshot" {
			warn /= oftenSigned
		}
		r.Roles = append(r.Roles, RoleStatus{RoleStatus: role, SecondsLeft: int64(left.Round(time.Second) / time.Second)})
		when := role.Expires.UTC().Format(time.RFC3339)
		switch {
		case left > 0 && left >= warn:
		case left > 0:
			r.worsen(HealthDegraded, fmt.Sprintf("%s expires soon, on %s", role.Name, when))
		case slices.Contains(topLevel, role.Name) && failed:
			r.worsen(HealthDown, fmt.Sprintf("%s expired on %s", role.Name, when))
		case slices.Contains(topLevel, role.Name):
			// An application that is idle must not be taken for a broken one.
			r.worsen(HealthDegraded, fmt.Sprintf("%s expired on %s; nobody has asked for a newer one since", role.Name, when))
		default:
			r.worsen(HealthDegraded, fmt.Sprintf("%s expired on %s", role.Name, when))
		}
	}
}

// judgeLastError looks at the code of the last error alone: its text may name
// local paths. What only the caller got wrong, or may not have, is no matter of
// health.
func (r *RepositoryStatus) judgeLastError() {
	code := r.Client.LastErrorCode
	info, _ := code.Lookup()
	switch {
	case code == "" || code == protocol.CodeNoRoot || code == protocol.CodeExpectedHash || code == protocol.CodePolicyDenied:
		return
	case info.Class == protocol.ClassNotFound || info.Class == protocol.ClassUsage || info.Class == protocol.ClassCancelled:
		return
	}
	grade, text := HealthDegraded, info.Meaning
	if text == "" {
		text = string(code)
	}
	if code == protocol.CodeStale || info.Class == protocol.ClassTransport && r.Client.LastRefresh.IsZero() {
		grade = HealthDown
	}
	r.worsen(grade, "the last call failed: "+text)
}

// judgeEngines says who answers in whose place, and who is missing.
func (r *RepositoryStatus) judgeEngines() {
	c := r.Client
	needed := c.Mode == hybrid.ModePython || c.Mode == hybrid.ModeDual
	if c.Mode == hybrid.ModeAuto {
		// The zero value is a closed one.
		if open := c.Breaker.State != "" && c.Breaker.State != "closed"; open {
			needed = true
			r.worsen(HealthDegraded, "the breaker around go-tuf is "+c.Breaker.State)
		}
		if c.Engine == "python" || c.Breaker.ConsecutiveFailures > 0 && c.LastFallback != "" {
			r.worsen(HealthDegraded, "python-tuf answers in place of go-tuf")
		}
	}
	switch {
	case !needed:
	case c.Worker.State == "unavailable" && c.Mode != hybrid.ModeAuto:
		r.worsen(HealthDown, "the python worker is unavailable")
	case c.Worker.State == "unavailable":
		r.worsen(HealthDegraded, "the python worker is unavailable: go-tuf is asked although it fails")
	case c.Worker.State == "backing off":
		r.worsen(HealthDegraded, "the python worker has crashed and is started again")
	}
}

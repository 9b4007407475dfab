package repository

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Health says whether clients can use a repository.
type Health string

// The states of a repository.
const (
	// Healthy: everything is valid and not close to its end.
	Healthy Health = "ok"
	// Degraded: clients still work, but somebody should act: a role has less than
	// a quarter of its lifetime left, or a publisher's has expired.
	Degraded Health = "degraded"
	// Down: a top-level role has expired, metadata cannot be used, or there are no
	// plugins to download.
	Down Health = "down"
)

// Status is the state of a repository.
type Status struct {
	Status Health    `json:"status"`
	Time   time.Time `json:"time"`
	// Roles holds root, targets, snapshot and timestamp, in this order, and then
	// the publishers; it is empty if the metadata cannot be used.
	Roles []RoleStatus `json:"roles"`
	// Bins holds hash bins, each set of them as one.
	Bins []BinsStatus `json:"bins,omitempty"`
	// Targets is the number of published plugins, Bytes their size.
	Targets int   `json:"targets"`
	Bytes   int64 `json:"bytes"`
	// Proposals are the changes in DIR/proposals that wait for signatures.
	Proposals []Waiting `json:"proposals,omitempty"`
	// Problems says in words why the status is not ok, Hints what could be better.
	Problems []string `json:"problems"`
	Hints    []string `json:"hints,omitempty"`
	// expired says that a role has expired, were it a publisher's.
	expired bool
	// missing is the error of the first file that is missing beside the metadata, or
	// is not what it should be.
	missing error
}

// RoleStatus is the state of a role.
type RoleStatus struct {
	Role    string    `json:"role"`
	Version int64     `json:"version"`
	Expires time.Time `json:"expires"`
	// SecondsLeft is negative after the role has expired.
	SecondsLeft int64 `json:"seconds_left"`
	// Soon says that it should be renewed now.
	Soon bool `json:"soon,omitempty"`
	// Targets is the number of plugins that the role lists.
	Targets int         `json:"targets,omitempty"`
	Keys    *KeysAtHand `json:"keys,omitempty"`
}

// KeysAtHand says who can sign for a role.
type KeysAtHand struct {
	// Threshold of the keys Listed must sign.
	Threshold int `json:"threshold"`
	Listed    int `json:"listed"`
	// AtHand is how many of them are at hand.
	AtHand int `json:"at_hand"`
}

// BinsStatus is the state of hash bins.
type BinsStatus struct {
	// Prefix is what their names begin with, Delegator the role they belong to.
	Prefix    string `json:"prefix"`
	Delegator string `json:"delegator"`
	Count     int    `json:"count"`
	Targets   int    `json:"targets"`
	// Expires is when the first of them expires.
	Expires     time.Time   `json:"expires"`
	SecondsLeft int64       `json:"seconds_left"`
	Soon        bool        `json:"soon,omitempty"`
	Keys        *KeysAtHand `json:"keys,omitempty"`
}

// Status verifies all metadata and says how long it is good for, who can renew
// it, and what waits. Metadata that cannot be used is an error too, beside a
// status of [Down]. It blocks until done or ctx ends.
func (r *Repository) Status(ctx context.Context) (Status, error) {
	ring, unusable := r.ring()
	st, err := r.status(ctx, nil, ring)
	if err != nil {
		st.Problems = append(st.Problems, err.Error())
	}
	if unusable != nil {
		st.Hints = append(st.Hints, fmt.Sprintf("some keys cannot be used: %v", unusable))
	}
	return st, during("status", err)
}

// status says how the repository is, with what m remembers. A nil ring says
// nothing of keys.
func (r *Repository) status(ctx context.Context, m *memory, at ring) (Status, error) {
	st := Status{Status: Healthy, Time: r.clock().UTC().Truncate(time.Second), Roles: []RoleStatus{}, Problems: []string{}}
	s, err := r.load(ctx)
	var list []summary
	if err == nil {
		list, err = s.overview(ctx, m)
	}
	if err != nil {
		st.degrade(Down, "the metadata cannot be used")
		return st, err
	}
	st.addTop(s, list[0], at)
	st.addDelegated(s, list, at)
	for _, sum := range list {
		st.Targets += sum.targets
		st.Bytes += sum.bytes
	}
	st.addMissing(s, at != nil)
	if r.unfinished() {
		st.degrade(Degraded, "a change is decided but not complete: the next command that changes the repository completes it")
	}
	if at != nil {
		st.Proposals = s.proposals()
		st.Hints = s.largeRoles()
	}
	return st, nil
}

// addMissing looks for what metadata does not know of: the directory of the targets,
// and, for people, the root that new clients start from.
func (st *Status) addMissing(s *state, people bool) {
	if st.Targets > 0 && notThere(filepath.Join(s.r.dir, targetsName)) {
		st.lack(Down, s.r.dir, &Problem{KindMissing, true, targetsName, "the directory is not there: no plugin can be downloaded", restoreDir})
	}
	if p := s.anchorProblem(); people && p != nil {
		st.lack(Degraded, s.r.dir, p)
	}
}

func (st *Status) lack(to Health, dir string, p *Problem) {
	st.degrade(to, fmt.Sprintf("%s: %s; %s", p.Path, p.Text, p.Do))
	if st.missing != nil {
		return
	}
	code := protocol.CodeLocalIO
	switch p.Kind {
	case KindAnchor:
		code = protocol.CodeRootConflict
	case KindPermissions:
		code = protocol.CodePermissions
	}
	st.missing = &Error{Code: code, Op: "status", Path: filepath.Join(dir, p.Path), Msg: p.Text, Hint: p.Do}
}

func (st *Status) degrade(to Health, problem string) {
	if st.Status != Down {
		st.Status = to
	}
	st.Problems = append(st.Problems, problem)
}

// addTop adds the top-level roles.
func (st *Status) addTop(s *state, targets summary, at ring) {
	for _, role := range topLevel {
		rs := RoleStatus{Role: role}
		switch role {
		case roleRoot:
			rs.Version, rs.Expires = s.root.Version, s.root.Expires
		case roleTargets:
			rs.Version, rs.Expires, rs.Targets = targets.version, targets.expires, targets.targets
		case roleSnapshot:
			rs.Version, rs.Expires = s.snapshot.Version, s.snapshot.Expires
		case roleTimestamp:
			rs.Version, rs.Expires = s.timestamp.Version, s.timestamp.Expires
		}
		q := newQuorum(role, s.root.Root.Keys, s.root.Root.Roles[role])
		rs.SecondsLeft, rs.Keys = st.left(rs.Expires), at.count(&q)
		rs.Soon = st.judge(s, role, rs.Expires, Down, rs.Keys)
		st.Roles = append(st.Roles, rs)
	}
}

// addDelegated adds publishers and hash bins.
func (st *Status) addDelegated(s *state, list []summary, at ring) {
	byEdge := map[edge]*summary{}
	for i := range list {
		byEdge[list[i].edge] = &list[i]
	}
	for _, above := range list {
		for _, q := range above.trusts {
			keys := at.count(&q)
			if q.bins == nil {
				sum := byEdge[edge{q.role, above.role}]
				st.Roles = append(st.Roles, RoleStatus{Role: q.role, Version: sum.version, Expires: sum.expires,
					SecondsLeft: st.left(sum.expires), Targets: sum.targets, Keys: keys,
					Soon: st.judge(s, q.role, sum.expires, Degraded, keys)})
				continue
			}
			b := BinsStatus{Prefix: q.role, Delegator: above.role, Count: len(q.bins), Keys: keys}
			for i, bin := range q.bins {
				sum := byEdge[edge{bin, above.role}]
				b.Targets += sum.targets
				if i == 0 || sum.expires.Before(b.Expires) {
					b.Expires = sum.expires
				}
			}
			b.SecondsLeft = st.left(b.Expires)
			b.Soon = st.judge(s, "hash bin of "+above.role, b.Expires, Degraded, keys)
			st.Bins = append(st.Bins, b)
		}
	}
}

func (st *Status) left(expires time.Time) int64 {
	return int64(expires.Sub(st.Time).Round(time.Second) / time.Second)
}

// count says how many of a role's keys are at hand.
func (r ring) count(q *quorum) *KeysAtHand {
	if r == nil {
		return nil
	}
	k := &KeysAtHand{Threshold: q.threshold, Listed: q.listed}
	for _, print := range q.keys {
		if _, ok := r[print]; ok {
			k.AtHand++
		}
	}
	return k
}

// judge says what there is to say of a role's expiry, and whether that comes
// soon. An expired role makes the repository worse.
func (st *Status) judge(s *state, role string, expires time.Time, worse Health, keys *KeysAtHand) (soon bool) {
	left := expires.Sub(s.now)
	when := expires.Format(time.RFC3339)
	if left <= 0 {
		st.expired = true
		st.degrade(worse, fmt.Sprintf("%s expired on %s", role, when))
		return false
	}
	if left >= s.config.Lifetimes.of(role)/4 {
		return false
	}
	text := fmt.Sprintf("%s expires soon, on %s", role, when)
	if role != roleSnapshot && role != roleTimestamp {
		text += fmt.Sprintf(": people must sign it within %s", inDays(left))
		if keys != nil && keys.AtHand < keys.Threshold {
			text += fmt.Sprintf(", with %d keys of which %d are here", keys.Threshold, keys.AtHand)
		}
	}
	st.degrade(Degraded, text)
	return true
}

func inDays(d time.Duration) string {
	switch days := int(d / (24 * time.Hour)); days {
	case 0:
		return d.Round(time.Minute).String()
	case 1:
		return "1 day"
	default:
		return fmt.Sprintf("%d days", days)
	}
}

// Err is the error of a status that clients, or some of them, cannot live with:
// expired, local_io if the directory of targets or DIR/root.json is missing,
// permissions if the latter cannot be read, and root_conflict if it is another root. It is nil for Healthy, and for
// Degraded for other reasons, unless a publisher's role has expired.
func (st Status) Err() error {
	if st.missing != nil {
		return st.missing
	}
	if st.Status != Down && !st.expired {
		return nil
	}
	hint := "publish renews targets and publishers, serve renews snapshot and timestamp"
	if len(st.Roles) > 0 && st.Roles[0].SecondsLeft <= 0 {
		hint = "renew root first: local-tuf root propose FILE, or rotate --due where its keys are at hand; nothing can be published before"
	}
	return &Error{Code: protocol.CodeExpired, Op: "status", Err: errors.Join(problems(st.Problems)...),
		Msg: "clients refuse this repository, or a part of it", Hint: hint}
}

// Warning is an error for everything that is not [Healthy]: what Err says, or
// stale if somebody should act.
func (st Status) Warning() error {
	if err := st.Err(); err != nil || st.Status == Healthy {
		return err
	}
	return &Error{Code: protocol.CodeStale, Op: "status", Err: errors.Join(problems(st.Problems)...),
		Msg: "somebody should act soon", Hint: "see: local-tuf status"}
}

func problems(list []string) []error {
	var all []error
	for _, p := range list {
		all = append(all, errors.New(p))
	}
	return all
}

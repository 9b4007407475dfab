package repository

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Health says whether clients can use a repository.
type Health string

// The states of a repository.
const (
	// Healthy: everything is valid and not close to its end.
	Healthy Health = "ok"
	// Degraded: clients still work, but a role has less than a quarter of its
	// lifetime left: nobody renewed it in time.
	Degraded Health = "degraded"
	// Down: a role has expired, or its metadata cannot be used.
	Down Health = "down"
)

// Status is the state of a repository.
type Status struct {
	Status Health    `json:"status"`
	Time   time.Time `json:"time"`
	// Roles holds root, targets, snapshot and timestamp, in this order; it is
	// empty if the metadata cannot be used.
	Roles []RoleStatus `json:"roles"`
	// Targets is the number of published plugins, Bytes their size.
	Targets int   `json:"targets"`
	Bytes   int64 `json:"bytes"`
	// Problems says in words why the status is not ok.
	Problems []string `json:"problems"`
}

// RoleStatus is the state of a role.
type RoleStatus struct {
	Role    string    `json:"role"`
	Version int64     `json:"version"`
	Expires time.Time `json:"expires"`
	// SecondsLeft is negative after the role has expired.
	SecondsLeft int64 `json:"seconds_left"`
}

// Status verifies the metadata and says how long it is good for. Metadata that
// cannot be used is an error too, beside a status of [Down]. It blocks until done
// or ctx ends.
func (r *Repository) Status(ctx context.Context) (Status, error) {
	st := Status{Status: Healthy, Time: r.clock().UTC().Truncate(time.Second), Roles: []RoleStatus{}, Problems: []string{}}
	s, err := r.load(ctx)
	if err == nil {
		err = s.all(ctx)
	}
	if err != nil {
		st.Status = Down
		st.Problems = append(st.Problems, "the metadata cannot be used")
		return st, during("status", err)
	}
	st.add(s, roleRoot, s.root)
	st.add(s, roleTargets, s.roles[roleTargets].doc)
	st.add(s, roleSnapshot, s.snapshot)
	st.add(s, roleTimestamp, s.timestamp)
	for _, name := range slices.Sorted(maps.Keys(s.roles)) {
		doc := s.roles[name].doc
		if name != roleTargets {
			st.add(s, name, doc)
		}
		for path := range doc.Targets.Paths() {
			st.Targets++
			st.Bytes += doc.Targets.Find(path).Length
		}
	}
	return st, nil
}

func (st *Status) add(s *state, role string, doc *admission.Doc) {
	version, expires := doc.Version, doc.Expires
	left := expires.Sub(s.now)
	st.Roles = append(st.Roles, RoleStatus{Role: role, Version: version, Expires: expires,
		SecondsLeft: int64(left.Round(time.Second) / time.Second)})
	switch {
	case left <= 0:
		st.Status = Down
		st.Problems = append(st.Problems, fmt.Sprintf("%s expired on %s", role, expires.Format(time.RFC3339)))
	case left < s.config.Lifetimes.of(role)/4:
		if st.Status == Healthy {
			st.Status = Degraded
		}
		st.Problems = append(st.Problems, fmt.Sprintf("%s expires soon, on %s", role, expires.Format(time.RFC3339)))
	}
}

// Err is the error of a status that clients cannot live with: expired. It is
// nil for Healthy and Degraded.
func (st Status) Err() error {
	if st.Status != Down {
		return nil
	}
	return &Error{Code: protocol.CodeExpired, Op: "status", Err: errors.Join(problems(st.Problems)...),
		Msg: "clients refuse this repository", Hint: "publish renews targets, serve renews snapshot and timestamp"}
}

func problems(list []string) []error {
	var all []error
	for _, p := range list {
		all = append(all, errors.New(p))
	}
	return all
}

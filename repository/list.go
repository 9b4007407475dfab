package repository

import (
	"context"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/delegation"
	"github.com/ragnos-labs/vault-tuf/internal/plugin"
)

// Listed is a target as the repository lists it.
type Listed struct {
	Target
	// Latest are the channels of which it is the latest version.
	Latest []Channel `json:"latest,omitempty"`
	// Yanked is the reason why it was withdrawn, "" if it was not.
	Yanked string `json:"yanked,omitempty"`
}

// Targets returns what clients can find, each target as the role that answers for
// it lists it: in the order of the roles, and by path. It blocks until done or ctx
// ends.
func (r *Repository) Targets(ctx context.Context) ([]Listed, error) {
	list, err := r.listTargets(ctx)
	return list, during("status", err)
}

func (r *Repository) listTargets(ctx context.Context) ([]Listed, error) {
	s, err := r.load(ctx)
	if err != nil {
		return nil, err
	}
	var list []Listed
	err = s.eachTarget(ctx, func(role, path string, t *admission.Target) error {
		l := Listed{Target: Target{Path: path, Length: t.Length, SHA256: t.Hashes["sha256"], Role: role}}
		if _, said, err := plugin.ParseCustom(t.Custom); err == nil {
			l.Channel, l.Latest = said.Channel, said.Latest
			if said.Yanked != nil {
				l.Yanked = said.Yanked.Reason
			}
		}
		list = append(list, l)
		return nil
	})
	return list, err
}

// eachTarget calls do for every target that a search finds, with the role that
// the search ends at.
func (s *state) eachTarget(ctx context.Context, do func(role, path string, t *admission.Target) error) error {
	var order []edge
	err := delegation.Reach(maxRoles, func(role, delegator string) (*admission.Doc, error) {
		if err := ctx.Err(); err != nil {
			return nil, ioError(s.r.dir, err)
		}
		order = append(order, edge{role, delegator})
		return s.role(role, delegator)
	})
	if err != nil {
		return err
	}
	for _, e := range order {
		doc, err := s.role(e.role, e.delegator)
		if err != nil {
			return err
		}
		for path := range doc.Targets.Paths() {
			// Top-level targets are asked first by every search.
			if e.role != roleTargets {
				role, delegator, err := delegation.Find(path, maxRoles, s.role)
				if err != nil {
					return err
				}
				if role != e.role || delegator != e.delegator {
					continue
				}
			}
			if err := do(e.role, path, doc.Targets.Find(path)); err != nil {
				return err
			}
		}
	}
	return nil
}

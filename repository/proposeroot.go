package repository

import (
	"context"
	"slices"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

// ProposeRoot makes a proposal of the next root: with changes of the keys of
// top-level roles, or with nothing but a later expiry. It signs nothing and
// changes nothing. It blocks until done or ctx ends.
func (r *Repository) ProposeRoot(ctx context.Context, changes ...RoleKeys) (*Proposal, error) {
	p, err := r.change(ctx, func(c *change) error {
		c.ring, c.unusable = ring{}, nil
		for _, rk := range changes {
			if !slices.Contains(topLevel, rk.Role) {
				return &Error{Code: protocol.CodeUsage, Role: rk.Role, Msg: "root says nothing about the keys of this role",
					Hint: "use key add, key rotate or key revoke; nothing was changed"}
			}
		}
		if _, err := c.editRoot(); err != nil {
			return err
		}
		return c.changeKeys(ctx, changes)
	})
	return p, during("root propose", err)
}

package vault

import (
	"context"
	"net/http"
)

// Status tells how the vault is doing: every repository, and the latest events. It
// asks no repository and starts no process. A repository whose trust store cannot
// be read is down, with the reason; the error is for the end of ctx alone.
func (v *Vault) Status(ctx context.Context) (*Status, error) {
	s := &Status{Mode: v.opts.Mode, Repositories: make([]RepositoryStatus, len(v.repos)), Events: v.events.recent()}
	now := v.opts.Now()
	errs := v.each(func(r *repo) error {
		st, err := r.client.Status(ctx)
		if err != nil {
			return err
		}
		of := &RepositoryStatus{Name: r.name, Client: st, Roles: []RoleStatus{}}
		for _, role := range st.Roles {
			of.Roles = append(of.Roles, RoleStatus{role, int64(role.Expires.Sub(now).Seconds())})
		}
		for i := range v.repos {
			if v.repos[i] == r {
				s.Repositories[i] = *of
			}
		}
		return nil
	})
	if ctx.Err() != nil && len(errs) > 0 {
		return nil, joined(errs)
	}
	for _, e := range errs {
		for i := range v.repos {
			if v.repos[i] == e.repo {
				s.Repositories[i] = RepositoryStatus{Name: e.repo.name, Roles: []RoleStatus{}, Health: HealthDown, Reasons: []string{e.err.Error()}}
			}
		}
	}
	judge(s, v.opts.ExpiryWarning, now)
	return s, nil
}

// HealthHandler serves GET [HealthPath] and, below it, ready and live; mount it at
// the root of a mux.
func (v *Vault) HealthHandler() http.Handler { return newHealthHandler(v.Status) }

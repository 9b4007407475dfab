package vault

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
)

// auditPatience bounds what a status waits for an audit log that could not be written.
const auditPatience = time.Second

// Status tells how the vault is doing: every repository, and the latest events. It
// asks no repository and starts no process. What cannot do its work for what is wrong
// on this machine is down, with the reason; the error is for the end of ctx alone.
func (v *Vault) Status(ctx context.Context) (*Status, error) {
	now := v.opts.Now()
	s := &Status{Mode: v.opts.Mode, Repositories: make([]RepositoryStatus, len(v.repos)), Events: v.events.recent()}
	errs := v.each(func(r *repo) (err error) {
		i := slices.Index(v.repos, r)
		of := &s.Repositories[i]
		of.Name, of.Roles, of.rooted = r.name, []RoleStatus{}, v.opts.Repositories[i].Root != nil
		of.Client, err = r.client.Status(ctx)
		of.Err = tuferr.As(err)
		return err
	})
	err := v.unable(ctx)
	s.Err = tuferr.As(err)
	if ctx.Err() != nil && (len(errs) > 0 || err != nil) {
		return nil, tuferr.Cancelled(ctx)
	}
	judge(s, v.opts.ExpiryWarning, now)
	return s, nil
}

// unable is why nothing can be installed, whatever repositories say. An audit log that
// could not be written is tried again: whoever is sent no calls finds out, too.
func (v *Vault) unable(ctx context.Context) error {
	if _, err := v.book.List(ctx); err != nil {
		return err
	}
	if v.opts.AuditBestEffort || !v.trail.failed() {
		return nil
	}
	ctx, leave, err := v.calls.begin(ctx)
	defer leave()
	if err != nil {
		return nil // The log has ended with the vault.
	}
	ctx, cancel := context.WithTimeout(ctx, auditPatience)
	defer cancel()
	if err := v.trail.flush(ctx); err != nil {
		return unaudited(err)
	}
	return nil
}

// HealthHandler serves GET [HealthPath] with the status, 503 if it is down, and
// below it "/ready" with the grade alone and "/live", which answers as long as the
// process does. It tells nobody local paths or the text of errors, and asks no
// repository.
func (v *Vault) HealthHandler() http.Handler { return newHealthHandler(v.Status) }

package main

import (
	"context"
	"time"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/vault"
)

// repositoryResult is what init or refresh did to one repository.
type repositoryResult struct {
	Name string `json:"name"`
	done
	Roles       []hybrid.RoleStatus `json:"roles"`
	LastRefresh time.Time           `json:"last_refresh,omitzero"`
	Fallback    string              `json:"fallback,omitempty"`
	MetadataDir string              `json:"metadata_dir,omitempty"`
	Error       *errorObject        `json:"error,omitempty"`

	err *tuferr.Error
}

// printRepositories says what became of each repository. err is the call's; it
// counts where no repository says anything.
func (a *app) printRepositories(ctx context.Context, v *vault.Vault, verb string, err error) error {
	st, statusErr := v.Status(ctx)
	if statusErr != nil {
		if err == nil {
			err = statusErr
		}
		return err
	}
	var results []repositoryResult
	var errs []*tuferr.Error
	for _, r := range st.Repositories {
		result := a.resultOf(r)
		if result.err != nil {
			errs = append(errs, result.err)
		}
		results = append(results, result)
	}
	if err != nil && len(errs) == 0 {
		return err
	}
	object := struct {
		done
		Repositories []repositoryResult `json:"repositories"`
	}{done{len(errs) == 0}, results}
	if err := a.print(object, func(p *page) { p.repositories(results, verb) }); err != nil {
		return err
	}
	switch {
	case len(errs) == 0:
		return nil
	case !a.json:
		a.problems(errs)
	}
	return found{gravest(errs).Code.Exit()}
}

func (a *app) resultOf(r vault.RepositoryStatus) repositoryResult {
	result := repositoryResult{Name: r.Name, Roles: []hybrid.RoleStatus{}}
	switch c := r.Client; {
	case c == nil:
		result.err = tuferr.New(protocol.CodeLocalIO, "the trust store cannot be read")
		result.err.Hint = "check its directory, and the rights there"
	default:
		result.Roles, result.LastRefresh = c.Roles, c.LastRefresh
		result.Fallback, result.MetadataDir = c.LastFallback, c.MetadataDir
		if c.LastErr != nil {
			result.err = a.ours(single(c.LastErr)[0])
		}
	}
	if result.OK = result.err == nil; !result.OK {
		named := *result.err
		named.Op = "repository " + r.Name
		if op := result.err.Op; op != "" {
			named.Op += ": " + op
		}
		described := describe(result.err)
		result.err, result.Error = &named, &described
	}
	return result
}

func (p *page) repositories(results []repositoryResult, verb string) {
	for _, r := range results {
		if !r.OK {
			p.line("%s: failed", r.Name)
			continue
		}
		p.line("%s: %s: %s (in %s)", r.Name, verb, versions(r.Roles), r.MetadataDir)
		p.fallback(r.Fallback)
	}
}

// problems complains of several errors.
func (a *app) problems(errs []*tuferr.Error) {
	var p page
	for _, e := range errs {
		p.problem(e)
	}
	a.complain(&p)
}

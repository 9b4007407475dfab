package vault

import (
	"context"
	"errors"
	"path/filepath"
	"sync"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/records"
	"github.com/ragnos-labs/vault-tuf/internal/targets"
	"github.com/ragnos-labs/vault-tuf/internal/telemetry"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
)

// Vault installs plugins from several repositories under a policy. It is safe for
// concurrent use.
type Vault struct {
	opts   Options
	repos  []*repo
	byName map[string]*repo
	routes []route
	events *dispatcher
	tel    *telemetry.Telemetry // nil if nobody wants it
	book   *records.Book
	calls  *calls
	trail  *trail

	// opening is held by whoever opens the cache.
	opening sync.Mutex
	cache   *targets.Cache
}

// New makes a vault. It reads options, the files that they name, and the
// environment; it touches no trust store and no network and starts no process. The
// error is of class usage, and its Causes name every mistake.
func New(o Options) (*Vault, error) {
	o, err := o.Resolve()
	if err != nil {
		return nil, err
	}
	v := &Vault{opts: o, byName: map[string]*repo{}, events: newDispatcher(o.OnSecurityEvent, o.Now, o.Logger.With("component", "tuf:vault")),
		tel: telemetry.New(o.TracerProvider, o.MeterProvider, ""), book: records.Open(filepath.Join(o.MetadataDir, recordsName)), calls: newCalls()}
	v.trail = newTrail(o.AuditDir, o.Now, v.auditLost)
	for _, r := range o.Repositories {
		made, err := v.newRepo(r)
		if err != nil {
			return nil, errors.Join(v.named(r.Name, err), v.Shutdown(context.Background()))
		}
		v.repos = append(v.repos, made)
		v.byName[r.Name] = made
	}
	v.routes = v.newRoutes()
	return v, nil
}

// recordsName is the directory of the record of what is installed.
const recordsName = "installed"

// Initialize pins the trusted roots and loads the trust stores; it asks no
// repository anything. Every other call does it by itself. A repository that
// cannot be initialised is degraded; the error, which joins one for each of them,
// is returned only if there is none that can.
func (v *Vault) Initialize(ctx context.Context) error {
	ctx, leave, err := v.begin(ctx)
	defer leave()
	if err != nil {
		return v.fail("initialize", "", "", err)
	}
	errs := v.each(func(r *repo) error { return r.client.Initialize(ctx) })
	v.report(errs)
	if len(errs) < len(v.repos) {
		return nil
	}
	return joined(errs)
}

// RefreshMetadata brings the metadata of every repository up to date, all of them
// at the same time. The error joins one for each repository that could not be
// refreshed; the others are.
func (v *Vault) RefreshMetadata(ctx context.Context) error {
	ctx, leave, err := v.begin(ctx)
	defer leave()
	if err != nil {
		return v.fail("refresh", "", "", err)
	}
	errs := v.each(func(r *repo) error { return r.client.Refresh(ctx) })
	v.report(errs)
	return joined(errs)
}

// each runs f for all repositories at the same time, and returns the errors of
// those that have one, in order of declaration.
func (v *Vault) each(f func(*repo) error) []*repoError {
	all := make([]error, len(v.repos))
	var wait sync.WaitGroup
	for i, r := range v.repos {
		wait.Go(func() { all[i] = f(r) })
	}
	wait.Wait()
	var errs []*repoError
	for i, r := range v.repos {
		if all[i] != nil {
			errs = append(errs, &repoError{r, v.named(r.name, all[i])})
		}
	}
	return errs
}

// repoError is what one repository failed with.
type repoError struct {
	repo *repo
	err  *hybrid.Error
}

func joined(errs []*repoError) error {
	var all []error
	for _, e := range errs {
		all = append(all, e.err)
	}
	return oneOf(all)
}

// report raises the events that go with the errors of repositories.
func (v *Vault) report(errs []*repoError) {
	for _, e := range errs {
		v.emit(eventOf(e.repo.name, "", e.err))
	}
}

// named returns an error that says which repository it is about, where there is
// more than one.
func (v *Vault) named(repository string, err error) *hybrid.Error {
	e := tuferr.As(err)
	if e == nil {
		e = tuferr.New("", "%w", err)
		e.Code = tuferr.CodeOf(err)
	}
	copied := *e
	if len(v.opts.Repositories) > 1 {
		if copied.Msg == "" {
			info, _ := copied.Code.Lookup()
			copied.Msg = info.Meaning
		}
		copied.Msg = "repository " + repository + ": " + copied.Msg
	}
	return &copied
}

// emit raises an event; one without a code is none.
func (v *Vault) emit(e Event) {
	if e.Code != "" {
		v.raise(e)
		v.trail.add(e)
	}
}

// raise hands an event to those who read them, and counts it.
func (v *Vault) raise(e Event) {
	v.tel.Event(string(e.Code), string(e.Severity), e.Repository)
	v.events.emit(e)
}

// begin begins a call: what it tells of is on record before it ends. See calls.
func (v *Vault) begin(ctx context.Context) (_ context.Context, leave func(), err error) {
	ctx, end, err := v.calls.begin(ctx)
	return ctx, func() {
		v.settle(ctx)
		end()
	}, err
}

// Events returns the events from now on, in order, until ctx ends or the vault is
// shut down, when the channel is closed. Nobody waits for a slow reader: beyond
// 1024 events that wait, those that are not critical are dropped and counted in an
// [EventLost]; critical ones are never dropped, and only merged with their like.
func (v *Vault) Events(ctx context.Context) <-chan Event { return v.events.subscribe(ctx) }

// Shutdown ends the vault: calls in flight are cancelled, workers stopped,
// connections closed, and the events that wait are delivered. It waits for all of
// that until ctx ends, and may be called more than once.
func (v *Vault) Shutdown(ctx context.Context) error {
	idle := v.calls.end()
	errs := v.each(func(r *repo) error { return r.client.Shutdown(ctx) })
	select {
	case <-idle: // Nothing more will be told of.
	case <-ctx.Done():
	}
	return errors.Join(joined(errs), v.trail.close(ctx), v.events.close(ctx))
}

// openCache returns the cache that all repositories share.
func (v *Vault) openCache() (*targets.Cache, error) {
	v.opening.Lock()
	defer v.opening.Unlock()
	if v.cache != nil {
		return v.cache, nil
	}
	cache, err := targets.Open(v.opts.CacheDir, 0, 0)
	if err == nil {
		v.cache = cache
	}
	return cache, err
}

package vault

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/ragnos-labs/vault-tuf/internal/plugin"
	"github.com/ragnos-labs/vault-tuf/internal/records"
	"github.com/ragnos-labs/vault-tuf/internal/transport"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/vault/lockfile"
)

// LockOptions are the options of [Vault.Lock].
type LockOptions struct {
	// Upgrade looks for the highest versions; otherwise what is locked stays while
	// it is what is wanted, and may still be installed.
	Upgrade bool
}

// Lock returns a lock file for the plugins wanted, each a version, a range or
// "latest" by "publisher/name"; nil stands for [Options.Plugins]. It resolves them
// as [Vault.Resolve] does, but whatever is installed here: the file is for other
// machines, too. It fetches nothing and leaves old, which may be nil, as it is. What
// is not wanted is not in the result. The error joins one for each plugin that
// cannot be locked. While a repository that may list it cannot be asked, no lower
// version than the one locked in old takes its place, nor other bytes of the same one
// from another repository, nor, unless Upgrade says so, anything of another one.
func (v *Vault) Lock(ctx context.Context, old *lockfile.File, wanted map[string]string, o LockOptions) (*lockfile.File, error) {
	ctx, leave, err := v.begin(ctx)
	defer leave()
	if err != nil {
		return nil, v.fail("lock", "", "", err)
	}
	if wanted == nil {
		wanted = v.opts.Plugins
	}
	if old == nil {
		old = &lockfile.File{}
	}
	f := &lockfile.File{}
	offered := sync.OnceValues(func() (*Listing, error) { return v.offered(ctx, v.concerned(slices.Collect(maps.Keys(wanted))...)) })
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(wanted)) {
		e, err := v.lock(ctx, old, id, wanted[id], o, offered)
		if err == nil {
			err = f.Set(e)
		}
		if err != nil {
			errs = append(errs, v.fail("lock", "", "", err))
		}
	}
	if len(errs) > 0 {
		return nil, oneOf(errs)
	}
	return f, nil
}

// lock returns the entry of one plugin: the old one while it holds, or a new one.
func (v *Vault) lock(
	ctx context.Context, old *lockfile.File, id, constraint string, o LockOptions, offered func() (*Listing, error),
) (lockfile.Entry, error) {
	matches, err := v.constraint(id, constraint, "")
	if err != nil {
		return lockfile.Entry{}, err
	}
	was, ok := old.Find(id)
	ok = ok && was.Wanted == wantedText(constraint) && matches(was.Version)
	if ok && !o.Upgrade {
		p, err := v.metadata(ctx, was.Target)
		if err == nil && p.isLocked(&was) && p.denied(&v.opts.Policy, "", InstallOptions{}) == nil {
			return was, nil
		}
		if err != nil && !errors.Is(err, errNotFound) {
			return was, err
		}
	}
	p, err := v.choose(ctx, id, constraint, ResolveOptions{AllowDowngrade: true}, offered)
	if err != nil {
		return lockfile.Entry{}, err
	}
	order := plugin.Compare(p.Version, was.Version)
	moved := p.Repository != was.Repository && !p.isLocked(&was)
	if ok && (order < 0 || moved && (order == 0 || !o.Upgrade)) {
		// Whoever blocks a repository must not move the lock back, or to another one.
		if p, err = v.surely(ctx, id, constraint, p, offered); err != nil {
			return lockfile.Entry{}, err
		}
	}
	return lockfile.Entry{
		Target: p.Target, Publisher: p.Publisher, Name: p.Name, Version: p.Version, Wanted: wantedText(constraint),
		Repository: p.Repository, Length: p.Length, Hashes: p.Hashes,
	}, nil
}

// surely returns what was chosen, or what is when those have been asked, too, that
// were left alone. The error is of one that cannot be asked.
func (v *Vault) surely(ctx context.Context, id, constraint string, p *Plugin, offered func() (*Listing, error)) (*Plugin, error) {
	l, err := offered()
	if err == nil && l.rest != nil {
		if l, err = l.rest(); err == nil {
			p, err = v.choose(ctx, id, constraint, ResolveOptions{AllowDowngrade: true}, func() (*Listing, error) { return l, nil })
		}
	}
	if err == nil && len(l.Missing) > 0 {
		err = elsewhere(id, l.Missing)
	}
	return p, err
}

// isLocked says whether an entry of a lock file is of these bytes.
func (p *Plugin) isLocked(e *lockfile.Entry) bool {
	return p.is(records.Record{Length: e.Length, Hashes: e.Hashes})
}

var errNotFound error = tuferr.OfClass(protocol.ClassNotFound)

// wantedText is how a lock file says what is wanted.
func wantedText(constraint string) string {
	if c := strings.TrimSpace(constraint); c != "" {
		return c
	}
	return "latest"
}

// Plugins returns what the application wants, a copy of what [Options.Plugins] says
// or else the file.
func (v *Vault) Plugins() map[string]string { return maps.Clone(v.opts.Plugins) }

// Unlocked says what is wanted and not locked, or locked and not wanted (so), or
// not what it is said to be locked for; nil stands for [Options.Plugins]. It asks nobody.
func (v *Vault) Unlocked(f *lockfile.File, wanted map[string]string) []string {
	if wanted == nil {
		wanted = v.opts.Plugins
	}
	var wrong []string
	for _, id := range slices.Sorted(maps.Keys(wanted)) {
		if e, ok := f.Find(id); !ok {
			wrong = append(wrong, id+" is not locked")
		} else if e.Wanted != wantedText(wanted[id]) {
			wrong = append(wrong, id+" is locked for "+e.Wanted+", not for "+wantedText(wanted[id]))
		} else if matches, err := v.constraint(id, e.Wanted, string(plugin.Beta)); err != nil || !matches(e.Version) {
			wrong = append(wrong, id+" is locked for "+e.Wanted+", and "+e.Version+" is not that")
		}
	}
	for _, e := range f.Entries() {
		if _, ok := wanted[e.ID()]; !ok && e.ID() != "" {
			wrong = append(wrong, e.ID()+" is locked, and not wanted")
		}
	}
	return wrong
}

// SyncOptions are the options of [Vault.Sync].
type SyncOptions struct {
	// AllowDowngrade is that of [InstallOptions], for all plugins.
	AllowDowngrade bool
}

// Sync installs exactly what is locked, as much of it at the same time as may wait for
// its repository: of every plugin the bytes with the locked hash, or none. The results
// are in the order of f. The error joins one for each plugin that could not be
// installed; the others are.
func (v *Vault) Sync(ctx context.Context, f *lockfile.File, o SyncOptions) ([]*Result, error) {
	entries := f.Entries()
	results, errs := make([]*Result, len(entries)), make([]error, len(entries))
	// More than that would be refused as busy, by no fault of the caller's.
	turns := make([]chan struct{}, len(v.repos))
	for i, r := range v.opts.Repositories {
		turns[i] = make(chan struct{}, cmp.Or(r.HTTP.MaxWaiting, transport.DefaultMaxWaiting))
	}
	var wait sync.WaitGroup
	for i, e := range entries {
		wait.Go(func() {
			for n, repo := range v.repos { // All take them in this order, so that none waits for ever.
				if !v.mayAnswer(repo, e.Target) {
					continue
				}
				select {
				case turns[n] <- struct{}{}:
					defer func() { <-turns[n] }()
				case <-ctx.Done(): // It is told of as every other call is.
				}
			}
			results[i], errs[i] = v.VerifyAndDownloadPlugin(ctx, e.Target,
				InstallOptions{ExpectedHash: "sha256:" + e.Hashes["sha256"], AllowDowngrade: o.AllowDowngrade, locked: &e})
		})
	}
	wait.Wait()
	results = slices.DeleteFunc(results, func(r *Result) bool { return r == nil })
	return results, oneOf(errs)
}

// oneOf joins errors; a single one stays what it is.
func oneOf(errs []error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

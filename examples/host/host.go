package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/vault"
	"github.com/ragnos-labs/vault-tuf/vault/lockfile"
)

// host is what all plugins share.
type host struct {
	vault *vault.Vault
	path  string

	mu   sync.Mutex
	lock *lockfile.File
}

// relock writes down which version of a plugin is locked now.
func (h *host) relock(e lockfile.Entry) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.lock.Set(e); err != nil {
		return err
	}
	return h.lock.Write(h.path)
}

// plugin is one locked plugin and the child that runs it, if one does. One goroutine
// has it.
type plugin struct {
	*host
	locked lockfile.Entry
	child  *child
}

// run installs what is locked, keeps it running, and looks for newer versions.
func (p *plugin) run(ctx context.Context, poll time.Duration) {
	defer p.stop()
	// If it cannot be installed now, it may have been before.
	p.tell(ctx, errors.Join(p.install(ctx, p.locked), p.keep(ctx)))
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.tell(ctx, errors.Join(p.upgrade(ctx), p.keep(ctx)))
		}
	}
}

// install installs exactly the bytes of an entry.
func (p *plugin) install(ctx context.Context, e lockfile.Entry) error {
	var f lockfile.File
	if err := f.Set(e); err != nil {
		return err
	}
	_, err := p.vault.Sync(ctx, &f, vault.SyncOptions{})
	return err
}

// upgrade changes to the newest version within the range that is locked. Where that
// fails, what is locked stays.
func (p *plugin) upgrade(ctx context.Context) error {
	id := p.locked.ID()
	f, err := p.vault.Lock(ctx, nil, map[string]string{id: p.locked.Wanted}, vault.LockOptions{Upgrade: true})
	if err != nil {
		return err
	}
	newest, _ := f.Find(id)
	if newest.Target == p.locked.Target {
		return nil
	}
	if err := p.install(ctx, newest); err != nil {
		return err
	}
	if err := p.serve(ctx, newest); err != nil {
		return err
	}
	p.locked = newest
	return p.relock(newest)
}

// keep keeps running what is locked, as long as it may run.
func (p *plugin) keep(ctx context.Context) error {
	err := p.serve(ctx, p.locked)
	if errors.Is(err, hybrid.ErrVerdict) || errors.Is(err, hybrid.ErrNotFound) {
		p.stop()
	}
	return err
}

// serve lets an installed version run, in the place of any other. Open says whether
// it may; it says so of what runs already, too.
func (p *plugin) serve(ctx context.Context, e lockfile.Entry) error {
	opened, err := p.vault.Open(ctx, e.Target)
	if err != nil {
		return err
	}
	defer opened.Close()
	if p.child.runs(e.Target) {
		return nil
	}
	exe, err := opened.Executable(ctx)
	if err != nil {
		return err
	}
	p.stop()
	p.child, err = launch(e.Target, exe)
	return err
}

func (p *plugin) stop() {
	p.child.stop()
	p.child = nil
}

// tell says what went wrong, unless it is that the host is being stopped.
func (p *plugin) tell(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		say(line{"plugin": p.locked.ID(), "error": err.Error()})
	}
}

package hybrid

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/engine/gotuf"
	"github.com/ragnos-labs/vault-tuf/internal/engine/python"
	"github.com/ragnos-labs/vault-tuf/internal/store"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// statusBoard remembers what Status tells of the past.
type statusBoard struct {
	lastError    atomic.Pointer[failure]
	lastFallback atomic.Pointer[string]
}

// failure is what is remembered of an error.
type failure struct {
	code protocol.Code
	text string
	err  error
}

func (b *statusBoard) note(err error) {
	switch {
	case err != nil:
		b.lastError.Store(&failure{tuferr.CodeOf(err), err.Error(), err})
	case b.lastError.Load() != nil: // A store by each call would slow the others down.
		b.lastError.Store(nil)
	}
}

func (b *statusBoard) fellBack(why error) {
	msg := why.Error()
	b.lastFallback.Store(&msg)
}

func text(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// Status tells how the client is doing: mode, engines, breaker, worker, and what
// the trust store holds. It asks no repository and starts no process; it works
// in every mode and before a root was given. Errors are of class local.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	s := &Status{
		Mode: c.opts.Mode, Engine: c.nextEngine(), Breaker: c.brk.status(), Worker: c.python.status(c.opts.Mode),
		MetadataURL: c.opts.MetadataURL, TargetsURL: c.opts.TargetsURL, Mirrors: c.mirrors.status(),
		MetadataDir: c.opts.MetadataDir, CacheDir: c.opts.CacheDir, Roles: []RoleStatus{},
	}
	if last := c.status.lastError.Load(); last != nil {
		s.LastError, s.LastErrorCode, s.LastErr = last.text, last.code, last.err
	}
	s.LastFallback = text(c.status.lastFallback.Load())
	if latest := c.latest.Load(); latest != nil && latest.offline != nil {
		s.Offline = tuferr.CodeOf(latest.offline)
	}
	view, err := c.store.View(ctx)
	if tuferr.CodeOf(err) == protocol.CodeNoRoot {
		return s, nil
	}
	if err != nil {
		return s, named("status", err)
	}
	s.LastRefresh = view.LastRefresh
	s.Roles = roles(view)
	return s, nil
}

// maxStatusRoles bounds the delegated roles that Status looks for.
const maxStatusRoles = 256

// roles lists what the trust store holds: the top-level roles, and then the
// delegated ones that have been fetched, by name.
func roles(view *store.View) []RoleStatus {
	list := []RoleStatus{}
	add := func(name string, d *admission.Doc) {
		if d != nil {
			list = append(list, RoleStatus{Name: name, Version: d.Version, Expires: d.Expires})
		}
	}
	add(string(admission.KindRoot), view.Root)
	add(string(admission.KindTimestamp), view.Timestamp)
	add(string(admission.KindSnapshot), view.Snapshot)
	add(string(admission.KindTargets), view.Role(string(admission.KindTargets)))
	if view.Snapshot == nil {
		return list
	}
	names := slices.Sorted(maps.Keys(view.Snapshot.Meta))
	for _, file := range names[:min(len(names), maxStatusRoles)] {
		if name, ok := strings.CutSuffix(file, ".json"); ok && name != string(admission.KindTargets) {
			add(name, view.Role(name))
		}
	}
	return list
}

// nextEngine names the engine that the next call goes to.
func (c *Client) nextEngine() string {
	switch c.opts.Mode {
	case ModeGo:
		return gotuf.Name
	case ModePython:
		return python.Name
	case ModeDual:
		return dualName
	case ModeOff:
		return "none"
	}
	if c.brk.open() && c.python.startable() {
		return python.Name
	}
	return gotuf.Name
}

// root returns the trusted root to pin: the one given in code, else the file
// that the environment names, else nil.
func (o Options) root() ([]byte, error) {
	path := o.getenv(EnvRoot)
	if o.Root != nil || path == "" {
		return o.Root, nil
	}
	// One byte more than allowed, for the trust store to refuse.
	f, err := os.Open(path)
	var raw []byte
	if err == nil {
		raw, err = io.ReadAll(io.LimitReader(f, o.Limits.Bytes(admission.KindRoot)+1))
		_ = f.Close()
	}
	if err == nil {
		return raw, nil
	}
	code := protocol.CodeBadRoot
	if errors.Is(err, fs.ErrPermission) {
		code = protocol.CodePermissions
	}
	e := tuferr.New(code, "cannot read the trusted root: %w", err)
	e.Hint = "set " + EnvRoot + " to the root metadata file that the publisher gave you"
	return nil, e
}

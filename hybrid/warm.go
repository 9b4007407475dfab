package hybrid

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/source"
	"github.com/ragnos-labs/vault-tuf/internal/store"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// renew brings a session up to date without an engine where the client workflow
// ends early: there is no newer root (5.3.3), the timestamp is the very one that
// was verified (5.4.3.1: an equal version is no news), nothing has expired at
// the new start time, and no other process has moved the trust store. Everything
// that would be verified has been, over the same bytes and by the same keys.
//
// If it returns false there is news, or trouble: an engine has to look, and the
// inquiry, of the mirror from, knows what the repository has answered so far. An
// ETag means something to the mirror that gave it only.
func (c *Client) renew(ctx context.Context, s *session, from *mirror, inquiry *source.Inquiry) bool {
	v := s.state()
	if v.offline != nil {
		return false
	}
	start := v.view.Start(c.opts.Now())
	if start.Before(v.start) {
		start = v.start
	}
	if !start.Before(v.expires) {
		return false
	}
	etag := ""
	if v.from == from {
		etag = v.memo.ETag(timestampFile)
	}
	inquiry.Have(v.out.Timestamp, etag)
	if _, err := inquiry.Remote(ctx, rootFile(v.root.Version+1)); tuferr.CodeOf(err) != protocol.CodeNotFound {
		return false
	}
	ts, err := inquiry.Remote(ctx, timestampFile)
	if err != nil || ts.SHA256 != v.out.Timestamp.SHA256 {
		return false
	}
	view, err := c.current(ctx, v)
	if err == nil {
		view, err = c.store.Touch(ctx, view, start, v.out.Find(string(admission.KindTargets), string(admission.KindRoot)))
	}
	return err == nil && s.renewed(v, view, start, from, inquiry.Memo())
}

// current returns the view of the store that v rests on, or a newer one of the
// same trusted state. The error is contention if another process has moved on,
// and the verdict rollback if it has only come to raise the floors.
func (c *Client) current(ctx context.Context, v *verified) (*store.View, error) {
	if v.view.Stands() {
		return v.view, nil
	}
	view, err := c.store.View(ctx)
	if err == nil && !v.stands(view) {
		err = movedOn()
	}
	if err == nil {
		err = c.aboveFloors(view, v)
	}
	return view, err
}

// renewed makes the session, which v was the state of, one that was verified at
// start. It returns false if the session has moved on meanwhile.
func (s *session) renewed(v *verified, view *store.View, start time.Time, from *mirror, memo *source.Memo) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := *s.v.Load()
	if !now.sameTop(v) {
		return false
	}
	now.view, now.start, now.memo, now.from = view, start, memo, from
	s.v.Store(&now)
	return true
}

// sameTop says whether two states have the same root and timestamp, and so
// everything that these name.
func (v *verified) sameTop(other *verified) bool {
	return v.root.SHA256 == other.root.SHA256 && v.out.Timestamp.SHA256 == other.out.Timestamp.SHA256
}

var timestampFile = engine.File{Role: string(admission.KindTimestamp)}

func rootFile(version int64) engine.File {
	return engine.File{Role: string(admission.KindRoot), Version: version}
}

const (
	// maxAnswers bounds the look-ups whose answers a session remembers.
	maxAnswers = 4096
	// maxHit is the longest target that is served without the ceremony that lets
	// Shutdown interrupt a call.
	maxHit = 1 << 20
)

// answered remembers what look-ups found in one verified state. It is safe for
// concurrent use, and readers take no lock.
type answered struct {
	byName sync.Map // name → *find
	n      atomic.Int64
}

func (a *answered) find(name string) *find {
	f, _ := a.byName.Load(name)
	found, _ := f.(*find)
	return found
}

func (a *answered) remember(name string, f *find) {
	if a.n.Load() < maxAnswers {
		if _, known := a.byName.LoadOrStore(name, f); !known {
			a.n.Add(1)
		}
	}
}

// known returns what an earlier look-up found, if the state that it was found in
// is fresh enough still.
func (c *Client) known(name string) *find {
	s := c.latest.Load()
	if s == nil {
		return nil
	}
	v := s.state()
	if !v.usable(c.opts.Now(), c.opts.RefreshInterval) {
		return nil
	}
	return v.answers.find(name)
}

// hit answers a download from what is known and the cache, hashed once more. It
// takes no lock, asks nobody and leaves whatever is not that simple to download.
func (c *Client) hit(ctx context.Context, name string, opts DownloadOptions) *Result {
	f := c.known(name)
	cache := c.cache.Load()
	if f == nil || cache == nil || f.want.Length > maxHit || opts.Decide != nil || opts.ExpectedHash != "" && f.expects(opts.ExpectedHash) != nil {
		return nil
	}
	path, ok := cache.Find(ctx, f.want)
	if !ok {
		return nil
	}
	c.tel.CacheLookup(true)
	return f.result(path, true)
}

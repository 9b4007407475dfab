package hybrid

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/delegation"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/source"
	"github.com/ragnos-labs/vault-tuf/internal/store"
	"github.com/ragnos-labs/vault-tuf/internal/targets"
	"github.com/ragnos-labs/vault-tuf/internal/telemetry"
	"github.com/ragnos-labs/vault-tuf/internal/transport"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/verify"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// session is one verified state of the repository. Look-ups that need delegated
// roles not verified yet add them, over the same memo: they see the same state.
// Readers take no lock.
type session struct {
	// offline is why the trust store stands in for the repository, if it does.
	offline error

	// mu is held by who changes v.
	mu sync.Mutex
	v  atomic.Pointer[verified]
}

func newSession(v *verified, offline error) *session {
	s := &session{offline: offline}
	s.v.Store(v)
	return s
}

// state returns what has been verified so far.
func (s *session) state() *verified { return s.v.Load() }

// more runs a request over the state of the repository that the session knows, at
// the session's mirror. If that one is in trouble the request starts again over a
// session of another.
func (c *Client) more(ctx context.Context, s *session, req request) (*verified, error) {
	r := c.mirrors.round(nil)
	for {
		before := s.state()
		if s.offline != nil {
			return c.over(ctx, s, before, req)
		}
		if !c.passOver(before.from, r) {
			turn := c.mirrors.begin(before.from, partDelegated)
			v, err := c.over(ctx, s, before, req)
			if !c.mirrors.note(turn, err) {
				return v, err
			}
			r.take(before.from)
			r.lose(err)
			if len(c.mirrors.all) == 1 {
				return nil, err
			}
		}
		var err error
		if s, err = c.elsewhere(ctx, r); err != nil {
			return nil, err
		}
	}
}

// passOver says whether a mirror is better not asked now, since one of those that
// are left is well.
func (c *Client) passOver(m *mirror, r *round) bool {
	return len(c.mirrors.all) > 1 && c.mirrors.cooling(m) && len(r.left) > 0 && !c.mirrors.cooling(r.left[0])
}

// over runs a request over one state of a session, at its mirror.
func (c *Client) over(ctx context.Context, s *session, before *verified, req request) (*verified, error) {
	before.memo.Forgive()
	req.from, req.fits, req.offline = before.from, before.fits, s.offline
	req.inquiry = source.Inquire(req.from.remote, before.memo)
	v, err := c.operate(ctx, req)
	if err != nil {
		return nil, err
	}
	s.add(v)
	return v, nil
}

// elsewhere returns a session of a mirror that is left: the newest one, if
// another call has come there first, or a new one.
func (c *Client) elsewhere(ctx context.Context, r *round) (*session, error) {
	if latest := c.latest.Load(); latest != nil {
		v := latest.state()
		if slices.Contains(r.left, v.from) && v.usable(c.opts.Now(), c.opts.RefreshInterval) && !c.mirrors.cooling(v.from) {
			return latest, nil
		}
	}
	return c.refreshAt(ctx, r)
}

// find is an answer with what it rests on. It is shared and does not change.
type find struct {
	info *TargetInfo
	want targets.Want
	v    *verified
}

// fresh returns a session that is fresh enough: the latest one within
// RefreshInterval, else one made now, shared with whoever asks meanwhile.
func (c *Client) fresh(ctx context.Context) (*session, error) {
	if latest := c.latest.Load(); latest != nil && latest.state().usable(c.opts.Now(), c.opts.RefreshInterval) {
		return latest, nil
	}
	if err := c.pin(ctx, c.expect); err != nil {
		return nil, err
	}
	// Part of the first caller's operation, whoever shares it.
	return c.flight.do(ctx, telemetry.Carry(c.ctx, ctx), c.calls, c.refresh)
}

// refresh makes a session that knows what the repository has now.
func (c *Client) refresh(ctx context.Context) (*session, error) {
	return c.refreshAt(ctx, c.mirrors.round(nil))
}

// refreshAt makes a session of the first mirror on the round that gives what is
// needed. If none does the trust store may stand in.
func (c *Client) refreshAt(ctx context.Context, r *round) (*session, error) {
	latest, imports := c.newest()
	for m := r.next(); m != nil; m = r.next() {
		turn := c.mirrors.begin(m, partTop)
		s, err := c.refreshFrom(ctx, m, latest)
		next := c.mirrors.note(turn, err)
		if err == nil {
			c.succeed(latest, imports, s)
			return s, nil
		}
		if !next {
			return nil, err
		}
		r.lose(err)
	}
	offline := r.err()
	if !c.mayStandIn(offline) {
		return nil, offline
	}
	v, err := c.standIn(ctx, offline)
	if err != nil {
		return nil, err
	}
	s := newSession(v, offline)
	c.succeed(latest, imports, s)
	return s, nil
}

// refreshFrom asks one mirror. It returns the latest session, renewed, or one that
// an engine has verified.
func (c *Client) refreshFrom(ctx context.Context, m *mirror, latest *session) (*session, error) {
	ctx, op := c.tel.Begin(ctx, telemetry.Update)
	s, err := c.update(ctx, m, latest)
	if op.On() {
		op.Set(telemetry.Server.String(m.host()), telemetry.Renewed.Bool(err == nil && s == latest))
	}
	op.End(err)
	return s, err
}

func (c *Client) update(ctx context.Context, m *mirror, latest *session) (*session, error) {
	// It was made for a trust store that did not exist then.
	req := request{inquiry: c.takeExpected(m), fits: func(v *store.View) bool { return v.Timestamp == nil && v.Floors.Timestamp == 0 }}
	if req.inquiry == nil {
		req = request{inquiry: source.Inquire(m.remote, &source.Memo{})}
	}
	req.from = m
	defer req.inquiry.Close()
	if latest != nil {
		if c.renew(ctx, latest, m, req.inquiry) {
			return latest, nil
		}
		req.fits = latest.state().fits
	}
	if c.opts.Mode == ModeAuto && c.brk.troubled() {
		c.python.prepare()
	}
	v, err := c.operate(ctx, req)
	if err != nil {
		return nil, err
	}
	return newSession(v, nil), nil
}

// newest returns the newest session, and how many bundles have been imported.
func (c *Client) newest() (*session, int) {
	c.succession.Lock()
	defer c.succession.Unlock()
	return c.latest.Load(), c.imports
}

// succeed makes s the newest session, unless another one, or a bundle, has come
// since before was.
func (c *Client) succeed(before *session, imports int, s *session) {
	c.succession.Lock()
	defer c.succession.Unlock()
	if c.latest.Load() == before && c.imports == imports {
		c.latest.Store(s)
	}
}

// imported drops the newest session: what it would answer is not the newest any
// more.
func (c *Client) imported() {
	c.succession.Lock()
	defer c.succession.Unlock()
	c.imports++
	c.latest.Store(nil)
}

// usable says whether what was verified may still answer: it is not older than
// interval, online, and nothing in it has expired since.
func (v *verified) usable(now time.Time, interval time.Duration) bool {
	age := now.Sub(v.start)
	return v.offline == nil && age >= 0 && age < interval && now.Before(v.expires)
}

// expires returns when the first of the documents that an outcome under root
// rests on expires.
func expires(root *admission.Doc, out *engine.Outcome) time.Time {
	earliest := root.Expires
	note := func(d *admission.Doc) {
		if d != nil && d.Expires.Before(earliest) {
			earliest = d.Expires
		}
	}
	note(out.Timestamp)
	note(out.Snapshot)
	for _, t := range out.Targets {
		note(t.Doc)
	}
	return earliest
}

var errNotVerified = errors.New("a role on the way has not been verified yet")

// find looks a target up in a fresh session.
func (c *Client) find(ctx context.Context, name string) (*find, error) {
	if err := transport.CheckTargetPath(name); err != nil {
		return nil, err
	}
	v, err := c.verifiedFor(ctx, name)
	if err != nil {
		return nil, err
	}
	return v.listed(name, c.opts.MaxRoles)
}

// verifiedFor returns a fresh state in which every role that a search for the
// names visits has been verified.
func (c *Client) verifiedFor(ctx context.Context, names ...string) (*verified, error) {
	s, err := c.fresh(ctx)
	if err != nil {
		return nil, err
	}
	v := s.state()
	for _, name := range names {
		_, _, err := v.find(name, c.opts.MaxRoles)
		if errors.Is(err, errNotVerified) {
			v, err = c.more(ctx, s, request{targets: names})
			if len(names) == 1 {
				err = withTarget(err, name)
			}
			return v, err
		}
		if err != nil {
			return nil, withTarget(err, name)
		}
	}
	return v, nil
}

// listed returns the answer for a name whose search has been verified.
func (v *verified) listed(name string, maxRoles int) (*find, error) {
	role, doc, err := v.find(name, maxRoles)
	if err != nil {
		return nil, withTarget(err, name)
	}
	if role == "" {
		e := tuferr.New(protocol.CodeNotFound, "no role of the repository lists this target")
		e.Target, e.Hint = name, "check the name; list shows what there is"
		return nil, e
	}
	f := v.answer(name, role, doc)
	v.answers.remember(name, f)
	return f, nil
}

// find walks over the verified roles. It returns the role that lists the name,
// "" if none does, and its metadata as the walk came to it.
func (v *verified) find(name string, maxRoles int) (string, *admission.Doc, error) {
	role, delegator, err := delegation.Find(name, maxRoles, func(role, delegator string) (*admission.Doc, error) {
		if doc := v.out.Find(role, delegator); doc != nil {
			return doc, nil
		}
		return nil, errNotVerified
	})
	return role, v.out.Find(role, delegator), err
}

// add makes what a look-up has verified the session's state, beside what was
// verified before if that is of the same root and snapshot and each role has the
// same file in both. Nothing verified is changed.
func (s *session) add(v *verified) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.v.Load()
	merged := v.with(before)
	switch {
	case merged != nil:
		s.v.Store(merged)
	case !before.start.After(v.start):
		s.v.Store(v)
	}
}

// with returns v with the roles of before that it lacks, or nil if the two do
// not belong together.
func (v *verified) with(before *verified) *verified {
	if before.out.Snapshot.SHA256 != v.out.Snapshot.SHA256 || before.root.SHA256 != v.root.SHA256 {
		return nil
	}
	files := make(map[string]string, len(v.out.Targets))
	for _, t := range v.out.Targets {
		files[t.Role] = t.Doc.SHA256
	}
	merged, out := *v, *v.out
	out.Targets = slices.Clone(out.Targets)
	for _, t := range before.out.Targets {
		if digest, ok := files[t.Role]; ok && digest != t.Doc.SHA256 {
			return nil
		}
		if out.Find(t.Role, t.Delegator) == nil {
			out.Targets = append(out.Targets, t)
		}
	}
	merged.out, merged.expires, merged.answers = &out, expires(v.root, &out), &answered{}
	if before.start.After(v.start) && before.sameTop(v) { // It has been renewed meanwhile.
		merged.start, merged.memo, merged.from = before.start, before.memo, before.from
	}
	return &merged
}

// answer describes a target that role lists in doc.
func (v *verified) answer(name, role string, doc *admission.Doc) *find {
	target := doc.Targets.Find(name)
	return &find{want: targets.Want{Length: target.Length, Hashes: target.Hashes}, v: v, info: &TargetInfo{
		Name: name, Role: role, Length: target.Length, Hashes: target.Hashes,
		Custom: target.Custom, Engine: v.engine, Offline: v.offline != nil,
		Versions: Versions{
			Root: v.root.Version, Timestamp: v.out.Timestamp.Version,
			Snapshot: v.out.Snapshot.Version, Targets: doc.Version,
		},
	}}
}

// withTarget notes which target an error is about.
func withTarget(err error, name string) error {
	e := tuferr.As(err)
	if e == nil || e.Target != "" {
		return err
	}
	copied := *e
	copied.Target = name
	return &copied
}

// mayStandIn says whether an error means that the repository is out of reach,
// so that what was verified before may answer.
func (c *Client) mayStandIn(err error) bool {
	return c.opts.MaxMetadataAge >= 0 && outOfReach(err)
}

func outOfReach(err error) bool {
	e := tuferr.As(err)
	return e != nil && (e.Code == protocol.CodeUnreachable || e.Code == protocol.CodeHTTPStatus && e.Status >= http.StatusInternalServerError)
}

// standIn lets the trust store stand in for a repository out of reach, while
// the last verified refresh is not longer ago than MaxMetadataAge. The engines
// verify everything again, expiry included.
func (c *Client) standIn(ctx context.Context, cause error) (*verified, error) {
	view, err := c.store.View(ctx)
	if err != nil {
		return nil, err
	}
	if view.Timestamp == nil || view.LastRefresh.IsZero() {
		return nil, cause
	}
	if age := view.Start(c.opts.Now()).Sub(view.LastRefresh); age > c.opts.MaxMetadataAge {
		e := tuferr.New(protocol.CodeStale, "metadata is stale: the last verified refresh was %s ago, and the repository is not accessible: %w",
			age.Round(time.Second), cause)
		e.Hint = "restore the connection to the repository"
		return nil, e
	}
	for _, doc := range []*admission.Doc{view.Root, view.Timestamp, view.Snapshot} {
		if doc == nil {
			continue
		}
		// Said as what it is, whatever an engine would ask for next.
		if err := verify.Fresh(string(doc.Kind), doc, view.Start(c.opts.Now()), "5.1"); err != nil {
			// The publisher may have signed a newer one, which nobody could fetch.
			e := tuferr.As(err)
			e.Msg = fmt.Sprintf("%s, and nothing newer can be fetched: %v", e.Msg, cause)
			e.Hint = "restore the connection to the repository"
			return nil, e
		}
	}
	v, err := c.operate(ctx, request{offline: cause})
	if tuferr.ClassOf(err) == protocol.ClassTransport {
		return nil, cause
	}
	if err == nil {
		c.events.emit(SeverityWarning, "offline", "the repository cannot be reached: what was verified before answers", cause)
	}
	return v, err
}

// offlineSource answers as a repository would that has nothing newer than the
// trust store; anything else is the error that made it necessary.
type offlineSource struct {
	*source.Source
	cause error
}

// Remote implements [engine.Source].
func (o *offlineSource) Remote(_ context.Context, f engine.File) (*admission.Doc, error) {
	switch admission.Kind(f.Role) {
	case admission.KindRoot:
		return nil, tuferr.New(protocol.CodeNotFound, "no newer root while offline")
	case admission.KindTimestamp:
		if doc := o.Local(f.Role, o.Local(string(admission.KindRoot), nil)); doc != nil {
			return doc, nil
		}
	}
	return nil, o.cause
}

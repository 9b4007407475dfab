package hybrid

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/delegation"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/source"
	"github.com/ragnos-labs/vault-tuf/internal/transport"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/verify"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// session is one verified state of the repository. Look-ups that need delegated
// roles not verified yet add them, over the same memo: they see the same state.
type session struct {
	// offline is why the trust store stands in for the repository, if it does.
	offline error

	mu sync.Mutex
	v  *verified
}

// state returns what has been verified so far.
func (s *session) state() *verified {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.v
}

// more runs a request over the state of the repository that the session knows.
func (c *Client) more(ctx context.Context, s *session, req request) (*verified, error) {
	before := s.state()
	req.memo, req.after, req.offline = before.memo, before, s.offline
	before.memo.Forgive()
	v, err := c.operate(ctx, req)
	if err != nil {
		return nil, err
	}
	s.add(v)
	return v, nil
}

// find is an answer with what it rests on.
type find struct {
	info   *TargetInfo
	target *admission.Target
	v      *verified
}

// fresh returns a session that is fresh enough: the latest one within
// RefreshInterval, else one made now, shared with whoever asks meanwhile.
func (c *Client) fresh(ctx context.Context) (*session, error) {
	if err := c.initialize(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	latest := c.latest
	c.mu.Unlock()
	if latest != nil && latest.usable(c.opts.Now(), c.opts.RefreshInterval) {
		return latest, nil
	}
	return c.flight.do(ctx, c.ctx, &c.calls, func(ctx context.Context) (*session, error) {
		s := &session{}
		v, err := c.operate(ctx, request{})
		if err != nil && c.mayStandIn(err) {
			s.offline = err
			v, err = c.standIn(ctx, err)
		}
		if err != nil {
			return nil, err
		}
		s.v = v
		c.mu.Lock()
		c.latest = s
		c.mu.Unlock()
		return s, nil
	})
}

// usable says whether the session may still answer: it is not older than
// interval, online, and nothing in it has expired since.
func (s *session) usable(now time.Time, interval time.Duration) bool {
	v := s.state()
	age := now.Sub(v.start)
	if v.offline != nil || age < 0 || age >= interval {
		return false
	}
	docs := []*admission.Doc{v.root, v.out.Timestamp, v.out.Snapshot}
	for _, t := range v.out.Targets {
		docs = append(docs, t.Doc)
	}
	for _, d := range docs {
		if !d.Expires.After(now) {
			return false
		}
	}
	return true
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
	return v.answer(name, role, doc), nil
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
	if merged := v.with(s.v); merged != nil {
		s.v = merged
		return
	}
	s.v = v
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
	merged.out = &out
	return &merged
}

// answer describes a target that role lists in doc.
func (v *verified) answer(name, role string, doc *admission.Doc) *find {
	target := doc.Targets.Find(name)
	hashes := make(map[string]string, len(target.Hashes))
	for algorithm, digest := range target.Hashes {
		hashes[algorithm] = digest
	}
	return &find{target: target, v: v, info: &TargetInfo{
		Name: name, Role: role, Length: target.Length, Hashes: hashes,
		Custom: append([]byte(nil), target.Custom...), Engine: v.engine, Offline: v.offline != nil,
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
	e := tuferr.As(err)
	if e == nil || c.opts.MaxMetadataAge < 0 {
		return false
	}
	return e.Code == protocol.CodeUnreachable || e.Code == protocol.CodeHTTPStatus && e.Status >= http.StatusInternalServerError
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
			return nil, err
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

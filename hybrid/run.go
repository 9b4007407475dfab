package hybrid

import (
	"context"
	"errors"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/bundle"
	"github.com/ragnos-labs/vault-tuf/internal/delegation"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/source"
	"github.com/ragnos-labs/vault-tuf/internal/store"
	"github.com/ragnos-labs/vault-tuf/internal/telemetry"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/verify"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// maxRestarts bounds how often an operation starts again because another
// process has moved the trust store meanwhile.
const maxRestarts = 8

// request is what an operation is asked for.
type request struct {
	targets []string
	all     bool
	// offline lets the trust store stand in for the repository: see offlineSource.
	offline error
	// bundle takes the repository's place, and reference that of the clock, which
	// is then left alone: see importBundle.
	bundle    *bundle.Reader
	reference time.Time
	// inquiry may have asked the repository something already. What it knows must
	// not be older than the trust store, or it would look like a rollback: fits says
	// whether a view is one from before. Both are nil to ask anew.
	inquiry *source.Inquiry
	fits    func(*store.View) bool
	// from is whom the inquiry asks; nil means the first mirror.
	from *mirror
}

// verified is what an operation has verified and committed.
type verified struct {
	out  *engine.Outcome
	root *admission.Doc
	// engine verified it; fallback says why not the one that was to.
	engine, fallback string
	start            time.Time
	// offline is why the trust store stands in for the repository, if it does.
	offline error
	// memo is the state of the repository that it was verified from, as the mirror
	// from has it, view the trust store after the commit; nil if nothing was
	// committed.
	memo *source.Memo
	from *mirror
	view *store.View
	// expires is when the first of the documents expires.
	expires time.Time
	answers *answered
}

// operate runs a request over the engines and commits what they verify. It
// starts again when the store moved underneath, or when the clock floor has
// been proved wrong.
func (c *Client) operate(ctx context.Context, req request) (*verified, error) {
	if req.from == nil {
		req.from = c.mirrors.all[0]
	}
	for range maxRestarts {
		if req.inquiry == nil {
			req.inquiry = source.Inquire(req.from.remote, &source.Memo{})
		}
		v, err := c.attempt(ctx, req)
		switch {
		case tuferr.CodeOf(err) == protocol.CodeContention:
		case tuferr.CodeOf(err) == protocol.CodeExpired && req.reference.IsZero() && c.disproved(ctx, req.answers(), err):
		default:
			return v, err
		}
		if ctx.Err() != nil {
			return nil, engine.Cancelled(ctx)
		}
		req.inquiry, req.fits = nil, nil
	}
	e := tuferr.New(protocol.CodeContention, "the trust store changed %d times during one operation", maxRestarts)
	e.Path, e.Hint = c.opts.MetadataDir, "try again; many processes share this directory"
	return nil, e
}

// attempt is one operation on one view of the store. It closes the inquiry.
func (c *Client) attempt(ctx context.Context, req request) (*verified, error) {
	defer req.inquiry.Close()
	view, err := c.store.View(ctx)
	if err != nil {
		return nil, err
	}
	if req.fits != nil && !req.fits(view) {
		return nil, movedOn()
	}
	local := trust(view)
	src := source.New(req.inquiry, local)
	r := &attempt{Client: c, trusted: local, memo: req.answers()}
	r.op = &engine.Operation{
		Root: view.Root, Source: src, Start: view.Start(req.now(c.opts.Now)),
		Targets: req.targets, All: req.all, MaxRoots: c.opts.MaxRoots, MaxRoles: c.opts.MaxRoles,
	}
	if req.all {
		r.op.MaxRoles = maxListed
	}
	switch {
	case req.bundle != nil:
		r.op.Source = &bundleSource{bundled: bundled{req.bundle}, view: view, local: src}
	case req.offline != nil:
		r.op.Source = &offlineSource{Source: src, cause: req.offline}
		r.offline = req.offline
	}
	v, err := r.run(ctx)
	if v == nil || v.out == nil {
		return nil, err
	}
	v.start, v.root, v.offline = r.op.Start, v.out.RootDoc(view.Root), r.offline
	v.memo, v.from = req.inquiry.Memo(), req.from
	v.expires, v.answers = expires(v.root, v.out), &answered{}
	if r.offline != nil {
		// Nothing is committed, so the floors have to be asked here.
		return v, errors.Join(err, c.aboveFloors(view, v))
	}
	info := store.CommitInfo{Start: r.op.Start, Complete: err == nil}
	if !req.reference.IsZero() {
		info.Start = time.Time{}
	}
	after, cerr := c.commit(ctx, view, v.out, info)
	if cerr != nil && (err == nil || tuferr.ClassOf(cerr) == protocol.ClassVerdict) {
		return nil, cerr
	}
	v.view = after
	if cerr == nil {
		c.events.rootMoved(view.Root, after.Root)
		c.sees(after, v.out.Targets)
	}
	return v, err
}

// commit lets the store take over what was verified.
func (c *Client) commit(ctx context.Context, view *store.View, out *engine.Outcome, info store.CommitInfo) (*store.View, error) {
	ctx, op := c.tel.Begin(ctx, telemetry.Commit)
	after, err := c.store.Commit(ctx, view, out, info)
	if err == nil && op.On() {
		op.Set(versions(after)...)
	}
	op.End(err)
	return after, err
}

func movedOn() error {
	return tuferr.New(protocol.CodeContention, "another process has moved the trust store on")
}

// stands says whether the store still trusts what v was verified to be. If not,
// what the repository answered then is old: judged against a newer store it
// would look like a rollback.
func (v *verified) stands(view *store.View) bool {
	return view.Root.SHA256 == v.root.SHA256 &&
		view.Timestamp != nil && view.Timestamp.SHA256 == v.out.Timestamp.SHA256
}

// fits says whether what the repository answered since v was verified can still be
// judged against the store: it stands, and no process has raised the floors and died
// before it could write what it had seen.
func (v *verified) fits(view *store.View) bool {
	return v.stands(view) && view.Floors.CheckTimestamp(v.out.Timestamp) == nil
}

// aboveFloors refuses what is older than the store's floors.
func (c *Client) aboveFloors(view *store.View, v *verified) error {
	checks := []error{view.Floors.CheckRoot(v.root)}
	if v.out.Timestamp != nil {
		checks = append(checks, view.Floors.CheckTimestamp(v.out.Timestamp))
	}
	if v.out.Snapshot != nil {
		checks = append(checks, view.Floors.CheckSnapshot(v.out.Snapshot))
	}
	for _, t := range v.out.Targets {
		checks = append(checks, view.Floors.CheckTargets(t.Role, t.Doc))
	}
	return errors.Join(checks...)
}

// trusted is what the engines and the gate may build on: a view, without the
// timestamp and snapshot that its root does not vouch for. A file that was
// tampered with on this disk guards against nothing; the floors still do.
type trusted struct {
	*store.View
	timestamp, snapshot *admission.Doc
}

func trust(view *store.View) trusted {
	return trusted{view, vouched(view.Root, view.Timestamp), vouched(view.Root, view.Snapshot)}
}

// vouched returns doc if it is signed as root demands, else nil.
func vouched(root, doc *admission.Doc) *admission.Doc {
	if doc == nil || verify.Signed(root, string(doc.Kind), doc) != nil {
		return nil
	}
	return doc
}

func (t trusted) RootDoc() *admission.Doc            { return t.Root }
func (t trusted) TimestampDoc() *admission.Doc       { return t.timestamp }
func (t trusted) SnapshotDoc() *admission.Doc        { return t.snapshot }
func (t trusted) RoleDoc(role string) *admission.Doc { return t.Role(role) }

// answers is what the repository answered during one operation.
type answers interface {
	Answer(f engine.File) (doc *admission.Doc, err error, asked bool)
	Served(role, digest string) *admission.Doc
}

// attempt carries one operation through the engines.
type attempt struct {
	*Client
	trusted trusted
	memo    answers
	op      *engine.Operation
	offline error
}

// judge lets one engine judge and confirms what it says. The outcome is the
// confirmed part: nil if the engine failed to do its work.
func (r *attempt) judge(ctx context.Context, e engine.Engine) (*engine.Outcome, error) {
	ctx, op := r.tel.Begin(ctx, telemetry.Verify)
	good, err := r.confirmed(ctx, e)
	op.Judged(e.Name(), string(r.opts.Mode), err)
	r.log.DebugContext(ctx, "verification", "engine", e.Name(), "code", tuferr.CodeOf(err))
	return good, err
}

func (r *attempt) confirmed(ctx context.Context, e engine.Engine) (*engine.Outcome, error) {
	out, err := e.Run(ctx, r.op)
	base := verify.Base{Root: r.op.Root, Timestamp: r.trusted.timestamp, Snapshot: r.trusted.snapshot}
	good, refused := verify.Outcome(base, r.op, out)
	if err == nil {
		err = refused
	}
	if err == nil {
		err = r.complete(e, good)
	}
	err = r.signedAfterAll(e, good, err)
	if tuferr.ClassOf(err) == protocol.ClassFault {
		return nil, err
	}
	return good, err
}

// complete checks that an engine that reports success has done all its work: it
// came to the end of the root chain, took the repository's timestamp, and has
// verified every role that was asked for.
func (r *attempt) complete(e engine.Engine, good *engine.Outcome) error {
	incomplete := func(msg string) error {
		err := tuferr.New(protocol.CodeEngineInternal, "the engine reports success, but %s", msg)
		err.Engine = e.Name()
		return err
	}
	root := good.RootDoc(r.op.Root)
	if r.offline == nil {
		if _, err, asked := r.memo.Answer(rootFile(root.Version + 1)); !asked || tuferr.CodeOf(err) != protocol.CodeNotFound {
			return incomplete("it did not come to the end of the root chain")
		}
		ts, _, _ := r.memo.Answer(timestampFile)
		if ts == nil || good.Timestamp == nil || ts.Version != good.Timestamp.Version {
			return incomplete("it did not take the repository's timestamp")
		}
	}
	if good.Timestamp == nil || good.Snapshot == nil || good.Find(string(admission.KindTargets), string(admission.KindRoot)) == nil {
		return incomplete("not all top-level roles are verified")
	}
	for _, path := range r.op.Targets {
		if _, ok := good.Answers[path]; !ok {
			return incomplete("it did not look up every target")
		}
	}
	if !r.op.All {
		return nil
	}
	return delegation.Reach(r.op.MaxRoles, func(role, delegator string) (*admission.Doc, error) {
		if doc := good.Find(role, delegator); doc != nil {
			return doc, nil
		}
		return nil, incomplete("not every delegated role is verified")
	})
}

// signedAfterAll turns the verdict unsigned into the fault unrepresentable where
// the host itself finds the threshold met over the bytes as they were signed:
// then the engine looked at something else. It can only ever happen to files
// that their publisher did sign.
func (r *attempt) signedAfterAll(e engine.Engine, good *engine.Outcome, err error) error {
	verdict := tuferr.As(err)
	if verdict == nil || verdict.Code != protocol.CodeUnsigned || verdict.Engine == "host" {
		return err
	}
	doc := r.memo.Served(verdict.Role, verdict.Digest)
	if doc == nil || !r.signed(verdict.Role, doc, good) {
		return err
	}
	fault := tuferr.New(protocol.CodeUnrepresentable, "the file is signed, but the engine finds it is not: %w", err)
	fault.Role, fault.Engine, fault.Digest = verdict.Role, e.Name(), doc.SHA256
	return fault
}

// signed says whether whoever delegates to role, by what has been confirmed so
// far, finds its threshold met.
func (r *attempt) signed(role string, doc *admission.Doc, good *engine.Outcome) bool {
	root := good.RootDoc(r.op.Root)
	if role == string(admission.KindRoot) {
		return verify.RootStep(root, doc) == nil
	}
	if _, _, ok := root.Delegated(role); ok {
		return verify.Signed(root, role, doc) == nil
	}
	signed := false
	for _, v := range good.Targets {
		if _, _, ok := v.Doc.Delegated(role); ok {
			if verify.Signed(v.Doc, role, doc) != nil {
				return false
			}
			signed = true
		}
	}
	return signed
}

// disproved says whether metadata that was refused as expired proves that the
// clock floor is wrong, because a clock once ran ahead.
func (c *Client) disproved(ctx context.Context, memo answers, err error) bool {
	e := tuferr.As(err)
	doc := memo.Served(e.Role, e.Digest)
	if doc == nil {
		return false
	}
	lowered, derr := c.store.DisproveClock(ctx, c.opts.Now(), e.Role, doc)
	return derr == nil && lowered
}

package hybrid

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/engine/gotuf"
	"github.com/ragnos-labs/vault-tuf/internal/source"
	"github.com/ragnos-labs/vault-tuf/internal/store"
	"github.com/ragnos-labs/vault-tuf/internal/targets"
	"github.com/ragnos-labs/vault-tuf/internal/telemetry"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/verify"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Client verifies and downloads targets of one repository. It is safe for
// concurrent use, and so is one metadata directory for any number of clients
// and processes.
type Client struct {
	opts   Options
	store  *store.Store
	goTUF  engine.Engine
	python *pythonEngine
	brk    *breaker
	events *events
	status *statusBoard
	tel    *telemetry.Telemetry // nil if nobody wants it
	log    *slog.Logger         // of the engines
	flight flight

	mirrors *mirrors

	// ctx ends with Shutdown; every operation runs under it.
	ctx    context.Context
	cancel context.CancelFunc

	// pinning is held by whoever pins the root; pinned says that it is done.
	pinning chan struct{}
	pinned  atomic.Bool

	// opening is held by whoever opens the cache.
	opening sync.Mutex
	cache   atomic.Pointer[targets.Cache]
	// expected has asked for the next root already, for the first refresh.
	expected atomic.Pointer[expectation]
	// latest is the newest session, nil if there is none to go on from. Who changes
	// it holds succession; imports counts the bundles that ended one.
	latest     atomic.Pointer[session]
	succession sync.Mutex
	imports    int
	calls      *calls
	// seen is what the trust store held when it was last looked at for telemetry.
	seen atomic.Pointer[holding]
}

// New makes a client. It reads options and environment, touches no disk and no
// network and starts no process. The error is of class usage and names what is
// wrong with the options.
func New(opts Options) (*Client, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	hc, err := o.transport()
	if err != nil {
		return nil, err
	}
	c := &Client{opts: o, status: &statusBoard{}, events: newEvents(o), pinning: make(chan struct{}, 1), calls: newCalls()}
	c.tel, c.log = telemetry.New(o.TracerProvider, o.MeterProvider, o.TelemetryName), o.component("engine")
	hc.Measured(c.tel)
	first := source.Remote{Client: hc, MetadataURL: o.MetadataURL, Limits: o.Limits}
	if c.mirrors, err = newMirrors(o, first, c.events, c.tel); err != nil {
		return nil, err
	}
	c.store, err = store.Open(o.MetadataDir, store.Options{Limits: o.Limits, Logger: o.component("store"), OnEvent: c.events.fromStore})
	if err != nil {
		return nil, err
	}
	c.goTUF = engine.Guard(gotuf.Engine{}, o.EngineTimeout)
	c.python = newPythonEngine(o, c.tel)
	c.brk = newBreaker(o, c.events)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.tel.Watch(c.whatIsKnown)
	return c, nil
}

// Initialize pins the trusted root, if one was given, and loads the trust store.
// It asks the repository nothing. Every other call does it by itself at first.
// The error is no_root if there is no trusted root yet, bad_root or
// root_conflict if the given one cannot be used.
func (c *Client) Initialize(ctx context.Context) error {
	ctx, op := c.tel.Begin(ctx, telemetry.Initialize)
	err := c.call(ctx, "initialize", func(ctx context.Context) error {
		if err := c.pin(ctx, nil); err != nil {
			return err
		}
		view, err := c.store.View(ctx)
		if err == nil {
			c.sees(view, nil)
		}
		return err
	})
	op.End(err)
	return err
}

// Refresh brings the metadata of the top-level roles up to date (specification,
// 5.3 to 5.6). Unlike the calls that answer, it fails when the repository cannot
// be reached, whatever was verified before.
func (c *Client) Refresh(ctx context.Context) error {
	ctx, op := c.tel.Begin(ctx, telemetry.Refresh)
	err := c.call(ctx, "refresh", func(ctx context.Context) error {
		s, err := c.fresh(ctx)
		if err == nil {
			err = tuferr.Tell(s.offline) // by the event "offline"
		}
		return err
	})
	op.End(err)
	return err
}

// Lookup returns what verified metadata says about a target, without fetching
// it. The error is of the family ErrNotFound if no role lists it.
func (c *Client) Lookup(ctx context.Context, name string) (*TargetInfo, error) {
	ctx, op := c.tel.Begin(ctx, telemetry.Lookup)
	info, err := c.lookup(ctx, name)
	looked(op, name, info, err)
	return info, err
}

func (c *Client) lookup(ctx context.Context, name string) (*TargetInfo, error) {
	if f := quick(ctx, c, func() *find { return c.known(name) }); f != nil {
		return f.copied(), nil
	}
	var info *TargetInfo
	err := c.call(ctx, "lookup", func(ctx context.Context) error {
		f, err := c.find(ctx, name)
		if err == nil {
			info = f.copied()
		}
		return err
	})
	return info, err
}

// List returns every target that a look-up would find, sorted by name. All
// delegated roles are fetched and verified for it; more than maxListed (4096) are
// the verdict too_many.
func (c *Client) List(ctx context.Context) ([]TargetInfo, error) {
	var list []TargetInfo
	ctx, op := c.tel.Begin(ctx, telemetry.List)
	err := c.call(ctx, "list", func(ctx context.Context) (err error) {
		list, err = c.list(ctx)
		return err
	})
	if op.On() {
		op.Set(telemetry.Count.Int(len(list)))
	}
	op.End(err)
	return list, err
}

// VerifyAndDownloadPlugin returns the target's bytes as a file in the cache,
// verified against signed metadata, whether they had to be fetched or not. On
// error nothing is left under the target's name.
func (c *Client) VerifyAndDownloadPlugin(ctx context.Context, name string, opts DownloadOptions) (*Result, error) {
	ctx, op := c.tel.Begin(ctx, telemetry.Download)
	r, err := c.verifyAndDownload(ctx, name, opts)
	delivered(op, name, r, err)
	return r, err
}

func (c *Client) verifyAndDownload(ctx context.Context, name string, opts DownloadOptions) (*Result, error) {
	if r := quick(ctx, c, func() *Result { return c.hit(ctx, name, opts) }); r != nil {
		return r, nil
	}
	var result *Result
	err := c.call(ctx, "download", func(ctx context.Context) (err error) {
		result, err = c.download(ctx, name, opts)
		return err
	})
	return result, err
}

// Shutdown ends the client: calls in flight are cancelled, the worker is
// stopped, connections are closed. It waits for all of that until ctx ends, and
// may be called more than once. Calls after it fail with code usage.
func (c *Client) Shutdown(ctx context.Context) error {
	idle := c.calls.end()
	c.cancel()
	c.tel.Close()
	defer c.unexpect()
	select {
	case <-idle:
	case <-ctx.Done():
		// A call that does not end must not keep the worker alive.
		_ = c.python.close(ctx)
		return engine.Cancelled(ctx)
	}
	c.mirrors.close()
	return c.python.close(ctx)
}

// quick is call for what needs no time to speak of, and cannot fail: nil means
// that it takes a whole call.
func quick[T any](ctx context.Context, c *Client, do func() *T) *T {
	if ctx.Err() != nil || !c.calls.enter() {
		return nil
	}
	defer c.calls.leave()
	result := do()
	if result != nil {
		c.status.note(nil)
	}
	return result
}

// call wraps every public call: it refuses what may not run, names the
// operation in the error and keeps the status.
func (c *Client) call(ctx context.Context, op string, do func(context.Context) error) error {
	if !c.calls.enter() {
		return named(op, tuferr.New(protocol.CodeUsage, "the client has been shut down"))
	}
	defer c.calls.leave()
	if c.opts.Mode == ModeOff {
		e := tuferr.New(protocol.CodeDisabled, "client mode is off: every request is refused")
		e.Hint = "set " + EnvMode + " to auto, go, python or dual"
		return named(op, e)
	}
	if ctx.Err() != nil {
		return named(op, engine.Cancelled(ctx))
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(c.ctx, stop)()
	err := do(ctx)
	if err != nil && ctx.Err() != nil && tuferr.ClassOf(err) == protocol.ClassFault {
		err = engine.Cancelled(ctx)
	}
	err = named(op, err)
	c.status.note(err)
	return err
}

// named returns err as an *Error that says which operation failed.
func named(op string, err error) error {
	if err == nil {
		return nil
	}
	e := tuferr.As(err)
	if e == nil {
		e = tuferr.New(protocol.CodeInternal, "%w", err)
	}
	copied := *e
	copied.Op = op
	if copied.Hint == "" {
		copied.Hint = hints[copied.Code]
	}
	return &copied
}

// pin pins the shipped root once. Whether there is a trusted root at all is told
// by whoever looks into the store next. A store that has to be made waits for the
// disk: first, if not nil, is called with its root before.
func (c *Client) pin(ctx context.Context, first func(root []byte)) error {
	if c.pinned.Load() {
		return nil
	}
	// Pinning waits for other processes; whoever waits for it may give up.
	select {
	case c.pinning <- struct{}{}:
		defer func() { <-c.pinning }()
	case <-ctx.Done():
		return engine.Cancelled(ctx)
	}
	if ctx.Err() != nil {
		return engine.Cancelled(ctx)
	}
	root, err := c.opts.root()
	if err != nil || c.pinned.Load() {
		return err
	}
	if root != nil {
		if first != nil && !c.store.Exists() {
			first(root)
		}
		if err := c.store.Pin(ctx, root, c.opts.ReplaceRoot); err != nil {
			c.unexpect()
			return err
		}
	}
	c.pinned.Store(true)
	return nil
}

// expect asks the first question of every operation while a new trust store
// waits for the disk. The next refresh takes the answer over.
func (c *Client) expect(root []byte) {
	doc, err := admission.Parse(admission.KindRoot, bytes.Clone(root), c.opts.Limits)
	if err != nil || verify.SelfSigned(doc) != nil {
		return // Pinning says what is wrong.
	}
	from := c.mirrors.order(nil)[0]
	inquiry := source.Inquire(from.remote, &source.Memo{})
	inquiry.Expect(doc.Version + 1)
	c.expected.Store(&expectation{inquiry, from, time.Now()})
}

// expectation is an inquiry that waits for the operation that it is part of.
type expectation struct {
	inquiry *source.Inquiry
	from    *mirror
	since   time.Time
}

// maxExpectation is how old an expectation may become. Making a store may take
// long when others hold its lock, and the repository may move on.
const maxExpectation = 2 * time.Second

// takeExpected returns the inquiry that is expected to be of use, or nil.
func (c *Client) takeExpected(from *mirror) *source.Inquiry {
	e := c.expected.Swap(nil)
	switch {
	case e == nil:
		return nil
	case e.from == from && time.Since(e.since) < maxExpectation:
		return e.inquiry
	}
	e.inquiry.Close()
	return nil
}

// unexpect drops what nobody will ask for.
func (c *Client) unexpect() {
	if e := c.expected.Swap(nil); e != nil {
		e.inquiry.Close()
	}
}

package hybrid

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/bundle"
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

// ImportOptions are the options of [Client.ImportBundle].
type ImportOptions struct {
	// ReferenceTime is the update start time to use (specification, 5.1) where
	// this machine's clock cannot be relied on, or to hold a bundle against the
	// time when it was made. It is raised to the clock floor. The import then
	// neither moves the clock floor nor counts as a refresh. Zero means the clock.
	ReferenceTime time.Time
}

// BundleResult tells what was exported or imported.
type BundleResult struct {
	// Engine verified it; Fallback says why not the primary one, "" if it did.
	Engine   string `json:"engine"`
	Fallback string `json:"fallback,omitempty"`
	// Start is the time against which expiry was checked, Expires when the first
	// of the bundle's metadata expires: an import has to come before that.
	Start   time.Time `json:"start"`
	Expires time.Time `json:"expires"`
	// Versions are those of the top-level roles.
	Versions Versions `json:"versions"`
	// Targets are the targets, verified and in the cache of this machine.
	Targets []Result `json:"targets"`
}

// ExportBundle writes a bundle to w: one file with the named targets and with
// all metadata that another machine, without a network, needs to verify them by
// itself: the root chain from this client's trusted root on, timestamp,
// snapshot, targets, and the delegated roles on the way. Everything is refreshed
// and verified first; while the repository cannot be reached, what was verified
// before serves as in [Client.VerifyAndDownloadPlugin]. Without names the bundle
// carries metadata alone. The bundle holds nothing private, and the same state
// gives the same bytes, whatever the order of the names.
//
// Errors are those of VerifyAndDownloadPlugin, and local_io when w fails. After
// an error w may hold a part of a bundle, which no import takes.
func (c *Client) ExportBundle(ctx context.Context, w io.Writer, names ...string) (*BundleResult, error) {
	var result *BundleResult
	ctx, op := c.tel.Begin(ctx, telemetry.Export)
	err := c.call(ctx, "export bundle", func(ctx context.Context) (err error) {
		result, err = c.exportBundle(ctx, w, names)
		return err
	})
	op.End(err)
	return result, err
}

// ImportBundle verifies a bundle with the engines of the client's mode, as if it
// came from the repository, and takes it over: metadata into the trust store,
// targets into the cache. It asks no network. The trusted root of this client
// decides, and nothing that is not verified is kept.
//
// An import by the clock counts as a verified refresh: for MaxMetadataAge after
// it, and until the metadata expires, the imported targets are served while the
// repository cannot be reached. One by a reference time does not: its targets
// are verified as of that time, and are where the result says.
//
// Errors, beside those of VerifyAndDownloadPlugin: malformed or endless_data for
// a damaged bundle, rollback for one older than what is trusted, unsigned for
// one of another repository, bad_version for one whose root chain begins too
// late, local_io when r fails. What was verified before an error stays.
func (c *Client) ImportBundle(ctx context.Context, r io.Reader, opts ImportOptions) (*BundleResult, error) {
	var result *BundleResult
	ctx, op := c.tel.Begin(ctx, telemetry.Import)
	err := c.call(ctx, "import bundle", func(ctx context.Context) (err error) {
		result, err = c.importBundle(ctx, r, opts)
		return err
	})
	op.End(err)
	return result, err
}

func (c *Client) exportBundle(ctx context.Context, w io.Writer, names []string) (*BundleResult, error) {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	for _, name := range names {
		if err := transport.CheckTargetPath(name); err != nil {
			return nil, err
		}
	}
	v, err := c.verifiedFor(ctx, names...)
	if err != nil {
		return nil, err
	}
	content := bundle.Content{Timestamp: v.out.Timestamp}
	if content.Roles, err = v.rolesFor(names, c.opts.MaxRoles); err != nil {
		return nil, err
	}
	result := v.bundleResult(content.Roles)
	for _, name := range names {
		f, err := v.listed(name, c.opts.MaxRoles)
		if err != nil {
			return nil, err
		}
		r, err := c.obtain(ctx, f, nil)
		if err != nil {
			return nil, withTarget(err, name)
		}
		result.Targets = append(result.Targets, *r)
		content.Targets = append(content.Targets, bundle.Target{Name: name, Length: r.Length, Path: r.Path})
	}
	if content.Roots, err = c.rootChain(ctx, v.root); err != nil {
		return nil, err
	}
	if err := bundle.Write(ctx, w, content); err != nil {
		return nil, err
	}
	return result, nil
}

// rolesFor returns snapshot, targets and the roles that a search for the names
// visits, in the order of the searches.
func (v *verified) rolesFor(names []string, maxRoles int) ([]bundle.Role, error) {
	top := string(admission.KindTargets)
	roles := []bundle.Role{{Name: string(admission.KindSnapshot), Doc: v.out.Snapshot}, {Name: top, Doc: v.out.Find(top, string(admission.KindRoot))}}
	has := map[string]bool{top: true}
	for _, name := range names {
		_, _, err := delegation.Find(name, maxRoles, func(role, delegator string) (*admission.Doc, error) {
			doc := v.out.Find(role, delegator)
			if doc == nil {
				return nil, errNotVerified
			}
			if !has[role] {
				has[role] = true
				roles = append(roles, bundle.Role{Name: role, Doc: doc})
			}
			return doc, nil
		})
		if err != nil {
			return nil, withTarget(err, name)
		}
	}
	return roles, nil
}

// bundleResult describes what roles of v make up a bundle, without its targets.
func (v *verified) bundleResult(roles []bundle.Role) *BundleResult {
	r := &BundleResult{
		Engine: v.engine, Fallback: v.fallback, Start: v.start.UTC(), Expires: v.root.Expires, Targets: []Result{},
		Versions: Versions{
			Root: v.root.Version, Timestamp: v.out.Timestamp.Version, Snapshot: v.out.Snapshot.Version,
			Targets: v.out.Find(string(admission.KindTargets), string(admission.KindRoot)).Version,
		},
	}
	if v.out.Timestamp.Expires.Before(r.Expires) {
		r.Expires = v.out.Timestamp.Expires
	}
	for _, role := range roles {
		if role.Doc.Expires.Before(r.Expires) {
			r.Expires = role.Doc.Expires
		}
	}
	return r
}

// refused raises the event of a verdict that no engine has spoken, and returns err
// as one that was told of.
func (c *Client) refused(err error) error {
	if tuferr.ClassOf(err) == protocol.ClassVerdict {
		return c.events.refused("refused", err)
	}
	return err
}

// rootChain reads the root versions from the pinned one to root out of the trust
// store's history, and verifies that the one leads to the other.
func (c *Client) rootChain(ctx context.Context, root *admission.Doc) ([]*admission.Doc, error) {
	view, err := c.store.View(ctx)
	if err != nil {
		return nil, err
	}
	chain := []*admission.Doc{view.Anchor}
	for last := view.Anchor; last.Version < root.Version; last = chain[len(chain)-1] {
		path := filepath.Join(c.opts.MetadataDir, ".ragnos", "history", fmt.Sprintf("%d.root.json", last.Version+1))
		raw, err := os.ReadFile(path)
		if err != nil {
			e := tuferr.New(protocol.CodeLocalIO, "the root history cannot be read: %w", err)
			e.Path, e.Hint = path, "refresh, and export again"
			return nil, e
		}
		doc, err := admission.Parse(admission.KindRoot, raw, c.opts.Limits)
		if err == nil {
			err = verify.RootStep(last, doc)
		}
		if err != nil {
			return nil, err
		}
		chain = append(chain, doc)
	}
	if chain[len(chain)-1].SHA256 != root.SHA256 {
		e := tuferr.New(protocol.CodeContention, "another process has changed the trusted root meanwhile")
		e.Path, e.Hint = c.opts.MetadataDir, "export again"
		return nil, e
	}
	return chain, nil
}

func (c *Client) importBundle(ctx context.Context, r io.Reader, opts ImportOptions) (*BundleResult, error) {
	if err := c.pin(ctx, nil); err != nil {
		return nil, err
	}
	b, err := bundle.Open(ctx, r, c.opts.Limits)
	if err != nil {
		return nil, c.refused(err)
	}
	names := b.Targets()
	for _, name := range names {
		if err := transport.CheckTargetPath(name); err != nil {
			return nil, err
		}
	}
	v, err := c.operate(ctx, request{targets: names, bundle: b, reference: opts.ReferenceTime})
	if err != nil {
		return nil, advised(err)
	}
	c.imported()
	found := make(map[string]*find, len(names))
	for _, name := range names {
		if found[name], err = v.listed(name, c.opts.MaxRoles); err != nil {
			return nil, err
		}
	}
	var roles []bundle.Role
	for _, t := range v.out.Targets {
		roles = append(roles, bundle.Role{Name: t.Role, Doc: t.Doc})
	}
	result := v.bundleResult(append(roles, bundle.Role{Doc: v.out.Snapshot}))
	if err := c.take(ctx, b, found, result); err != nil {
		return nil, c.refused(err)
	}
	return result, nil
}

// advised says what to do about a verdict where a bundle is what was refused.
func advised(err error) error {
	e := tuferr.As(err)
	if e == nil {
		return err
	}
	copied := *e
	switch e.Code {
	case protocol.CodeRollback:
		copied.Hint = "the bundle is older than what is trusted here: export it again"
	case protocol.CodeExpired:
		copied.Hint = "the bundle is too old: export it again; if the date here is wrong, set the clock, or give a reference time"
	case protocol.CodeUnsigned:
		copied.Hint = "the bundle was changed on its way, or it is of another repository than the root that is trusted here"
	}
	return &copied
}

// take streams the targets of a bundle into the cache, hashing on the way.
func (c *Client) take(ctx context.Context, b *bundle.Reader, found map[string]*find, result *BundleResult) error {
	cache, err := c.openCache()
	if err != nil {
		return err
	}
	for {
		name, err := b.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		f := found[name]
		path, err := cache.Fetch(ctx, f.want, func(_ context.Context, sink targets.Sink) error {
			_, err := io.Copy(sink, b)
			return err
		}, nil)
		if err != nil {
			return withTarget(err, name)
		}
		result.Targets = append(result.Targets, Result{TargetInfo: *f.copied(), Path: path, Fallback: result.Fallback})
	}
}

// answers are those of the bundle, if there is one, else those in memo.
func (r request) answers() answers {
	if r.bundle != nil {
		return bundled{r.bundle}
	}
	return r.inquiry.Memo()
}

// now returns the reference time, if there is one, else the clock's.
func (r request) now(clock func() time.Time) time.Time {
	if r.reference.IsZero() {
		return clock()
	}
	return r.reference
}

// bundled answers as a repository would that has what the bundle holds.
type bundled struct{ *bundle.Reader }

// Answer returns what the bundle holds for a file. All of it is known from the
// start, so that everything counts as asked for.
func (b bundled) Answer(f engine.File) (doc *admission.Doc, err error, asked bool) {
	if f.Role == string(admission.KindRoot) {
		doc, err = b.root(f.Version)
		return doc, err, true
	}
	doc = b.Role(f.Role)
	if doc == nil || f.Version != 0 && f.Version != doc.Version {
		e := tuferr.New(protocol.CodeMalformed, "the bundle does not hold version %d of this role", f.Version)
		e.Role, e.Engine, e.Hint = f.Role, "host", "export it again"
		return nil, e, true
	}
	if f.Length > 0 && int64(len(doc.Raw)) > f.Length {
		e := tuferr.New(protocol.CodeEndlessData, "%d bytes where %d were announced", len(doc.Raw), f.Length)
		e.Role, e.Engine, e.Digest = f.Role, "host", doc.SHA256
		return nil, e, true
	}
	return doc, nil, true
}

// root tells the end of the root chain from a chain that begins too late.
func (b bundled) root(version int64) (*admission.Doc, error) {
	first, last := b.Roots()
	switch {
	case version > last:
		return nil, tuferr.New(protocol.CodeNotFound, "no newer root")
	case version < first:
		e := tuferr.New(protocol.CodeBadVersion, "the bundle's root chain begins with version %d, and version %d is needed to follow on from what is trusted here",
			first, version)
		e.Role, e.Engine, e.Spec = string(admission.KindRoot), "host", "5.3.3"
		e.Trusted, e.Received = version-1, first
		e.Hint = "export the bundle with a client that was given a root as old as this one's, or give this client a newer trusted root"
		return nil, e
	}
	return b.Root(version), nil
}

// Served is that of [source.Memo].
func (b bundled) Served(role, digest string) *admission.Doc {
	var held []*admission.Doc
	if role == string(admission.KindRoot) {
		first, last := b.Roots()
		for v := first; v <= last; v++ {
			held = append(held, b.Root(v))
		}
	} else if doc := b.Role(role); doc != nil {
		held = append(held, doc)
	}
	for _, doc := range held {
		if doc.SHA256 == digest || digest == "" && len(held) == 1 {
			return doc
		}
	}
	return nil
}

// bundleSource is the source of an operation over a bundle.
type bundleSource struct {
	bundled
	view *store.View
	// local gives the trusted copies, by the view's root.
	local *source.Source
}

// Remote implements [engine.Source].
func (b *bundleSource) Remote(_ context.Context, f engine.File) (*admission.Doc, error) {
	doc, err, _ := b.Answer(f)
	return doc, err
}

// Local implements [engine.Source].
func (b *bundleSource) Local(role string, root *admission.Doc) *admission.Doc {
	k := admission.Kind(role)
	if (k == admission.KindTimestamp || k == admission.KindSnapshot) && b.rotated(root) {
		return nil
	}
	return b.local.Local(role, b.view.Root)
}

// rotated says whether a root on the way from the trusted one to root took a
// timestamp or snapshot key away (5.3.11).
func (b *bundleSource) rotated(root *admission.Doc) bool {
	for old := b.view.Root; old.Version < root.Version; {
		next := b.Root(old.Version + 1)
		if next == nil || verify.Rotated(old, next) {
			return true
		}
		old = next
	}
	return false
}

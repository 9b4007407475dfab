// Package gotuf is the engine built on go-tuf. It drives go-tuf's
// trustedmetadata step by step over bytes in memory: no directory, no fetcher,
// no updater. The walk over delegations is package delegation's, because
// go-tuf's own matching of paths and hash prefixes is not the specification's.
//
// The host holds every file against its threshold before go-tuf sees it: go-tuf
// parses and encodes a file again and again, and nobody without the keys shall
// make it do that. What go-tuf then calls unsigned it cannot represent.
package gotuf

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/delegation"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/keys"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/verify"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Name is the engine's name in errors, results and status.
const Name = "go"

// Engine is the go-tuf engine. It has no state; the zero value is ready.
type Engine struct{}

// Name returns "go".
func (Engine) Name() string { return Name }

// Run implements [engine.Engine]. It may panic where go-tuf does: wrap it with
// [engine.Guard].
func (Engine) Run(ctx context.Context, op *engine.Operation) (*engine.Outcome, error) {
	r := &run{ctx: ctx, op: op, out: &engine.Outcome{Answers: map[string]string{}}, root: op.Root}
	return r.out, r.do()
}

// run is one operation.
type run struct {
	ctx context.Context
	op  *engine.Operation
	out *engine.Outcome
	tm  *trustedmetadata.TrustedMetadata
	// root is the document of tm.Root.
	root *admission.Doc
}

func (r *run) do() error {
	for _, step := range []func() error{r.loadRoot, r.updateRoots, r.updateTimestamp, r.updateSnapshot} {
		if err := step(); err != nil {
			return err
		}
	}
	if _, err := r.load(string(admission.KindTargets), string(admission.KindRoot)); err != nil {
		return err
	}
	if r.op.All {
		if err := delegation.Reach(r.op.MaxRoles, r.load); err != nil {
			return err
		}
	}
	for _, path := range r.op.Targets {
		role, _, err := delegation.Find(path, r.op.MaxRoles, r.load)
		if err != nil {
			return err
		}
		r.out.Answers[path] = role
	}
	return nil
}

// loadRoot takes the root that the store trusts. Its signatures were verified
// when it was stored; what matters here is that go-tuf reads the same keys and
// roles out of it as the host does.
func (r *run) loadRoot() error {
	root, err := readRoot(r.op.Root)
	if err != nil {
		return err
	}
	r.tm = &trustedmetadata.TrustedMetadata{
		Root:    asDelegator(root, r.op.Root),
		Targets: map[string]*metadata.Metadata[metadata.TargetsType]{},
		// go-tuf calls metadata that expires at this very second valid, the
		// specification calls it expired (5.3.10).
		RefTime: r.op.Start.Add(time.Nanosecond),
	}
	return nil
}

// readRoot decodes a root. It fails if go-tuf does not see in the bytes what was
// signed.
func readRoot(doc *admission.Doc) (*metadata.Metadata[metadata.RootType], error) {
	root, err := metadata.Root().FromBytes(doc.Raw)
	if err != nil {
		return nil, unrepresentable("root", doc, err)
	}
	if !asSigned(root.Signed, doc) {
		return nil, unrepresentable("root", doc, errOtherForm)
	}
	return root, nil
}

// asDelegator returns a root for use as delegator: without the keys that cannot
// count, so that go-tuf does not stumble over them.
func asDelegator(root *metadata.Metadata[metadata.RootType], doc *admission.Doc) *metadata.Metadata[metadata.RootType] {
	without := *root
	without.Signed.Roles = make(map[string]*metadata.Role, len(root.Signed.Roles))
	for name, role := range root.Signed.Roles {
		countable := *role
		countable.KeyIDs = only(role.KeyIDs, doc.Root.Keys)
		without.Signed.Roles[name] = &countable
	}
	return &without
}

var errOtherForm = errors.New("what it would verify differs from what was signed")

// only returns the keyids whose keys can count.
func only(ids []string, set map[string]admission.Key) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
		_, err := keys.Decode(set[id])
		return err != nil
	})
}

// updateRoots walks the root chain up to the newest version (5.3).
func (r *run) updateRoots() error {
	for n := 0; ; n++ {
		next := r.root.Version + 1
		doc, err := r.op.Source.Remote(r.ctx, engine.File{Role: "root", Version: next})
		if tuferr.CodeOf(err) == protocol.CodeNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		if n >= r.op.MaxRoots {
			e := tuferr.New(protocol.CodeTooMany, "more than %d new root versions", r.op.MaxRoots)
			e.Role, e.Engine, e.Spec = "root", Name, "5.3.3"
			e.Hint = "the trusted root is very old: ship a newer one, or refresh again to go on from here"
			return e
		}
		if err := r.updateRoot(doc); err != nil {
			return err
		}
		r.root = doc
		r.out.Roots = append(r.out.Roots, doc)
	}
}

// updateRoot is go-tuf's UpdateRoot, with the delegator and the delegate as two
// objects: the keys that cannot count are taken out of the delegator only.
func (r *run) updateRoot(doc *admission.Doc) error {
	if err := verify.RootStep(r.root, doc); err != nil {
		return err
	}
	signed, err := readRoot(doc)
	if err != nil {
		return err
	}
	if err := r.tm.Root.VerifyDelegate(metadata.ROOT, signed); err != nil {
		return r.classify(err, "root", doc)
	}
	if signed.Signed.Version != r.tm.Root.Signed.Version+1 {
		return r.classify(&metadata.ErrBadVersionNumber{Msg: "not the next root version"}, "root", doc)
	}
	next := asDelegator(signed, doc)
	if err := next.VerifyDelegate(metadata.ROOT, signed); err != nil {
		return r.classify(err, "root", doc)
	}
	r.tm.Root = next
	return nil
}

// updateTimestamp loads the trusted timestamp, if any, and the repository's (5.4).
func (r *run) updateTimestamp() error {
	const role = metadata.TIMESTAMP
	local := r.op.Source.Local(role, r.root)
	if local != nil && verify.Signed(r.root, role, local) != nil {
		local = nil // The new root no longer vouches for it.
	}
	var unreadable error
	if local != nil {
		// An error leaves it loaded where it still guards against a rollback.
		if _, err := r.tm.UpdateTimestamp(local.Raw); r.cannot(err, role) {
			unreadable = unrepresentable(role, local, err)
		}
	}
	if err := verify.Fresh("root", r.root, r.op.Start, "5.3.10"); err != nil {
		return err
	}
	doc, err := r.op.Source.Remote(r.ctx, engine.File{Role: role})
	if err != nil {
		return err
	}
	if err := verify.Signed(r.root, role, doc); err != nil {
		return err
	}
	if unreadable != nil && doc.Version == local.Version {
		// The trusted one stays, and go-tuf cannot build on it.
		return unreadable
	}
	_, err = r.tm.UpdateTimestamp(doc.Raw)
	switch {
	case errors.Is(err, &metadata.ErrEqualVersionNumber{}):
		doc = local
		err = verify.Fresh(role, doc, r.op.Start, "5.4.4")
	case err == nil && unreadable != nil && doc.Version < local.Version:
		err = &metadata.ErrBadVersionNumber{Msg: "older than the trusted timestamp"}
	}
	if err != nil {
		return r.classify(err, role, doc)
	}
	r.out.Timestamp = doc
	return nil
}

// updateSnapshot uses the trusted snapshot if it is the announced one, and
// fetches it otherwise (5.5).
func (r *run) updateSnapshot() error {
	const role = metadata.SNAPSHOT
	meta := r.out.Timestamp.Meta["snapshot.json"]
	if local := r.op.Source.Local(role, r.root); local != nil && verify.Signed(r.root, role, local) == nil {
		_, err := r.tm.UpdateSnapshot(local.Raw, true)
		if err == nil {
			r.out.Snapshot = local
			return nil
		}
		if r.cannot(err, role) && local.Version == meta.Version {
			return unrepresentable(role, local, err)
		}
	}
	doc, err := r.op.Source.Remote(r.ctx, r.file(role, meta))
	if err != nil {
		return err
	}
	if err := verify.Received(r.root, role, doc, meta); err != nil {
		return err
	}
	if _, err := r.tm.UpdateSnapshot(doc.Raw, false); err != nil {
		return r.classify(err, role, doc)
	}
	r.out.Snapshot = doc
	return nil
}

// load verifies the metadata of a targets role for one delegator (5.6): the
// trusted copy if that is the announced one, the repository's otherwise.
func (r *run) load(role, delegator string) (*admission.Doc, error) {
	if doc := r.out.Find(role, delegator); doc != nil {
		return doc, nil
	}
	meta, ok := r.out.Snapshot.Meta[role+".json"]
	if !ok {
		e := tuferr.New(protocol.CodeNotInSnapshot, "the snapshot does not list this role")
		e.Role, e.Engine, e.Spec = role, Name, "5.6.1"
		return nil, e
	}
	from := r.delegator(delegator)
	local := r.op.Source.Local(role, r.root)
	if local != nil && local.Version == meta.Version && verify.Signed(from, role, local) == nil {
		err := r.updateTargets(local, role, delegator)
		if err == nil {
			return local, nil
		}
		if r.cannot(err, role) {
			// The repository's copy would be the same file, and may be out of reach.
			return nil, unrepresentable(role, local, err)
		}
	}
	doc, err := r.op.Source.Remote(r.ctx, r.file(role, meta))
	if err != nil {
		return nil, err
	}
	if err := verify.Received(from, role, doc, meta); err != nil {
		return nil, err
	}
	if err := r.updateTargets(doc, role, delegator); err != nil {
		return nil, r.classify(err, role, doc)
	}
	return doc, nil
}

func (r *run) updateTargets(doc *admission.Doc, role, delegator string) error {
	if d := r.tm.Targets[delegator]; d != nil {
		set, _, _ := r.delegator(delegator).Delegated(role)
		countableOnly(d.Signed.Delegations, role, set)
	}
	targets, err := r.tm.UpdateDelegatedTargets(doc.Raw, role, delegator)
	if err != nil {
		return err
	}
	// It is needed as a delegator only: what it lists is looked up in doc.
	targets.Signed.Targets, targets.Signed.UnrecognizedFields = nil, nil
	r.out.Targets = append(r.out.Targets, engine.Verified{Role: role, Delegator: delegator, Doc: doc})
	return nil
}

// countableOnly takes the keys that cannot count out of the delegation to a role, when
// the role is about to be verified: of many delegations few are followed.
func countableOnly(d *metadata.Delegations, role string, set map[string]admission.Key) {
	switch {
	case d == nil:
	case d.SuccinctRoles != nil:
		d.SuccinctRoles.KeyIDs = only(d.SuccinctRoles.KeyIDs, set)
	default:
		for i := range d.Roles {
			if d.Roles[i].Name == role {
				d.Roles[i].KeyIDs = only(d.Roles[i].KeyIDs, set)
			}
		}
	}
}

// delegator returns the document of a delegating role.
func (r *run) delegator(role string) *admission.Doc {
	for _, v := range r.out.Targets {
		if v.Role == role {
			return v.Doc
		}
	}
	return r.root
}

// file names a file of the repository, with the version in the name where
// consistent snapshots are used (5.3.12).
func (r *run) file(role string, meta admission.MetaFile) engine.File {
	f := engine.File{Role: role, Length: max(meta.Length, 0)}
	if r.root.Root.ConsistentSnapshot {
		f.Version = meta.Version
	}
	return f
}

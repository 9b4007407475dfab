package repository

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/draft"
	"github.com/ragnos-labs/vault-tuf/internal/keyfile"
	"github.com/ragnos-labs/vault-tuf/internal/verify"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// sealed is a file of the next state, as far as it could be signed.
type sealed struct {
	role, delegator string
	envelope        *draft.Envelope
	// plain is the file without signatures: what is signed, and whom it trusts.
	plain *admission.Doc
	// doc is the file; it is verified unless missing says otherwise.
	doc     *admission.Doc
	missing []need
	// bridged: the file is valid under the root before too.
	bridged bool
}

// need is a threshold that is not met.
type need struct {
	by        *admission.Doc // root, before or after, or the delegator
	role      string
	have      []string // keyids
	threshold int
}

// seal signs everything that changes, in the order of trust: root, targets,
// delegated roles, snapshot, timestamp. The last two only if nothing is missing.
func (c *change) seal(ctx context.Context) error {
	if err := c.sealRoot(ctx); err != nil {
		return err
	}
	if err := c.sealTargets(ctx); err != nil || len(c.unsigned()) > 0 {
		return err
	}
	return c.sealOnline(ctx)
}

func (c *change) sealRoot(ctx context.Context) error {
	envelope := c.givenRoot
	if c.newRoot != nil {
		c.newRoot.Expires = c.expiry(roleRoot)
		signed, err := c.newRoot.Encode()
		if err != nil {
			return err
		}
		envelope = draft.Seal(admission.KindRoot, signed)
	}
	if envelope == nil {
		return nil
	}
	if err := c.sealRole(ctx, roleRoot, "", envelope, c.newRoot != nil || c.founding); err != nil {
		return err
	}
	return c.followRoot()
}

// sealTargets signs targets and delegated roles, a delegator before those it
// delegates to. Roles whose keys change are signed anew.
func (c *change) sealTargets(ctx context.Context) error {
	for again := true; again; {
		again = false
		for _, name := range slices.Sorted(maps.Keys(c.edits)) {
			delegator := c.edits[name].delegator
			if _, above := c.edits[delegator]; c.sealed[name] != nil || above && c.sealed[delegator] == nil {
				continue
			}
			if err := c.sealEdit(ctx, name); err != nil {
				return err
			}
			again = true
		}
	}
	return nil
}

func (c *change) sealEdit(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return ioError(c.r.dir, err)
	}
	e := c.edits[name]
	envelope := e.given
	if e.draft != nil {
		e.draft.Expires = c.expiry(name)
		signed, err := e.draft.Encode()
		if err != nil {
			return err
		}
		envelope = draft.Seal(admission.KindTargets, signed)
	}
	if err := c.sealRole(ctx, name, e.delegator, envelope, e.draft != nil); err != nil {
		return err
	}
	return c.follow(name)
}

// followRoot has the roles signed anew whose keys the next root changes.
func (c *change) followRoot() error {
	next := c.sealed[roleRoot].plain
	for _, role := range topLevel[1:] {
		if sameKeys(c.root, next, role) {
			continue
		}
		if role == roleTargets && c.edits[role] == nil {
			if _, err := c.editRole(role, roleRoot); err != nil {
				return err
			}
		}
		c.renew[roleTimestamp] = true
		c.renew[roleSnapshot] = c.renew[roleSnapshot] || role != roleTimestamp
	}
	return nil
}

// follow has the delegated roles signed anew whose keys the role changes.
func (c *change) follow(name string) error {
	before, next := c.roles[name], c.sealed[name].plain
	if before == nil || before.doc.Delegations == nil || next.Delegations == nil {
		return nil
	}
	for _, role := range delegatedNames(next.Delegations) {
		if _, _, had := before.doc.Delegated(role); !had || sameKeys(before.doc, next, role) {
			continue
		}
		if c.edits[role] == nil {
			if _, err := c.editRole(role, name); err != nil {
				return err
			}
		}
	}
	return nil
}

func delegatedNames(d *admission.Delegations) (names []string) {
	for _, r := range d.Roles {
		names = append(names, r.Name)
	}
	if d.Succinct != nil {
		for n := range d.Succinct.Bins() {
			names = append(names, d.Succinct.BinName(n))
		}
	}
	return names
}

// sameKeys says whether two documents delegate to a role alike.
func sameKeys(a, b *admission.Doc, role string) bool {
	keysA, roleA, okA := a.Delegated(role)
	keysB, roleB, okB := b.Delegated(role)
	if okA != okB || !reflect.DeepEqual(roleA, roleB) {
		return false
	}
	return !slices.ContainsFunc(roleA.KeyIDs, func(id string) bool { return keysA[id] != keysB[id] })
}

// sealOnline signs snapshot and timestamp, as far as they change.
func (c *change) sealOnline(ctx context.Context) error {
	changed := slices.Sorted(maps.Keys(c.edits))
	for _, name := range changed {
		if err := c.newer(name); err != nil {
			return err
		}
	}
	if len(changed) > 0 || c.renew[roleSnapshot] {
		if err := c.sealMeta(ctx, roleSnapshot, c.snapshot, changed); err != nil {
			return err
		}
	}
	if c.sealed[roleSnapshot] == nil && !c.renew[roleTimestamp] {
		return nil
	}
	var lists []string
	if c.sealed[roleSnapshot] != nil {
		lists = []string{roleSnapshot}
	}
	return c.sealMeta(ctx, roleTimestamp, c.timestamp, lists)
}

// newer refuses a file that clients would take for a rollback (specification,
// 5.5.5).
func (c *change) newer(name string) error {
	s := c.sealed[name]
	if s == nil {
		return &Error{Code: protocol.CodeUsage, Role: name, Msg: "it delegates to itself, or to a role above it", Hint: "nothing was changed"}
	}
	if c.snapshot == nil || s.doc.Version > c.snapshot.Meta[name+".json"].Version {
		return nil
	}
	return &Error{Code: protocol.CodeRollback, Role: name, Trusted: c.snapshot.Meta[name+".json"].Version, Received: s.doc.Version,
		Msg: "a version that is not newer than the published one", Hint: "nothing was changed"}
}

func (c *change) sealMeta(ctx context.Context, role string, before *admission.Doc, lists []string) error {
	m := draft.NewMeta(admission.KindOf(role))
	if before != nil {
		var err error
		if m, err = draft.EditMeta(before); err != nil {
			return err
		}
	}
	for _, name := range lists {
		if err := m.Describe(name+".json", c.sealed[name].doc); err != nil {
			return err
		}
	}
	m.Expires = c.expiry(role)
	signed, err := m.Encode()
	if err != nil {
		return err
	}
	if err := c.sealRole(ctx, role, roleRoot, draft.Seal(admission.KindOf(role), signed), true); err != nil {
		return err
	}
	if s := c.sealed[role]; len(s.missing) > 0 {
		return c.missingKeys(s)
	}
	return nil
}

// sealRole holds a file against the thresholds of everybody who must be able to
// trust it. A file that is ours is signed with the keys at hand; one that was
// signed elsewhere is not: nobody has read it here.
func (c *change) sealRole(ctx context.Context, role, delegator string, envelope *draft.Envelope, ours bool) error {
	plain, err := admission.Parse(envelope.Kind, draft.Seal(envelope.Kind, envelope.Signed).Bytes(), ownLimits)
	if err != nil {
		return err
	}
	s := &sealed{role: role, delegator: delegator, envelope: envelope, plain: plain}
	c.sealed[role] = s
	if err := c.guard(ctx, s); err != nil {
		return err
	}
	required, bridge := c.delegators(s)
	if ours {
		for _, by := range required {
			if err := c.sign(ctx, s, by, true); err != nil {
				return err
			}
		}
		if bridge != nil {
			if err := c.sign(ctx, s, bridge, false); err != nil {
				return err
			}
		}
	}
	if s.doc, err = admission.Parse(envelope.Kind, envelope.Bytes(), ownLimits); err != nil {
		return err
	}
	for _, by := range required {
		if verify.Signed(by, role, s.doc) == nil {
			continue
		}
		_, r, _ := by.Delegated(role)
		s.missing = append(s.missing, need{by: by, role: role, have: signedBy(by, s), threshold: r.Threshold})
	}
	s.bridged = bridge == nil || verify.Signed(bridge, role, s.doc) == nil
	return nil
}

// delegators returns the documents whose thresholds a file must meet: for root
// the one before and itself (specification, 5.3.4), else the delegator. A
// top-level role of a new root is, where possible, signed for the root before
// too, so that the repository is valid between the two.
func (c *change) delegators(s *sealed) (required []*admission.Doc, bridge *admission.Doc) {
	switch {
	case s.role == roleRoot:
		return []*admission.Doc{c.root, s.plain}, nil
	case s.delegator != roleRoot:
		if above := c.sealed[s.delegator]; above != nil {
			return []*admission.Doc{above.plain}, nil
		}
		return []*admission.Doc{c.roles[s.delegator].doc}, nil
	case c.sealed[roleRoot] != nil:
		return []*admission.Doc{c.sealed[roleRoot].plain}, c.root
	default:
		return []*admission.Doc{c.root}, nil
	}
}

// sign adds signatures by keys at hand until the threshold of by is met. The
// keys that cannot be opened are an error only where they are required.
func (c *change) sign(ctx context.Context, s *sealed, by *admission.Doc, required bool) error {
	listed, r, ok := by.Delegated(s.role)
	if !ok {
		return fmt.Errorf("nobody delegates to %s", s.role)
	}
	have := signedBy(by, s)
	for _, id := range r.KeyIDs {
		if len(have) >= r.Threshold {
			return nil
		}
		key, ok := c.ring.find(listed[id])
		if !ok || slices.Contains(have, id) {
			continue
		}
		sig, err := key.sign(ctx, s.plain.Canonical)
		switch {
		case err != nil && required && !(c.unattended && errors.Is(err, keyfile.ErrNoPassphrase)):
			return err
		case err != nil:
			continue
		}
		s.envelope.Add(admission.Signature{KeyID: id, Sig: sig})
		have = signedBy(by, s)
	}
	return nil
}

// unsigned returns the files that still need signatures.
func (c *change) unsigned() (list []*sealed) {
	for _, name := range slices.Sorted(maps.Keys(c.sealed)) {
		if s := c.sealed[name]; len(s.missing) > 0 {
			list = append(list, s)
		}
	}
	return list
}

// missingKeys is the error for online roles: nobody can be asked to sign them.
func (c *change) missingKeys(s *sealed) error {
	if c.unusable != nil {
		return c.unusable
	}
	n := s.missing[0]
	return &Error{Code: protocol.CodeUsage, Role: s.role,
		Msg:  fmt.Sprintf("%d of %d signatures: the keys at hand cannot make more", len(n.have), n.threshold),
		Hint: "put the key files into " + keysName + ", or name their directory with --keys; nothing was changed"}
}

package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/draft"
	"github.com/ragnos-labs/vault-tuf/internal/keyfile"
	"github.com/ragnos-labs/vault-tuf/internal/keys"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// RoleKeys are changes of the keys that sign for a role: a top-level role, a
// publisher's, or hash bins, which go by their name prefix.
type RoleKeys struct {
	Role string
	// Add are files with public keys. What the file is called without its
	// extension becomes the key's name.
	Add []string
	// Remove are keys of the role: a name, the beginning of a keyid, or a file
	// with the public key.
	Remove []string
	// Threshold is how many keys must sign; 0 leaves it.
	Threshold int
}

// ChangeKeys changes which keys sign for roles, and signs anew whatever they
// sign: the chain from the old keys to the new ones is one that every client
// follows. If keys for that are not at hand, nothing is changed and the change
// is returned as a [Proposal].
//
// It refuses what would leave a role with fewer keys than must sign, and a key
// that signs for a role of another kind already. It blocks until done or ctx ends.
func (r *Repository) ChangeKeys(ctx context.Context, changes ...RoleKeys) (*Proposal, error) {
	p, err := r.change(ctx, func(c *change) error { return c.changeKeys(ctx, changes) })
	return p, during("key", err)
}

func (c *change) changeKeys(ctx context.Context, changes []RoleKeys) error {
	for _, rk := range changes {
		to, err := c.keysFor(ctx, rk.Role)
		if err != nil {
			return err
		}
		for _, which := range rk.Remove {
			id, err := to.find(which)
			if err != nil {
				return err
			}
			to.remove(id)
		}
		for _, path := range rk.Add {
			public, err := keyfile.ReadPublic(path)
			if err != nil {
				return err
			}
			if err := to.add(c, public, nameOf(path)); err != nil {
				return err
			}
		}
		if rk.Threshold > 0 {
			to.setThreshold(rk.Threshold)
		}
	}
	return nil
}

// nameOf is what the key in a file is called.
func nameOf(path string) string {
	base := filepath.Base(path)
	return strings.TrimSuffix(base, filepath.Ext(base))
}

// keysFor is the keys of a role, to be changed.
type keysFor struct {
	draft *draft.Roles
	role  *draft.Role
	names map[string]string
	// before is the delegator as it is now, which can be asked for ask.
	before *admission.Doc
	ask    string
	// bins are the hash bins of the role, if they have the same keys: these change
	// with those of the role, or a stolen key would go on signing its targets.
	bins *keysFor
}

// keysFor begins the next version of whoever says which keys sign for a role.
func (c *change) keysFor(ctx context.Context, name string) (*keysFor, error) {
	cfg, err := c.editConfig()
	if err != nil {
		return nil, err
	}
	by, ask, err := c.whoDelegates(ctx, name)
	if err != nil {
		return nil, err
	}
	k := &keysFor{names: cfg.KeyNames, ask: ask, before: by.doc}
	if by.role == roleRoot {
		root, err := c.editRoot()
		if err != nil {
			return nil, err
		}
		k.draft = &root.Roles
	} else {
		d, err := c.editRole(by.role, by.above)
		if err != nil {
			return nil, err
		}
		k.draft = d.Delegations
	}
	k.role = k.draft.Role(name)
	return k, c.withBins(ctx, k, by.role)
}

// withBins finds the bins of a role that have the same keys.
func (c *change) withBins(ctx context.Context, k *keysFor, delegator string) error {
	if name := k.ask; name == roleRoot || admission.KindOf(name) != admission.KindTargets || name != k.role.Name {
		return nil
	}
	doc, err := c.role(k.ask, delegator)
	if err != nil || doc.Delegations == nil || doc.Delegations.Succinct == nil {
		return err
	}
	_, own, _ := k.before.Delegated(k.ask)
	bins := doc.Delegations.Succinct
	if bins.Threshold == own.Threshold && len(without(own.KeyIDs, bins.KeyIDs))+len(without(bins.KeyIDs, own.KeyIDs)) == 0 {
		k.bins, err = c.keysFor(ctx, bins.NamePrefix)
	}
	return err
}

func (k *keysFor) remove(id string) {
	k.draft.RemoveKey(k.role.Name, id)
	if k.bins != nil {
		k.bins.remove(id)
	}
}

func (k *keysFor) setThreshold(n int) {
	k.role.Threshold = n
	if k.bins != nil {
		k.bins.setThreshold(n)
	}
}

// whoDelegates searches the role that delegates to a role, or to the bins of a
// prefix, and the name by which to ask it.
func (s *state) whoDelegates(ctx context.Context, name string) (found delegator, ask string, err error) {
	err = s.eachDelegation(ctx, func(by delegator, role delegatedRole) error {
		if role.name != name {
			return nil
		}
		found, ask = by, role.ask
		return errFound
	})
	switch {
	case errors.Is(err, errFound):
		return found, ask, nil
	case err != nil:
		return delegator{}, "", err
	}
	return delegator{}, "", &Error{Code: protocol.CodeNotFound, Role: name, Msg: "there is no such role", Hint: "see: local-tuf key list"}
}

var errFound = errors.New("found")

// add lets a key sign for the role, and gives it a name.
func (k *keysFor) add(c *change, public keyfile.Public, name string) error {
	listed, r, _ := k.before.Delegated(k.ask)
	id := public.ID
	for _, known := range k.role.KeyIDs {
		if old, err := keys.Decode(listed[known]); err == nil && old.Fingerprint == public.Fingerprint && slices.Contains(r.KeyIDs, known) {
			return &Error{Code: protocol.CodeUsage, Role: k.role.Name, Msg: fmt.Sprintf("the key %s (%.12s…) signs for it already", called(k.names, known), known)}
		}
	}
	if k.names[id] == "" {
		cfg, err := c.editConfig()
		if err != nil {
			return err
		}
		cfg.KeyNames[id] = name
	}
	if k.bins != nil {
		if err := k.bins.add(c, public, name); err != nil {
			return err
		}
	}
	return k.draft.AddKey(k.role.Name, id, public.Key)
}

// find returns the keyid of a key of the role.
func (k *keysFor) find(which string) (string, error) {
	if strings.ContainsAny(which, `/\`) || filepath.Ext(which) == ".pub" {
		public, err := keyfile.ReadPublic(which)
		if err != nil {
			return "", err
		}
		which = public.ID
	}
	var found []string
	for _, id := range k.role.KeyIDs {
		if k.names[id] == which || len(which) >= minKeyPrefix && strings.HasPrefix(id, which) {
			found = append(found, id)
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	msg := fmt.Sprintf("no key of it is called %.80q", which)
	if len(found) > 1 {
		msg = fmt.Sprintf("%d of its keys are called %.80q", len(found), which)
	}
	return "", &Error{Code: protocol.CodeUsage, Role: k.role.Name, Msg: msg,
		Hint: "its keys are " + strings.Join(k.calledAll(), ", ") + "; nothing was changed"}
}

// minKeyPrefix is how much of a keyid names a key.
const minKeyPrefix = 6

func (k *keysFor) calledAll() (all []string) {
	for _, id := range k.role.KeyIDs {
		all = append(all, fmt.Sprintf("%s (%.12s…)", called(k.names, id), id))
	}
	return all
}

// called is what people call a key.
func called(names map[string]string, id string) string {
	if name := names[id]; name != "" {
		return say(name)
	}
	return "a key without a name"
}

// Rotation says which key of a role was replaced.
type Rotation struct {
	Role string `json:"role"`
	// Old and New are the keys.
	Old KeyRef `json:"old"`
	New KeyRef `json:"new"`
	// OldFile is the private half of the old key, if it is at hand: nobody deletes
	// it. NewFile is that of the new one, if it was made here.
	OldFile string `json:"old_file,omitempty"`
	NewFile string `json:"new_file,omitempty"`
}

// KeyRef names a key.
type KeyRef struct {
	KeyID string `json:"keyid"`
	// Name is what people call it, perhaps "".
	Name string `json:"name,omitempty"`
}

// Rotate names a key to be replaced.
type Rotate struct {
	// Role is a role as in [RoleKeys].
	Role string
	// Old is the key to be replaced, as in [RoleKeys]; it may be "" if the role has
	// one key.
	Old string
	// New is a file with the public half of a key made elsewhere. If it is "" a
	// key is made in DIR/keys.
	New string

	// plain stores the new key unencrypted.
	plain bool
}

// RotateKeys replaces keys of roles by new ones, and signs anew what they sign.
// It is all or nothing; if keys are not at hand for it the change is returned as
// a [Proposal], for which new keys stay in DIR/keys. The private files of the old
// keys are left where they are. It blocks until done or ctx ends.
func (r *Repository) RotateKeys(ctx context.Context, which ...Rotate) ([]Rotation, *Proposal, error) {
	var done []Rotation
	p, err := r.change(ctx, func(c *change) error {
		for i, w := range which {
			if w.Old == "" && slices.ContainsFunc(which[:i], func(o Rotate) bool { return o.Role == w.Role }) {
				return &Error{Code: protocol.CodeUsage, Role: w.Role, Msg: "it is named twice", Hint: "name each role once; nothing was changed"}
			}
			rotation, err := c.rotateKey(ctx, w)
			done = append(done, rotation)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		r.dropNew(done, err)
		return nil, nil, during("key rotate", err)
	}
	return done, p, nil
}

// dropNew removes the keys that were made for a change that failed: they have
// never been trusted. Those of a change that is decided will be.
func (r *Repository) dropNew(made []Rotation, failure error) {
	if decided := (*decidedError)(nil); errors.As(failure, &decided) {
		return
	}
	for _, m := range made {
		if m.NewFile != "" {
			_ = r.disk.remove(m.NewFile)
			_ = r.disk.remove(strings.TrimSuffix(m.NewFile, filepath.Ext(m.NewFile)) + ".pub")
		}
	}
}

func (c *change) rotateKey(ctx context.Context, o Rotate) (done Rotation, err error) {
	to, err := c.keysFor(ctx, o.Role)
	if err != nil {
		return done, err
	}
	old := ""
	switch {
	case o.Old != "":
		if old, err = to.find(o.Old); err != nil {
			return done, err
		}
	case len(to.role.KeyIDs) != 1:
		return done, &Error{Code: protocol.CodeUsage, Role: o.Role, Msg: fmt.Sprintf("it has %d keys", len(to.role.KeyIDs)),
			Hint: "say which one with --old: " + strings.Join(to.calledAll(), ", ")}
	default:
		old = to.role.KeyIDs[0]
	}
	listed, _, _ := to.before.Delegated(to.ask)
	done = Rotation{Role: o.Role, Old: KeyRef{old, to.names[old]}}
	if k, ok := c.ring.find(listed[old]); ok {
		done.OldFile = k.path
	}
	var public keyfile.Public
	if o.New != "" {
		public, err = keyfile.ReadPublic(o.New)
		done.New.Name = nameOf(o.New)
	} else {
		var made *keyfile.Key
		if made, err = c.newKey(ctx, o.Role, o.plain); err == nil {
			public, done.New.Name, done.NewFile = made.Public, made.Name, made.Path
		}
	}
	if err != nil {
		return done, err
	}
	done.New.KeyID = public.ID
	if err := to.add(c, public, done.New.Name); err != nil {
		return done, err
	}
	to.remove(old)
	return done, nil
}

// newKey makes a key of a role in DIR/keys, under the first free name, and takes
// it into the ring.
func (c *change) newKey(ctx context.Context, role string, plain bool) (*keyfile.Key, error) {
	dir, pass := filepath.Join(c.r.dir, keysName), c.r.keys.Passphrase
	if plain {
		pass = keyfile.Plain
	}
	base := fileName(role)
	if strings.HasPrefix(role, binPrefix) {
		base = "bins-" + base
	}
	for n := 2; ; n++ {
		k, err := keyfile.Generate(ctx, dir, fmt.Sprintf("%.50s-%d", base, n), c.r.config.Algorithm, pass)
		if errors.Is(err, keyfile.ErrExists) && n < maxKeyNames {
			continue
		}
		if err == nil {
			c.ring.add(k, c.r.keys.Passphrase)
		}
		return k, err
	}
}

// maxKeyNames bounds the search for a free name.
const maxKeyNames = 10000

// keyDirs are the directories in which keys are looked for.
func (r *Repository) keyDirs() []string {
	return append([]string{filepath.Join(r.dir, keysName)}, r.keys.Dirs...)
}

// listKeys returns the key files at hand, and what is wrong with others.
func (r *Repository) listKeys() (list []*keyfile.Key, unusable error) {
	var bad []error
	for i, dir := range r.keyDirs() {
		some, err := keyfile.List(dir)
		if err != nil && (i > 0 || !errors.Is(err, fs.ErrNotExist)) {
			bad = append(bad, err)
		}
		list = append(list, some...)
	}
	return list, errors.Join(bad...)
}

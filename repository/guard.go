package repository

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/keys"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// guard refuses a file before it is signed if it would lock people out, or put
// the keys of roles together that must be stolen one by one. What a repository
// has had before is left as it is.
func (c *change) guard(ctx context.Context, s *sealed) error {
	if s.role == roleRoot && c.snapshot != nil {
		// The keys of publishers must be known.
		if _, err := c.targets(); err != nil {
			return err
		}
	}
	before := c.published(s.role)
	if err := idleKeys(before, s); err != nil {
		return err
	}
	for _, role := range delegatedBy(s.plain) {
		if err := c.rightful(before, s, role); err != nil {
			return err
		}
		if before != nil && sameKeys(before, s.plain, role.ask) {
			continue
		}
		if err := enough(s.plain, role); err != nil {
			return err
		}
		if err := c.apart(ctx, before, s, role); err != nil {
			return err
		}
	}
	return nil
}

// rightful refuses new delegations to names that are, or will be, somebody
// else's: a role has one delegator. Only targets delegates to publishers; every
// other role has hash bins under its own name, or none.
func (c *change) rightful(before *admission.Doc, s *sealed, role delegatedRole) error {
	if s.role == roleRoot {
		return nil
	}
	if before != nil {
		if _, _, had := before.Delegated(role.ask); had {
			return nil
		}
	}
	refuse := func(msg string) error {
		return &Error{Code: protocol.CodeUsage, Role: s.role, Msg: fmt.Sprintf("it would delegate to %.80q, %s", role.name, msg),
			Hint: "nothing was changed; if this comes from a proposal, ask who made it"}
	}
	switch {
	case role.bins && role.name == binPrefix+s.role:
		return nil
	case role.bins, s.role != roleTargets:
		return refuse("but a publisher's role has hash bins of its own and delegates to nobody else")
	case strings.HasPrefix(role.name, binPrefix), slices.Contains(topLevel, role.name):
		return refuse("a name that is set apart")
	}
	if c.snapshot != nil {
		if _, taken := c.snapshot.Meta[role.name+".json"]; taken {
			return refuse("a name that another role has, or had")
		}
	}
	return nil
}

// idleKeys refuses new keys that sign for nothing: nobody who reads what changes
// would see them, and they could be put into force later under their keyid.
func idleKeys(before *admission.Doc, s *sealed) error {
	listed := func(doc *admission.Doc) map[string]admission.Key {
		switch {
		case doc == nil:
			return nil
		case doc.Root != nil:
			return doc.Root.Keys
		case doc.Delegations != nil:
			return doc.Delegations.Keys
		}
		return nil
	}
	used, had := keysOfDoc(s.plain), listed(before)
	for id, key := range listed(s.plain) {
		if !used[id] && had[id] != key {
			return &Error{Code: protocol.CodeUsage, Role: s.role, Msg: fmt.Sprintf("it lists the key %.80q, which signs for no role", id),
				Hint: "nothing was changed; if this comes from a proposal, ask who made it"}
		}
	}
	return nil
}

// delegatedRole is a role that a document gives keys to. ask is the name to ask
// the document with: that of one of them, where name is the prefix of hash bins.
type delegatedRole struct {
	name, ask string
	bins      bool
	// of is the role that bins hold the targets of, where that matters.
	of string
}

// delegatedBy returns the roles that a document gives keys to; hash bins, which
// have the same, are one.
func delegatedBy(doc *admission.Doc) (list []delegatedRole) {
	switch d := doc.Delegations; {
	case doc.Root != nil:
		for _, role := range topLevel {
			list = append(list, delegatedRole{name: role, ask: role})
		}
	case d == nil:
	case d.Succinct != nil:
		return []delegatedRole{{name: d.Succinct.NamePrefix, ask: d.Succinct.BinName(0), bins: true}}
	default:
		for _, r := range d.Roles {
			list = append(list, delegatedRole{name: r.Name, ask: r.Name})
		}
	}
	return list
}

// enough wants as many distinct keys that can count as must sign.
func enough(doc *admission.Doc, role delegatedRole) error {
	listed, r, _ := doc.Delegated(role.ask)
	distinct := map[keys.Fingerprint]bool{}
	for _, id := range r.KeyIDs {
		if k, err := keys.Decode(listed[id]); err == nil {
			distinct[k.Fingerprint] = true
		}
	}
	if r.Threshold >= 1 && len(distinct) >= r.Threshold {
		return nil
	}
	return &Error{Code: protocol.CodeUsage, Role: role.name,
		Msg:  fmt.Sprintf("%d of its keys would have to sign, and it would have %d: nobody could sign it any more", r.Threshold, len(distinct)),
		Hint: "add a key or replace one (key rotate), or lower the threshold; nothing was changed"}
}

// groups of roles that may share keys. Whoever steals a key that a server signs
// with must not get what people sign, and one publisher's key not another's.
const (
	groupPeople = "roles that people sign"
	groupOnline = "roles that a server signs"
)

func (d delegatedRole) group() string {
	name := d.name
	if d.bins {
		name = d.of
	}
	switch name {
	case roleRoot, roleTargets:
		return groupPeople
	case roleSnapshot, roleTimestamp:
		return groupOnline
	}
	return name
}

// apart refuses a key that is new to a role and already signs for one of another
// group.
func (c *change) apart(ctx context.Context, before *admission.Doc, s *sealed, role delegatedRole) error {
	had := map[string]bool{}
	if before != nil {
		_, r, _ := before.Delegated(role.ask)
		for _, id := range r.KeyIDs {
			had[id] = true
		}
	}
	role.of = s.role
	listed, r, _ := s.plain.Delegated(role.ask)
	for _, id := range r.KeyIDs {
		key, err := keys.Decode(listed[id])
		if had[id] || err != nil {
			continue
		}
		others, err := c.usersOf(ctx, key.Fingerprint, s)
		if err != nil {
			return err
		}
		for _, other := range others {
			if other.group() == role.group() || other.bins && role.group() == groupOnline || role.bins && other.group() == groupOnline {
				continue
			}
			return &Error{Code: protocol.CodeUsage, Role: role.name,
				Msg:  fmt.Sprintf("the key %s (%.12s…) already signs for %s: who steals it would have both", called(c.names(), id), id, other.name),
				Hint: "make another key: local-tuf key new NAME; nothing was changed"}
		}
	}
	return nil
}

// names are what people call keys, after the change.
func (c *change) names() map[string]string {
	if c.newConfig != nil {
		return c.newConfig.KeyNames
	}
	return c.config.KeyNames
}

// usersOf returns the roles that a key signs for after the change.
func (c *change) usersOf(ctx context.Context, key keys.Fingerprint, s *sealed) (list []delegatedRole, err error) {
	docs := map[string]*admission.Doc{roleRoot: c.root}
	if c.snapshot != nil {
		if err := c.eachDelegation(ctx, func(by delegator, _ delegatedRole) error {
			docs[by.role] = by.doc
			return nil
		}); err != nil {
			return nil, err
		}
	}
	for name, sealed := range c.sealed {
		docs[name] = sealed.plain
	}
	docs[s.role] = s.plain
	for _, name := range slices.Sorted(maps.Keys(docs)) {
		for _, role := range delegatedBy(docs[name]) {
			role.of = name
			listed, r, _ := docs[name].Delegated(role.ask)
			if slices.ContainsFunc(r.KeyIDs, func(id string) bool {
				k, err := keys.Decode(listed[id])
				return err == nil && k.Fingerprint == key
			}) {
				list = append(list, role)
			}
		}
	}
	return list, nil
}

// noteKeys keeps in the configuration since when the keys sign that the change
// puts into force.
func (c *change) noteKeys() error {
	for _, name := range slices.Sorted(maps.Keys(c.sealed)) {
		s := c.sealed[name]
		before := c.published(s.role)
		for id := range keysOfDoc(s.plain) {
			if before != nil && keysOfDoc(before)[id] || s.role == roleRoot && before == nil {
				continue
			}
			cfg, err := c.editConfig()
			if err != nil {
				return err
			}
			cfg.KeysSince[id] = c.now.UTC().Truncate(time.Second)
		}
		if before == nil {
			continue
		}
		for id := range keysOfDoc(before) {
			if keysOfDoc(s.plain)[id] {
				continue
			}
			cfg, err := c.editConfig()
			if err != nil {
				return err
			}
			delete(cfg.KeysSince, id)
		}
	}
	return nil
}

// keysOfDoc returns the keyids that a document trusts for anything.
func keysOfDoc(doc *admission.Doc) map[string]bool {
	all := map[string]bool{}
	for _, role := range delegatedBy(doc) {
		_, r, _ := doc.Delegated(role.ask)
		for _, id := range r.KeyIDs {
			all[id] = true
		}
	}
	return all
}

// fileName makes a role's name one for a file.
func fileName(role string) string {
	name := strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, strings.ToLower(role)), "-_")
	if name == "" {
		return "role"
	}
	return name
}

package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/delegation"
	"github.com/ragnos-labs/vault-tuf/internal/draft"
	"github.com/ragnos-labs/vault-tuf/internal/keyfile"
	"github.com/ragnos-labs/vault-tuf/internal/keys"
	"github.com/ragnos-labs/vault-tuf/internal/plugin"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// PublisherOptions are the options of [Repository.AddPublisher].
type PublisherOptions struct {
	// Keys are files with the publisher's public keys. If there are none, as many
	// keys as the threshold are made in DIR/keys.
	Keys []string
	// Threshold is how many of the keys must sign; 0 means one.
	Threshold int
	// Algorithm is that of new keys; "" means the repository's.
	Algorithm keyfile.Algorithm
}

// Publisher is a delegated role that signs for its own plugins.
type Publisher struct {
	Name string `json:"name"`
	// Paths are the patterns of the target paths that it is trusted with, and
	// HashPrefixes those of their hashes, which only adopted repositories have.
	Paths        []string  `json:"paths,omitempty"`
	HashPrefixes []string  `json:"path_hash_prefixes,omitempty"`
	Threshold    int       `json:"threshold"`
	Keys         []KeyRef  `json:"keys"`
	Version      int64     `json:"version"`
	Expires      time.Time `json:"expires"`
	// Targets is the number of its plugins; Bins how many hash bins hold them, 0
	// if its own file does.
	Targets int   `json:"targets"`
	Bins    int64 `json:"bins"`
}

// AddPublisher delegates plugins/NAME/* to a new role with keys and a threshold
// of its own, and moves into it what top-level targets lists already. The
// delegation is terminating: nobody else is asked for these paths
// (specification, 4.5).
//
// The keys may sign for nothing else: a key that two roles share would let one
// stolen key sign another's plugins. It needs the keys of targets, and those of
// the publisher for the first version of the role; where some are not at hand
// nothing is changed and the change is returned as a [Proposal].
func (r *Repository) AddPublisher(ctx context.Context, name string, o PublisherOptions) (Publisher, *Proposal, error) {
	var added Publisher
	p, err := r.change(ctx, func(c *change) (err error) {
		added, err = c.addPublisher(ctx, name, o)
		return err
	})
	return added, p, during("publisher add", err)
}

func (c *change) addPublisher(ctx context.Context, name string, o PublisherOptions) (Publisher, error) {
	if o.Threshold == 0 {
		o.Threshold = 1
	}
	if err := o.check(name); err != nil {
		return Publisher{}, err
	}
	users, err := c.keyUsers(ctx)
	if err != nil {
		return Publisher{}, err
	}
	if err := c.mayDelegate(name); err != nil {
		return Publisher{}, err
	}
	cfg, err := c.editConfig()
	if err != nil {
		return Publisher{}, err
	}
	publics, err := c.publisherKeys(ctx, name, o, users, cfg.KeyNames)
	if err != nil {
		return Publisher{}, err
	}
	targets, err := c.editRole(roleTargets, roleRoot)
	if err != nil {
		return Publisher{}, err
	}
	pattern := publisherPattern(name)
	if err := targets.Delegate(name, o.Threshold, pattern); err != nil {
		return Publisher{}, err
	}
	added := Publisher{Name: name, Paths: []string{pattern}, Threshold: o.Threshold, Version: 1, Expires: c.expiry(name)}
	for _, p := range publics {
		if err := targets.Delegations.AddKey(name, p.ID, p.Key); err != nil {
			return Publisher{}, err
		}
		added.Keys = append(added.Keys, KeyRef{p.ID, cfg.KeyNames[p.ID]})
	}
	role := c.newRole(name, roleTargets)
	moveTargets(c.roles[roleTargets].doc, targets, role, pattern)
	added.Targets = role.Len()
	return added, nil
}

func publisherPattern(name string) string { return "plugins/" + name + "/*" }

// moveTargets moves what a pattern matches, as it is.
func moveTargets(doc *admission.Doc, from, to *draft.Targets, pattern string) {
	for path := range doc.Targets.From(strings.TrimSuffix(pattern, "*")) {
		if delegation.Match(pattern, path) {
			from.Move(path, to)
		}
	}
}

// check refuses what is wrong whatever the repository holds.
func (o *PublisherOptions) check(name string) error {
	refuse := func(msg, hint string) error {
		return &Error{Code: protocol.CodeUsage, Role: name, Msg: msg, Hint: hint}
	}
	// A reserved name is no publisher's either.
	if publisher, ok := plugin.IsPath(plugin.Path(name, "x", "1.0.0")); !ok || publisher != name || slices.Contains(topLevel, name) {
		return refuse(fmt.Sprintf("%.80q cannot be a publisher", name),
			"use at most 64 lower-case letters, digits and . _ -, beginning and ending with a letter or digit; no name of a role")
	}
	switch n := len(o.Keys); {
	case o.Threshold < 1:
		return refuse("the threshold must be at least 1", "say how many keys must sign")
	case n > 0 && o.Threshold > n:
		return refuse(fmt.Sprintf("%d of %d keys cannot sign", o.Threshold, n), "give more keys, or a lower threshold")
	case max(n, o.Threshold) > maxQuorum:
		return refuse(fmt.Sprintf("a publisher has at most %d keys", maxQuorum), "give fewer")
	}
	return nil
}

// mayDelegate refuses a publisher for which there is no room in targets.
func (c *change) mayDelegate(name string) error {
	_, listed := c.snapshot.Meta[name+".json"]
	d := c.roles[roleTargets].doc.Delegations
	switch {
	case listed:
		return &Error{Code: protocol.CodeUsage, Role: name, Msg: "there is, or was, a role of that name",
			Hint: "choose another name; see: local-tuf publisher list"}
	case d == nil:
		return nil
	case d.Succinct != nil:
		return &Error{Code: protocol.CodeUsage, Role: name, Msg: "targets delegates to hash bins, which leave no room for publishers",
			Hint: "TAP 15 lets a role delegate either to bins or to others; begin a new repository with publishers, and give these bins"}
	}
	for i := range d.Roles {
		if overlaps(&d.Roles[i], name) {
			return &Error{Code: protocol.CodeUsage, Role: name,
				Msg:  fmt.Sprintf("role %q is trusted with paths of plugins/%s/ already, and could sign this publisher's plugins", d.Roles[i].Name, name),
				Hint: "choose another name, or take that delegation back"}
		}
	}
	return nil
}

// overlaps says whether a delegation may trust its role with a plugin of the
// publisher.
func overlaps(r *admission.DelegatedRole, name string) bool {
	return len(r.PathHashPrefixes) > 0 || slices.ContainsFunc(r.Paths, func(pattern string) bool {
		parts := strings.Split(pattern, "/")
		return len(parts) == 3 && delegation.Match(parts[0], "plugins") && delegation.Match(parts[1], name)
	})
}

// publisherKeys returns the keys of a new publisher, made if none are given, and
// notes their names.
func (c *change) publisherKeys(ctx context.Context, name string, o PublisherOptions, users map[keys.Fingerprint]string, names map[string]string) ([]keyfile.Public, error) {
	var list []keyfile.Public
	add := func(p keyfile.Public, path, called string) error {
		if slices.ContainsFunc(list, func(q keyfile.Public) bool { return q.Fingerprint == p.Fingerprint }) {
			return &Error{Code: protocol.CodeUsage, Path: path, Role: name, Msg: "the same key is given twice",
				Hint: "a threshold counts distinct keys: give each once"}
		}
		if user := users[p.Fingerprint]; user != "" {
			return &Error{Code: protocol.CodeUsage, Path: path, Role: name, Msg: "the key signs for " + user + " already",
				Hint: "whoever steals it could sign for both: give every publisher keys of its own"}
		}
		list = append(list, p)
		if names[p.ID] == "" {
			names[p.ID] = called
		}
		return nil
	}
	for _, path := range o.Keys {
		p, err := keyfile.ReadPublic(path)
		if err == nil {
			err = add(p, path, nameOf(path))
		}
		if err != nil {
			return nil, err
		}
	}
	if len(o.Keys) > 0 {
		return list, nil
	}
	for n := range o.Threshold {
		k, err := c.publisherKey(ctx, keyName(name, n, o.Threshold), o)
		if err == nil {
			err = add(k.Public, k.Path, k.Name)
		}
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// keyName is what the n-th of several keys of a role is called.
func keyName(role string, n, of int) string {
	if of == 1 {
		return role
	}
	return fmt.Sprintf("%s-%d", role, n+1)
}

// publisherKey makes a key in DIR/keys, where it is at hand at once. One that is
// there is what an earlier attempt has left.
func (c *change) publisherKey(ctx context.Context, name string, o PublisherOptions) (*keyfile.Key, error) {
	dir := filepath.Join(c.r.dir, keysName)
	k, err := keyfile.Open(filepath.Join(dir, name+".key"))
	if errors.Is(err, fs.ErrNotExist) {
		algorithm := o.Algorithm
		if algorithm == "" {
			algorithm = c.r.config.Algorithm
		}
		k, err = keyfile.Generate(ctx, dir, name, algorithm, c.r.keys.Passphrase)
	}
	if err == nil {
		c.ring.add(k, c.r.keys.Passphrase)
	}
	return k, err
}

// keyUsers says which role each key signs for.
func (s *state) keyUsers(ctx context.Context) (map[keys.Fingerprint]string, error) {
	users := map[keys.Fingerprint]string{}
	err := s.eachDelegation(ctx, func(by delegator, role delegatedRole) error {
		listed, r, _ := by.doc.Delegated(role.ask)
		for _, id := range r.KeyIDs {
			if k, err := keys.Decode(listed[id]); err == nil && users[k.Fingerprint] == "" {
				users[k.Fingerprint] = role.name
			}
		}
		return nil
	})
	return users, err
}

// Publishers verifies the repository and lists the roles that targets delegates
// to, by their names.
func (r *Repository) Publishers(ctx context.Context) ([]Publisher, error) {
	list, err := r.publishers(ctx)
	return list, during("publisher list", err)
}

func (r *Repository) publishers(ctx context.Context) ([]Publisher, error) {
	s, err := r.load(ctx)
	if err == nil {
		err = s.all(ctx)
	}
	if err != nil {
		return nil, err
	}
	config, err := readConfig(r.dir)
	if err != nil {
		return nil, err
	}
	list := []Publisher{}
	d := s.roles[roleTargets].doc.Delegations
	if d == nil {
		return list, nil
	}
	for _, role := range d.Roles {
		doc := s.roles[role.Name].doc
		p := Publisher{Name: role.Name, Paths: role.Paths, HashPrefixes: role.PathHashPrefixes, Threshold: role.Threshold,
			Version: doc.Version, Expires: doc.Expires, Targets: doc.Targets.Len()}
		for _, id := range role.KeyIDs {
			p.Keys = append(p.Keys, KeyRef{id, config.KeyNames[id]})
		}
		if doc.Delegations != nil {
			for _, name := range delegatedNames(doc.Delegations) {
				p.Targets += s.roles[name].doc.Targets.Len()
			}
			if doc.Delegations.Succinct != nil {
				p.Bins = doc.Delegations.Succinct.Bins()
			}
		}
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b Publisher) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

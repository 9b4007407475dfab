package repository

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/draft"
	"github.com/ragnos-labs/vault-tuf/internal/plugin"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// PublishProposal publishes what a proposal changes, once it is signed; keys at
// hand sign what is missing, and snapshot and timestamp. It is held against the
// repository as it is now: a proposal for another repository, one that was made
// for files that have changed since, or one that lists targets which are not
// there is refused. It is all or nothing and blocks until done or ctx ends. Copies
// of the proposal in DIR/proposals are removed then.
func (r *Repository) PublishProposal(ctx context.Context, p *Proposal) error {
	load := r.loadToChange
	if p.Founds() {
		load = r.loadToFound
	}
	rest, err := r.changeFrom(ctx, load, func(c *change) error { return c.propose(ctx, p) })
	if err == nil && rest != nil {
		err = missing(rest)
	}
	if err == nil {
		err = r.dropProposal(p)
	}
	return during("proposal publish", err)
}

// published says of an error that the proposal is published all the same.
func published(err error, but, do string) error {
	copied := *tuferr.As(err)
	copied.Msg, copied.Hint = "the proposal is published, but "+but, do
	return &copied
}

// kept returns the files of proposals in DIR/proposals.
func (r *Repository) kept() (paths []string, err error) {
	dir := filepath.Join(r.dir, proposalsName)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, ioError(dir, err)
	}
	for _, e := range entries {
		if e.Type().IsRegular() && filepath.Ext(e.Name()) == proposalExt {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, nil
}

// dropProposal removes the copies of a proposal that wait for nothing any more.
func (r *Repository) dropProposal(p *Proposal) error {
	paths, err := r.kept()
	if err != nil {
		return published(err, "nobody can see whether its file is still there", "remove the file, if it is")
	}
	for _, path := range paths {
		if copied, err := ReadProposal(path); err != nil || p.sameAs(copied) != nil {
			continue
		}
		if e := r.disk.remove(path); e != nil && err == nil {
			err = published(e, "its file is still there", "remove the file")
		}
	}
	return err
}

// missing is the error of a proposal that is not signed by enough keys.
func missing(p *Proposal) error {
	for _, rs := range p.Status().Roles {
		for _, t := range rs.Thresholds {
			if t.Missing() > 0 {
				return &Error{Code: protocol.CodeUnsigned, Role: rs.Role,
					Msg:  fmt.Sprintf("signed by %d of the %d keys that must sign (those of %s)", len(t.Signed), t.Threshold, t.Of),
					Hint: fmt.Sprintf("ask for %d more of: %s; nothing was changed", t.Missing(), sayKeys(t.Others))}
			}
		}
	}
	return &Error{Code: protocol.CodeUnsigned, Msg: "signatures are missing"}
}

func sayKeys(list []KeyRef) string {
	var all []string
	for _, k := range list {
		all = append(all, fmt.Sprintf("%s (%.12s…)", called(map[string]string{k.KeyID: k.Name}, k.KeyID), say(k.KeyID)))
	}
	return strings.Join(all, ", ")
}

// propose makes the files of a proposal those of the change.
func (c *change) propose(ctx context.Context, p *Proposal) error {
	if err := p.belongs(c.state); err != nil {
		return err
	}
	if c.root == nil {
		c.root = p.file(roleRoot).plain
	} else if err := p.current(c.state); err != nil {
		return err
	}
	for _, f := range p.files {
		if !f.plain.Expires.After(c.now) {
			return &Error{Code: protocol.CodeExpired, Role: f.role,
				Msg:  fmt.Sprintf("what was signed expired %s, it is %s now: clients would refuse it", sayTime(f.plain.Expires), sayTime(c.now)),
				Hint: "propose the change again; nothing was changed"}
		}
		if err := c.present(ctx, p.was(f.role), f.plain); err != nil {
			return err
		}
		given := draft.Seal(f.envelope.Kind, f.envelope.Signed)
		good := p.good(f)
		for _, s := range f.envelope.Signatures {
			if slices.Contains(good, s.KeyID) {
				given.Add(s)
			}
		}
		if f.role == roleRoot {
			c.givenRoot = given
		} else {
			c.edits[f.role] = &edit{delegator: f.delegator, given: given}
		}
	}
	return c.checkLatest(p)
}

// checkLatest refuses a proposal whose marks of the latest versions are not right
// any more: where hash bins list the versions of a plugin, others may have been
// published in other bins since it was made.
func (c *change) checkLatest(p *Proposal) error {
	plugins := map[pluginKey]bool{}
	docs := map[string]*admission.Doc{}
	for _, f := range p.files {
		if f.role != roleRoot {
			docs[f.role] = f.plain
			addChanged(plugins, p.was(f.role), f.plain)
			addChanged(plugins, f.plain, p.was(f.role))
		}
	}
	keys := slices.Collect(maps.Keys(plugins))
	for _, key := range keys {
		role, delegator, err := c.place(plugin.Path(key.publisher, key.name, "0.0.0"))
		if err != nil {
			return err
		}
		roles := []string{role}
		if above := c.roles[delegator]; above != nil && above.doc.Delegations.Succinct != nil {
			roles = delegatedNames(above.doc.Delegations)
		}
		for _, role := range roles {
			if docs[role] != nil {
				continue
			}
			if docs[role], err = c.listing(role, delegator, keys); err != nil {
				return err
			}
		}
	}
	return latestIn(docs, keys)
}

// addChanged adds the plugins of which is lists a version that was does not, or
// says otherwise of it.
func addChanged(plugins map[pluginKey]bool, was, is *admission.Doc) {
	if is == nil {
		return
	}
	for path := range is.Targets.Paths() {
		t := is.Targets.Find(path)
		if was != nil {
			if old := was.Targets.Find(path); old != nil && bytes.Equal(old.Custom, t.Custom) {
				continue
			}
		}
		if m, _, err := plugin.ParseCustom(t.Custom); err == nil {
			plugins[pluginKey{m.Publisher, m.Name}] = true
		}
	}
}

// latestIn holds the marks of the latest versions of plugins against all their
// versions.
func latestIn(docs map[string]*admission.Doc, plugins []pluginKey) error {
	versions := map[pluginKey][]plugin.Version{}
	for _, doc := range docs {
		for key, path := range versionsIn(doc, plugins) {
			m, said, err := plugin.ParseCustom(doc.Targets.Find(path).Custom)
			if err == nil && m.Publisher == key.publisher && m.Name == key.name {
				versions[key] = append(versions[key], plugin.Version{Version: m.Version, Release: said})
			}
		}
	}
	for key, list := range versions {
		latest := plugin.Latest(list)
		for _, v := range list {
			for _, channel := range []Channel{plugin.Stable, plugin.Beta} {
				if slices.Contains(v.Release.Latest, channel) != (latest[channel] == v.Version) {
					return &Error{Code: protocol.CodeRollback, Target: plugin.Path(key.publisher, key.name, v.Version),
						Msg:  fmt.Sprintf("the latest version of channel %s would be %s, and this is marked otherwise", channel, latest[channel]),
						Hint: "other versions were published since the proposal was made: propose the change again; nothing was changed"}
				}
			}
		}
	}
	return nil
}

// current refuses a proposal that was made to replace other files than those of
// the present state.
func (p *Proposal) current(s *state) error {
	for _, f := range p.files {
		is, err := p.now(s, f)
		if err != nil {
			return err
		}
		was := p.was(f.role)
		if is == was || is != nil && was != nil && is.SHA256 == was.SHA256 {
			continue
		}
		if is != nil && bytes.Equal(is.Canonical, f.plain.Canonical) {
			return &Error{Code: protocol.CodeUsage, Role: f.role, Msg: fmt.Sprintf("version %d of the proposal is published already", is.Version),
				Hint: "its file can be removed; nothing was changed"}
		}
		return &Error{Code: protocol.CodeRollback, Role: f.role,
			Msg:  fmt.Sprintf("the repository is at %s now, the proposal was made for %s", sayVersion(is), sayVersion(was)),
			Hint: "propose the change again; nothing was changed"}
	}
	return nil
}

func sayVersion(doc *admission.Doc) string {
	if doc == nil {
		return "no version"
	}
	return fmt.Sprintf("version %d", doc.Version)
}

// now returns the present file of a role, nil if there is none.
func (p *Proposal) now(s *state, f *proposed) (*admission.Doc, error) {
	if f.role == roleRoot {
		return s.root, nil
	}
	if p.was(f.delegator) == nil {
		return nil, nil // New, like who delegates to it.
	}
	for _, b := range p.before {
		by := s.root
		if above := s.roles[b.delegator]; above != nil {
			by = above.doc
		}
		if _, _, ok := by.Delegated(b.role); !ok {
			return nil, &Error{Code: protocol.CodeRollback, Role: b.role, Msg: "nobody delegates to it any more",
				Hint: "propose the change again; nothing was changed"}
		}
		if _, err := s.role(b.role, b.delegator); err != nil {
			return nil, err
		}
	}
	by := s.root
	if f.delegator != roleRoot {
		by = s.roles[f.delegator].doc
	}
	if _, _, ok := by.Delegated(f.role); !ok {
		return nil, nil
	}
	return s.role(f.role, f.delegator)
}

// present wants the files of all targets that a file newly lists.
func (c *change) present(ctx context.Context, was, is *admission.Doc) error {
	for path := range is.Targets.Paths() {
		t := is.Targets.Find(path)
		if was != nil {
			if old := was.Targets.Find(path); old != nil && old.Length == t.Length && maps.Equal(old.Hashes, t.Hashes) {
				continue
			}
		}
		if err := ctx.Err(); err != nil {
			return ioError(c.r.dir, err)
		}
		sum := t.Hashes["sha256"]
		file := filepath.Join(c.r.dir, targetsName, filepath.FromSlash(hashedPath(path, sum)))
		missing := &Error{Code: protocol.CodeLocalIO, Target: path, Path: file, Msg: "the target's file is not there, or not what is signed",
			Hint: "publish where the proposal was made, or copy the file from there; nothing was changed"}
		if !filepath.IsLocal(filepath.FromSlash(path)) || len(sum) != sha256.Size*2 {
			return missing
		}
		info, err := os.Stat(file)
		if err != nil || info.Size() != t.Length {
			return missing
		}
		if got, ok := hashFile(file); !ok || got != sum {
			return missing
		}
	}
	return nil
}

package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/draft"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// change is the next state of a repository, in the making. Nothing of it is
// visible, and nothing is lost, until it is committed as a whole.
type change struct {
	*state
	stage *stage
	ring  ring
	// unusable is what is wrong with keys that may be the ones missing.
	unusable error
	// newRoot is nil if root stays as it is; givenRoot is one signed elsewhere.
	newRoot   *draft.Root
	givenRoot *draft.Envelope
	// founding: the root is the first of all, and made here.
	founding bool
	// edits holds targets and delegated roles that get a next version.
	edits map[string]*edit
	// renew asks for a next version of snapshot or timestamp although nothing
	// that they list changes.
	renew map[string]bool

	// unattended: nobody is there to open keys; those that cannot be opened are
	// as if elsewhere.
	unattended bool

	// added are the versions that the change lists newly.
	added map[pluginKey][]*release
	// newConfig is the configuration after the change, nil if it stays.
	newConfig *config

	sealed map[string]*sealed
}

func newChange(s *state) *change {
	return &change{state: s, edits: map[string]*edit{}, renew: map[string]bool{}, added: map[pluginKey][]*release{}, sealed: map[string]*sealed{}}
}

// edit is the next version of a targets role: a draft that is signed here, or a
// file that was signed elsewhere.
type edit struct {
	delegator string
	draft     *draft.Targets
	given     *draft.Envelope
}

// change takes the lock, repairs what a killed process left, lets do describe
// the change, signs it and commits it: all of it or nothing. If signatures are
// missing that the keys at hand cannot make, nothing is changed and the change
// is returned as a proposal.
func (r *Repository) change(ctx context.Context, do func(*change) error) (*Proposal, error) {
	return r.changeFrom(ctx, r.loadToChange, do)
}

// loadToChange loads what a change builds on.
func (r *Repository) loadToChange(ctx context.Context) (*state, error) {
	s, err := r.load(ctx)
	if err == nil {
		err = r.checkClock(s.now)
	}
	return s, err
}

func (r *Repository) changeFrom(ctx context.Context, load func(context.Context) (*state, error), do func(*change) error) (*Proposal, error) {
	release, err := lock(ctx, r.dir)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := r.recover(); err != nil {
		return nil, err
	}
	s, err := load(ctx)
	if err != nil {
		return nil, err
	}
	c := newChange(s)
	c.ring, c.unusable = r.ring()
	if c.stage, err = r.begin(); err != nil {
		return nil, err
	}
	p, err := c.carryOut(ctx, do)
	if err != nil && !r.unfinished() {
		// Best effort: the next change sweeps it too.
		_ = r.disk.remove(c.stage.path(""))
	}
	return p, err
}

func (c *change) carryOut(ctx context.Context, do func(*change) error) (*Proposal, error) {
	if err := do(c); err != nil {
		return nil, err
	}
	if err := c.seal(ctx); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, ioError(c.r.dir, err)
	}
	for _, s := range c.sealed {
		if err := refusal(s.role, c.published(s.role), s.doc); err != nil {
			return nil, err
		}
	}
	if len(c.unsigned()) > 0 {
		if c.unusable != nil {
			return nil, c.unusable
		}
		if err := c.stageConfig(); err != nil {
			return nil, err
		}
		// The files wait for their signatures where clients look for them later.
		if err := c.stage.commit(); err != nil {
			return nil, notProposed(err)
		}
		return newProposal(c), nil
	}
	if err := c.noteKeys(); err != nil {
		return nil, err
	}
	if err := c.stageFirst(); err != nil {
		return nil, err
	}
	if err := errors.Join(c.stageConfig(), c.stageMetadata()); err != nil {
		return nil, err
	}
	if len(c.stage.moves) == 0 {
		return nil, c.r.disk.remove(c.stage.path(""))
	}
	return nil, c.stage.commit()
}

// editRole begins the next version of a targets role, once.
func (c *change) editRole(name, delegator string) (*draft.Targets, error) {
	if e := c.edits[name]; e != nil {
		if e.draft == nil {
			return nil, fmt.Errorf("%s was signed elsewhere and cannot be changed", name)
		}
		return e.draft, nil
	}
	doc, err := c.role(name, delegator)
	if err != nil {
		return nil, err
	}
	d, err := draft.EditTargets(doc)
	if err != nil {
		return nil, err
	}
	c.edits[name] = &edit{delegator: delegator, draft: d}
	return d, nil
}

// newRole begins the first version of a delegated role.
func (c *change) newRole(name, delegator string) *draft.Targets {
	d := draft.NewTargets()
	c.edits[name] = &edit{delegator: delegator, draft: d}
	return d
}

// editRoot begins the next root, once.
func (c *change) editRoot() (*draft.Root, error) {
	var err error
	if c.newRoot == nil {
		c.newRoot, err = draft.EditRoot(c.root)
	}
	return c.newRoot, err
}

// stageMetadata stages the signed files. The order of the phases keeps the
// repository valid: nobody sees the versioned files before the timestamp that
// leads to them. A new root comes last if all else is valid under the old one
// too; else, when an old key is lost, it comes first.
func (c *change) stageMetadata() error {
	bridged := true
	for _, s := range c.sealed {
		bridged = bridged && s.bridged
	}
	for _, name := range slices.Sorted(maps.Keys(c.sealed)) {
		s := c.sealed[name]
		file, p := versioned(name, s.doc.Version), phaseFiles
		switch {
		case name == roleTimestamp:
			file, p = "timestamp.json", phaseTimestamp
		case name == roleRoot && bridged:
			p = phaseRoot
		}
		if p != phaseTimestamp && c.taken(file, s.doc) {
			return &Error{Code: protocol.CodeLocalIO, Role: name, Path: c.r.metadataPath(file),
				Msg:  "a file of that name is there already, and clients may have it: it is never replaced by another",
				Hint: "if a backup was restored, restore the newer files too, or move this one aside; nothing was changed"}
		}
		if _, err := c.stage.add(metadataName+"/"+file, p, 0o644, bytes.NewReader(s.doc.Raw)); err != nil {
			return err
		}
	}
	return nil
}

// taken says whether a file of that name is there with other bytes.
func (c *change) taken(file string, doc *admission.Doc) bool {
	sum, there := hashFile(c.r.metadataPath(file))
	return there && sum != doc.SHA256
}

// expiry is when metadata of a role signed now expires, in whole seconds.
func (s *state) expiry(role string) time.Time {
	return s.now.Add(s.config.Lifetimes.of(role)).UTC().Truncate(time.Second)
}

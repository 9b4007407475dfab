package repository

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/keyfile"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// DueState says what became of something that was due.
type DueState string

// The states of what is due.
const (
	// DueNow: nothing was done, because nothing was asked for.
	DueNow DueState = "due"
	// DueDone: it was done with the keys at hand.
	DueDone DueState = "done"
	// DueWaits: a proposal waits for signatures.
	DueWaits DueState = "waits"
	// DuePeople: only the people who hold the key can begin it.
	DuePeople DueState = "people"
	// DueFailed: it was tried and failed; Error says why.
	DueFailed DueState = "failed"
)

// Due is a key that has grown too old, or metadata that expires soon.
type Due struct {
	Role string `json:"role"`
	// Key is the key that should be replaced; nil if the file of the role should be
	// signed anew.
	Key *KeyRef `json:"key,omitempty"`
	// Since is since when the key signs, Expires when the metadata expires.
	Since   time.Time `json:"since,omitzero"`
	Expires time.Time `json:"expires,omitzero"`
	State   DueState  `json:"state"`
	// Rotation is what was done, if a key was replaced or is to be.
	Rotation *Rotation `json:"rotation,omitempty"`
	// Proposal is the file that waits for signatures.
	Proposal string `json:"proposal,omitempty"`
	// Error is why it failed, or why it is for people although the key is here.
	Error string `json:"error,omitempty"`

	// edits is the role whose file says it, and must be signed for it.
	edits string
	// plain says that the old key is stored unencrypted.
	plain bool
}

// DueReport is what was due and what became of it.
type DueReport struct {
	Time time.Time `json:"time"`
	Due  []*Due    `json:"due"`
	// Made are the proposals that were written just now.
	Made []string `json:"made"`
}

// Err says that somebody must do something: sign, make a key, or mend what
// failed. It is nil if all that was due is done.
func (r *DueReport) Err() error {
	for _, d := range r.Due {
		switch d.State {
		case DueFailed:
			return &Error{Code: protocol.CodeLocalIO, Op: "rotate", Msg: "not all that was due could be done", Hint: "mend the cause and run it again"}
		case DueNow: // after a dry run
			return &Error{Code: protocol.CodeUnsigned, Op: "rotate", Msg: "something is due", Hint: "see above; without --dry-run it is done"}
		case DueWaits, DuePeople:
			return &Error{Code: protocol.CodeUnsigned, Op: "rotate", Msg: "people must sign or make keys", Hint: "see above"}
		}
	}
	return nil
}

// RotateDue does what the schedule in the configuration says is due: keys that
// have grown too old are replaced, metadata that expires soon is signed anew. It
// does by itself what the keys at hand can sign; what they cannot becomes a
// proposal in DIR/proposals, once; for keys that are elsewhere it only says so. A
// new key is stored like the old one, encrypted or not. Called again, it does
// nothing twice. With dryRun nothing is changed.
//
// An error of one thing does not keep others from being done. It blocks until
// done or ctx ends.
func (r *Repository) RotateDue(ctx context.Context, dryRun bool) (*DueReport, error) {
	report := &DueReport{Time: r.clock().UTC().Truncate(time.Second), Due: []*Due{}, Made: []string{}}
	err := r.rotateDue(ctx, report, dryRun)
	return report, during("rotate", err)
}

func (r *Repository) rotateDue(ctx context.Context, report *DueReport, dryRun bool) error {
	if !dryRun {
		if err := r.noteUnknown(ctx); err != nil {
			return err
		}
	}
	tried := map[string]bool{}
	for {
		due, err := r.due(ctx)
		if err != nil {
			return err
		}
		var group []*Due
		for _, d := range due {
			if tried[d.edits] || group != nil && d.edits != group[0].edits {
				continue
			}
			group = append(group, d)
		}
		if group == nil {
			return nil
		}
		tried[group[0].edits] = true
		report.Due = append(report.Due, group...)
		if !dryRun {
			r.doDue(ctx, report, group)
		}
		if ctx.Err() != nil {
			return ioError(r.dir, ctx.Err())
		}
	}
}

// noteUnknown begins to count the age of keys whose beginning nobody has noted.
func (r *Repository) noteUnknown(ctx context.Context) error {
	list, err := r.keyList(ctx)
	if list.Roles == nil {
		return err
	}
	var unknown []string
	for _, role := range list.Roles {
		for _, k := range role.Keys {
			if k.Since.IsZero() {
				unknown = append(unknown, k.KeyID)
			}
		}
	}
	if unknown == nil {
		return nil
	}
	_, err = r.change(ctx, func(c *change) error {
		cfg, err := c.editConfig()
		if err != nil {
			return err
		}
		for _, id := range unknown {
			cfg.KeysSince[id] = c.now.UTC().Truncate(time.Second)
		}
		return nil
	})
	return err
}

// due returns what is due now.
func (r *Repository) due(ctx context.Context) (list []*Due, err error) {
	s, err := r.load(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := s.keyList(ctx)
	if keys.Roles == nil {
		return nil, err
	}
	if err := s.all(ctx); err != nil {
		return nil, err
	}
	if err := s.eachDelegation(ctx, func(by delegator, role delegatedRole) error {
		i := slices.IndexFunc(keys.Roles, func(k KeysOfRole) bool { return k.Role == role.name })
		for _, k := range keys.Roles[i].Keys {
			if k.Due.IsZero() || k.Due.After(s.now) {
				continue
			}
			d := &Due{Role: role.name, Key: &k.KeyRef, Since: k.Since, State: DueNow, edits: by.role, plain: !k.Encrypted}
			if k.File == "" {
				d.State = DuePeople
			}
			list = append(list, d)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	for _, f := range s.files() {
		if s.expiresSoon(f.role, f.doc) {
			list = append(list, &Due{Role: f.role, Expires: f.doc.Expires, State: DueNow, edits: f.role})
		}
	}
	slices.SortStableFunc(list, func(a, b *Due) int { return rank(a.edits) - rank(b.edits) })
	return list, nil
}

// rank orders what is done: the snapshot and timestamp come last, because
// everything else signs them anew.
func rank(role string) int {
	switch role {
	case roleRoot:
		return 0
	case roleTargets:
		return 1
	case roleSnapshot:
		return 3
	case roleTimestamp:
		return 4
	}
	return 2
}

// files are the present files of all roles that are loaded, in a fixed order.
func (s *state) files() []*verifiedFile {
	list := []*verifiedFile{{roleRoot, "", s.root}, {roleSnapshot, roleRoot, s.snapshot}, {roleTimestamp, roleRoot, s.timestamp}}
	for _, name := range sortedNames(s.roles) {
		list = append(list, &verifiedFile{name, s.roles[name].delegator, s.roles[name].doc})
	}
	return list
}

// expiresSoon says whether metadata should be signed anew: online roles in the
// middle of their lifetime, others when a quarter of it is left.
func (s *state) expiresSoon(role string, doc *admission.Doc) bool {
	if role == roleSnapshot || role == roleTimestamp {
		return !s.now.Before(s.due(role))
	}
	return doc.Expires.Sub(s.now) < s.r.config.Lifetimes.of(role)/4
}

// doDue does what is due in the file of one role.
func (r *Repository) doDue(ctx context.Context, report *DueReport, group []*Due) {
	path, covered, err := r.waiting(ctx, group)
	if err == nil && path != "" {
		for _, d := range group {
			if d.State != DuePeople || covered[d] {
				d.State, d.Proposal = DueWaits, path
			}
		}
		return
	}
	var made []Rotation
	var p *Proposal
	if err == nil && slices.ContainsFunc(group, func(d *Due) bool { return d.State == DueNow }) {
		p, err = r.change(ctx, func(c *change) error {
			c.unattended = true
			return c.doDue(ctx, group, &made)
		})
		if errors.Is(err, errForPeople) {
			err = nil
		}
		if err == nil && p != nil {
			if path, err = r.KeepProposal(p); err == nil {
				report.Made = append(report.Made, path)
			}
		}
		if err != nil && p == nil { // A proposal may be there, whatever went wrong.
			r.dropNew(made, err)
		}
	}
	for _, d := range group {
		switch {
		case d.State == DuePeople:
		case err != nil:
			d.State, d.Error, d.Rotation = DueFailed, err.Error(), nil
		case p != nil:
			d.State, d.Proposal = DueWaits, path
		case d.State == DueNow:
			d.State = DueDone
		}
	}
}

// errForPeople ends a change that people must begin: there is nothing to propose.
var errForPeople = errors.New("for people")

func (c *change) doDue(ctx context.Context, group []*Due, made *[]Rotation) error {
	for _, d := range group {
		switch {
		case d.State != DueNow:
		case d.Key != nil:
			done, err := c.rotateKey(ctx, Rotate{Role: d.Role, Old: d.Key.KeyID, plain: d.plain})
			if errors.Is(err, keyfile.ErrNoPassphrase) {
				d.State, d.Error = DuePeople, "a new key needs a passphrase, and there is none"
				continue
			}
			*made = append(*made, done)
			if err != nil {
				return err
			}
			d.Rotation = &done
		case d.Role == roleRoot:
			if _, err := c.editRoot(); err != nil {
				return err
			}
		case d.Role == roleSnapshot || d.Role == roleTimestamp:
			c.renew[d.Role] = true
		default:
			if err := c.renewRole(ctx, d.Role); err != nil {
				return err
			}
		}
	}
	if !slices.ContainsFunc(group, func(d *Due) bool { return d.State == DueNow }) {
		return errForPeople
	}
	return nil
}

// renewRole has a targets role signed anew, as it is.
func (c *change) renewRole(ctx context.Context, role string) error {
	if err := c.all(ctx); err != nil {
		return err
	}
	known := c.roles[role]
	if known == nil {
		return &Error{Code: protocol.CodeNotFound, Role: role, Msg: "there is no such role"}
	}
	_, err := c.editRole(role, known.delegator)
	return err
}

// waiting returns the proposal in DIR/proposals that fits the present state and
// has a new file of the role that the group is about, and what of it that does.
func (r *Repository) waiting(ctx context.Context, group []*Due) (path string, covered map[*Due]bool, err error) {
	s, err := r.load(ctx)
	if err != nil {
		return "", nil, err
	}
	paths, err := r.kept()
	if err != nil {
		return "", nil, err
	}
	for _, path := range paths {
		p, err := ReadProposal(path)
		if err != nil || p.Repository() != s.roots[0].SHA256 || p.current(s) != nil {
			continue // Somebody else's, or of the past: it keeps nothing from being done.
		}
		f := p.file(group[0].edits)
		if f == nil {
			continue
		}
		covered := map[*Due]bool{}
		for _, d := range group {
			covered[d] = d.Key == nil || !keysOfDoc(f.plain)[d.Key.KeyID]
		}
		return path, covered, nil
	}
	return "", nil, nil
}

// sayDue says in words what is due.
func (d *Due) String() string {
	if d.Key != nil {
		return fmt.Sprintf("%s: the key %s (%.12s…) signs since %s", d.Role, called(map[string]string{d.Key.KeyID: d.Key.Name}, d.Key.KeyID), d.Key.KeyID, sayTime(d.Since))
	}
	return fmt.Sprintf("%s: expires %s", d.Role, sayTime(d.Expires))
}

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
	"github.com/ragnos-labs/vault-tuf/internal/keyfile"
	"github.com/ragnos-labs/vault-tuf/internal/keys"
	"github.com/ragnos-labs/vault-tuf/internal/verify"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Proposal is a change that waits for signatures which the keys at hand cannot
// make. It is carried as a file to the people who hold the keys, signed there,
// and published by [Repository.PublishProposal].
//
// It holds the next files of root, targets and delegated roles, and the files
// before with all that is needed to verify those. What it says of the change is
// told from the very bytes that are signed. It is never trusted further than
// that: the files before are verified from its first root on, which is the
// trusted one only if [Proposal.RestsOn] says so; names of keys are not signed by
// anybody and are never shown without the keyid.
//
// A Proposal is not safe for concurrent use.
type Proposal struct {
	made time.Time
	// chain are the roots, from the first; none where the first is proposed.
	chain []*admission.Doc
	// before are the files that are replaced, and their delegators, each after its
	// own delegator.
	before []*verifiedFile
	// files are the next ones, in the order of trust.
	files []*proposed
	names map[string]string
}

// verifiedFile is the metadata of a targets role as its delegator trusts it.
type verifiedFile struct {
	role, delegator string
	doc             *admission.Doc
}

// proposed is the next file of a role, as far as it is signed.
type proposed struct {
	role, delegator string
	envelope        *draft.Envelope
	// plain is the file without signatures.
	plain *admission.Doc
}

// newProposal makes a proposal of a change. Snapshot and timestamp are signed
// when it is published.
func newProposal(c *change) *Proposal {
	p := &Proposal{made: c.now.UTC().Truncate(time.Second), chain: c.roots, names: map[string]string{}}
	if s := c.sealed[roleRoot]; s != nil {
		p.add(s)
	}
	for added := true; added; {
		added = false
		for _, name := range slices.Sorted(maps.Keys(c.edits)) {
			s := c.sealed[name]
			waits := c.edits[s.delegator] != nil && p.file(s.delegator) == nil
			if p.file(name) == nil && !waits {
				p.add(s)
				p.carry(c.state, name)
				p.carry(c.state, s.delegator)
				added = true
			}
		}
	}
	names := c.names()
	for _, doc := range p.docs() {
		for id := range keysOfDoc(doc) {
			if names[id] != "" {
				p.names[id] = names[id]
			}
		}
	}
	return p
}

func (p *Proposal) add(s *sealed) {
	p.files = append(p.files, &proposed{s.role, s.delegator, s.envelope, s.plain})
}

// carry adds the file before of a role, after those of its delegators.
func (p *Proposal) carry(s *state, role string) {
	known := s.roles[role]
	if known == nil || p.was(role) != nil {
		return
	}
	p.carry(s, known.delegator)
	p.before = append(p.before, &verifiedFile{role, known.delegator, known.doc})
}

// root is the root that is to be replaced, or stays; nil if there is none.
func (p *Proposal) root() *admission.Doc {
	if p.Founds() {
		return nil
	}
	return p.chain[len(p.chain)-1]
}

// Founds says that the proposal is for the first root of a repository.
func (p *Proposal) Founds() bool { return len(p.chain) == 0 }

// file returns the next file of a role, or nil.
func (p *Proposal) file(role string) *proposed {
	for _, f := range p.files {
		if f.role == role {
			return f
		}
	}
	return nil
}

// was returns the file of a role as it is before, or nil.
func (p *Proposal) was(role string) *admission.Doc {
	if role == roleRoot {
		return p.root()
	}
	for _, f := range p.before {
		if f.role == role {
			return f.doc
		}
	}
	return nil
}

// will returns the file of a role as it is afterwards, or nil.
func (p *Proposal) will(role string) *admission.Doc {
	if f := p.file(role); f != nil {
		return f.plain
	}
	return p.was(role)
}

// docs are all files whose keys matter.
func (p *Proposal) docs() []*admission.Doc {
	all := slices.Clone(p.chain)
	if n := len(all); n > 1 {
		all = all[n-1:]
	}
	for _, f := range p.before {
		all = append(all, f.doc)
	}
	for _, f := range p.files {
		all = append(all, f.plain)
	}
	return all
}

// Repository is the SHA-256 of the repository's first root, in lower-case hex. Of a
// first root that is proposed it is that of what gets signed.
func (p *Proposal) Repository() string {
	if !p.Founds() {
		return p.chain[0].SHA256
	}
	if f := p.file(roleRoot); f != nil {
		return hash(f.plain.Canonical)
	}
	return ""
}

// Made is when the proposal was made, as it says itself.
func (p *Proposal) Made() time.Time { return p.made }

// RestsOn checks that the proposal is one for the repository that a trusted root,
// of any version, belongs to: that root is in its chain, and leads to the files
// that are to be replaced.
func (p *Proposal) RestsOn(trusted []byte) error {
	if p.Founds() {
		return &Error{Code: protocol.CodeRootConflict, Op: "proposal", Msg: "this proposal founds a new repository: no root that you trust leads to it",
			Hint: "if you hold keys of the new one, leave the root out, and compare the keyids with their owners"}
	}
	anchor, err := admission.Parse(admission.KindRoot, bytes.Clone(trusted), ownLimits)
	if err == nil {
		err = verify.SelfSigned(anchor)
	}
	if err != nil {
		return &Error{Code: protocol.CodeBadRoot, Op: "proposal", Msg: "the root to rest on cannot be used", Err: err}
	}
	for _, doc := range p.chain {
		if doc.Version == anchor.Version && bytes.Equal(doc.Canonical, anchor.Canonical) {
			return nil
		}
	}
	if anchor.Version > p.root().Version {
		return &Error{Code: protocol.CodeRollback, Op: "proposal",
			Msg:  fmt.Sprintf("the proposal was made when root was at version %d, the trusted one is version %d", p.root().Version, anchor.Version),
			Hint: "have the change proposed again, or give an older root that you trust"}
	}
	return &Error{Code: protocol.CodeRootConflict, Op: "proposal",
		Msg:  fmt.Sprintf("this proposal is for another repository: its first root has the SHA-256 %s", p.Repository()),
		Hint: "do not sign it; ask who gave it to you"}
}

// authority is a document whose threshold of keys must sign a file.
type authority struct {
	by   *admission.Doc
	role string
	// version is that of the document, name its role.
	name string
}

// required returns whose thresholds a file must meet: for root those of the one
// before and its own (specification, 5.3.4), else that of its delegator.
func (p *Proposal) required(f *proposed) []authority {
	switch {
	case f.role == roleRoot && p.Founds():
		return []authority{{f.plain, roleRoot, roleRoot}}
	case f.role == roleRoot:
		return []authority{{p.root(), roleRoot, roleRoot}, {f.plain, roleRoot, roleRoot}}
	default:
		return []authority{{p.will(f.delegator), f.role, f.delegator}}
	}
}

// welcome returns whose keys may sign a file: those required, and for a role with
// new keys the ones before: signed by both, a repository is valid at every moment
// of the change.
func (p *Proposal) welcome(f *proposed) []authority {
	all := p.required(f)
	if was := p.was(f.delegator); f.role != roleRoot && was != nil && was != p.will(f.delegator) {
		if _, _, ok := was.Delegated(f.role); ok {
			all = append(all, authority{was, f.role, f.delegator})
		}
	}
	return all
}

// ProposalStatus says who has signed a proposal and who is missing.
type ProposalStatus struct {
	// Repository is the SHA-256 of its first root.
	Repository string    `json:"repository"`
	Made       time.Time `json:"made"`
	// Complete says that no signature is missing.
	Complete bool             `json:"complete"`
	Roles    []RoleSignatures `json:"roles"`
}

// RoleSignatures are the signatures of one file.
type RoleSignatures struct {
	Role    string `json:"role"`
	Version int64  `json:"version"`
	// Thresholds must all be met.
	Thresholds []ThresholdStatus `json:"thresholds"`
	// Ignored are the keyids of signatures that count for nothing: they do not
	// verify, or their key is not listed for the role.
	Ignored []KeyRef `json:"ignored,omitempty"`
}

// ThresholdStatus says how far a threshold of keys is met.
type ThresholdStatus struct {
	// Of says whose keys they are, such as "root version 2".
	Of        string   `json:"of"`
	Threshold int      `json:"threshold"`
	Signed    []KeyRef `json:"signed"`
	// Others are the keys that have not signed.
	Others []KeyRef `json:"others"`
}

// Missing is how many signatures are missing.
func (t *ThresholdStatus) Missing() int { return max(0, t.Threshold-len(t.Signed)) }

// Status says who has signed and who is missing.
func (p *Proposal) Status() ProposalStatus {
	st := ProposalStatus{Repository: p.Repository(), Made: p.made, Complete: true}
	for _, f := range p.files {
		rs := RoleSignatures{Role: f.role, Version: f.plain.Version}
		for _, a := range p.required(f) {
			t := p.threshold(f, a)
			st.Complete = st.Complete && t.Missing() == 0
			rs.Thresholds = append(rs.Thresholds, t)
		}
		good := p.good(f)
		for _, s := range f.envelope.Signatures {
			if !slices.Contains(good, s.KeyID) {
				rs.Ignored = append(rs.Ignored, p.ref(s.KeyID))
			}
		}
		st.Roles = append(st.Roles, rs)
	}
	return st
}

func (p *Proposal) threshold(f *proposed, a authority) ThresholdStatus {
	_, r, _ := a.by.Delegated(a.role)
	t := ThresholdStatus{Of: fmt.Sprintf("%s version %d", a.name, a.by.Version), Threshold: r.Threshold, Signed: []KeyRef{}, Others: []KeyRef{}}
	have := goodSignatures(a.by, a.role, f.plain.Canonical, f.envelope.Signatures)
	for _, id := range r.KeyIDs {
		if slices.Contains(have, id) {
			t.Signed = append(t.Signed, p.ref(id))
		} else {
			t.Others = append(t.Others, p.ref(id))
		}
	}
	return t
}

func (p *Proposal) ref(id string) KeyRef { return KeyRef{id, p.names[id]} }

// good returns the keyids of the signatures that count.
func (p *Proposal) good(f *proposed) (ids []string) {
	for _, a := range p.welcome(f) {
		ids = append(ids, goodSignatures(a.by, a.role, f.plain.Canonical, f.envelope.Signatures)...)
	}
	return ids
}

// MadeSignature is a signature that [Proposal.Sign] has made.
type MadeSignature struct {
	Role    string `json:"role"`
	Version int64  `json:"version"`
	Key     KeyRef `json:"key"`
}

// Sign signs with every key of keys that is listed for a role of the proposal and
// has not signed yet, and for that role only. Keys that cannot be used are an
// error only if no signature was made. It blocks while passphrases are asked for,
// until ctx ends.
func (p *Proposal) Sign(ctx context.Context, k Keys) ([]MadeSignature, error) {
	made, err := p.sign(ctx, k)
	return made, during("proposal sign", err)
}

// WouldSign returns the signatures that [Proposal.Sign] would make. It opens no
// key. The error is about keys that cannot be used, beside those that can.
func (p *Proposal) WouldSign(k Keys) ([]MadeSignature, error) {
	plan, err := p.plan(k)
	var list []MadeSignature
	for _, s := range plan {
		list = append(list, s.made)
	}
	return list, during("proposal sign", err)
}

func (p *Proposal) sign(ctx context.Context, k Keys) (made []MadeSignature, err error) {
	plan, err := p.plan(k)
	unusable := []error{err}
	for _, s := range plan {
		sig, err := s.with.sign(ctx, s.file.plain.Canonical)
		if err != nil {
			unusable = append(unusable, err)
			continue
		}
		s.file.envelope.Add(admission.Signature{KeyID: s.made.Key.KeyID, Sig: sig})
		made = append(made, s.made)
	}
	if ctx.Err() != nil || len(made) == 0 {
		return nil, errors.Join(unusable...)
	}
	return made, nil
}

// planned is a signature that can be made.
type planned struct {
	file *proposed
	with ringKey
	made MadeSignature
}

// plan finds the keys at hand that are listed and have not signed yet.
func (p *Proposal) plan(k Keys) (list []planned, err error) {
	var files []*keyfile.Key
	var unusable []error
	for _, dir := range k.Dirs {
		some, err := keyfile.List(dir)
		unusable = append(unusable, err)
		files = append(files, some...)
	}
	ring, err := k.ring(files)
	unusable = append(unusable, err)
	for _, f := range p.files {
		signed := map[keys.Fingerprint]bool{}
		for _, a := range p.welcome(f) {
			listed, r, _ := a.by.Delegated(a.role)
			for _, id := range goodSignatures(a.by, a.role, f.plain.Canonical, f.envelope.Signatures) {
				if k, err := keys.Decode(listed[id]); err == nil {
					signed[k.Fingerprint] = true
				}
			}
			for _, id := range r.KeyIDs {
				key, ok := ring.find(listed[id])
				if ok && !signed[key.public.Fingerprint] {
					signed[key.public.Fingerprint] = true
					list = append(list, planned{f, key, MadeSignature{f.role, f.plain.Version, p.ref(id)}})
				}
			}
		}
	}
	return list, errors.Join(unusable...)
}

// Merge collects the signatures of copies of the proposal that others have
// signed. A copy whose signed parts differ is refused, and then nothing is taken
// from any. Signatures that do not verify are not taken over; they are named.
func (p *Proposal) Merge(others ...*Proposal) (ignored []MadeSignature, err error) {
	for _, o := range others {
		if err := p.sameAs(o); err != nil {
			return nil, err
		}
	}
	for _, o := range others {
		for i, f := range p.files {
			from := o.files[i]
			good := o.good(from)
			have := p.good(f)
			for _, s := range from.envelope.Signatures {
				switch {
				case !slices.Contains(good, s.KeyID):
					ignored = append(ignored, MadeSignature{f.role, f.plain.Version, p.ref(s.KeyID)})
				case !slices.Contains(have, s.KeyID):
					f.envelope.Add(s)
				}
			}
		}
	}
	return ignored, nil
}

// sameAs refuses another proposal than a copy of this one.
func (p *Proposal) sameAs(o *Proposal) error {
	differ := func(role, what string) error {
		return &Error{Code: protocol.CodeMismatch, Op: "proposal", Role: role, Msg: "the files are not copies of one proposal: " + what,
			Hint: "every signer must get a copy of the same file; find out which one is right"}
	}
	switch {
	case p.Repository() != o.Repository():
		return differ("", "they are for different repositories")
	case len(p.files) != len(o.files) || len(p.chain) != len(o.chain) || !p.Founds() && p.root().SHA256 != o.root().SHA256:
		return differ("", "they change different roles")
	}
	for i, f := range p.files {
		from := o.files[i]
		if f.role != from.role || f.delegator != from.delegator || !bytes.Equal(f.plain.Canonical, from.plain.Canonical) {
			return differ(f.role, "what is signed differs")
		}
		a, b := p.was(f.role), o.was(f.role)
		if (a == nil) != (b == nil) || a != nil && a.SHA256 != b.SHA256 {
			return differ(f.role, "they replace different files")
		}
	}
	return nil
}

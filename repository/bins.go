package repository

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/draft"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// MaxBinBits bounds hash bins: more than 2^MaxBinBits would not fit into the
// snapshot that clients accept by default.
const MaxBinBits = 14

// NoBins names the clients that cannot read a repository with hash bins at all,
// as far as they have been tried.
const NoBins = "tough (Rust, 0.24)"

// Bins says how the targets of a role were moved into hash bins.
type Bins struct {
	// Role is the role that delegates to them.
	Role string
	// First and Last are the names of the first and the last of Count bins.
	First, Last string
	Count       int64
	// Targets is the number of targets that moved.
	Targets int
}

// MakeBins moves the targets of a role, targets or a publisher, into 2^bits
// succinct hash bins (TAP 15) with the role's own keys and threshold. Clients
// then load the one bin that a target's path leads to, and publishing rewrites
// the bins concerned only. It needs the keys of the role; where some are not at
// hand nothing is changed and the change is returned as a [Proposal].
//
// A role delegates either to bins or to others. There is no way back: clients
// remember every role that a snapshot has listed (specification, 5.5.5).
func (r *Repository) MakeBins(ctx context.Context, role string, bits int) (Bins, *Proposal, error) {
	var b Bins
	p, err := r.change(ctx, func(c *change) (err error) {
		b, err = c.makeBins(role, bits)
		return err
	})
	return b, p, during("bins", err)
}

func (c *change) makeBins(name string, bits int) (Bins, error) {
	if bits < 1 || bits > MaxBinBits {
		return Bins{}, &Error{Code: protocol.CodeUsage, Role: name, Msg: fmt.Sprintf("2^%d bins cannot be made", bits),
			Hint: fmt.Sprintf("give 1 to %d bits", MaxBinBits)}
	}
	by, delegator, err := c.delegatesTo(name)
	if err != nil {
		return Bins{}, err
	}
	role, err := c.editRole(name, delegator)
	if err != nil {
		return Bins{}, err
	}
	listed, own, _ := by.Delegated(name)
	s := &admission.SuccinctRoles{Role: own, BitLength: bits, NamePrefix: binPrefix + name}
	if err := c.mayHaveBins(name, s); err != nil {
		return Bins{}, err
	}
	if err := role.DelegateBins(s.NamePrefix, own.Threshold, bits); err != nil {
		return Bins{}, err
	}
	for _, id := range own.KeyIDs {
		k, ok := listed[id]
		if !ok {
			continue
		}
		if err := role.Delegations.AddKey(s.NamePrefix, id, k); err != nil {
			return Bins{}, err
		}
	}
	bins := map[string]*draft.Targets{}
	for n := range s.Bins() {
		bins[s.BinName(n)] = c.newRole(s.BinName(n), name)
	}
	b := Bins{Role: name, First: s.BinName(0), Last: s.BinName(s.Bins() - 1), Count: s.Bins(), Targets: role.Len()}
	for path := range c.roles[name].doc.Targets.Paths() {
		role.Move(path, bins[s.RoleFor(path)])
	}
	return b, nil
}

// binPrefix begins the names of bins. No publisher's name does.
const binPrefix = "_"

// delegatesTo returns the document that delegates to targets or to a publisher,
// and the role it is of.
func (s *state) delegatesTo(name string) (by *admission.Doc, role string, err error) {
	if name == roleTargets {
		return s.root, roleRoot, nil
	}
	if by, err = s.targets(); err != nil {
		return nil, "", err
	}
	if _, _, ok := by.Delegated(name); !ok {
		return nil, "", &Error{Code: protocol.CodeNotFound, Role: name, Msg: "there is no such publisher",
			Hint: "name targets or a publisher; see: local-tuf publisher list"}
	}
	return by, roleTargets, nil
}

// mayHaveBins refuses bins for a role that delegates already.
func (c *change) mayHaveBins(name string, s *admission.SuccinctRoles) error {
	refuse := func(msg, hint string) error {
		return &Error{Code: protocol.CodeUsage, Role: name, Msg: msg, Hint: hint}
	}
	switch d := c.roles[name].doc.Delegations; {
	case d == nil:
	case d.Succinct != nil:
		return refuse(fmt.Sprintf("its targets are in %d bins already", d.Succinct.Bins()), "bins cannot be divided again: clients know them")
	case len(d.Roles) > 0:
		return refuse(fmt.Sprintf("it delegates to %d publishers, and a role delegates either to bins or to others (TAP 15)", len(d.Roles)),
			"make bins for a large publisher: local-tuf bins --role PUBLISHER; give plugins left in "+name+" publishers of their own: local-tuf publisher add")
	}
	for n := range s.Bins() {
		if _, ok := c.snapshot.Meta[s.BinName(n)+".json"]; ok {
			return refuse("there is, or was, a role "+s.BinName(n), "the bins would need that name; this repository cannot have bins for "+name)
		}
	}
	return nil
}

// largeRoles suggests what to do about the roles that have grown large, of those
// that are loaded.
func (s *state) largeRoles() (hints []string) {
	for _, name := range slices.Sorted(maps.Keys(s.roles)) {
		role := s.roles[name]
		above := s.roles[role.delegator]
		isBin := above != nil && above.doc.Delegations.Succinct != nil
		if hint := largeRole(name, role.doc); hint != "" && !isBin {
			hints = append(hints, hint)
		}
	}
	return hints
}

// Beyond one of these a role is large: each client that wants one of its plugins
// loads and verifies all of it.
const (
	largeTargets = 5000
	largeBytes   = 4 << 20
)

// largeRole suggests what to do about a role that has grown large, or returns "".
func largeRole(name string, doc *admission.Doc) string {
	if doc.Targets.Len() <= largeTargets && len(doc.Raw) <= largeBytes {
		return ""
	}
	advice := "local-tuf bins --role " + name + " would let clients load a part of it"
	switch {
	case name == roleTargets && doc.Delegations != nil:
		advice = "local-tuf publisher add would give its publishers roles of their own"
	case name == roleTargets:
		advice = "local-tuf publisher add would give its publishers roles of their own, or: " + advice
	}
	return fmt.Sprintf("%s is large, %d plugins in %d KiB, and clients load all of it: %s", name, doc.Targets.Len(), len(doc.Raw)>>10, advice)
}

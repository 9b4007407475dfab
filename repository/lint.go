package repository

import (
	"errors"
	"fmt"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/lint"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Finding is a place in metadata that TUF clients could read differently, or that
// one of them cannot read.
type Finding = lint.Finding

// The levels of a finding.
const (
	// LintRefuse: the metadata is not published.
	LintRefuse = lint.Refuse
	// LintWarn: it is, and some clients will not read it.
	LintWarn = lint.Warn
)

// refusal refuses the next version of a file that TUF clients could read
// differently, before it is published. What stood in the version before already
// is told by verify and is no reason: an adopted repository can be worked on.
// before may be nil.
func refusal(role string, before, doc *admission.Doc) error {
	var all []error
	var first *Finding
	for _, f := range lint.Change(role, before, doc) {
		if f.Level == lint.Refuse {
			if first == nil {
				first = &f
			}
			all = append(all, errors.New(f.String()))
		}
	}
	if first == nil {
		return nil
	}
	return &Error{Code: protocol.CodeUsage, Role: role, Err: errors.Join(all...),
		Msg:  fmt.Sprintf("TUF clients would not read this alike: %s at %s", first.What, first.Where),
		Hint: first.Do + "; nothing was changed"}
}

// published returns the version of a role's file that the change follows, nil if
// there is none.
func (c *change) published(role string) *admission.Doc {
	switch role {
	case roleRoot:
		if c.root.Version < c.sealed[role].plain.Version {
			return c.root
		}
		return nil
	case roleTimestamp:
		return c.timestamp
	case roleSnapshot:
		return c.snapshot
	}
	if r := c.roles[role]; r != nil {
		return r.doc
	}
	return nil
}

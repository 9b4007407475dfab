// Package engine is the contract between the host and the two TUF
// implementations that judge metadata for it.
//
// An engine gets what the store trusts now, a source of admitted bytes and a
// start time; it returns what it verified (also beside an error) and an answer,
// or a classified error; the host commits. An engine opens no file and no
// connection, remembers nothing between two calls, and never decides whether
// another engine may be asked: the class of its error says so.
package engine

import (
	"context"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
)

// Engine judges metadata.
type Engine interface {
	// Name is "go" or "python".
	Name() string

	// Run walks the client workflow (specification, section 5) from the
	// trusted state in op, asking op.Source for every file it needs, and
	// returns what it verified on the way.
	//
	// It blocks until done or ctx ends and is safe for concurrent use. Every
	// error is a *tuferr.Error: a verdict, a fault, or what op.Source returned,
	// unchanged. The outcome is never nil: beside an error it holds what was
	// verified before.
	Run(ctx context.Context, op *Operation) (*Outcome, error)
}

// Operation is one request to an engine.
type Operation struct {
	// Root is the trusted root metadata. Never nil.
	Root *admission.Doc
	// Source gives the bytes, local and remote.
	Source Source
	// Start is the fixed update start time (5.1).
	Start time.Time
	// Targets are the target paths to look up; none means refresh only.
	Targets []string
	// All asks for every delegated role that can be reached, for listing.
	All bool
	// MaxRoots bounds new root versions, MaxRoles the roles visited for one look-up.
	MaxRoots, MaxRoles int
}

// Source gives an engine admitted metadata. Its errors are *tuferr.Error.
// It is safe for concurrent use.
type Source interface {
	// Remote returns a file of the repository. A file asked for twice during one
	// operation is fetched once. For a root version that does not exist it
	// returns an error with tuferr code not_found.
	Remote(ctx context.Context, f File) (*admission.Doc, error)
	// Local returns the trusted copy of a role's file, or nil if there is none
	// that may be used. root is the root metadata that the engine trusts by
	// now: timestamp and snapshot are not given out under a root that rotated
	// their keys (5.3.11).
	Local(role string, root *admission.Doc) *admission.Doc
}

// File names a metadata file in the repository.
type File struct {
	Role string
	// Version is the version in the file name, 0 for a name without one.
	Version int64
	// Length is the most bytes the file may have, 0 for the role's limit.
	Length int64
}

// Outcome is what an engine verified during one operation.
type Outcome struct {
	// Roots are the new root versions, in order.
	Roots []*admission.Doc
	// Timestamp and Snapshot are the final ones, new or as trusted before;
	// nil if the engine did not get so far.
	Timestamp, Snapshot *admission.Doc
	// Targets are the targets roles in the order of their verification, the
	// top-level one first. A role verified for two delegators stands here twice.
	Targets []Verified
	// Answers holds for every target path that was looked up the role that
	// lists it, or "" if none does.
	Answers map[string]string
}

// Verified is a targets role that was verified for one delegator.
type Verified struct {
	Role, Delegator string
	Doc             *admission.Doc
}

// RootDoc returns the newest root of the outcome, or trusted if it has none.
func (o *Outcome) RootDoc(trusted *admission.Doc) *admission.Doc {
	if n := len(o.Roots); n > 0 {
		return o.Roots[n-1]
	}
	return trusted
}

// Find returns the document that was verified for role and delegator, or nil.
func (o *Outcome) Find(role, delegator string) *admission.Doc {
	for _, v := range o.Targets {
		if v.Role == role && v.Delegator == delegator {
			return v.Doc
		}
	}
	return nil
}

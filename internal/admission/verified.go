package admission

import (
	"slices"
	"sync"
	"weak"
)

// verified notes for whom a document's threshold was found met. Documents are
// immutable: what was found once stays so.
type verified struct {
	mu   sync.Mutex
	list []edge
}

// edge is a delegation. It does not keep the delegator in memory.
type edge struct {
	delegator weak.Pointer[Doc]
	role      string
}

// maxVerified bounds what is noted for one document. Whoever asks for more
// verifies again.
const maxVerified = 8

// VerifiedFor says whether NoteVerified was called for this delegator and role.
func (d *Doc) VerifiedFor(delegator *Doc, role string) bool {
	d.verified.mu.Lock()
	defer d.verified.mu.Unlock()
	return slices.Contains(d.verified.list, edge{weak.Make(delegator), role})
}

// NoteVerified notes that the document is signed by the threshold that delegator
// demands for role. Only package verify may call it, and only when that is so.
func (d *Doc) NoteVerified(delegator *Doc, role string) {
	e := edge{weak.Make(delegator), role}
	d.verified.mu.Lock()
	defer d.verified.mu.Unlock()
	if slices.Contains(d.verified.list, e) {
		return
	}
	if len(d.verified.list) == maxVerified {
		d.verified.list = slices.Delete(d.verified.list, 0, 1)
	}
	d.verified.list = append(d.verified.list, e)
}

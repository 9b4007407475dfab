package python

import (
	"context"
	"errors"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// run is one operation: what the worker has been given in it.
//
// It needs no lock: the supervisor runs one fetch after another, and none after
// the call.
type run struct {
	op *engine.Operation

	// served holds, by role and digest, every document given to the worker.
	served map[string]map[string]*admission.Doc
	// root is the newest root that the worker can have accepted by now: it asks
	// for roots in order, and for anything else only under the last one.
	root *admission.Doc
	// rootsDone is set once the worker has asked for anything but the next root.
	rootsDone bool
	// local and remote are the last documents given by role: the evidence.
	local, remote map[string]*admission.Doc
	// refused is the error that the source gave and that ends the operation.
	refused *tuferr.Error
	fetches int
}

// restart forgets what an earlier worker has been given.
func (r *run) restart() {
	r.served, r.root, r.rootsDone, r.refused, r.fetches = map[string]map[string]*admission.Doc{}, r.op.Root, false, nil, 0
	r.local, r.remote = map[string]*admission.Doc{}, map[string]*admission.Doc{}
}

// fetch answers the worker's question for a file. Bytes that the worker already
// has it need not be sent. Nothing hangs on whether it does have them: a worker
// can claim of a document no more than that it verified it, whether it got it
// now or earlier.
func (r *run) fetch(ctx context.Context, f protocol.Fetch) protocol.Fetched {
	if f.Seq == 1 {
		r.restart()
	}
	doc, err := r.find(ctx, f)
	switch {
	case err != nil:
		if err.Code != protocol.CodeNotFound || f.Role != string(admission.KindRoot) && !f.Local {
			r.refused = err
		}
		return protocol.Fetched{Error: &protocol.Error{Code: err.Code, Class: err.Class(), Message: err.Error(), Role: f.Role}}
	case f.Have == doc.SHA256:
		return protocol.Fetched{Same: true}
	default:
		return protocol.Fetched{Data: doc.Raw}
	}
}

// find gets the document and keeps account of the roots.
func (r *run) find(ctx context.Context, f protocol.Fetch) (*admission.Doc, *tuferr.Error) {
	if r.refused != nil {
		return nil, violation("it goes on after an error that ends the request")
	}
	if r.fetches++; r.fetches > r.most() {
		return nil, violation("it asked for more than %d files", r.most())
	}
	isRoot := f.Role == string(admission.KindRoot)
	if first := r.fetches == 1; first || isRoot && f.Local {
		if !first || !isRoot || !f.Local {
			return nil, violation("it asked for %.64q out of turn: the trusted root comes first, and once", f.Role)
		}
		return r.op.Root, nil // not served: it is nothing that could be verified
	}
	if f.Local {
		r.rootsDone = true
		doc := r.op.Source.Local(f.Role, r.root)
		if doc == nil {
			return nil, tuferr.New(protocol.CodeNotFound, "there is no trusted copy")
		}
		r.local[f.Role] = doc
		r.serve(f.Role, doc)
		return doc, nil
	}
	if isRoot && (r.rootsDone || f.Version != r.root.Version+1) {
		return nil, violation("it asked for root version %d out of turn", f.Version)
	}
	r.rootsDone = !isRoot
	doc, err := r.op.Source.Remote(ctx, engine.File{Role: f.Role, Version: f.Version, Length: f.Length})
	if err != nil {
		r.rootsDone = true
		return nil, typed(err)
	}
	r.remote[f.Role] = doc
	r.serve(f.Role, doc)
	if isRoot {
		r.root = doc
	}
	return doc, nil
}

// serve notes that the worker is given a document as a role's.
func (r *run) serve(role string, doc *admission.Doc) {
	if r.served[role] == nil {
		r.served[role] = map[string]*admission.Doc{}
	}
	if r.served[role][doc.SHA256] == nil { // the trusted copy comes before an equal one
		r.served[role][doc.SHA256] = doc
	}
}

// most is how many files one operation can need: the roots, with the trusted one
// and one that is one too many, each top-level file and each role visited twice
// (local and remote).
func (r *run) most() int {
	return r.op.MaxRoots + 3 + 2*(3+r.op.MaxRoles*max(1, len(r.op.Targets)))
}

// typed returns the error of a source as the one that it is.
func typed(err error) *tuferr.Error {
	var e *tuferr.Error
	if errors.As(err, &e) {
		return e
	}
	return tuferr.New(protocol.CodeInternal, "%w", err)
}

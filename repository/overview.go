package repository

import (
	"context"
	"os"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/keys"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// version is the current version of a role. Roles that nobody delegates to any
// more are known to snapshot still.
func (s *state) version(role string) (int64, bool) {
	switch role {
	case roleRoot:
		if s.root != nil {
			return s.root.Version, true
		}
	case roleSnapshot:
		if s.snapshot != nil {
			return s.snapshot.Version, true
		}
	}
	if s.snapshot == nil {
		return 0, false
	}
	meta, ok := s.snapshot.Meta[role+".json"]
	return meta.Version, ok
}

// edge is a role as one delegator trusts it.
type edge struct{ role, delegator string }

// summary is what a status says of a targets role.
type summary struct {
	edge
	version int64
	expires time.Time
	targets int
	bytes   int64
	// trusts are the roles it delegates to, in order; hash bins are one, under
	// their name prefix.
	trusts []quorum
}

// quorum is how a role is trusted.
type quorum struct {
	role string
	// bins are the roles that stand for it, if it is hash bins.
	bins      []string
	threshold int
	keys      []keys.Fingerprint
	listed    int
}

// roles are the names of the roles that a quorum is for.
func (q *quorum) roles() []string {
	if q.bins != nil {
		return q.bins
	}
	return []string{q.role}
}

// memory is what has been verified before, of files that may have stayed as they
// were.
type memory struct {
	// settled is how old the latest change of a file must be to be remembered.
	settled time.Duration
	known   map[edge]remembered
}

func newMemory() *memory { return &memory{settled: settledAfter, known: map[edge]remembered{}} }

type remembered struct {
	summary
	// file is what the kernel said of the file that was verified.
	file identity
	// sha256 is that of the file, delegator that of the delegator's.
	sha256, delegator string
}

// overview verifies every role that a search could visit and says what stands in
// it, a delegator before those it delegates to. What is in m, and has stayed as
// it was, is not read again; m may be nil.
func (s *state) overview(ctx context.Context, m *memory) ([]summary, error) {
	w := &overview{state: s, memory: m, files: map[string]string{roleRoot: s.root.SHA256}, above: map[string]string{}}
	var all []summary
	queue := []edge{{roleTargets, roleRoot}}
	seen := map[edge]bool{}
	for len(queue) > 0 {
		next := queue[0]
		queue = queue[1:]
		if seen[next] {
			continue
		}
		if len(seen) > maxRoles {
			return nil, &Error{Code: protocol.CodeTooMany, Role: next.role, Msg: "too many delegated roles"}
		}
		seen[next] = true
		if err := ctx.Err(); err != nil {
			return nil, ioError(s.r.dir, err)
		}
		sum, err := w.look(next)
		if err != nil {
			return nil, err
		}
		all = append(all, sum)
		for _, q := range sum.trusts {
			for _, role := range q.roles() {
				queue = append(queue, edge{role, next.role})
			}
		}
	}
	return all, nil
}

type overview struct {
	*state
	memory *memory
	// files are the digests of the files by role, above the delegators that the
	// walk came from.
	files, above map[string]string
}

func (w *overview) look(e edge) (summary, error) {
	if _, met := w.above[e.role]; !met {
		w.above[e.role] = e.delegator
	}
	file, settled := w.file(e.role)
	if settled {
		if old, ok := w.memory.known[e]; ok && old.file == file && old.delegator == w.files[e.delegator] && w.describes(&old) {
			w.files[e.role] = old.sha256
			return old.summary, nil
		}
	}
	doc, err := w.load(e.role, e.delegator)
	if err != nil {
		return summary{}, err
	}
	w.files[e.role] = doc.SHA256
	sum := summarize(e, doc)
	if after, ok := w.file(e.role); settled && ok && after == file {
		w.memory.known[e] = remembered{sum, file, doc.SHA256, w.files[e.delegator]}
	}
	return sum, nil
}

// load loads a role, and its delegators if they were not needed so far.
func (w *overview) load(role, delegator string) (*admission.Doc, error) {
	if delegator != roleRoot && w.roles[delegator] == nil {
		if _, err := w.load(delegator, w.above[delegator]); err != nil {
			return nil, err
		}
	}
	return w.role(role, delegator)
}

// describes says whether snapshot still lists the file that is remembered.
func (w *overview) describes(old *remembered) bool {
	meta, ok := w.snapshot.Meta[old.role+".json"]
	if !ok || meta.Version != old.version {
		return false
	}
	sha256, ok := meta.Hashes["sha256"]
	return !ok || sha256 == old.sha256
}

// file says what the kernel says of a role's file, and whether to remember it:
// another change of the file would change that.
func (w *overview) file(role string) (identity, bool) {
	if w.memory == nil {
		return identity{}, false
	}
	f, err := os.Open(w.r.metadataPath(versioned(role, w.snapshot.Meta[role+".json"].Version)))
	if err != nil {
		return identity{}, false
	}
	defer f.Close()
	id, ok := identify(f)
	return id, ok && time.Since(time.Unix(0, id.changed)) >= w.memory.settled
}

func summarize(e edge, doc *admission.Doc) summary {
	sum := summary{edge: e, version: doc.Version, expires: doc.Expires, targets: doc.Targets.Len()}
	for _, entry := range doc.Targets.All() {
		var of struct {
			Length int64 `json:"length"`
		}
		_ = json.Unmarshal(entry, &of) // It has been admitted.
		sum.bytes += of.Length
	}
	d := doc.Delegations
	switch {
	case d == nil:
	case d.Succinct != nil:
		q := newQuorum(d.Succinct.NamePrefix, d.Keys, d.Succinct.Role)
		for n := range d.Succinct.Bins() {
			q.bins = append(q.bins, d.Succinct.BinName(n))
		}
		sum.trusts = []quorum{q}
	default:
		for _, role := range d.Roles {
			sum.trusts = append(sum.trusts, newQuorum(role.Name, d.Keys, role.Role))
		}
	}
	return sum
}

func newQuorum(name string, listed map[string]admission.Key, role admission.Role) quorum {
	q := quorum{role: name, threshold: role.Threshold, listed: len(role.KeyIDs)}
	for _, id := range role.KeyIDs {
		if k, err := keys.Decode(listed[id]); err == nil {
			q.keys = append(q.keys, k.Fingerprint)
		}
	}
	return q
}

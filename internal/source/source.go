// Package source gives the engines of one operation their bytes: every file is
// fetched at most once and admitted before an engine sees it, so that both
// engines judge the very same documents and the repository is asked once.
package source

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/transport"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/verify"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Trusted is the local side: what the trust store holds. Its methods return nil
// for what is not there.
type Trusted interface {
	RootDoc() *admission.Doc
	TimestampDoc() *admission.Doc
	SnapshotDoc() *admission.Doc
	RoleDoc(role string) *admission.Doc
}

// Remote is the repository.
type Remote struct {
	Client      *transport.Client
	MetadataURL string
	Limits      admission.Limits
}

// Memo remembers what the repository answered. Operations that share a memo see
// one state of the repository; a new memo asks again. The zero value is empty
// and ready.
type Memo struct {
	mu    sync.Mutex
	files map[name]*file
}

// Inquiry is what one operation asks of the repository. It is safe for
// concurrent use.
type Inquiry struct {
	remote Remote
	memo   *Memo
	ahead  *ahead
	// have is a timestamp that was verified before, haveTag its ETag.
	have    *admission.Doc
	haveTag string
}

// Source is the source of one operation. It implements [engine.Source].
type Source struct {
	*Inquiry
	trusted Trusted
}

type name struct {
	role    string
	version int64
}

// file is one answer of the repository, once it is there.
type file struct {
	// turn is held by whoever reads or fetches.
	turn chan struct{}
	done bool
	doc  *admission.Doc
	etag string
	err  error
	// limit is how many bytes were allowed.
	limit int64
}

// Inquire begins an inquiry. It must be closed.
func Inquire(remote Remote, memo *Memo) *Inquiry {
	return &Inquiry{remote: remote, memo: memo, ahead: newAhead()}
}

// New returns the source of one operation over what the store trusts now.
func New(inquiry *Inquiry, trusted Trusted) *Source {
	return &Source{Inquiry: inquiry, trusted: trusted}
}

// Memo returns what the inquiry remembers.
func (s *Inquiry) Memo() *Memo { return s.memo }

// Close ends what was asked for ahead and is not needed. Nothing may be asked
// after it; it may be called twice.
func (s *Inquiry) Close() { s.ahead.close() }

// Expect asks for the root version that an engine will ask for first, while the
// caller is busy with something else.
func (s *Inquiry) Expect(root int64) {
	f := engine.File{Role: string(admission.KindRoot), Version: root}
	s.guess(f, s.onLate(f))
}

// Have gives the inquiry the timestamp that was verified last, with the ETag that
// it came with, if any: it is returned itself, not parsed again, if the
// repository has nothing else. Call it before Remote, and only with a timestamp
// that has not expired: what it says is then all that an ETag can decide.
func (s *Inquiry) Have(timestamp *admission.Doc, etag string) {
	s.have, s.haveTag = timestamp, etag
}

// Remote implements [engine.Source]. An error is remembered like an answer,
// unless it is the caller who gave up.
func (s *Inquiry) Remote(ctx context.Context, f engine.File) (*admission.Doc, error) {
	entry := s.memo.entry(name{f.Role, f.Version})
	select {
	case entry.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, engine.Cancelled(ctx)
	}
	defer entry.leave()
	limit := s.limit(f)
	if entry.done && tuferr.CodeOf(entry.err) == protocol.CodeEndlessData && limit > entry.limit {
		// Whoever asked first allowed less than the signed length.
		entry.done = false
	}
	if !entry.done {
		entry.limit = limit
		entry.doc, entry.etag, entry.err = s.fetch(ctx, f, limit)
		entry.done = tuferr.ClassOf(entry.err) != protocol.ClassCancelled
	}
	return entry.doc, entry.err
}

func (m *Memo) entry(n name) *file {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files == nil {
		m.files = map[name]*file{}
	}
	if m.files[n] == nil {
		m.files[n] = &file{turn: make(chan struct{}, 1)}
	}
	return m.files[n]
}

// Answer returns what the repository answered when it was asked for a file, and
// whether it was asked at all.
func (m *Memo) Answer(f engine.File) (doc *admission.Doc, err error, asked bool) {
	entry := m.entry(name{f.Role, f.Version})
	entry.turn <- struct{}{}
	defer entry.leave()
	return entry.doc, entry.err, entry.done
}

// ETag returns the ETag that a file was answered with, "" if there was none.
func (m *Memo) ETag(f engine.File) string {
	entry := m.entry(name{f.Role, f.Version})
	entry.turn <- struct{}{}
	defer entry.leave()
	return entry.etag
}

func (f *file) leave() { <-f.turn }

// Forgive forgets the errors in a memo, except that there is no newer root: an
// operation that goes on from it asks again for what could not be had.
func (m *Memo) Forgive() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for n, f := range m.files {
		select {
		case f.turn <- struct{}{}:
			if f.done && f.err != nil && tuferr.CodeOf(f.err) != protocol.CodeNotFound {
				delete(m.files, n)
			}
			f.leave()
		default: // Somebody is at it.
		}
	}
}

// limit returns the most bytes that a file may have: its signed length, if
// there is one, and never more than the limit of its kind.
func (s *Inquiry) limit(f engine.File) int64 {
	limit := s.remote.Limits.Bytes(admission.KindOf(f.Role))
	if f.Length > 0 {
		limit = min(limit, f.Length)
	}
	return limit
}

// fetch returns what a guess has brought already, or else asks the repository.
func (s *Inquiry) fetch(ctx context.Context, f engine.File, limit int64) (doc *admission.Doc, etag string, err error) {
	if g, ok := s.guessed(ctx, f, limit); ok {
		doc, etag, err = g.doc, g.etag, g.err
	} else {
		begin := time.Now()
		doc, etag, err = s.get(ctx, f, transport.Request{Limit: limit, Late: s.onLate(f)})
		s.ahead.took.Store(int64(time.Since(begin)))
	}
	if doc != nil && doc.Kind == admission.KindRoot {
		s.cameRoot(f.Version)
	}
	return doc, etag, err
}

// get asks the repository for a file, as req says, and admits it.
func (s *Inquiry) get(ctx context.Context, f engine.File, req transport.Request) (*admission.Doc, string, error) {
	kind := admission.KindOf(f.Role)
	url, err := transport.MetadataURL(s.remote.MetadataURL, f.Role, f.Version)
	if err != nil {
		return nil, "", err
	}
	req.URL, req.Role = url, f.Role
	var have *admission.Doc
	if kind == admission.KindTimestamp {
		have, req.ETag = s.known()
	}
	raw, etag, err := s.remote.Client.GetIfChanged(ctx, req)
	if err != nil {
		return nil, "", noNewerRoot(kind, err)
	}
	if have != nil && (raw == nil || bytes.Equal(raw, have.Raw)) {
		return have, etag, nil
	}
	doc, err := admission.Parse(kind, raw, s.remote.Limits)
	if e := tuferr.As(err); e != nil {
		e.Role, e.URL = f.Role, url
		if e.Code == protocol.CodeNotARepository {
			e.Hint = "check the URL; a proxy or a log-in page may be answering in the repository's place"
		}
	}
	return doc, etag, err
}

// noNewerRoot tells the end of the root chain from an error: buckets and CDNs
// that may not be listed say 403 where others say 404 (5.3.3).
func noNewerRoot(kind admission.Kind, err error) error {
	e := tuferr.As(err)
	if kind != admission.KindRoot || e == nil || e.Code != protocol.CodeHTTPStatus {
		return err
	}
	if e.Status != http.StatusNotFound && e.Status != http.StatusForbidden {
		return err
	}
	end := tuferr.New(protocol.CodeNotFound, "no newer root")
	end.Role, end.URL, end.Status = e.Role, e.URL, e.Status
	return end
}

// Local implements [engine.Source].
func (s *Source) Local(role string, root *admission.Doc) *admission.Doc {
	switch admission.Kind(role) {
	case admission.KindRoot:
		return s.trusted.RootDoc()
	case admission.KindTimestamp:
		if !s.rotated(root) {
			return s.trusted.TimestampDoc()
		}
		return nil
	case admission.KindSnapshot:
		if !s.rotated(root) {
			return s.trusted.SnapshotDoc()
		}
		return nil
	}
	return s.trusted.RoleDoc(role)
}

// rotated says whether a root on the way from the trusted one to root took a
// timestamp or snapshot key away (5.3.11).
func (s *Source) rotated(root *admission.Doc) bool {
	old := s.trusted.RootDoc()
	for old.Version < root.Version {
		next := root
		if v := old.Version + 1; v < root.Version {
			if next, _, _ = s.memo.Answer(engine.File{Role: string(admission.KindRoot), Version: v}); next == nil {
				return true // Not a chain that this source served: trust less.
			}
		}
		if verify.Rotated(old, next) {
			return true
		}
		old = next
	}
	return false
}

// Served returns the document that the repository gave for a role and that has
// the digest, or nil. An empty digest matches if only one document was given.
func (m *Memo) Served(role, digest string) *admission.Doc {
	m.mu.Lock()
	var files []*file
	for n, f := range m.files {
		if n.role == role {
			files = append(files, f)
		}
	}
	m.mu.Unlock()
	var found *admission.Doc
	for _, f := range files {
		f.turn <- struct{}{}
		doc := f.doc
		f.leave()
		switch {
		case doc == nil:
		case doc.SHA256 == digest:
			return doc
		case digest == "" && found != nil:
			return nil
		case digest == "":
			found = doc
		}
	}
	return found
}

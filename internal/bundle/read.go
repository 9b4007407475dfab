package bundle

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Reader is a bundle being read: first everything but the targets, by Open,
// then one target after the other. The documents are admitted and not verified.
// Next and Read must not be called concurrently; the rest may be.
type Reader struct {
	in     *input
	tar    *tar.Reader
	limits admission.Limits
	// ahead is the header that follows the metadata, nil at the end.
	ahead *tar.Header

	roots []*admission.Doc
	roles map[string]*admission.Doc
	// targets are the names, left those that Next has not come to.
	targets, left []string
	metadata      int64
}

// Open reads a bundle up to its targets. ctx bounds all reading, later too.
//
// Errors are *tuferr.Error: malformed for what is no bundle or a damaged one,
// endless_data for one beyond the bounds, local_io when r fails, cancelled or
// timeout when ctx ends.
func Open(ctx context.Context, r io.Reader, limits admission.Limits) (*Reader, error) {
	in := &input{ctx: ctx, r: r}
	b := &Reader{in: in, tar: tar.NewReader(in), limits: limits, roles: map[string]*admission.Doc{}}
	if err := b.readIndex(); err != nil {
		return nil, err
	}
	for {
		h, err := b.header()
		if err != nil {
			return nil, err
		}
		if h == nil || !strings.HasPrefix(h.Name, metadataPrefix) {
			b.ahead = h
			return b, b.whole()
		}
		if err := b.readMetadata(h); err != nil {
			return nil, err
		}
	}
}

// Root returns a version of the root, nil if the bundle does not have it.
func (b *Reader) Root(version int64) *admission.Doc {
	first, _ := b.Roots()
	if version < first || version-first >= int64(len(b.roots)) {
		return nil
	}
	return b.roots[version-first]
}

// Roots returns the first and the last root version.
func (b *Reader) Roots() (first, last int64) {
	return b.roots[0].Version, b.roots[len(b.roots)-1].Version
}

// Role returns the metadata of any other role, nil if the bundle does not have it.
func (b *Reader) Role(name string) *admission.Doc { return b.roles[name] }

// Targets returns the names of all targets, in their order.
func (b *Reader) Targets() []string { return slices.Clone(b.targets) }

// Next goes to the next target and returns its name, io.EOF after the last one.
// What was not read of the one before is passed over.
func (b *Reader) Next() (string, error) {
	h := b.ahead
	if b.ahead = nil; h == nil {
		var err error
		if h, err = b.header(); err != nil {
			return "", err
		}
	}
	switch {
	case h == nil && len(b.left) > 0:
		return "", damaged("it ends before the target %.200q", b.left[0])
	case h == nil:
		return "", io.EOF
	case len(b.left) == 0 || h.Name != targetsPrefix+b.left[0]:
		return "", damaged("the entry %.200q does not belong where it stands", h.Name)
	}
	name := b.left[0]
	b.left = b.left[1:]
	return name, nil
}

// Read reads the bytes of the target that Next went to. Errors are those of Open.
func (b *Reader) Read(p []byte) (int, error) {
	n, err := b.tar.Read(p)
	if err != nil && err != io.EOF {
		err = b.fail(err)
	}
	return n, err
}

// header returns the next header, nil after the last one.
func (b *Reader) header() (*tar.Header, error) {
	h, err := b.tar.Next()
	if err == io.EOF {
		if n, _ := io.ReadFull(b.in, make([]byte, 1)); n > 0 {
			return nil, damaged("something follows its end")
		}
		return nil, b.in.err
	}
	if err != nil {
		return nil, b.fail(err)
	}
	if h.Typeflag != tar.TypeReg {
		return nil, damaged("the entry %.200q is not a regular file", h.Name)
	}
	for record := range h.PAXRecords {
		if record != "path" && record != "size" {
			return nil, damaged("the entry %.200q has the attribute %.40q", h.Name, record)
		}
	}
	return h, nil
}

// fail types an error of the archive.
func (b *Reader) fail(err error) error {
	switch {
	case b.in.err != nil:
		return b.in.err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return damaged("it is cut off")
	}
	return damaged("it is not a tar archive: %w", err)
}

// readWhole reads the entry of header h.
func (b *Reader) readWhole(h *tar.Header, limit int64) ([]byte, error) {
	if h.Size > limit {
		e := tuferr.New(protocol.CodeEndlessData, "the bundle's entry %.200q has %d bytes, more than the limit of %d", h.Name, h.Size, limit)
		e.Engine = "host"
		return nil, e
	}
	raw, err := io.ReadAll(b.tar)
	if err != nil {
		return nil, b.fail(err)
	}
	return raw, nil
}

func (b *Reader) readIndex() error {
	h, err := b.header()
	if err != nil {
		return err
	}
	if h == nil || h.Name != indexName {
		return damaged("it does not begin with %s", indexName)
	}
	raw, err := b.readWhole(h, maxIndex)
	if err != nil {
		return err
	}
	var x index
	if err := json.Unmarshal(raw, &x, json.RejectUnknownMembers(true)); err != nil {
		return damaged("%s: %w", indexName, err)
	}
	switch {
	case x.Format != format:
		return damaged("%s does not say %s", indexName, format)
	case x.Version != version:
		e := damaged("its format has version %d, this program knows version %d", x.Version, version)
		e.Hint = "use the same release of this program on both sides"
		return e
	case len(x.Targets) > maxFiles:
		return tuferr.New(protocol.CodeEndlessData, "the bundle lists more than %d targets", maxFiles)
	}
	seen := make(map[string]bool, len(x.Targets))
	for _, name := range x.Targets {
		if seen[name] {
			return damaged("it lists the target %.200q twice", name)
		}
		seen[name] = true
	}
	b.targets, b.left = x.Targets, x.Targets
	return nil
}

// readMetadata admits a metadata file.
func (b *Reader) readMetadata(h *tar.Header) error {
	role, version, ok := parseName(strings.TrimPrefix(h.Name, metadataPrefix))
	if !ok {
		return damaged("%.200q is not the name of a metadata file", h.Name)
	}
	kind := admission.KindOf(role)
	raw, err := b.readWhole(h, b.limits.Bytes(kind))
	if err != nil {
		return err
	}
	b.metadata += int64(len(raw))
	if len(b.roots)+len(b.roles) == maxFiles || b.metadata > maxMetadata {
		return tuferr.New(protocol.CodeEndlessData, "the bundle holds more than %d metadata files or %d bytes of them", maxFiles, maxMetadata)
	}
	doc, err := admission.Parse(kind, raw, b.limits)
	if err != nil {
		e := *tuferr.As(err)
		e.Role, e.Hint = role, again
		if e.Code == protocol.CodeNotARepository {
			e.Code = protocol.CodeMalformed
		}
		return &e
	}
	if version != 0 && doc.Version != version {
		return damaged("%.200q holds version %d", h.Name, doc.Version)
	}
	if kind != admission.KindRoot {
		if b.roles[role] != nil {
			return damaged("it holds %.200q twice", role)
		}
		b.roles[role] = doc
		return nil
	}
	if n := len(b.roots); n > 0 && b.roots[n-1].Version+1 != doc.Version {
		return damaged("its root versions do not follow each other: %d after %d", doc.Version, b.roots[n-1].Version)
	}
	b.roots = append(b.roots, doc)
	return nil
}

// whole checks that the top-level roles are there.
func (b *Reader) whole() error {
	if len(b.roots) == 0 {
		return damaged("it holds no root metadata")
	}
	for _, k := range []admission.Kind{admission.KindTimestamp, admission.KindSnapshot, admission.KindTargets} {
		if b.roles[string(k)] == nil {
			return damaged("it holds no %s metadata", k)
		}
	}
	return nil
}

// parseName reads the name of a metadata file as a writer makes it.
func parseName(name string) (role string, version int64, ok bool) {
	if name == "timestamp.json" {
		return string(admission.KindTimestamp), 0, true
	}
	number, rest, _ := strings.Cut(name, ".")
	version, err := strconv.ParseInt(number, 10, 64)
	if err != nil || version < 1 {
		return "", 0, false
	}
	role, err = url.PathUnescape(strings.TrimSuffix(rest, ".json"))
	ok = err == nil && role != "" && role != string(admission.KindTimestamp) && fileName(role, version) == name
	return role, version, ok
}

const again = "copy the bundle once more, or export it again"

func damaged(format string, args ...any) *tuferr.Error {
	e := tuferr.New(protocol.CodeMalformed, "the bundle cannot be used: "+format, args...)
	e.Engine, e.Hint = "host", again
	return e
}

// input is what is read, as long as ctx lasts. It keeps its own error, typed.
type input struct {
	ctx context.Context
	r   io.Reader
	err error
}

func (in *input) Read(p []byte) (int, error) {
	if in.err != nil {
		return 0, in.err
	}
	if err := in.ctx.Err(); err != nil {
		code := protocol.CodeCancelled
		if errors.Is(err, context.DeadlineExceeded) {
			code = protocol.CodeTimeout
		}
		in.err = tuferr.New(code, "stopped by the caller: %w", err)
		return 0, in.err
	}
	n, err := in.r.Read(p)
	if err != nil && err != io.EOF {
		in.err = tuferr.New(protocol.CodeLocalIO, "cannot read: %w", err)
		return n, in.err
	}
	return n, err
}

package bundle

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"syscall"

	"github.com/go-json-experiment/json"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Content is what a bundle is made of.
type Content struct {
	// Roots are the root versions in order.
	Roots []*admission.Doc
	// Timestamp stands alone, Roles are snapshot, targets and delegated roles.
	Timestamp *admission.Doc
	Roles     []Role
	Targets   []Target
}

// Role is the metadata of a role.
type Role struct {
	Name string
	Doc  *admission.Doc
}

// Target is a target and the file that holds its bytes.
type Target struct {
	Name   string
	Length int64
	Path   string
}

// Write writes a bundle to w. After an error w holds a part of one. The errors
// are usage for more than a bundle may hold, local_io for files and w, and
// cancelled or timeout when ctx ends.
func Write(ctx context.Context, w io.Writer, c Content) error {
	if len(c.Targets) > maxFiles || len(c.Roots)+len(c.Roles) >= maxFiles {
		return tuferr.New(protocol.CodeUsage, "a bundle holds at most %d targets and as many metadata files", maxFiles)
	}
	x := index{Format: format, Version: version, Targets: make([]string, 0, len(c.Targets))}
	for _, t := range c.Targets {
		x.Targets = append(x.Targets, t.Name)
	}
	raw, err := json.Marshal(x)
	if err != nil {
		return tuferr.New(protocol.CodeInternal, "the bundle's index: %w", err)
	}
	out := &writer{tar: tar.NewWriter(w)}
	out.bytes(indexName, raw, maxIndex)
	out.left = maxMetadata
	for _, d := range c.Roots {
		out.metadata(fileName("root", d.Version), d)
	}
	out.metadata("timestamp.json", c.Timestamp)
	for _, r := range c.Roles {
		out.metadata(fileName(r.Name, r.Doc.Version), r.Doc)
	}
	for _, t := range c.Targets {
		out.file(ctx, t)
	}
	if out.err == nil {
		out.err = unwritten(out.tar.Close())
	}
	return out.err
}

// fileName is the name of a role's file, unique for each role and version.
func fileName(role string, version int64) string {
	return fmt.Sprintf("%d.%s.json", version, url.PathEscape(role))
}

// writer keeps the first error.
type writer struct {
	tar *tar.Writer
	// left is how many bytes of metadata may still come.
	left int64
	err  error
}

func (w *writer) header(name string, size int64) {
	if w.err == nil {
		w.err = unwritten(w.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644}))
	}
}

func (w *writer) bytes(name string, raw []byte, limit int64) {
	if w.err == nil && int64(len(raw)) > limit {
		w.err = tuferr.New(protocol.CodeUsage, "too much for one bundle: %s would have to be smaller than %d bytes", name, limit)
	}
	w.header(name, int64(len(raw)))
	if w.err == nil {
		_, err := w.tar.Write(raw)
		w.err = unwritten(err)
	}
}

func (w *writer) metadata(name string, d *admission.Doc) {
	w.bytes(metadataPrefix+name, d.Raw, w.left)
	w.left -= int64(len(d.Raw))
}

// file copies a target.
func (w *writer) file(ctx context.Context, t Target) {
	w.header(targetsPrefix+t.Name, t.Length)
	if w.err != nil {
		return
	}
	f, err := os.Open(t.Path)
	if err == nil {
		_, err = io.Copy(w.tar, &input{ctx: ctx, r: f})
		_ = f.Close()
	}
	w.err = unwritten(err)
}

func unwritten(err error) error {
	if err == nil || tuferr.As(err) != nil {
		return err
	}
	code := protocol.CodeLocalIO
	if errors.Is(err, syscall.ENOSPC) {
		code = protocol.CodeDiskFull
	}
	return tuferr.New(code, "the bundle cannot be written: %w", err)
}

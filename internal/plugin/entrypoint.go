package plugin

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"path"
)

// EntryPoint returns the content of the file that m.EntryPoint names, and its
// length. The whole archive is held against [CheckArchive] first, so that no reader
// of tar would take another file for it, and no bomb be unpacked.
//
// Errors are those of CheckArchive; a [*ManifestError] also where m names none, and
// an [*ArchiveError] where it is a link. What the content is read from reads archive
// and heeds ctx.
func EntryPoint(ctx context.Context, archive *io.SectionReader, lim Limits, m *Manifest) (io.Reader, int64, error) {
	if err := CheckEntryPoint(m.EntryPoint); err != nil {
		return nil, 0, err
	}
	whole := func() io.Reader { return io.NewSectionReader(archive, 0, archive.Size()) }
	if err := CheckArchive(ctx, whole(), archive.Size(), lim, m); err != nil {
		return nil, 0, err
	}
	in := &source{ctx: ctx, r: whole(), left: archive.Size()}
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, 0, in.wrong(err)
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if err != nil {
			return nil, 0, in.wrong(err)
		}
		if h.Typeflag == tar.TypeXGlobalHeader || path.Clean(h.Name) != m.EntryPoint {
			continue
		}
		if h.Typeflag != tar.TypeReg {
			return nil, 0, &ArchiveError{h.Name, fmt.Sprintf("is a link to %.200q: the entry point must be a file", h.Linkname)}
		}
		return t, h.Size, nil
	}
}

// wrong is why a checked archive could not be read again.
func (s *source) wrong(err error) error {
	if s.err != nil {
		return s.err
	}
	return unreadable(err)
}

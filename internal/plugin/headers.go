package plugin

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

const (
	blockSize = 512
	// maxExtension is the most bytes of one extension header.
	maxExtension = 1 << 20
)

// headers watches the blocks of a tar for what unpackers understand in different
// ways, so that all of them see the names that [tar.Reader] sees. An entry may
// have one extension header of PAX, or one GNU long name and one GNU long link;
// which of several counts, everybody decides otherwise.
//
// It is an [io.Writer] for what tar.Reader reads. Write never fails: what is
// wrong stands in problem, and tar.Reader must not go on to the next entry then.
type headers struct {
	problem string

	block  [blockSize]byte
	filled int   // bytes of block
	left   int64 // bytes until the next header
	// kind is the extension header that is being read, data what it holds, and
	// missing the rest of that.
	kind    byte
	data    []byte
	missing int64
	// before are the kinds of the extension headers before the next entry, and
	// size is what they say of its size.
	before []byte
	size   string
}

func (h *headers) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && h.problem == "" {
		if h.left == 0 {
			k := copy(h.block[h.filled:], p)
			h.filled, p = h.filled+k, p[k:]
			if h.filled == blockSize {
				h.filled = 0
				h.problem = h.header()
			}
			continue
		}
		k := min(int64(len(p)), h.left)
		if m := min(k, h.missing); m > 0 {
			h.data = append(h.data, p[:m]...)
			if h.missing -= m; h.missing == 0 {
				h.problem = h.extension()
			}
		}
		h.left, p = h.left-k, p[k:]
	}
	return n, nil
}

// refuse tells the problem of the entry e, or of the archive's end.
func (h *headers) refuse(e *tar.Header) error {
	if e == nil {
		return &ArchiveError{"", h.problem}
	}
	return &ArchiveError{e.Name, h.problem}
}

// header reads a header block.
func (h *headers) header() string {
	b := h.block[:]
	if len(bytes.Trim(b, "\x00")) == 0 {
		if len(h.before) > 0 {
			return "ends after an extension header"
		}
		return ""
	}
	size, ok := octal(b[124:136])
	if !ok {
		return "has a size that is not written in octal digits"
	}
	kind := b[156]
	switch kind {
	case tar.TypeXHeader, tar.TypeXGlobalHeader, tar.TypeGNULongName, tar.TypeGNULongLink:
		return h.begin(kind, size)
	}
	if problem := h.entry(kind, size); problem != "" {
		return problem
	}
	h.before, h.size = nil, ""
	if kind < tar.TypeLink || kind > tar.TypeFifo { // those hold nothing
		h.left = padded(size)
	}
	return ""
}

// begin begins an extension header.
func (h *headers) begin(kind byte, size int64) string {
	alone := kind == tar.TypeXHeader || kind == tar.TypeXGlobalHeader
	if len(h.before) > 0 && (alone || bytes.IndexByte(h.before, tar.TypeXHeader) >= 0 || bytes.IndexByte(h.before, kind) >= 0) {
		return "has several extension headers: which one counts is not the same for all readers"
	}
	if kind != tar.TypeXGlobalHeader {
		h.before = append(h.before, kind)
	}
	if size > maxExtension {
		return "has an extension header that is too long"
	}
	h.kind, h.data, h.missing, h.left = kind, nil, size, padded(size)
	if size == 0 {
		return h.extension()
	}
	return ""
}

// entry looks for what is read in several ways in the header of an entry.
func (h *headers) entry(kind byte, size int64) string {
	b := h.block[:]
	ustar := string(b[257:263]) == "ustar\x00"
	switch {
	case !ustar && b[345] != 0, ustar && string(b[508:]) == "tar\x00" && b[475] != 0:
		return "has something else where many readers expect a part of its name"
	case h.size != "" && h.size != strconv.FormatInt(size, 10):
		return "has two different sizes"
	case kind == 0 && len(h.before) > 0:
		return "is of the oldest kind, but has an extension header"
	}
	return ""
}

// extension judges an extension header that was read whole.
func (h *headers) extension() string {
	if h.kind == tar.TypeXHeader || h.kind == tar.TypeXGlobalHeader {
		return h.records(string(h.data))
	}
	name := bytes.TrimRight(h.data, "\x00")
	if len(name) == 0 || bytes.IndexByte(name, 0) >= 0 {
		return "has an extension header that is no name"
	}
	return ""
}

// records judges the records of PAX: each is its own length, a key and a value.
func (h *headers) records(data string) string {
	seen := map[string]bool{}
	for data != "" {
		digits, _, _ := strings.Cut(data, " ")
		n, err := strconv.Atoi(digits)
		if err != nil || strconv.Itoa(n) != digits || n <= len(digits)+1 || n > len(data) || data[n-1] != '\n' {
			return "has an extension header that is not well-formed"
		}
		key, value, ok := strings.Cut(data[len(digits)+1:n-1], "=")
		if !ok || seen[key] {
			return fmt.Sprintf("has an extension header that says %.40q twice, or nothing of it", key)
		}
		if problem := h.record(key, value); problem != "" {
			return problem
		}
		seen[key] = true
		data = data[n:]
	}
	return ""
}

// record judges one record. What is not known to leave alone what is unpacked
// where is refused.
func (h *headers) record(key, value string) string {
	if h.kind == tar.TypeXGlobalHeader && key != "comment" {
		return fmt.Sprintf("sets %.40q for all entries after it, which some readers heed and others do not", key)
	}
	switch key {
	case "comment", "atime", "ctime", "mtime", "uid", "gid", "uname", "gname",
		"LIBARCHIVE.creationtime", "SCHILY.dev", "SCHILY.ino", "SCHILY.nlink":
		return ""
	case "path", "linkpath":
		if value == "" || strings.Contains(value, "\x00") {
			return fmt.Sprintf("has an extension header whose %s is empty, or has an end within", key)
		}
		return ""
	case "size":
		h.size = value
		if value == "" {
			return "has an empty size"
		}
		return ""
	case "hdrcharset":
		if value == "ISO-IR 10646 2000 UTF-8" {
			return ""
		}
		return "has names in other characters than UTF-8"
	}
	return attributeProblem(key)
}

// attributeProblem allows the attributes of files that give no rights, and says
// what is wrong with other records.
func attributeProblem(key string) string {
	for _, writer := range []string{"SCHILY.xattr.", "LIBARCHIVE.xattr."} {
		name, ok := strings.CutPrefix(key, writer)
		switch {
		case ok && (strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "com.apple.")):
			return ""
		case ok && strings.HasPrefix(name, "security"):
			return "has capabilities or labels, which would let it run with more rights than its user's"
		}
	}
	if strings.HasPrefix(key, "GNU.sparse.") {
		return sparse
	}
	return fmt.Sprintf("has an extension header with %.60q, which not all readers know", key)
}

// octal reads digits between spaces, as all readers do; the rest of the field may
// be zeros.
func octal(field []byte) (int64, bool) {
	digits := strings.TrimRight(strings.TrimLeft(string(field), " "), " \x00")
	if digits == "" {
		return 0, true
	}
	n, err := strconv.ParseUint(digits, 8, 62)
	return int64(n), err == nil
}

// padded is the room that so many bytes take.
func padded(size int64) int64 { return (size + blockSize - 1) / blockSize * blockSize }

package transport

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// DirURL returns the URL that stands for a directory, as the base of what
// [NewDir] asks for; it has no slash at its end. The error is of code local_io.
func DirURL(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", noWorkingDir(err)
	}
	path := "/" + strings.TrimPrefix(filepath.ToSlash(abs), "/") // On Windows it begins with a drive.
	return strings.TrimSuffix((&url.URL{Scheme: "file", Path: path}).String(), "/"), nil
}

func noWorkingDir(err error) error {
	return tuferr.New(protocol.CodeLocalIO, "the working directory is not known: %w", err)
}

// NewDir makes a client of a repository that lies in a directory, with metadata/
// and targets/ below it. It asks for URLs that begin with that of [DirURL] and
// for nothing else; all else is as for [New], but that there are no credentials,
// connections and proxies. The directory need not be there yet.
//
// A file that does not exist is the status 404. Anything else that keeps it from
// being read is an error of class local: no permission, a directory that is not
// a repository, a symbolic link that leads out of the directory, something that
// is no regular file. Each file is read through one descriptor: a publisher who
// renames files into place may work meanwhile. A file system that hangs hangs
// the call.
func NewDir(dir string, opts Options) (*Client, error) {
	opts.BearerToken, opts.ClientCertificate = "", nil
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	base, err := DirURL(dir)
	if err != nil {
		return nil, err
	}
	u, err := parse(base+"/", notInDir)
	if err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, noWorkingDir(err)
	}
	d := &directory{path: abs, prefix: u.EscapedPath()}
	return &Client{opts: o, plain: d, secret: d, limits: newLimits(o), unusable: d.unusable}, nil
}

// notInDir says why a URL does not name a file of a directory, or nothing.
func notInDir(u *url.URL) string {
	if u.Scheme != "file" || u.Opaque != "" || u.Host != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "does not name a file in a directory"
	}
	return ""
}

// directory answers requests from files.
type directory struct {
	// path is the directory, absolute; prefix is what the paths of its URLs begin
	// with, a slash at its end.
	path, prefix string
}

// unusable says why a URL cannot be asked of the directory, or nothing.
func (d *directory) unusable(u *url.URL) string {
	if notInDir(u) != "" || !strings.HasPrefix(u.EscapedPath(), d.prefix) {
		return "does not name a file in the repository's directory"
	}
	return ""
}

// RoundTrip implements [http.RoundTripper]. What cannot be read is a *dirError.
func (d *directory) RoundTrip(req *http.Request) (*http.Response, error) {
	resp := &http.Response{Request: req, StatusCode: http.StatusNotFound, Header: http.Header{}, Body: http.NoBody}
	f, size, err := d.open(req.URL)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		resp.StatusCode, resp.ContentLength = http.StatusOK, size
		resp.Body = &fileBody{ctx: req.Context(), f: f, left: size}
	}
	if trace := httptrace.ContextClientTrace(req.Context()); trace != nil && trace.GotFirstResponseByte != nil {
		trace.GotFirstResponseByte()
	}
	return resp, nil
}

// open opens the file that a URL names, and returns its size. The error is
// [fs.ErrNotExist] only if the file cannot be there although the repository is.
func (d *directory) open(u *url.URL) (*os.File, int64, error) {
	top, name, ok := d.name(u)
	if !ok {
		return nil, 0, fs.ErrNotExist
	}
	path := filepath.Join(d.path, name)
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return nil, 0, notARepository(d.path, err)
	}
	defer root.Close()
	// Looked at before it is opened: to open a device may do something.
	info, err := root.Stat(name)
	var f *os.File
	if err == nil && info.Mode().IsRegular() {
		f, err = root.OpenFile(name, os.O_RDONLY|nonBlock, 0)
	}
	if f != nil {
		if info, err = f.Stat(); err == nil && info.Mode().IsRegular() {
			return f, info.Size(), nil
		}
		_ = f.Close()
	}
	if isMissing(err) {
		if err := hasDir(root, top); err != nil {
			return nil, 0, notARepository(filepath.Join(d.path, top), err)
		}
		return nil, 0, fs.ErrNotExist
	}
	if err == nil {
		return nil, 0, &dirError{
			path: path, code: protocol.CodeLocalIO, msg: path + " is not a regular file",
			hint: "put the file itself there",
		}
	}
	return nil, 0, unreadable(path, err)
}

// name returns the first part and the whole of the name below the directory that
// a URL stands for; ok is false if no file can have it.
func (d *directory) name(u *url.URL) (top, name string, ok bool) {
	parts := strings.Split(strings.TrimPrefix(u.EscapedPath(), d.prefix), "/")
	for i, part := range parts {
		part, err := url.PathUnescape(part)
		if err != nil || part == "" || part == "." || part == ".." || strings.ContainsAny(part, "/\x00") || !filepath.IsLocal(part) {
			return "", "", false
		}
		parts[i] = part
	}
	return parts[0], filepath.Join(parts...), true
}

// isMissing says whether an error means that there is no such file: not that it
// cannot be said.
func isMissing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG)
}

// hasDir returns an error unless there is a directory of that name. Without it, as
// where nothing is mounted, no file of the repository can be said to be missing.
func hasDir(root *os.Root, name string) error {
	info, err := root.Stat(name)
	if err == nil && !info.IsDir() {
		err = syscall.ENOTDIR
	}
	return err
}

// dirError is why a file in a directory could not be read.
type dirError struct {
	code            protocol.Code
	path, msg, hint string
	err             error
	retry           bool
}

func (e *dirError) Error() string { return e.msg }

func notARepository(path string, err error) error {
	if !isMissing(err) {
		return unreadable(path, err)
	}
	return &dirError{
		code: protocol.CodeLocalIO, path: path, err: bare(err), msg: "no repository: there is no directory " + path,
		hint: "give the directory that has metadata and targets below it, and see that it is mounted",
	}
}

func unreadable(path string, err error) error {
	e := &dirError{code: protocol.CodeLocalIO, path: path, err: bare(err), msg: "cannot read " + path}
	e.hint = "check the directory of the repository; symbolic links must not lead out of it"
	var no syscall.Errno
	switch {
	case errors.Is(err, fs.ErrPermission):
		e.code, e.hint = protocol.CodePermissions, "make it readable for this user"
	case errors.Is(err, errShrunk), errors.As(err, &no) && no != syscall.ELOOP:
		e.retry = true // A network file system may do better the next time.
	}
	return e
}

// bare drops the name from a file system error; the message has the whole path.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

var errShrunk = errors.New("it became shorter while it was read")

// fileBody is the body of an answer: the size bytes that the file had when it was
// opened.
type fileBody struct {
	ctx  context.Context
	f    *os.File
	left int64
}

func (b *fileBody) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.f.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	switch err {
	case nil:
		return n, nil
	case io.EOF:
		err = errShrunk
	}
	return n, unreadable(b.f.Name(), err)
}

func (b *fileBody) Close() error { return b.f.Close() }

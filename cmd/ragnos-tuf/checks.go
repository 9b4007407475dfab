package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/pyenv"
	"github.com/ragnos-labs/vault-tuf/internal/transport"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/verify"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Bounds of the checks.
const (
	repositoryTimeout = 15 * time.Second
	littleSpace       = 100 << 20 // bytes
	clockTolerance    = 5 * time.Minute
)

// checkDirectory checks a directory that is made when needed; choose says how to
// choose another one. It writes one empty file and removes it.
func (d *doctor) checkDirectory(check, dir, choose string) {
	existing, err := nearest(dir)
	if err != nil {
		d.mend(check, problem, localCode(err), choose, "%s cannot be used: %v", dir, err)
		return
	}
	probe, err := os.CreateTemp(existing, ".doctor-*")
	if err == nil {
		err = errors.Join(probe.Close(), os.Remove(probe.Name()))
	}
	if err != nil {
		d.mend(check, problem, localCode(err), "chmod u+rwx "+shellQuote(existing)+", or "+choose, "%s cannot be written: %v", existing, bare(err))
		return
	}
	if free, ok := freeSpace(existing); ok && free < littleSpace {
		d.mend(check, warning, protocol.CodeDiskFull, "free some space, or "+choose, "%s has only %s of free space", existing, size(int64(free)))
		return
	}
	if existing != dir {
		d.ok(check, "%s will be made when it is needed", dir)
		return
	}
	info, err := os.Stat(dir)
	if err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0 {
		d.mend(check, warning, protocol.CodePermissions, "chmod go-w "+shellQuote(dir),
			"%s: other users may write to it (mode %#o)", dir, info.Mode().Perm())
		return
	}
	d.ok(check, "%s can be written", dir)
}

// nearest returns dir, or the nearest directory above it that exists.
func nearest(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for at := abs; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		switch {
		case err == nil && !info.IsDir():
			return "", fmt.Errorf("%s is not a directory", at)
		case err == nil && at == abs:
			return dir, nil
		case err == nil:
			return at, nil
		case !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at):
			return "", err
		}
	}
}

// localCode is the code of an error of the file system.
func localCode(err error) protocol.Code {
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return protocol.CodePermissions
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return protocol.CodeDiskFull
	}
	return protocol.CodeLocalIO
}

// bare drops the path of a temporary name from an error.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

const trustedRoot = "trusted root"

// checkTrust checks the pinned root, and the one that is given if it could be read.
func (d *doctor) checkTrust(p *patient, statusErr error, readable bool) {
	if statusErr != nil {
		d.trouble("trust store", statusErr)
	}
	if !readable {
		return
	}
	var doc *admission.Doc
	if p.given != "" {
		var err error
		if doc, err = admission.Parse(admission.KindRoot, p.root, p.limits); err == nil {
			err = verify.SelfSigned(doc)
		}
		if err != nil {
			e := tuferr.New(protocol.CodeBadRoot, "%s cannot be used: %w", p.given, err)
			e.Hint = "get root.json from the publisher once more, unchanged"
			d.trouble(trustedRoot, e)
			return
		}
	}
	for _, r := range p.Roles {
		if r.Name == string(admission.KindRoot) {
			d.pinnedRoot(p, r, doc)
			return
		}
	}
	switch {
	case statusErr != nil:
	case doc == nil:
		d.mend(trustedRoot, problem, protocol.CodeNoRoot, p.giveRoot, "none is pinned and none is given")
	case !doc.Expires.After(time.Now()):
		d.mend(trustedRoot, warning, protocol.CodeExpired, "get the newest root.json from the publisher",
			"%s: version %d, expired on %s; the repository has to have a newer one", p.given, doc.Version, date(doc.Expires))
	default:
		d.ok(trustedRoot, "%s: version %d, not pinned yet, expires on %s", p.given, doc.Version, date(doc.Expires))
	}
}

// pinnedRoot checks the newest trusted root, and whether the given one, doc
// unless nil, is the same where it has the same version.
func (d *doctor) pinnedRoot(p *patient, r hybrid.RoleStatus, doc *admission.Doc) {
	if doc != nil && doc.Version == r.Version {
		ours, err := os.ReadFile(filepath.Join(p.MetadataDir, "root.json"))
		if err == nil && !bytes.Equal(ours, doc.Raw) {
			d.mend(trustedRoot, problem, protocol.CodeRootConflict, "leave it out, or, if you trust it more: "+p.replaceRoot,
				"%s is not the version %d that is pinned", p.given, r.Version)
			return
		}
	}
	if !r.Expires.After(time.Now()) {
		d.mend(trustedRoot, warning, protocol.CodeExpired, d.command("refresh")+"; if that fails the publisher has to publish a new root",
			"version %d is pinned and expired on %s; the repository has to have a newer one", r.Version, date(r.Expires))
		return
	}
	d.ok(trustedRoot, "version %d is pinned, expires on %s", r.Version, date(r.Expires))
}

// checkPython checks the interpreter and python-tuf in it. Without them auto
// works, but has no fallback. configured is the interpreter that a file names, if
// nothing goes before it.
func (d *doctor) checkPython(ctx context.Context, mode hybrid.Mode, configured string) {
	l := problem
	switch mode {
	case hybrid.ModeGo, hybrid.ModeOff:
		d.ok("python", "not needed in mode %s", mode)
		return
	case hybrid.ModeAuto, "":
		l = warning
	}
	found, err := pyenv.Find(cmp.Or(d.python, configured))
	var v pyenv.Versions
	if err == nil {
		v, err = pyenv.Check(ctx, found.Path)
	}
	if err == nil {
		d.ok("python", "Python %s with python-tuf %s, securesystemslib %s, cryptography %s: %s (from %s)",
			v.Python, v.TUF, v.SecureSystemsLib, v.Cryptography, found.Path, found.Source)
		return
	}
	d.fault("python", l, err)
	f := &d.findings[len(d.findings)-1]
	if l == warning {
		f.Message += "; go-tuf works, but has no fallback"
	}
	switch {
	case f.Code != protocol.CodeMissingDependency:
	case found.Source == pyenv.SourceOption && d.python == "":
		f.Fix = "ragnos-tuf python install, and leave pythonBin out of " + d.config
	case found.Source == pyenv.SourceOption:
		f.Fix = "ragnos-tuf python install, and leave --python out"
	case found.Source == pyenv.SourceEnv:
		f.Fix = "ragnos-tuf python install, and unset " + hybrid.EnvPython
	}
}

// checkRepository asks for timestamp.json, which proves nothing and trusts
// nothing, and compares the clocks. Asking may be impossible, which err says.
func (d *doctor) checkRepository(ctx context.Context, p *patient, hc *transport.Client, err error) {
	if err != nil {
		d.trouble("repository", err)
		return
	}
	defer hc.Close()
	url, err := transport.MetadataURL(p.MetadataURL, string(admission.KindTimestamp), 0)
	if err != nil {
		d.trouble("repository", err)
		return
	}
	raw, err := hc.Get(ctx, transport.Request{URL: url, Role: "timestamp", Limit: p.limits.Bytes(admission.KindTimestamp)})
	var doc *admission.Doc
	if err == nil {
		if doc, err = admission.Parse(admission.KindTimestamp, raw, p.limits); err != nil {
			e := *tuferr.As(err)
			e.URL, e.Hint = url, p.checkURL+": this is where timestamp.json should be"
			err = &e
		}
	}
	if err != nil {
		d.trouble("repository", err)
		return
	}
	d.ok("repository", "%s is there, version %d", url, doc.Version)
	d.checkClock(ctx, url, doc.Expires, p.LastRefresh)
}

// checkClock holds this machine's clock against the repository's, against the
// expiry of its timestamp, and against the last refresh. The first two are not
// authenticated: it only tells apart a wrong clock from metadata that nobody renews.
func (d *doctor) checkClock(ctx context.Context, url string, expires, lastRefresh time.Time) {
	now := time.Now()
	const setClock = "set the clock, for example with: timedatectl set-ntp true"
	theirs, known := serverTime(ctx, url)
	off := now.Sub(theirs)
	switch {
	case known && off.Abs() > clockTolerance:
		l, code := warning, protocol.Code("")
		if !expires.After(now) {
			l, code = problem, protocol.CodeExpired
		}
		d.mend("clock", l, code, setClock, "it says %s, the repository's server %s", date(now), date(theirs))
	case lastRefresh.After(now.Add(clockTolerance)):
		d.mend("clock", warning, "", setClock, "it says %s, but the last refresh was on %s", date(now), date(lastRefresh))
	case !expires.After(now):
		d.mend("clock", problem, protocol.CodeExpired, "ask the publisher to renew the timestamp (local-tuf serve does it by itself), or "+setClock,
			"it says %s, and the repository's timestamp expired on %s", date(now), date(expires))
	default:
		d.ok("clock", "plausible; the repository's timestamp expires on %s", date(expires))
	}
}

// serverTime is the time that the repository's server claims.
func serverTime(ctx context.Context, url string) (time.Time, bool) {
	ctx, cancel := context.WithTimeout(ctx, repositoryTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return time.Time{}, false
	}
	stay := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer stay.CloseIdleConnections()
	resp, err := stay.Do(req)
	if err != nil {
		return time.Time{}, false
	}
	defer resp.Body.Close()
	t, err := http.ParseTime(resp.Header.Get("Date"))
	return t, err == nil
}

func date(t time.Time) string { return t.UTC().Format(time.RFC3339) }

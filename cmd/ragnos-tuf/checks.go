package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
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

// checkDirectory checks a directory that is made when needed. It writes one
// empty file and removes it.
func (d *doctor) checkDirectory(check, dir, flag string) {
	choose := "choose another directory with " + flag
	existing, err := nearest(dir)
	if err != nil {
		d.add(finding{check, problem, fmt.Sprintf("%s cannot be used: %v", dir, err), choose, localCode(err)})
		return
	}
	probe, err := os.CreateTemp(existing, ".doctor-*")
	if err == nil {
		err = errors.Join(probe.Close(), os.Remove(probe.Name()))
	}
	if err != nil {
		d.add(finding{check, problem, fmt.Sprintf("%s cannot be written: %v", existing, bare(err)),
			"chmod u+rwx " + shellQuote(existing) + ", or " + choose, localCode(err)})
		return
	}
	if free, ok := freeSpace(existing); ok && free < littleSpace {
		d.add(finding{check, warning, fmt.Sprintf("%s has only %s of free space", existing, size(int64(free))), "free some space, or " + choose, protocol.CodeDiskFull})
		return
	}
	if existing != dir {
		d.ok(check, "%s will be made when it is needed", dir)
		return
	}
	info, err := os.Stat(dir)
	if err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0 {
		d.add(finding{check, warning, fmt.Sprintf("%s: other users may write to it (mode %#o)", dir, info.Mode().Perm()),
			"chmod go-w " + shellQuote(dir), protocol.CodePermissions})
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

func localCode(err error) protocol.Code {
	if errors.Is(err, fs.ErrPermission) {
		return protocol.CodePermissions
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

// checkRoot checks the pinned root and the one that is given.
func (d *doctor) checkRoot(readErr error, storeUsable bool) {
	given, raw, err := d.givenRoot(readErr)
	if err != nil {
		d.trouble("trusted root", err)
		return
	}
	var doc *admission.Doc
	if given != "" {
		if doc, err = admission.Parse(admission.KindRoot, raw, d.opts.Limits); err == nil {
			err = verify.SelfSigned(doc)
		}
		if err != nil {
			e := tuferr.New(protocol.CodeBadRoot, "%s cannot be used: %w", given, err)
			e.Hint = "get root.json from the publisher once more, unchanged"
			d.trouble("trusted root", e)
			return
		}
	}
	for _, r := range d.status.Roles {
		if r.Name == string(admission.KindRoot) {
			d.pinnedRoot(r, given, doc)
			return
		}
	}
	switch {
	case !storeUsable:
		return
	case doc == nil:
		d.add(finding{"trusted root", problem, "none is pinned and none is given", "ragnos-tuf init --root FILE", protocol.CodeNoRoot})
	case !doc.Expires.After(time.Now()):
		d.add(finding{"trusted root", warning, fmt.Sprintf("%s: version %d, expired on %s; the repository has to have a newer one",
			given, doc.Version, date(doc.Expires)), "get the newest root.json from the publisher", protocol.CodeExpired})
	default:
		d.ok("trusted root", "%s: version %d, not pinned yet, expires on %s", given, doc.Version, date(doc.Expires))
	}
}

// givenRoot returns where the root that flag or environment give lies, "" if
// they give none, and its bytes.
func (d *doctor) givenRoot(readErr error) (path string, raw []byte, err error) {
	if d.root != "" {
		return d.root, d.opts.Root, readErr
	}
	if path = os.Getenv(hybrid.EnvRoot); path != "" {
		raw, err = readRoot(path)
	}
	return path, raw, err
}

// pinnedRoot checks the newest trusted root, and whether the given one, doc
// unless nil, is the same where it has the same version.
func (d *doctor) pinnedRoot(r hybrid.RoleStatus, given string, doc *admission.Doc) {
	if doc != nil && doc.Version == r.Version {
		ours, err := os.ReadFile(filepath.Join(d.status.MetadataDir, "root.json"))
		if err == nil && !bytes.Equal(ours, doc.Raw) {
			d.add(finding{"trusted root", problem, fmt.Sprintf("%s is not the version %d that is pinned", given, r.Version),
				"leave it out, or, if you trust it more: ragnos-tuf init --replace-root --root " + shellQuote(given), protocol.CodeRootConflict})
			return
		}
	}
	if !r.Expires.After(time.Now()) {
		d.add(finding{"trusted root", warning, fmt.Sprintf("version %d is pinned and expired on %s; the repository has to have a newer one", r.Version, date(r.Expires)),
			"ragnos-tuf refresh; if that fails the publisher has to publish a new root", protocol.CodeExpired})
		return
	}
	d.ok("trusted root", "version %d is pinned, expires on %s", r.Version, date(r.Expires))
}

// checkPython checks the interpreter and python-tuf in it. Without them auto
// works, but has no fallback.
func (d *doctor) checkPython(ctx context.Context, mode hybrid.Mode) {
	l := problem
	switch mode {
	case hybrid.ModeGo, hybrid.ModeOff:
		d.ok("python", "not needed in mode %s", mode)
		return
	case hybrid.ModeAuto, "":
		l = warning
	}
	found, err := pyenv.Find(d.python)
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
	case found.Source == pyenv.SourceOption:
		f.Fix = "ragnos-tuf python install, and leave --python out"
	case found.Source == pyenv.SourceEnv:
		f.Fix = "ragnos-tuf python install, and unset " + hybrid.EnvPython
	}
}

// checkRepository asks for timestamp.json, which proves nothing and trusts
// nothing, and compares the clocks.
func (d *doctor) checkRepository(ctx context.Context) {
	url, err := transport.MetadataURL(d.status.MetadataURL, string(admission.KindTimestamp), 0)
	if err != nil {
		d.trouble("repository", err)
		return
	}
	hc, err := transport.New(transport.Options{Attempts: 1, TotalTimeout: repositoryTimeout, Logger: d.opts.Logger})
	if err != nil {
		d.trouble("repository", err)
		return
	}
	defer hc.Close()
	raw, err := hc.Get(ctx, transport.Request{URL: url, Role: "timestamp", Limit: d.opts.Limits.Bytes(admission.KindTimestamp)})
	var doc *admission.Doc
	if err == nil {
		if doc, err = admission.Parse(admission.KindTimestamp, raw, d.opts.Limits); err != nil {
			e := *tuferr.As(err)
			e.URL, e.Hint = url, "check --repo-url and --metadata-url: this is where timestamp.json should be"
			err = &e
		}
	}
	if err != nil {
		d.trouble("repository", err)
		return
	}
	d.ok("repository", "%s is there, version %d", url, doc.Version)
	d.checkClock(ctx, url, doc.Expires)
}

// checkClock holds this machine's clock against the repository's and against
// the expiry of its timestamp. Neither is authenticated: it only tells apart a
// wrong clock from metadata that nobody renews.
func (d *doctor) checkClock(ctx context.Context, url string, expires time.Time) {
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
		d.add(finding{"clock", l, fmt.Sprintf("it says %s, the repository's server %s", date(now), date(theirs)), setClock, code})
	case d.status.LastRefresh.After(now.Add(clockTolerance)):
		d.add(finding{"clock", warning, fmt.Sprintf("it says %s, but the last refresh was on %s", date(now), date(d.status.LastRefresh)), setClock, ""})
	case !expires.After(now):
		d.add(finding{"clock", problem, fmt.Sprintf("it says %s, and the repository's timestamp expired on %s", date(now), date(expires)),
			"ask the publisher to renew the timestamp (local-tuf serve does it by itself), or " + setClock, protocol.CodeExpired})
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

package repository

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/gofrs/flock"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// sums hashes a file with all algorithms in use at once.
type sums map[string]interface {
	io.Writer
	Sum(b []byte) []byte
}

func newSums() sums { return sums{"sha256": sha256.New(), "sha512": sha512.New()} }

func (s sums) Write(p []byte) (int, error) {
	for _, h := range s {
		_, _ = h.Write(p) // Hashes take everything.
	}
	return len(p), nil
}

// match says whether the file has all the given hashes.
func (s sums) match(want map[string]string) bool {
	for algorithm, digest := range want {
		h := s[algorithm]
		if h == nil || hex.EncodeToString(h.Sum(nil)) != digest {
			return false
		}
	}
	return len(want) > 0
}

// checkFiles looks for files that nothing refers to.
func (v *verification) checkFiles(ctx context.Context) error {
	var odd []string
	for _, dir := range []string{metadataName, targetsName} {
		// The separator leads through a symbolic link, as for who serves it.
		err := filepath.WalkDir(filepath.Join(v.r.dir, dir)+string(filepath.Separator), func(p string, d fs.DirEntry, err error) error {
			if ctx.Err() != nil {
				return ioError(p, ctx.Err())
			}
			rel, _ := filepath.Rel(v.r.dir, p) // It is below.
			name := filepath.ToSlash(rel)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				// Removed meanwhile, or named as missing.
			case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP):
				v.found(KindDamaged, true, name, "is not a directory", "put the directory back from a backup")
			case err != nil:
				v.found(KindPermissions, true, name, fmt.Sprintf("cannot be looked into: %v", err), "let the user who serves the repository read it")
			case !d.IsDir() && !v.expected[name]:
				odd = append(odd, name)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	v.checkOdd(odd)
	return v.checkLeftovers()
}

// checkTargetsDir names the directory of the targets, if it is missing: without it
// nothing is served, though nothing may be listed either.
func (v *verification) checkTargetsDir() {
	switch {
	case !v.gone(targetsName):
	case v.report.Targets > 0:
		v.found(KindMissing, true, targetsName, "the directory is not there: no plugin can be downloaded", restoreDir)
	default:
		v.found(KindMissing, false, targetsName, "the directory is not there", "mkdir "+filepath.Join(v.r.dir, targetsName))
	}
}

// checkOdd tells files of earlier versions from those that nobody knows.
func (v *verification) checkOdd(odd []string) {
	var targets []string
	for _, name := range odd {
		switch {
		case strings.HasPrefix(path.Base(name), tempPrefix):
			v.found(KindLeftover, false, name, "an interrupted command left it", "remove it")
		case strings.HasPrefix(name, targetsName+"/"):
			targets = append(targets, name)
		default:
			v.checkOddMetadata(name)
		}
	}
	proposed := v.r.proposedFiles()
	for _, name := range v.notSuperseded(targets) {
		if !proposed[name] {
			v.unknown(name, "no metadata lists it")
		}
	}
	if v.untold > 0 {
		v.found(KindUnknown, false, metadataName, fmt.Sprintf("without all metadata it cannot be told of %d more files whether they are in use", v.untold), "restore the metadata, then verify again")
	}
}

// proposedFiles are the files of targets that proposals in DIR/proposals list:
// clients ask for them once these are published.
func (r *Repository) proposedFiles() map[string]bool {
	wanted := map[string]bool{}
	paths, err := r.kept()
	if err != nil {
		return wanted
	}
	for _, file := range paths {
		p, err := ReadProposal(file)
		if err != nil {
			continue
		}
		for _, f := range p.files {
			for target := range f.plain.Targets.Paths() {
				wanted[path.Join(targetsName, hashedPath(target, f.plain.Targets.Find(target).Hashes["sha256"]))] = true
			}
		}
	}
	return wanted
}

// proposedKeys are the keys that a proposal in DIR/proposals, of the present state,
// puts into force.
func (v *verification) proposedKeys() map[string]bool {
	ids := map[string]bool{}
	paths, err := v.r.kept()
	if err != nil || v.incomplete {
		return ids
	}
	for _, file := range paths {
		p, err := ReadProposal(file)
		if err != nil || p.Repository() != v.roots[0].SHA256 || p.current(v.state) != nil {
			continue
		}
		for _, f := range p.files {
			maps.Copy(ids, keysOfDoc(f.plain))
		}
	}
	return ids
}

func (v *verification) unknown(name, why string) {
	if v.holdsPrivateKey(name) {
		v.found(KindSecret, true, name, "a private key in a directory that is served", "take it away at once, and replace the key: local-tuf key revoke")
		return
	}
	if v.incomplete {
		v.untold++
		return
	}
	v.found(KindUnknown, false, name, why, "find out where it comes from, or remove it")
}

// holdsPrivateKey looks into the beginning of a file only.
func (v *verification) holdsPrivateKey(name string) bool {
	f, err := openRegular(filepath.Join(v.r.dir, filepath.FromSlash(name)))
	if err != nil {
		return false
	}
	defer f.Close()
	head, _ := io.ReadAll(io.LimitReader(f, 4096))
	return bytes.Contains(head, []byte("PRIVATE KEY-----"))
}

func (v *verification) checkOddMetadata(name string) {
	role, version, ok := parseVersioned(path.Base(name))
	current, known := v.version(role)
	switch {
	case !ok || path.Dir(name) != metadataName || !known:
		v.unknown(name, "no metadata of this repository")
	case version > current:
		v.unknown(name, fmt.Sprintf("newer than the version that is published, %d: a change is being made, or somebody copied it there", current))
	default:
		v.report.Superseded++
	}
}

// parseVersioned reads the name of a metadata file.
func parseVersioned(name string) (role string, version int64, ok bool) {
	number, rest, _ := strings.Cut(name, ".")
	escaped, isJSON := strings.CutSuffix(rest, ".json")
	version, err := strconv.ParseInt(number, 10, 64)
	role, err2 := url.PathUnescape(escaped)
	ok = isJSON && err == nil && err2 == nil && version > 0 && versioned(role, version) == name
	return role, version, ok
}

// notSuperseded returns the files of targets that no earlier version of a role
// listed either.
func (v *verification) notSuperseded(names []string) []string {
	left := map[string]bool{}
	for _, name := range names {
		left[name] = true
	}
	entries, err := os.ReadDir(v.r.metadataPath(""))
	if err != nil {
		return names
	}
	for _, e := range entries {
		role, version, ok := parseVersioned(e.Name())
		if len(left) == 0 || !ok || admission.KindOf(role) != admission.KindTargets {
			continue
		}
		if current, known := v.version(role); !known || version > current {
			continue
		}
		doc, err := v.r.read(role, e.Name())
		if err != nil {
			continue // What it listed cannot be told.
		}
		for p := range doc.Targets.Paths() {
			for _, digest := range doc.Targets.Find(p).Hashes {
				name := path.Join(targetsName, hashedPath(p, digest))
				if left[name] {
					v.report.Superseded++
				}
				delete(left, name)
			}
		}
	}
	return sortedKeys(left)
}

// checkLeftovers looks for what interrupted commands left beside the served
// directories.
func (v *verification) checkLeftovers() error {
	if _, err := os.Lstat(filepath.Join(v.r.dir, stagedName)); err == nil && v.unlocked() {
		if v.r.unfinished() {
			v.found(KindLeftover, true, stagedName, "a change is decided but not complete", "run any command that changes the repository, such as: local-tuf serve")
		} else {
			v.found(KindLeftover, false, stagedName, "an interrupted command left it", "the next command that changes the repository removes it")
		}
	}
	entries, err := os.ReadDir(v.r.dir)
	if err != nil {
		return ioError(v.r.dir, err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			v.found(KindLeftover, false, e.Name(), "an interrupted command left it", "remove it")
		}
	}
	return nil
}

// unlocked says that nobody is changing the repository now.
func (v *verification) unlocked() bool {
	l := flock.New(filepath.Join(v.r.dir, lockName))
	ok, err := l.TryLock()
	_ = l.Close()
	return ok && err == nil
}

// checkPermissions looks for what other users could change.
func (v *verification) checkPermissions() {
	for _, name := range []string{".", metadataName, targetsName, keysName, anchorName, configName} {
		info, err := os.Stat(filepath.Join(v.r.dir, name))
		if err == nil && info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
			v.found(KindPermissions, true, name, "every user of this machine can change it", "chmod o-w "+filepath.Join(v.r.dir, name))
		}
	}
}

// checkKeys looks at the keys at hand.
func (v *verification) checkKeys(ctx context.Context) error {
	list, err := v.r.keyList(ctx)
	switch {
	case v.incomplete: // Who signs for what cannot be told.
		list = KeyList{}
		_, err = v.r.listKeys()
	case list.Roles == nil && err != nil:
		return err
	}
	for _, bad := range split(err) {
		if errors.Is(bad, fs.ErrNotExist) {
			continue // Keys may be elsewhere.
		}
		e := during("verify", bad).(*Error)
		kind := KindKey
		if e.Code == protocol.CodePermissions {
			kind = KindPermissions
		}
		v.found(kind, kind == KindPermissions, e.Path, bare(*e), e.Hint)
	}
	waiting := v.proposedKeys()
	for _, k := range list.Unused {
		if waiting[k.KeyID] {
			continue // Removed, it would be missing once the proposal is published.
		}
		v.found(KindKey, false, k.File, "signs for no role", "remove it if its role has been given other keys, and no proposal that waits elsewhere names it")
	}
	return nil
}

// split takes joined errors apart.
func split(err error) []error {
	switch e := err.(type) {
	case nil:
		return nil
	case *Error:
	case interface{ Unwrap() []error }:
		var all []error
		for _, part := range e.Unwrap() {
			all = append(all, split(part)...)
		}
		return all
	}
	return []error{err}
}

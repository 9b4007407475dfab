package repository

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/ragnos-labs/vault-tuf/internal/plugin"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Target is a published plugin.
type Target struct {
	// Path is the target path that clients ask for.
	Path   string `json:"path"`
	Length int64  `json:"length"`
	// SHA256 is the lower-case hex digest.
	SHA256 string `json:"sha256"`
	// Version is the version of targets metadata that lists it first.
	Version int64 `json:"targets_version"`
}

// Publish checks the plugin archive and its manifest, copies the archive into
// the repository and signs targets, snapshot and timestamp: all of it or
// nothing. It blocks until done or ctx ends.
//
// A [*ManifestError], an [*ArchiveError] or [ErrPublished] say what the
// publisher must mend. After an error nothing was published, unless only the
// last sync of a directory failed.
func (r *Repository) Publish(ctx context.Context, pluginPath, manifestPath string) (Target, error) {
	t, err := r.publish(ctx, pluginPath, manifestPath)
	return t, during("publish", err)
}

func (r *Repository) publish(ctx context.Context, pluginPath, manifestPath string) (Target, error) {
	data, err := readFile(manifestPath, MaxManifest)
	if err != nil {
		return Target{}, err
	}
	manifest, err := ParseManifest(data)
	if err != nil {
		return Target{}, usage(manifestPath, err, "mend the manifest; nothing was published")
	}
	release, err := lock(ctx, r.dir)
	if err != nil {
		return Target{}, err
	}
	defer release()
	s, err := r.load()
	if err != nil {
		return Target{}, err
	}
	t := Target{Path: manifest.TargetPath(), Version: s.targets.Signed.Version + 1}
	if _, ok := s.targets.Signed.Targets[t.Path]; ok {
		return Target{}, &Error{Code: protocol.CodeUsage, Target: t.Path, Msg: ErrPublished.Error(), Err: ErrPublished,
			Hint: "give the plugin a new version"}
	}
	signers, err := r.signersFor(metadata.TARGETS, metadata.SNAPSHOT, metadata.TIMESTAMP)
	if err != nil {
		return Target{}, err
	}
	if err := r.addFile(ctx, pluginPath, manifest, &t); err != nil {
		return Target{}, err
	}
	sum, err := hex.DecodeString(t.SHA256)
	if err != nil {
		return Target{}, err
	}
	s.targets.Signed.Targets[t.Path] = &metadata.TargetFiles{
		Length: t.Length, Hashes: metadata.Hashes{"sha256": sum}, Custom: &manifest.Raw}
	if err := ctx.Err(); err != nil {
		return Target{}, ioError(r.dir, err)
	}
	return t, r.commit(s, signers)
}

// addFile copies the archive into the repository, checks the copy, and gives
// it its name. It sets length and hash of t.
func (r *Repository) addFile(ctx context.Context, pluginPath string, m *Manifest, t *Target) error {
	base := filepath.Join(r.dir, targetsName)
	if err := sweep(base, r.metadataPath("")); err != nil {
		return err
	}
	source, err := openRegular(pluginPath)
	if err != nil {
		return err
	}
	defer source.Close()
	copied, err := os.CreateTemp(base, tempPrefix)
	if err != nil {
		return ioError(base, err)
	}
	drop := func(err error) error {
		_ = copied.Close()
		_ = os.Remove(copied.Name())
		return err
	}
	hash := sha256.New()
	// What is hashed is what was copied, whatever happens to the source meanwhile.
	t.Length, err = io.Copy(io.MultiWriter(copied, hash),
		contextReader{ctx, io.LimitReader(source, r.limits.Size+1)})
	if err != nil {
		return drop(ioError(pluginPath, err))
	}
	if t.Length > r.limits.Size {
		return drop(usage(pluginPath, &ArchiveError{Problem: fmt.Sprintf("is larger than %d bytes", r.limits.Size)}, "make it smaller"))
	}
	if err := r.checkCopy(ctx, copied, t.Length, pluginPath, m); err != nil {
		return drop(err)
	}
	t.SHA256 = hex.EncodeToString(hash.Sum(nil))
	dir := path.Dir(t.Path)
	if err := makeDirs(base, dir); err != nil {
		return drop(err)
	}
	name := filepath.Join(base, filepath.FromSlash(dir), t.SHA256+"."+path.Base(t.Path))
	return commitFile(copied, name, 0o644, nil)
}

func (r *Repository) checkCopy(ctx context.Context, f *os.File, size int64, pluginPath string, m *Manifest) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return ioError(f.Name(), err)
	}
	err := plugin.CheckArchive(ctx, f, size, r.limits, m)
	var archive *ArchiveError
	var manifest *ManifestError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &archive), errors.As(err, &manifest):
		return usage(pluginPath, err, "mend the plugin; nothing was published")
	default:
		return ioError(pluginPath, err)
	}
}

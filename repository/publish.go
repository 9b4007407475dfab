package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/ragnos-labs/vault-tuf/internal/delegation"
	"github.com/ragnos-labs/vault-tuf/internal/draft"
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
	// Role is the role that lists it.
	Role    string  `json:"role"`
	Channel Channel `json:"channel"`
}

// PublishOptions are the options of [Repository.Publish].
type PublishOptions struct {
	// Channel is the plugin's channel; "" means beta for a pre-release and stable
	// for every other version.
	Channel Channel
}

// Publish checks the plugin archive and its manifest, copies the archive into
// the repository and signs: all of it or nothing. It blocks until done or ctx
// ends.
//
// The target is listed by the role that is trusted with its path: the
// publisher's if there is one, else top-level targets. If the keys of that role
// are not at hand nothing is published, and the change is returned as a
// [Proposal] for those who hold them.
//
// A [*ManifestError], an [*ArchiveError] or [ErrPublished] say what the
// publisher must mend. After an error nothing was published, unless it says so.
func (r *Repository) Publish(ctx context.Context, pluginPath, manifestPath string, o PublishOptions) (Target, *Proposal, error) {
	t, p, err := r.publish(ctx, pluginPath, manifestPath, o)
	return t, p, during("publish", err)
}

func (r *Repository) publish(ctx context.Context, pluginPath, manifestPath string, o PublishOptions) (t Target, p *Proposal, err error) {
	m, err := readManifest(manifestPath)
	if err != nil {
		return Target{}, nil, err
	}
	if o.Channel != "" {
		if err := knownChannel(o.Channel); err != nil {
			return Target{}, nil, err
		}
	}
	p, err = r.change(ctx, func(c *change) error {
		t, err = c.add(ctx, pluginPath, m, o.Channel)
		return err
	})
	return t, p, err
}

func readManifest(path string) (*Manifest, error) {
	data, err := readFile(path, MaxManifest)
	if err != nil {
		return nil, err
	}
	m, err := ParseManifest(data)
	if err != nil {
		return nil, usage(path, err, "mend the manifest; nothing was published")
	}
	return m, nil
}

// add adds a plugin to the change.
func (c *change) add(ctx context.Context, pluginPath string, m *Manifest, channel Channel) (Target, error) {
	if err := c.publishable(); err != nil {
		return Target{}, err
	}
	r, err := c.plan(m, channel)
	if err != nil {
		return Target{}, err
	}
	if err := c.markLatest(pluginKey{m.Publisher, m.Name}); err != nil {
		return Target{}, err
	}
	if err := c.addFile(ctx, pluginPath, r); err != nil {
		return Target{}, err
	}
	return r.target(), c.list(r)
}

// publishable refuses what could be published to nobody's use.
func (c *change) publishable() error {
	// Made anew it would hide that what is published has gone.
	if dir := filepath.Join(c.r.dir, targetsName); notThere(dir) {
		return &Error{Code: protocol.CodeLocalIO, Path: dir, Msg: "half a repository: the directory of the targets is missing",
			Hint: "restore it from a backup; only if nothing was published yet, make it: mkdir " + dir}
	}
	if !c.root.Expires.After(c.now) {
		return &Error{Code: protocol.CodeExpired, Role: roleRoot,
			Msg:  fmt.Sprintf("it expired %s, and the clock says %s: clients would refuse everything", sayTime(c.root.Expires), sayTime(c.now)),
			Hint: "set the clock if it is wrong; else renew root: local-tuf root propose FILE; nothing was changed"}
	}
	return nil
}

// plan finds the role that will list a plugin.
func (c *change) plan(m *Manifest, channel Channel) (*release, error) {
	r := &release{path: m.TargetPath(), manifest: m, said: plugin.Release{Channel: channel}, file: &draft.Target{}}
	if channel == "" {
		r.said.Channel = defaultChannel(m.Version)
	}
	var err error
	if r.role, r.delegator, err = c.place(r.path); err != nil {
		return nil, err
	}
	// Another role on the way may list it, in a repository made elsewhere.
	listedBy, _, err := delegation.Find(r.path, maxRoles, c.role)
	if err != nil {
		return nil, err
	}
	d, err := c.editRole(r.role, r.delegator)
	if err != nil {
		return nil, err
	}
	if listedBy != "" || d.Has(r.path) {
		return nil, &Error{Code: protocol.CodeUsage, Target: r.path, Msg: ErrPublished.Error(), Err: ErrPublished,
			Hint: "give the plugin a new version"}
	}
	key := pluginKey{m.Publisher, m.Name}
	c.added[key] = append(c.added[key], r)
	return r, nil
}

// list lists a planned plugin whose file has been added.
func (c *change) list(r *release) error {
	d, err := c.editRole(r.role, r.delegator)
	if err != nil {
		return err
	}
	return d.Set(r.path, *r.file)
}

func (r *release) target() Target {
	return Target{Path: r.path, Length: r.file.Length, SHA256: r.file.SHA256, Role: r.role, Channel: r.said.Channel}
}

func defaultChannel(version string) Channel {
	if plugin.IsPrerelease(version) {
		return plugin.Beta
	}
	return plugin.Stable
}

// addFile stages a copy of the archive and checks the copy: whatever happens to
// the source meanwhile, that is what is published. Which releases are the latest
// must be marked before. Files may be added concurrently.
func (c *change) addFile(ctx context.Context, pluginPath string, r *release) error {
	source, err := openRegular(pluginPath)
	if err != nil {
		return err
	}
	defer source.Close()
	limit := c.r.limits.Size
	info, err := source.Stat()
	if err != nil {
		return ioError(pluginPath, err)
	}
	tooLarge := usage(pluginPath, &ArchiveError{Problem: fmt.Sprintf("is larger than %d bytes", limit)}, "make it smaller; nothing was published")
	if info.Size() > limit {
		return tooLarge
	}
	f, err := c.stage.add(targetsName, phaseFiles, 0o644, contextReader{ctx, io.LimitReader(source, limit+1)})
	if err != nil {
		return err
	}
	if f.length > limit {
		return tooLarge
	}
	r.file.Length, r.file.SHA256 = f.length, f.sha256
	c.stage.name(f, path.Join(targetsName, hashedPath(r.path, f.sha256)))
	copied, err := os.Open(f.path)
	if err != nil {
		return ioError(pluginPath, err)
	}
	defer copied.Close()
	if err := checkArchive(ctx, copied, f.length, c.r.limits, pluginPath, r.manifest); err != nil {
		return err
	}
	if r.file.Custom, err = r.manifest.Custom(r.said); err != nil {
		return usage(pluginPath, err, "nothing was published")
	}
	return nil
}

// hashedPath is where a target's file lies below the targets directory
// (specification, 6.2).
func hashedPath(target, sum string) string {
	dir, file := path.Split(target)
	return dir + sum + "." + file
}

func checkArchive(ctx context.Context, f *os.File, size int64, limits plugin.Limits, pluginPath string, m *Manifest) error {
	err := plugin.CheckArchive(ctx, f, size, limits, m)
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

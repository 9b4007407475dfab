package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

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
		if t, err = c.add(ctx, pluginPath, m, o.Channel); err != nil {
			return err
		}
		return c.markLatest(m.Publisher, m.Name)
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

// add adds a plugin to the change. Which releases are the latest must be marked
// afterwards.
func (c *change) add(ctx context.Context, pluginPath string, m *Manifest, channel Channel) (Target, error) {
	t := Target{Path: m.TargetPath(), Channel: channel}
	if channel == "" {
		t.Channel = defaultChannel(m.Version)
	}
	role, delegator, err := c.place(t.Path)
	if err != nil {
		return Target{}, err
	}
	t.Role = role
	d, err := c.editRole(role, delegator)
	if err != nil {
		return Target{}, err
	}
	if d.Has(t.Path) {
		return Target{}, &Error{Code: protocol.CodeUsage, Target: t.Path, Msg: ErrPublished.Error(), Err: ErrPublished,
			Hint: "give the plugin a new version"}
	}
	if err := c.addFile(ctx, pluginPath, m, &t); err != nil {
		return Target{}, err
	}
	custom, err := m.Custom(plugin.Release{Channel: t.Channel})
	if err != nil {
		return Target{}, err
	}
	c.added[pluginKey{m.Publisher, m.Name}] = append(c.added[pluginKey{m.Publisher, m.Name}], t.Path)
	return t, d.Set(t.Path, draft.Target{Length: t.Length, SHA256: t.SHA256, Custom: custom})
}

func defaultChannel(version string) Channel {
	if plugin.IsPrerelease(version) {
		return plugin.Beta
	}
	return plugin.Stable
}

// addFile stages a copy of the archive and checks the copy: whatever happens to
// the source meanwhile, that is what is published. It sets length and hash of t.
func (c *change) addFile(ctx context.Context, pluginPath string, m *Manifest, t *Target) error {
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
	t.Length, t.SHA256, err = c.stage.add(targetsName, phaseFiles, 0o644, contextReader{ctx, io.LimitReader(source, limit+1)})
	if err != nil {
		return err
	}
	if t.Length > limit {
		return tooLarge
	}
	c.stage.name(path.Join(targetsName, hashedPath(t.Path, t.SHA256)))
	copied, err := os.Open(c.stage.last())
	if err != nil {
		return ioError(pluginPath, err)
	}
	defer copied.Close()
	return checkArchive(ctx, copied, t.Length, c.r.limits, pluginPath, m)
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

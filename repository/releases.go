package repository

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/delegation"
	"github.com/ragnos-labs/vault-tuf/internal/draft"
	"github.com/ragnos-labs/vault-tuf/internal/plugin"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// pluginKey names a plugin, whatever its version.
type pluginKey struct{ publisher, name string }

// prefix is what the target paths of all versions begin with.
func (k pluginKey) prefix() string { return "plugins/" + k.publisher + "/" + k.name + "." }

// release is a version of a plugin, and which role lists it.
type release struct {
	path, role, delegator string
	manifest              *Manifest
	said                  plugin.Release
	// file is that of a version which the change adds, else nil.
	file *draft.Target
}

// Yank marks a version as withdrawn, for the given reason. It stays verifiable
// and can still be downloaded, but is not the latest of its channel any more.
// Yanking again replaces the reason.
func (r *Repository) Yank(ctx context.Context, target, reason string) (*Proposal, error) {
	p, err := r.amend(ctx, target, func(said *plugin.Release, now time.Time) error {
		switch {
		case strings.TrimSpace(reason) == "":
			return &Error{Code: protocol.CodeUsage, Target: target, Msg: "a reason is missing", Hint: "say why people should not use this version"}
		case utf8.RuneCountInString(reason) > maxReason:
			return &Error{Code: protocol.CodeUsage, Target: target, Msg: fmt.Sprintf("the reason is longer than %d characters", maxReason), Hint: "shorten it"}
		}
		if said.Yanked != nil && said.Yanked.Reason == reason {
			return nil // It is so already.
		}
		said.Yanked = &plugin.Yanked{Reason: reason, At: now.UTC().Truncate(time.Second)}
		return nil
	})
	return p, during("yank", err)
}

// maxReason bounds the reason for a yank in characters.
const maxReason = 500

// Unyank takes a withdrawal back.
func (r *Repository) Unyank(ctx context.Context, target string) (*Proposal, error) {
	p, err := r.amend(ctx, target, func(said *plugin.Release, _ time.Time) error {
		said.Yanked = nil
		return nil
	})
	return p, during("unyank", err)
}

// SetChannel moves a published version to another channel, as when a beta has
// proved good.
func (r *Repository) SetChannel(ctx context.Context, target string, channel Channel) (*Proposal, error) {
	if err := knownChannel(channel); err != nil {
		return nil, during("channel", err)
	}
	p, err := r.amend(ctx, target, func(said *plugin.Release, _ time.Time) error {
		said.Channel = channel
		return nil
	})
	return p, during("channel", err)
}

func knownChannel(channel Channel) error {
	if _, err := plugin.ParseChannel(string(channel)); err != nil {
		return &Error{Code: protocol.CodeUsage, Msg: fmt.Sprintf("there is no channel %q", channel), Hint: "use stable or beta; nothing was changed"}
	}
	return nil
}

// amend changes what is said of a published version. Its bytes stay.
func (r *Repository) amend(ctx context.Context, target string, how func(*plugin.Release, time.Time) error) (*Proposal, error) {
	return r.change(ctx, func(c *change) error {
		role, delegator, err := delegation.Find(target, maxRoles, c.role)
		if err != nil {
			return err
		}
		if role == "" {
			return &Error{Code: protocol.CodeNotFound, Target: target, Msg: "no such plugin is published",
				Hint: "a target path looks like plugins/PUBLISHER/NAME.VERSION.tar.gz; see: local-tuf status --targets"}
		}
		before := c.custom(target, role)
		m, said, err := plugin.ParseCustom(before)
		if err != nil {
			return &Error{Code: protocol.CodeUsage, Target: target, Msg: "it is not described as a plugin", Err: err,
				Hint: "only what local-tuf has published can be changed so"}
		}
		if err := how(&said, c.now); err != nil {
			return err
		}
		custom, err := m.Custom(said)
		if err != nil {
			return &Error{Code: protocol.CodeUsage, Target: target, Msg: err.Error(), Err: err, Hint: "nothing was changed"}
		}
		if bytes.Equal(custom, before) {
			return nil // It is so already: nobody is asked to sign.
		}
		d, err := c.editRole(role, delegator)
		if err != nil {
			return err
		}
		if err := d.SetCustom(target, custom); err != nil {
			return err
		}
		return c.markLatest(pluginKey{m.Publisher, m.Name})
	})
}

// markLatest marks which releases of plugins are the latest of their channels.
func (c *change) markLatest(plugins ...pluginKey) error {
	all, err := c.releases(plugins)
	if err != nil {
		return err
	}
	for _, key := range plugins {
		versions := make([]plugin.Version, 0, len(all[key]))
		for _, r := range all[key] {
			versions = append(versions, plugin.Version{Version: r.manifest.Version, Release: r.said})
		}
		latest := plugin.Latest(versions)
		for _, r := range all[key] {
			if err := c.mark(r, latest); err != nil {
				return err
			}
		}
	}
	return nil
}

// mark marks a release as the latest of the channels of which it is.
func (c *change) mark(r *release, latest map[Channel]string) error {
	var of []Channel
	for _, channel := range []Channel{plugin.Stable, plugin.Beta} {
		if latest[channel] == r.manifest.Version {
			of = append(of, channel)
		}
	}
	if slices.Equal(of, r.said.Latest) {
		return nil
	}
	r.said.Latest = of
	if r.file != nil {
		return nil // Its custom is made when it is listed.
	}
	d, err := c.editRole(r.role, r.delegator)
	if err != nil {
		return err
	}
	custom, err := r.manifest.Custom(r.said)
	if err != nil {
		return err
	}
	return d.SetCustom(r.path, custom)
}

// home is where the versions of a plugin are listed: in a role, or in the bins of
// its delegator.
type home struct {
	role, delegator string
	bins            bool
}

// releases returns all versions of plugins, those of this change included.
func (c *change) releases(plugins []pluginKey) (map[pluginKey][]*release, error) {
	all := make(map[pluginKey][]*release, len(plugins))
	homes := map[home][]pluginKey{}
	for _, key := range plugins {
		role, delegator, err := c.place(plugin.Path(key.publisher, key.name, "0.0.0"))
		if err != nil {
			return nil, err
		}
		h := home{role: role, delegator: delegator}
		if above := c.roles[delegator]; above != nil && above.doc.Delegations.Succinct != nil {
			h.role, h.bins = "", true
		}
		homes[h] = append(homes[h], key)
		all[key] = append(all[key], c.added[key]...)
	}
	for h, keys := range homes {
		roles := []string{h.role}
		if h.bins {
			roles = delegatedNames(c.roles[h.delegator].doc.Delegations)
		}
		for _, role := range roles {
			doc, err := c.listing(role, h.delegator, keys)
			if err != nil {
				return nil, err
			}
			for key, path := range versionsIn(doc, keys) {
				if r := c.releaseAt(key, path, role, h.delegator); r != nil {
					all[key] = append(all[key], r)
				}
			}
		}
	}
	return all, nil
}

// few is up to how many plugins are looked for one by one.
const few = 8

// listing returns the metadata of a role if it may list versions of the plugins,
// else an empty document. The versions of one plugin may lie in any bin: a bin
// whose file, verified or not, has no word of it is not worth verifying.
func (c *change) listing(role, delegator string, plugins []pluginKey) (*admission.Doc, error) {
	if c.roles[role] != nil || len(plugins) > few {
		return c.role(role, delegator)
	}
	raw, err := readFile(c.r.metadataPath(versioned(role, c.snapshot.Meta[role+".json"].Version)), ownLimits.Targets)
	if err != nil {
		return nil, err
	}
	if bytes.IndexByte(raw, '\\') >= 0 || slices.ContainsFunc(plugins, func(k pluginKey) bool { return bytes.Contains(raw, []byte(k.prefix())) }) {
		return c.role(role, delegator)
	}
	return &admission.Doc{}, nil
}

// versionsIn yields the paths of a role that may be versions of the plugins: the
// name of another plugin may begin alike.
func versionsIn(doc *admission.Doc, plugins []pluginKey) iter.Seq2[pluginKey, string] {
	return func(yield func(pluginKey, string) bool) {
		if len(plugins) <= few {
			for _, key := range plugins {
				for path := range doc.Targets.From(key.prefix()) {
					if !yield(key, path) {
						return
					}
				}
			}
			return
		}
		wanted := make(map[pluginKey]bool, len(plugins))
		for _, key := range plugins {
			wanted[key] = true
		}
		for path := range doc.Targets.From("plugins/") {
			publisher, file, _ := strings.Cut(strings.TrimPrefix(path, "plugins/"), "/")
			for i := range file {
				key := pluginKey{publisher, file[:i]}
				if file[i] == '.' && wanted[key] && !yield(key, path) {
					return
				}
			}
		}
	}
}

// releaseAt returns a release of a plugin as the change has it so far, nil if the
// path is another's.
func (c *change) releaseAt(key pluginKey, path, role, delegator string) *release {
	m, said, err := plugin.ParseCustom(c.custom(path, role))
	if err != nil || m.Publisher != key.publisher || m.Name != key.name {
		return nil
	}
	return &release{path: path, role: role, delegator: delegator, manifest: m, said: said}
}

// custom returns the custom of a target as the change has it so far.
func (c *change) custom(path, role string) []byte {
	if e := c.edits[role]; e != nil && e.draft != nil {
		return e.draft.Custom(path)
	}
	var t *admission.Target
	if known := c.roles[role]; known != nil {
		t = known.doc.Targets.Find(path)
	}
	if t == nil {
		return nil
	}
	return t.Custom
}

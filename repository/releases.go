package repository

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/delegation"
	"github.com/ragnos-labs/vault-tuf/internal/plugin"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// pluginKey names a plugin, whatever its version.
type pluginKey struct{ publisher, name string }

// prefix is what the target paths of all versions begin with.
func (k pluginKey) prefix() string { return "plugins/" + k.publisher + "/" + k.name + "." }

// release is a published version of a plugin, and which role lists it.
type release struct {
	path, role, delegator string
	manifest              *Manifest
	said                  plugin.Release
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
		d, err := c.editRole(role, delegator)
		if err != nil {
			return err
		}
		m, said, err := plugin.ParseCustom(d.Custom(target))
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
		if err := d.SetCustom(target, custom); err != nil {
			return err
		}
		return c.markLatest(m.Publisher, m.Name)
	})
}

// markLatest marks which releases of a plugin are the latest of their channel.
func (c *change) markLatest(publisher, name string) error {
	releases, err := c.releases(pluginKey{publisher, name})
	if err != nil {
		return err
	}
	versions := make([]plugin.Version, 0, len(releases))
	for _, r := range releases {
		versions = append(versions, plugin.Version{Version: r.manifest.Version, Release: r.said})
	}
	latest := plugin.Latest(versions)
	for _, r := range releases {
		var of []Channel
		for _, channel := range []Channel{plugin.Stable, plugin.Beta} {
			if latest[channel] == r.manifest.Version {
				of = append(of, channel)
			}
		}
		if slices.Equal(of, r.said.Latest) {
			continue
		}
		d, err := c.editRole(r.role, r.delegator)
		if err != nil {
			return err
		}
		r.said.Latest = of
		custom, err := r.manifest.Custom(r.said)
		if err != nil {
			return err
		}
		if err := d.SetCustom(r.path, custom); err != nil {
			return err
		}
	}
	return nil
}

// releases returns all versions of a plugin, those of this change included.
func (c *change) releases(key pluginKey) (list []release, err error) {
	role, delegator, err := c.place(plugin.Path(key.publisher, key.name, "0.0.0"))
	if err != nil {
		return nil, err
	}
	roles := []string{role}
	if above := c.roles[delegator]; above != nil && above.doc.Delegations.Succinct != nil {
		roles = delegatedNames(above.doc.Delegations)
	}
	for _, role := range roles {
		doc, err := c.role(role, delegator)
		if err != nil {
			return nil, err
		}
		for path := range doc.Targets.From(key.prefix()) {
			list = c.appendRelease(list, key, path, role, delegator)
		}
	}
	for _, path := range c.added[key] {
		role, delegator, err := c.place(path)
		if err != nil {
			return nil, err
		}
		list = c.appendRelease(list, key, path, role, delegator)
	}
	return list, nil
}

// appendRelease appends a path if it is a release of the plugin: the name of
// another one may begin alike.
func (c *change) appendRelease(list []release, key pluginKey, path, role, delegator string) []release {
	m, said, err := plugin.ParseCustom(c.custom(path, role))
	if err != nil || m.Publisher != key.publisher || m.Name != key.name {
		return list
	}
	return append(list, release{path, role, delegator, m, said})
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

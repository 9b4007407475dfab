package vault

import (
	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/plugin"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/vault/policy"
)

// describe turns what a repository's metadata says into a plugin.
func describe(repository string, info *hybrid.TargetInfo) *Plugin {
	p := &Plugin{
		Target: info.Name, Role: info.Role, Length: info.Length, Hashes: info.Hashes,
		Repository: repository, Agree: []string{repository},
		Engine: info.Engine, Versions: info.Versions, Offline: info.Offline,
	}
	// Withdrawn is withdrawn, whatever else cannot be read.
	if y := plugin.ParseYanked(info.Custom); y != nil {
		p.Yanked = &Yanked{y.Reason, y.At}
	}
	m, said, err := plugin.ParseCustom(info.Custom)
	// A manifest of another plugin would lend it that one's name.
	if err != nil {
		return p
	}
	if m.TargetPath() != info.Name {
		p.claimed = m.Publisher
		return p
	}
	p.Publisher, p.Name, p.Version, p.Description = m.Publisher, m.Name, m.Version, m.Description
	p.EntryPoint, p.MinHostVersion, p.Permissions = m.EntryPoint, m.MinHostVersion, m.Permissions
	p.Channel = string(said.Channel)
	for _, c := range said.Latest {
		p.Latest = append(p.Latest, string(c))
	}
	return p
}

// merged is the plugin that several repositories agree on: the first one's, but
// withdrawn if any of them says so.
func merged(agreed []*answer) *Plugin {
	p := describe(agreed[0].repo.name, agreed[0].info)
	for _, a := range agreed[1:] {
		p.Agree = append(p.Agree, a.repo.name)
		other := describe(a.repo.name, a.info)
		if p.Yanked == nil {
			p.Yanked = other.Yanked
		}
		p.others = append(p.others, other)
	}
	return p
}

// denied is the rule that refuses it, nil if it is allowed. All repositories that
// must agree on the bytes must say of them what the policy allows: no single one
// can call them stable, or leave out what others say.
func (p *Plugin) denied(rules *policy.Policy, installed string, o InstallOptions) *policy.Denial {
	for _, said := range append([]*Plugin{p}, p.others...) {
		if said.claimed != "" && len(rules.Deny.Publishers) > 0 {
			if d := rules.Decide(policy.Candidate{Target: p.Target, Publisher: said.claimed}); d != nil && d.Rule == ruleDenied {
				return d
			}
		}
		if d := rules.Decide(said.candidate(installed, o)); d != nil {
			return d
		}
	}
	return nil
}

// ruleDenied is the policy's rule about publishers, who may be named by a manifest of
// another path, too.
const ruleDenied = "deny.publishers"

// candidate is what the policy decides about.
func (p *Plugin) candidate(installed string, o InstallOptions) policy.Candidate {
	c := policy.Candidate{
		Target: p.Target, Publisher: p.Publisher, Name: p.Name, Version: p.Version, Channel: p.Channel,
		Length: p.Length, SHA256: p.Hashes["sha256"], Installed: installed, AllowDowngrade: o.AllowDowngrade,
	}
	if p.Yanked != nil {
		c.Yanked = &p.Yanked.Reason
	}
	return c
}

// denied is the error for a denial of the policy.
func denied(rule, message, hint string) *hybrid.Error {
	return refusal(&policy.Denial{Rule: rule, Message: message, Hint: hint})
}

func refusal(d *policy.Denial) *hybrid.Error {
	e := tuferr.New(protocol.CodePolicyDenied, "%w", d)
	e.Engine, e.Hint = "host", d.Hint
	return e
}

package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/ragnos-labs/vault-tuf/internal/plugin"
)

// rule refuses a candidate, or does not.
type rule struct {
	name   string
	refuse func(*Policy, *Candidate) *Denial
	// byTarget says that it knows enough when it knows the target path.
	byTarget bool
}

// rules are all rules in their order.
var rules = []rule{
	{"deny.publishers", denyPublishers, true},
	{"deny.names", denyNames, true},
	{"allow", allow, true},
	{"yanked", yanked, false},
	{"plugins", readable, true},
	{"plugins[].sha256", hashes, false},
	{"plugins[].version", versions, false},
	{"plugins[].min_version", minVersion, false},
	{"channels", channels, false},
	{"max_size", maxSize, false},
	{"downgrade", downgrade, false},
}

func decide(rules []rule, p *Policy, c *Candidate) *Denial {
	for _, r := range rules {
		if d := r.refuse(p, c); d != nil {
			return d
		}
	}
	return nil
}

// Decide returns the first rule that refuses the candidate, nil if it is allowed.
func (p *Policy) Decide(c Candidate) *Denial { return decide(rules, p, &c) }

// DecideTarget returns a rule that refuses the target path, whatever metadata says
// about it; nil if metadata must be asked. What it refuses, Decide refuses.
func (p *Policy) DecideTarget(target string) *Denial {
	// The publisher of the path is the only one by which it can be allowed.
	c := &Candidate{Target: target, Publisher: publisherOf(target)}
	byTarget := slices.DeleteFunc(slices.Clone(rules), func(r rule) bool { return !r.byTarget })
	return decide(byTarget, p, c)
}

// unreadable refuses because the policy has a mistake.
func unreadable(rule, value, problem string) *Denial {
	return &Denial{rule, fmt.Sprintf("%.80q %s", value, problem), "correct the policy: what a rule cannot read refuses everything it could be about"}
}

// perPlugin is the name of a rule for some plugins.
func perPlugin(key, field string) string { return "plugins[" + key + "]." + field }

func denyPublishers(p *Policy, c *Candidate) *Denial {
	const name = "deny.publishers"
	for _, entry := range p.Deny.Publishers {
		if problem := publisherProblem(entry); problem != "" {
			return unreadable(name, entry, problem)
		}
		switch entry {
		case all:
			return &Denial{name, "every publisher is denied", `remove "*" from deny.publishers`}
		case c.Publisher, publisherOf(c.Target):
			return &Denial{name, fmt.Sprintf("publisher %q is denied", entry), fmt.Sprintf("remove %q from deny.publishers", entry)}
		}
	}
	return nil
}

func denyNames(p *Policy, c *Candidate) *Denial {
	const name = "deny.names"
	for _, entry := range p.Deny.Names {
		if problem := PatternProblem(entry); problem != "" {
			return unreadable(name, entry, problem)
		}
	}
	if pattern, ok := matching(p.Deny.Names, c.Target); ok {
		return &Denial{name, fmt.Sprintf("target %.200q is denied by the pattern %.200q", c.Target, pattern),
			fmt.Sprintf("remove %.200q from deny.names", pattern)}
	}
	return nil
}

func allow(p *Policy, c *Candidate) *Denial {
	if _, ok := matching(p.Allow.Names, c.Target); ok {
		return nil
	}
	publisher := publisherOf(c.Target)
	own := c.Publisher != "" && c.Publisher == publisher
	if own && (slices.Contains(p.Allow.Publishers, publisher) || slices.Contains(p.Allow.Publishers, all)) {
		return nil
	}
	d := &Denial{"allow", fmt.Sprintf("nothing allows target %.200q", c.Target),
		"add a pattern that matches the target to allow.names"}
	switch {
	case len(p.Allow.Publishers)+len(p.Allow.Names) == 0:
		d.Message = "the policy allows nothing"
	case c.Publisher == "":
		d.Message += ", which no manifest says the publisher of"
	case !own:
		d.Message += fmt.Sprintf(", which does not lie below plugins/ and the name of its publisher, %.64q", c.Publisher)
	}
	if own && plugin.PublisherProblem(publisher) == "" {
		d.Hint = fmt.Sprintf("add %q to allow.publishers, or \"plugins/%s/*\" to allow.names", publisher, publisher)
	}
	return d
}

func yanked(_ *Policy, c *Candidate) *Denial {
	if c.Yanked == nil {
		return nil
	}
	why := "without a reason"
	if *c.Yanked != "" {
		why = fmt.Sprintf("because: %.200q", *c.Yanked)
	}
	return &Denial{"yanked", "its publisher withdrew it " + why, "install another version: no policy allows what was withdrawn"}
}

func readable(p *Policy, _ *Candidate) *Denial {
	var bad []string
	for key := range p.Plugins {
		if keyProblem(key) != "" {
			bad = append(bad, key)
		}
	}
	if len(bad) == 0 {
		return nil
	}
	key := slices.Min(bad)
	return unreadable("plugins", key, keyProblem(key))
}

func hashes(p *Policy, c *Candidate) *Denial {
	for _, key := range p.about(c) {
		pinned := p.Plugins[key].SHA256
		if len(pinned) == 0 {
			continue
		}
		name := perPlugin(key, "sha256")
		hint := fmt.Sprintf("if these are the right bytes, add %.71q to %s", "sha256:"+c.SHA256, name)
		switch {
		case c.SHA256 == "":
			return &Denial{name, "no SHA-256 is signed, and only pinned ones are allowed", "let its publisher sign a SHA-256, or remove " + name}
		case !slices.ContainsFunc(pinned, func(h string) bool { return normalHash(h) == normalHash(c.SHA256) }):
			return &Denial{name, fmt.Sprintf("its SHA-256 is %.64q, not one of the %d that are pinned", c.SHA256, len(pinned)), hint}
		}
	}
	return nil
}

// normalHash is the one spelling of a hash.
func normalHash(s string) string { return strings.ToLower(strings.TrimPrefix(s, "sha256:")) }

func versions(p *Policy, c *Candidate) *Denial {
	for _, key := range p.about(c) {
		said := p.Plugins[key].Version
		if said == "" {
			continue
		}
		name := perPlugin(key, "version")
		within, problem := parseRange(said)
		if problem != "" {
			return unreadable(name, said, problem)
		}
		v, d := versionOf(c, name)
		if d != nil {
			return d
		}
		if !admits(within, v, p.followsBeta(c)) {
			d := &Denial{name, fmt.Sprintf("version %.64q is not within %q", c.Version, said), "install a version within it, or widen " + name}
			if v.Prerelease() != "" {
				d.Hint += `; a pre-release must be named, or channel "beta" followed`
			}
			return d
		}
	}
	return nil
}

// versionOf reads the version of the candidate, which the named rule cannot do
// without.
func versionOf(c *Candidate, name string) (*semver.Version, *Denial) {
	if c.Version == "" {
		return nil, &Denial{name, "no signed manifest says its version", "let its publisher sign a manifest, or remove " + name}
	}
	v, err := semver.StrictNewVersion(c.Version)
	if err != nil {
		return nil, &Denial{name, fmt.Sprintf("%.64q is no version", c.Version), "let its publisher sign a semantic version, or remove " + name}
	}
	return v, nil
}

func minVersion(p *Policy, c *Candidate) *Denial {
	for _, key := range p.about(c) {
		said := p.Plugins[key].MinVersion
		if said == "" {
			continue
		}
		name := perPlugin(key, "min_version")
		oldest, err := semver.StrictNewVersion(said)
		if err != nil {
			return unreadable(name, said, "is no version")
		}
		v, d := versionOf(c, name)
		if d != nil {
			return d
		}
		if v.LessThan(oldest) {
			return &Denial{name, fmt.Sprintf("version %.64q is older than %q", c.Version, said), "install a newer version, or lower " + name}
		}
	}
	return nil
}

func channels(p *Policy, c *Candidate) *Denial {
	own := false
	for _, key := range p.about(c) {
		if list := p.Plugins[key].Channels; len(list) > 0 {
			own = true
			if d := follow(perPlugin(key, "channels"), list, c); d != nil {
				return d
			}
		}
	}
	if own {
		return nil
	}
	return follow("channels", p.Channels, c)
}

// follow refuses what is in none of the channels.
func follow(name string, list []string, c *Candidate) *Denial {
	channel := plugin.Channel(c.Channel)
	if channel == "" && c.Publisher == "" {
		channel = plugin.Stable
	}
	beta := slices.Contains(list, string(plugin.Beta))
	stable := beta || len(list) == 0 || slices.Contains(list, string(plugin.Stable))
	switch {
	case channel == plugin.Stable && stable, channel == plugin.Beta && beta:
		return nil
	case channel != plugin.Stable && channel != plugin.Beta:
		return &Denial{name, fmt.Sprintf("it is in an unknown channel, %.40q", channel), "install a version in a channel that is followed"}
	}
	return &Denial{name, fmt.Sprintf("it is in channel %q, which is not followed", channel),
		fmt.Sprintf("add %q to %s, or install a version in a channel that is followed", channel, name)}
}

// FollowsBeta tells whether channel beta is followed for a plugin.
func (p *Policy) FollowsBeta(publisher, name string) bool {
	return p.followsBeta(&Candidate{Publisher: publisher, Name: name})
}

// followsBeta tells whether the candidate may be a beta.
func (p *Policy) followsBeta(c *Candidate) bool {
	as := *c
	as.Channel = string(plugin.Beta)
	return channels(p, &as) == nil
}

func maxSize(p *Policy, c *Candidate) *Denial {
	own := false
	for _, key := range p.about(c) {
		if limit := p.Plugins[key].MaxSize; limit != 0 {
			own = true
			if d := fit(perPlugin(key, "max_size"), limit, c.Length); d != nil {
				return d
			}
		}
	}
	if own {
		return nil
	}
	limit := p.MaxSize
	if limit == 0 {
		limit = DefaultMaxSize
	}
	return fit("max_size", limit, c.Length)
}

// fit refuses what is larger than the limit.
func fit(name string, limit, length int64) *Denial {
	switch {
	case length < 0:
		return &Denial{name, "its length is negative", "let its publisher sign a length"}
	case length <= limit:
		return nil
	}
	return &Denial{name, fmt.Sprintf("it is %d bytes large, and %d are allowed", length, limit),
		fmt.Sprintf("set %s to at least %d", name, length)}
}

func downgrade(_ *Policy, c *Candidate) *Denial {
	const name = "downgrade"
	const hint = "allow a downgrade for this installation"
	if c.Installed == "" || c.AllowDowngrade {
		return nil
	}
	installed, err := semver.StrictNewVersion(c.Installed)
	if err != nil {
		return &Denial{name, fmt.Sprintf("the installed version is on record as %.64q, which is no version", c.Installed), hint}
	}
	v, err := semver.StrictNewVersion(c.Version)
	if err != nil {
		return &Denial{name, fmt.Sprintf("%.64q is no version, so nobody knows whether it is older than the installed %.64q", c.Version, c.Installed), hint}
	}
	if v.LessThan(installed) {
		return &Denial{name, fmt.Sprintf("version %.64q is older than the installed %.64q", c.Version, c.Installed), hint}
	}
	return nil
}

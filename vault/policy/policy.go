// Package policy says which plugins an application allows. A [Policy] is data: the
// same in Go, in YAML and in JSON, with a schema ([Schema]). Deciding is pure: no
// clock, no disk, no network.
//
// Nothing is allowed that no rule allows. Rules are tried in a fixed order, and the
// first that refuses is the [Denial]:
//
//	deny.publishers, deny.names  refused, whatever else says
//	allow                        neither its publisher nor its target path is allowed
//	yanked                       withdrawn by its publisher, with the reason
//	plugins                      a key that cannot be read: nobody knows what it is about
//	plugins[P].sha256            not one of the pinned hashes
//	plugins[P].version           outside the pinned version or range
//	plugins[P].min_version       older than the oldest that is allowed
//	channels                     in a channel that is not followed
//	max_size                     larger than allowed
//	downgrade                    older than the version that is installed
//
// What is allowed by its publisher must have a signed manifest that says so and lie
// below plugins/PUBLISHER/. A target without a manifest is allowed by its path alone;
// lest it dodge what holds for a publisher, deny.publishers and plugins hold for the
// publisher and name in its path.
//
// A policy with mistakes is told by [Policy.Check]. What a rule cannot read refuses.
//
// A [Policy] must not change while it is used; any number of goroutines may use it.
package policy

// Policy is what an application allows. The zero value allows nothing.
type Policy struct {
	// Allow is what may be installed at all: by its publisher or by its path.
	Allow Match `json:"allow,omitzero" yaml:"allow"`
	// Deny goes before Allow.
	Deny Match `json:"deny,omitzero" yaml:"deny"`
	// Channels are the channels that are followed; empty means stable alone. What
	// beta is followed for may be stable, too.
	Channels []string `json:"channels,omitempty" yaml:"channels"`
	// MaxSize is the largest plugin in bytes; 0 means [DefaultMaxSize].
	MaxSize int64 `json:"max_size,omitempty" yaml:"max_size"`
	// Plugins are rules for some plugins, by "publisher/name", or "publisher/*" for
	// all of a publisher. All that match hold.
	Plugins map[string]Rule `json:"plugins,omitempty" yaml:"plugins"`
}

// DefaultMaxSize is the largest plugin in bytes if nothing else is said: 1 GiB.
const DefaultMaxSize = 1 << 30

// Match names publishers, and target paths by patterns as in TUF delegations: "*"
// and "?" match within one part of a path. "*" alone stands for all.
type Match struct {
	// Publishers are names in full, compared exactly.
	Publishers []string `json:"publishers,omitempty" yaml:"publishers"`
	// Names are patterns such as "plugins/acme/*".
	Names []string `json:"names,omitempty" yaml:"names"`
}

// Rule is what holds for one plugin, whatever is said for all.
type Rule struct {
	// Version is the version, or range of versions such as "^1.2", that is allowed:
	// "=", "!=", ">", ">=", "<", "<=", "~" and "^", joined by "," for and, "||" for or.
	// A range admits pre-releases if it names one, or if beta is followed; then
	// neither "^1.2" nor "<2.0.0" admits 2.0.0-rc.1.
	Version string `json:"version,omitempty" yaml:"version"`
	// MinVersion is the oldest version that is allowed.
	MinVersion string `json:"min_version,omitempty" yaml:"min_version"`
	// SHA256 are the hashes that are allowed, in hex, as "sha256:HEX" or HEX; empty
	// means any.
	SHA256 []string `json:"sha256,omitempty" yaml:"sha256"`
	// Channels and MaxSize go before those for all.
	Channels []string `json:"channels,omitempty" yaml:"channels"`
	MaxSize  int64    `json:"max_size,omitempty" yaml:"max_size"`
}

// Candidate is a plugin that is to be decided about, as verified metadata has it.
type Candidate struct {
	// Target is the target path.
	Target string
	// Publisher, Name, Version and Channel are from the signed manifest, "" without
	// one. What has no manifest counts as stable.
	Publisher, Name, Version, Channel string
	// Yanked is the reason for which it was withdrawn; nil if it was not.
	Yanked *string
	// Length is in bytes.
	Length int64
	// SHA256 is the signed one in lower-case hex, "" if none is signed.
	SHA256 string
	// Installed is the highest version of the plugin that was installed, "" if none
	// was; AllowDowngrade lets an older one take its place.
	Installed      string
	AllowDowngrade bool
}

// Denial says which rule refuses a plugin, and why. It is an error. What others
// wrote is quoted and cut, so that it is safe to show.
type Denial struct {
	// Rule is stable, such as "deny.publishers" or "plugins[acme/hello].sha256".
	Rule    string `json:"rule"`
	Message string `json:"message"`
	// Hint says what would allow it.
	Hint string `json:"hint"`
}

// Error says which rule refuses, and why.
func (d *Denial) Error() string { return "policy rule " + d.Rule + ": " + d.Message }

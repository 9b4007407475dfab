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
//	plugins[P].sha256            not one of the pinned hashes
//	plugins[P].version           outside the pinned version or range
//	plugins[P].min_version       older than the oldest that is allowed
//	channels                     in a channel that is not followed
//	max_size                     larger than allowed
//	downgrade                    older than the version that is installed
package policy

// Policy is what an application allows. The zero value allows nothing.
type Policy struct {
	// Allow is what may be installed at all.
	Allow Match `json:"allow,omitzero" yaml:"allow"`
	// Deny goes before Allow.
	Deny Match `json:"deny,omitzero" yaml:"deny"`
	// Channels are the channels that are followed; empty means stable alone. What
	// beta is followed for may be stable, too.
	Channels []string `json:"channels,omitempty" yaml:"channels"`
	// MaxSize is the largest plugin in bytes; 0 means [DefaultMaxSize].
	MaxSize int64 `json:"max_size,omitempty" yaml:"max_size"`
	// Plugins are rules for some plugins, by "publisher/name". All that match hold.
	Plugins map[string]Rule `json:"plugins,omitempty" yaml:"plugins"`
}

// DefaultMaxSize is the largest plugin in bytes if nothing else is said: 1 GiB.
const DefaultMaxSize = 1 << 30

// Match names publishers, and target paths by patterns as in TUF delegations: "*"
// and "?" match within one part of a path. "*" alone stands for all.
type Match struct {
	Publishers []string `json:"publishers,omitempty" yaml:"publishers"`
	Names      []string `json:"names,omitempty" yaml:"names"`
}

// Rule is what holds for one plugin, whatever is said for all.
type Rule struct {
	// Version is the version, or range of versions such as "^1.2", that is allowed.
	Version string `json:"version,omitempty" yaml:"version"`
	// MinVersion is the oldest version that is allowed.
	MinVersion string `json:"min_version,omitempty" yaml:"min_version"`
	// SHA256 are the hashes that are allowed, in hex; empty means any.
	SHA256 []string `json:"sha256,omitempty" yaml:"sha256"`
	// Channels and MaxSize go before those for all.
	Channels []string `json:"channels,omitempty" yaml:"channels"`
	MaxSize  int64    `json:"max_size,omitempty" yaml:"max_size"`
}

// Candidate is a plugin that is to be decided about, as verified metadata has it.
type Candidate struct {
	// Target is the target path.
	Target string
	// Publisher, Name and Version are from the signed manifest, "" without one.
	Publisher, Name, Version, Channel string
	// Yanked is the reason for which it was withdrawn; nil if it was not.
	Yanked *string
	Length int64
	// SHA256 is the signed one in lower-case hex, "" if none is signed.
	SHA256 string
	// Installed is the highest version of the plugin that was installed, "" if none
	// was; AllowDowngrade lets an older one take its place.
	Installed      string
	AllowDowngrade bool
}

// Denial says which rule refuses a plugin, and why. It is an error.
type Denial struct {
	// Rule is stable, such as "deny.publishers" or "plugins[acme/hello].sha256".
	Rule    string `json:"rule"`
	Message string `json:"message"`
	// Hint says what would allow it.
	Hint string `json:"hint"`
}

// Error says which rule refuses, and why.
func (d *Denial) Error() string { return "policy rule " + d.Rule + ": " + d.Message }

package vault

import (
	"time"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/vault/lockfile"
	"github.com/ragnos-labs/vault-tuf/vault/policy"
)

// Plugin is what verified metadata says about a plugin.
type Plugin struct {
	// Target is the target path, Role the role that lists it.
	Target string `json:"target"`
	Role   string `json:"role"`
	// Publisher, Name, Version and what follows are from the signed manifest, empty
	// if the target has none. A manifest of another path is no manifest of this one.
	Publisher      string   `json:"publisher,omitempty"`
	Name           string   `json:"name,omitempty"`
	Version        string   `json:"version,omitempty"`
	Description    string   `json:"description,omitempty"`
	EntryPoint     string   `json:"entry_point,omitempty"`
	MinHostVersion string   `json:"min_host_version,omitempty"`
	Permissions    []string `json:"permissions,omitempty"`
	// Channel is "stable" or "beta"; Latest are the channels that this is said to
	// be the latest version of.
	Channel string   `json:"channel,omitempty"`
	Latest  []string `json:"latest,omitempty"`
	// Yanked is why and when it was withdrawn, nil if it was not.
	Yanked *Yanked `json:"yanked,omitempty"`

	// Length is in bytes; Hashes are lower-case hex by algorithm.
	Length int64             `json:"length"`
	Hashes map[string]string `json:"hashes"`
	// Repository is whose answer this is, Agree all that signed the same length and
	// hashes and were asked, itself among them.
	Repository string   `json:"repository"`
	Agree      []string `json:"agree"`
	// Engine, Versions and Offline are those of the answer; see [hybrid.TargetInfo].
	Engine   string          `json:"engine"`
	Versions hybrid.Versions `json:"versions"`
	Offline  bool            `json:"offline,omitempty"`
	// Denied is the rule by which the policy refuses it, nil if it is allowed.
	Denied *policy.Denial `json:"denied,omitempty"`
	// claimed is the publisher that a manifest of another path names.
	claimed string
	// unsure says that a repository that would have to agree on it could not be listed.
	unsure bool
	// others are what the others in Agree say of it.
	others []*Plugin
}

// Yanked says why and when a release was withdrawn.
type Yanked struct {
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// ID is what people call a plugin without its version: "publisher/name", "" if it
// has no manifest.
func (p *Plugin) ID() string {
	if p.Name == "" {
		return ""
	}
	return p.Publisher + "/" + p.Name
}

// Result is a verified and allowed plugin on disk.
type Result struct {
	Plugin
	// Path is the file in the cache. Whoever may write there can change it later:
	// to run a plugin use [Vault.Open].
	Path string `json:"path"`
	// FromCache says that no bytes had to be fetched; they were hashed again.
	FromCache bool `json:"from_cache"`
	// Fallback says why the primary engine did not answer, "" if it did.
	Fallback string `json:"fallback,omitempty"`
}

// InstallOptions are the options of one installation.
type InstallOptions struct {
	// ExpectedHash is what the SHA-256 must be, as "sha256:HEX". It is compared with
	// the signed one before anything is fetched.
	ExpectedHash string
	// AllowDowngrade lets an older version take the place of the installed one. It
	// is an event when it does.
	AllowDowngrade bool
	// BreakGlass overrides policy and expiry for this one plugin; nil overrides
	// nothing.
	BreakGlass *BreakGlass
	// Progress is called with the bytes that have arrived and the signed length.
	Progress func(done, total int64)
	// locked is what a lock file says of it.
	locked *lockfile.Entry
}

// Health grades how a vault, or one of its repositories, is doing.
type Health string

// The grades.
const (
	// HealthOK: everything is as it should be.
	HealthOK Health = "ok"
	// HealthDegraded: it works, but somebody should look at the reasons.
	HealthDegraded Health = "degraded"
	// HealthDown: nothing can be installed.
	HealthDown Health = "down"
)

// Status tells how a vault is doing.
type Status struct {
	Health Health `json:"status"`
	// Reasons say why it is not ok, for people.
	Reasons      []string           `json:"reasons,omitempty"`
	Mode         hybrid.Mode        `json:"mode"`
	Repositories []RepositoryStatus `json:"repositories"`
	// Err is why nothing can be installed, whatever repositories say, nil if that is
	// not so: the record of what is installed cannot be read, or the audit log not be
	// written.
	Err *hybrid.Error `json:"-"`
	// Events are the latest events, the newest last.
	Events []Event `json:"events"`
}

// RepositoryStatus tells how one repository is doing.
type RepositoryStatus struct {
	Name    string   `json:"name"`
	Health  Health   `json:"status"`
	Reasons []string `json:"reasons,omitempty"`
	// Roles say when the metadata in the trust store expires.
	Roles []RoleStatus `json:"roles"`
	// Err is why its trust store cannot be read, of class local; nil if it can.
	Err *hybrid.Error `json:"-"`
	// Client is the status of its client: engine, breaker, worker, mirrors.
	Client *hybrid.Status `json:"client,omitempty"`
	// rooted says that a root is given, which the next call pins.
	rooted bool
}

// RoleStatus is one role of a trust store.
type RoleStatus struct {
	hybrid.RoleStatus
	// SecondsLeft until it expires; negative since it has.
	SecondsLeft int64 `json:"seconds_left"`
}

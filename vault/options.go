package vault

import (
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/vault/policy"
)

// DefaultExpiryWarning is how long before the expiry of a role health says so: an
// hour for timestamp and snapshot.
const DefaultExpiryWarning = 24 * time.Hour

// DefaultRepository is the name of the repository that the environment names.
const DefaultRepository = "default"

// Options configure a [Vault]. The zero value is safe: one repository taken from
// the environment, as [hybrid.Options] has it, and a policy that allows nothing.
//
// What code sets goes before the environment, the environment before the file that
// File names, and the file before the defaults. [New] puts them together: it fills
// what is unset (zero, or empty) in Options and changes nothing that is set. A list,
// the policy and Plugins are one value each, and never mixed of two.
type Options struct {
	// File is a YAML file, docs/configuration.md explains it; "" means none.
	// [ReadOptions] tells what one says by itself.
	File string

	// Repositories in order of precedence. Empty means those of the file; if that
	// names none either, one, [DefaultRepository], at RAGNOS_TUF_REPO_URL, else at
	// http://localhost:8080, with the root in the file RAGNOS_TUF_ROOT. These two
	// variables also go before the file's remoteRepoUrl and root; they change no
	// list of repositories, neither this one nor the file's.
	Repositories []Repository
	// Mappings say which repositories answer for which target paths. Empty means
	// those of the file, then all repositories for all paths, in their order, with a
	// threshold of 1.
	Mappings []Mapping
	// Policy says what may be installed. The zero value means that of the file; if
	// there is none, nothing is allowed.
	Policy policy.Policy
	// Plugins are what the application wants: a version or range, such as "^1.2", by
	// "publisher/name". The lockfile is made from it; it allows nothing by itself.
	// Nil means those of the file.
	Plugins map[string]string

	// MetadataDir holds a trust store for each repository and the record of what
	// is installed; empty means RAGNOS_TUF_METADATA_DIR, then the file, then
	// ./tuf-metadata. CacheDir holds verified plugins of all repositories; empty
	// means RAGNOS_TUF_CACHE_DIR, then the file, then ./tuf-cache. Any number of
	// processes may share them.
	MetadataDir, CacheDir string

	// Mode says which engines answer; "" means RAGNOS_TUF_CLIENT, then the file,
	// then auto.
	Mode hybrid.Mode
	// DisableFallback leaves python-tuf out: mode auto becomes go. It holds if code
	// or the file (allowFallback: false) says so.
	DisableFallback bool
	// Python is the interpreter for python-tuf; empty means RAGNOS_PYTHON_BIN, then
	// the file, then what [hybrid.Options] has. EngineTimeout, BreakerFailures and
	// BreakerCoolDown are those of [hybrid.Options], too, the same for every
	// repository; each has a breaker of its own.
	Python          string
	EngineTimeout   time.Duration
	BreakerFailures uint32
	BreakerCoolDown time.Duration

	// RefreshInterval is how long verified metadata answers without asking its
	// repository again; 0 asks for every call.
	RefreshInterval time.Duration
	// MaxMetadataAge is how long after its last verified refresh a repository that
	// cannot be reached may answer from verified metadata; 0 means 24 hours,
	// negative never.
	MaxMetadataAge time.Duration
	// ExpiryWarning is how long before the expiry of a role health is degraded, and a
	// 24th of it for timestamp and snapshot, which are signed anew all the time; 0
	// means [DefaultExpiryWarning], negative not before it has expired.
	ExpiryWarning time.Duration

	// AuditDir is where the audit log is kept: every decision, in lines that nobody can
	// change unnoticed; see docs/audit.md. Any number of processes may share it. Empty
	// means the file, then none.
	AuditDir string
	// AuditBestEffort installs also when the audit log cannot be written, and raises a
	// critical event; otherwise the installation is refused. It holds if code or the
	// file says so.
	AuditBestEffort bool

	// OnSecurityEvent is called for every event, in order and never concurrently,
	// on a goroutine of its own: it may block, and may call the vault, except
	// Shutdown. See [Vault.Events].
	OnSecurityEvent func(Event)
	// Logger gets what is worth debugging; nil means none. See [hybrid.Options]; the
	// vault's own lines are those of the component tuf:vault.
	Logger *slog.Logger
	// TracerProvider and MeterProvider get the spans and metrics that docs/telemetry.md
	// lists, those of each repository with its name as ragnos.repository; nil means none.
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Repository is one TUF repository: where it is, what it is trusted by, and what
// it may cost.
type Repository struct {
	// Name is what mappings, events and status call it. It is unique, of at most 64
	// printable characters.
	Name string
	// URL is where it is: metadata below its /metadata/, targets below its
	// /targets/. MetadataURL and TargetsURL override either.
	URL, MetadataURL, TargetsURL string
	// Dir is a repository in a local directory, instead of the URLs.
	Dir string
	// Mirrors are further places where the same repository is served.
	Mirrors []hybrid.Mirror

	// Root is the trusted root metadata, RootFile a file that holds it, read by
	// [New]. One of them pins the trust store; without either it must have been
	// pinned before.
	Root     []byte
	RootFile string
	// MetadataDir is the trust store; empty means one below Options.MetadataDir,
	// under a name made from the hash of Name.
	MetadataDir string

	// Limits bound metadata files, MaxRoots and MaxRoles the work for one target,
	// MaxDownloads the targets that are fetched at the same time; see
	// [hybrid.Options].
	Limits                           hybrid.Limits
	MaxRoots, MaxRoles, MaxDownloads int
	// HTTP has deadlines, retries, credentials, and the bounds on requests and
	// bytes a second: nothing that one repository does takes these from another.
	HTTP hybrid.HTTPOptions
}

// Mapping says which repositories answer for target paths (TAP 4).
type Mapping struct {
	// Paths are patterns of target paths, as in delegations: "*" and "?" match
	// within one part of a path. The pattern "*" alone matches every path.
	Paths []string
	// Repositories are names, in order of precedence.
	Repositories []string
	// Threshold is how many of them must agree on length and hashes, at most all; 0
	// means 1. The policy must allow what each of those says.
	Threshold int
	// Terminating ends the search when this mapping matches and does not answer.
	Terminating bool
}

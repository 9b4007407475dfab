package hybrid

import (
	"bytes"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/pyenv"
	"github.com/ragnos-labs/vault-tuf/internal/targets"
	"github.com/ragnos-labs/vault-tuf/internal/transport"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// The environment fills what the options leave unset.
const (
	EnvMode        = "RAGNOS_TUF_CLIENT"
	EnvPython      = pyenv.EnvPython
	EnvRepoURL     = "RAGNOS_TUF_REPO_URL"
	EnvMetadataDir = "RAGNOS_TUF_METADATA_DIR"
	EnvCacheDir    = "RAGNOS_TUF_CACHE_DIR"
	EnvRoot        = "RAGNOS_TUF_ROOT"
)

// The defaults.
const (
	DefaultRepoURL         = "http://localhost:8080"
	DefaultMetadataDir     = "./tuf-metadata"
	DefaultCacheDir        = "./tuf-cache"
	DefaultEngineTimeout   = 30 * time.Second
	DefaultBreakerFailures = 3
	DefaultBreakerCoolDown = 30 * time.Second
	DefaultMaxRoots        = 1024
	DefaultMaxRoles        = 64
	DefaultMaxMetadataAge  = 24 * time.Hour
	DefaultMaxDownloads    = targets.DefaultMaxDownloads
)

// HTTPOptions configure the HTTP stack: deadlines, retries, credentials, limits.
type HTTPOptions = transport.Options

// Limits bound metadata files before anything in them is believed.
type Limits = admission.Limits

// Options configure a [Client]. The zero value is safe: it takes everything
// from the environment and the defaults, and refuses to work until a trusted
// root has been given.
type Options struct {
	// RepositoryURL is the repository: metadata lies below its /metadata/,
	// targets below its /targets/. MetadataURL and TargetsURL override either.
	RepositoryURL, MetadataURL, TargetsURL string
	// RepositoryDir is a repository in a directory of this machine, instead of a URL:
	// metadata lies below its metadata/, targets below its targets/. Everything holds
	// as if it were served, but that what cannot be read is ErrLocal, and nothing
	// stands in for it. Symbolic links that lead out of it are refused. The
	// environment's URL does not apply.
	RepositoryDir string
	// Mirrors are further places where the same repository is served, in order of
	// preference after RepositoryURL: see the package documentation.
	Mirrors []Mirror
	// MetadataDir is the trust store, CacheDir where verified targets lie. Both
	// are made when needed and may be shared by any number of processes.
	MetadataDir, CacheDir string

	// Root is the trusted root metadata that the application ships. The first one
	// pins the trust store. If nil, the file named by RAGNOS_TUF_ROOT is read, if
	// that is set; if not, the trust store must have been pinned before.
	Root []byte
	// ReplaceRoot lets Root take the place of another pinned root, and
	// quarantines everything trusted under that one.
	ReplaceRoot bool

	// Mode says which engines answer.
	Mode Mode
	// Python is the interpreter for python-tuf. If empty: RAGNOS_PYTHON_BIN,
	// then the private environment made by "ragnos-tuf python install", then
	// python3 in PATH.
	Python string
	// EngineTimeout bounds one engine's own work for one request, time spent
	// waiting for the network excluded.
	EngineTimeout time.Duration
	// BreakerFailures faults of go-tuf in a row, each answered by python-tuf,
	// open the breaker; after BreakerCoolDown one call probes go-tuf again.
	BreakerFailures uint32
	BreakerCoolDown time.Duration

	// RefreshInterval is how long verified metadata answers without asking the
	// repository again. 0 asks for every call; calls that run at the same time
	// share one refresh.
	RefreshInterval time.Duration
	// MaxMetadataAge is how long after the last verified refresh cached targets
	// may be served while the repository cannot be reached; negative never.
	// Metadata that has expired is never used.
	MaxMetadataAge time.Duration
	// MaxRoots bounds the new root versions of one refresh, MaxRoles the
	// delegated roles visited in search of one target.
	MaxRoots, MaxRoles int
	// MaxDownloads bounds the targets that are fetched at the same time; others
	// wait for their turn, HTTP.MaxWaiting at most: one more is ErrBusy at once. Each
	// is one of HTTP.MaxRequests, which should be more, so that metadata has its turn.
	MaxDownloads int
	// Limits bound metadata files.
	Limits Limits
	// HTTP configures the HTTP stack. Its limits are this client's, and so one
	// repository's: they are not shared with other clients.
	HTTP HTTPOptions

	// IgnoreEnvironment leaves the environment out: what is unset here has its
	// default. It is for clients of several repositories in one process.
	IgnoreEnvironment bool

	// Logger gets what is worth debugging; nil means none. Each line has the attribute
	// "component": tuf:client, tuf:transport, tuf:store, tuf:engine, tuf:worker, and at
	// a level below debug tuf:frames.
	Logger *slog.Logger
	// TracerProvider and MeterProvider get the spans and metrics that docs/telemetry.md
	// lists; nil means none. They are asked for a tracer and a meter once, by New.
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
	// TelemetryName is the attribute ragnos.repository of all spans and metrics; ""
	// leaves it out. Clients that share a MeterProvider need different names, or their
	// gauges write over each other.
	TelemetryName string
	// OnEvent is called for every security relevant event, in order and never
	// concurrently. It must not block and must not call the client.
	OnEvent func(Event)
	// Now is the clock; nil means time.Now. The start time of every update is
	// taken from it (specification, 5.1).
	Now func() time.Time
}

// withDefaults fills in the environment and the defaults and checks the rest.
func (o Options) withDefaults() (Options, error) {
	if err := o.locate(); err != nil {
		return o, err
	}
	o.fromEnv(&o.MetadataDir, EnvMetadataDir, DefaultMetadataDir)
	o.fromEnv(&o.CacheDir, EnvCacheDir, DefaultCacheDir)
	mode := string(o.Mode)
	o.fromEnv(&mode, EnvMode, string(ModeAuto))
	var err error
	if o.Mode, err = ParseMode(mode); err != nil {
		return o, err
	}
	if o.Mirrors, err = located(o.Mirrors); err != nil {
		return o, err
	}
	setDefault(&o.EngineTimeout, DefaultEngineTimeout)
	setDefault(&o.BreakerFailures, DefaultBreakerFailures)
	setDefault(&o.BreakerCoolDown, DefaultBreakerCoolDown)
	setDefault(&o.MaxRoots, DefaultMaxRoots)
	setDefault(&o.MaxRoles, DefaultMaxRoles)
	setDefault(&o.MaxMetadataAge, DefaultMaxMetadataAge)
	setDefault(&o.MaxDownloads, DefaultMaxDownloads)
	if o.EngineTimeout < 0 || o.BreakerCoolDown < 0 || o.RefreshInterval < 0 || o.MaxRoots < 0 || o.MaxRoles < 0 || o.MaxDownloads < 0 {
		return o, tuferr.New(protocol.CodeUsage, "options: a duration or bound is negative")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.HTTP.Logger == nil {
		o.HTTP.Logger = o.component("transport")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Root = bytes.Clone(o.Root)
	return o, nil
}

// component returns the logger of a part of the client.
func (o *Options) component(name string) *slog.Logger { return o.Logger.With("component", "tuf:"+name) }

// locate fills in and checks where metadata and targets lie.
func (o *Options) locate() error {
	if o.RepositoryDir != "" {
		if o.RepositoryURL != "" || o.MetadataURL != "" || o.TargetsURL != "" || len(o.Mirrors) > 0 {
			return tuferr.New(protocol.CodeUsage, "options: RepositoryDir takes the place of RepositoryURL, MetadataURL, TargetsURL and Mirrors; give one or the other")
		}
		base, err := transport.DirURL(o.RepositoryDir)
		o.MetadataURL, o.TargetsURL = base+"/metadata", base+"/targets"
		return err
	}
	o.fromEnv(&o.RepositoryURL, EnvRepoURL, DefaultRepoURL)
	base := strings.TrimSuffix(o.RepositoryURL, "/")
	setDefault(&o.MetadataURL, base+"/metadata")
	setDefault(&o.TargetsURL, base+"/targets")
	for _, u := range []*string{&o.MetadataURL, &o.TargetsURL} {
		if err := checkURL(*u); err != nil {
			return err
		}
		*u = strings.TrimSuffix(*u, "/")
	}
	return nil
}

// transport makes the client that asks there.
func (o *Options) transport() (*transport.Client, error) {
	if o.RepositoryDir != "" {
		return transport.NewDir(o.RepositoryDir, o.HTTP)
	}
	return transport.New(o.HTTP)
}

// getenv is os.Getenv, unless the environment is to be left out.
func (o *Options) getenv(name string) string {
	if o.IgnoreEnvironment {
		return ""
	}
	return os.Getenv(name)
}

func (o *Options) fromEnv(field *string, name, otherwise string) {
	if *field == "" {
		*field = o.getenv(name)
	}
	setDefault(field, otherwise)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	if err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil {
		return nil
	}
	shown := "the URL"
	if err == nil {
		shown = u.Redacted()
	}
	e := tuferr.New(protocol.CodeUsage, "%s is not a repository URL", shown)
	e.Hint = "give an http or https URL without user name, such as https://plugins.example.com"
	return e
}

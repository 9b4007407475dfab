package telemetry

import "go.opentelemetry.io/otel/attribute"

// Scope is the instrumentation scope of all spans and instruments.
const Scope = "github.com/ragnos-labs/vault-tuf"

// The attributes.
const (
	Repository = attribute.Key("ragnos.repository")
	// ErrorType is the code of an error, ErrorClass its class; absent on success.
	ErrorType  = attribute.Key("error.type")
	ErrorClass = attribute.Key("ragnos.error.class")
	ErrorSpec  = attribute.Key("ragnos.error.spec")

	TUFOperation   = attribute.Key("ragnos.tuf.operation")
	VaultOperation = attribute.Key("ragnos.vault.operation")
	Engine         = attribute.Key("ragnos.tuf.engine")
	Mode           = attribute.Key("ragnos.tuf.mode")
	Target         = attribute.Key("ragnos.tuf.target")
	TargetSize     = attribute.Key("ragnos.tuf.target.size")
	Role           = attribute.Key("ragnos.tuf.role")
	Trusted        = attribute.Key("ragnos.tuf.version.trusted")
	Received       = attribute.Key("ragnos.tuf.version.received")
	RootVersion    = attribute.Key("ragnos.tuf.version.root")
	Timestamp      = attribute.Key("ragnos.tuf.version.timestamp")
	Snapshot       = attribute.Key("ragnos.tuf.version.snapshot")
	Targets        = attribute.Key("ragnos.tuf.version.targets")
	FromCache      = attribute.Key("ragnos.tuf.from_cache")
	Offline        = attribute.Key("ragnos.tuf.offline")
	Renewed        = attribute.Key("ragnos.tuf.renewed")
	Server         = attribute.Key("server.address")
	Restart        = attribute.Key("ragnos.tuf.worker.restart")
	PythonTUF      = attribute.Key("ragnos.tuf.worker.version")
	BreakerState   = attribute.Key("ragnos.tuf.breaker.state")
	CacheResult    = attribute.Key("ragnos.tuf.cache.result")
	Content        = attribute.Key("ragnos.tuf.content")
	StatusClass    = attribute.Key("ragnos.http.status_class")

	Publisher     = attribute.Key("ragnos.plugin.publisher")
	PluginName    = attribute.Key("ragnos.plugin.name")
	PluginVersion = attribute.Key("ragnos.plugin.version")
	RunsOn        = attribute.Key("ragnos.plugin.runs_on")
	Count         = attribute.Key("ragnos.vault.plugins")
	VaultEvent    = attribute.Key("ragnos.vault.event")
	Severity      = attribute.Key("ragnos.vault.severity")
)

// FallbackEvent is the event on the span of an update that says which engine
// answered (ragnos.tuf.engine), and why the other did not (error.type).
const FallbackEvent = "ragnos.tuf.fallback"

// Span is a row of the table of spans.
type Span struct {
	Op Operation
	// Attributes are what it may have beside ragnos.repository, and those of its error:
	// error.type, ragnos.error.class, ragnos.error.spec, ragnos.tuf.role and the versions
	// trusted and received.
	Attributes  []attribute.Key
	Description string
}

var answerKeys = []attribute.Key{Target, TargetSize, Engine, Offline, Role, RootVersion, Timestamp, Snapshot, Targets}

// Spans is the table of all spans. The name of one is that of its operation.
var Spans = []Span{
	{VaultInstall, []attribute.Key{Target, Publisher, PluginName, PluginVersion, FromCache, Repository}, "a plugin is decided on, verified and installed"},
	{VaultOpen, []attribute.Key{Target, Publisher, PluginName, PluginVersion, RunsOn, Repository}, "the bytes of an installed plugin are handed out"},
	{VaultList, []attribute.Key{Count}, "all repositories are listed or searched"},
	{VaultLookup, []attribute.Key{Target, Publisher, PluginName, PluginVersion, Repository}, "metadata of a plugin is looked up"},
	{VaultResolve, []attribute.Key{Target, Publisher, PluginName, PluginVersion, Repository}, "a version is chosen"},
	{Initialize, nil, "the root is pinned, the trust store loaded"},
	{Refresh, nil, "a caller asks for fresh metadata"},
	{Lookup, answerKeys, "a caller asks what metadata says of a target"},
	{List, []attribute.Key{Count}, "all delegated roles are verified and listed"},
	{Download, append([]attribute.Key{FromCache}, answerKeys...), "a caller asks for the bytes of a target"},
	{Export, nil, "a bundle is written"},
	{Import, nil, "a bundle is verified and taken over"},
	{Update, []attribute.Key{Server, Renewed}, "one mirror is asked for news; calls at the same time share it"},
	{Verify, []attribute.Key{Engine, Mode}, "one engine, and the host after it, judge metadata"},
	{Commit, []attribute.Key{RootVersion, Timestamp, Snapshot}, "the trust store takes over what was verified"},
	{WorkerStart, []attribute.Key{Restart, PythonTUF}, "a python worker is started and greets"},
}

// Kind is the kind of an instrument.
type Kind string

// The kinds.
const (
	KindCounter   Kind = "counter"
	KindHistogram Kind = "histogram"
	KindGauge     Kind = "gauge"
	KindUpDown    Kind = "updowncounter"
)

// Instrument is a row of the table of instruments.
type Instrument struct {
	Name string
	Kind Kind
	// Unit is one of UCUM.
	Unit string
	// Attributes are what its values may have beside ragnos.repository.
	Attributes  []attribute.Key
	Description string
}

// The names of the instruments.
const (
	TUFDuration   = "ragnos.tuf.operation.duration"
	VaultDuration = "ragnos.vault.operation.duration"
	VaultEvents   = "ragnos.vault.events"
	Verifications = "ragnos.tuf.verifications"
	Fallbacks     = "ragnos.tuf.fallbacks"
	Breakers      = "ragnos.tuf.breaker"
	Restarts      = "ragnos.tuf.worker.restarts"
	TimeToExpiry  = "ragnos.tuf.metadata.time_to_expiry"
	CacheLookups  = "ragnos.tuf.cache.lookups"
	Bytes         = "ragnos.tuf.received"
	Requests      = "ragnos.tuf.http.requests"
	Retries       = "ragnos.tuf.http.retries"
	QueueDuration = "ragnos.tuf.http.queue.duration"
)

// Instruments is the table of all instruments.
var Instruments = []Instrument{
	{TUFDuration, KindHistogram, "s", []attribute.Key{TUFOperation, Engine, ErrorType, ErrorClass}, "Time that an operation on one repository took"},
	{VaultDuration, KindHistogram, "s", []attribute.Key{VaultOperation, ErrorType, ErrorClass}, "Time that a call of the vault took"},
	{VaultEvents, KindCounter, "{event}", []attribute.Key{VaultEvent, Severity}, "Security events of a vault"},
	{Verifications, KindCounter, "{verification}", []attribute.Key{Engine, Mode, ErrorType, ErrorClass}, "Outcomes of an engine's look at metadata"},
	{Fallbacks, KindCounter, "{fallback}", []attribute.Key{Engine, ErrorType}, "Times that one engine answered in place of the other, and why"},
	{Breakers, KindUpDown, "{breaker}", []attribute.Key{BreakerState}, "Circuit breakers around go-tuf that are in a state, 0 or 1 for each client"},
	{Restarts, KindCounter, "{restart}", nil, "Python workers started in place of one that ended unasked"},
	{TimeToExpiry, KindGauge, "s", []attribute.Key{Role}, "Time until the metadata of a role expires, negative afterwards"},
	{CacheLookups, KindCounter, "{lookup}", []attribute.Key{CacheResult}, "Looks into the cache of verified targets: hit or miss"},
	{Bytes, KindCounter, "By", []attribute.Key{Content}, "Bytes of answers received: metadata or target"},
	{Requests, KindCounter, "{request}", []attribute.Key{StatusClass, ErrorType}, "Requests to repositories by class of status, such as 2xx"},
	{Retries, KindCounter, "{retry}", nil, "Attempts that followed one that failed"},
	{QueueDuration, KindHistogram, "s", nil, "Time that a request waited for its turn within our own limits, if it had to"},
}

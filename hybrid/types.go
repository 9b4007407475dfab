package hybrid

import (
	"encoding/json"
	"os"
	"time"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Versions are the metadata versions that an answer rests on.
type Versions struct {
	Root      int64 `json:"root"`
	Timestamp int64 `json:"timestamp"`
	Snapshot  int64 `json:"snapshot"`
	Targets   int64 `json:"targets"`
}

// TargetInfo is what verified metadata says about a target.
type TargetInfo struct {
	// Name is the target path, Role the targets role that lists it.
	Name string `json:"name"`
	Role string `json:"role"`
	// Length is in bytes; Hashes are lower-case hex by algorithm.
	Length int64             `json:"length"`
	Hashes map[string]string `json:"hashes"`
	// Custom is the publisher's own JSON object, nil if there is none.
	Custom json.RawMessage `json:"custom,omitempty"`
	// Engine is "go", "python" or, in dual mode, "go+python": who verified it.
	Engine string `json:"engine"`
	// Versions are those of the metadata it was found in.
	Versions Versions `json:"versions"`
	// Offline says that the repository could not be reached and the answer comes
	// from metadata verified before that has not expired.
	Offline bool `json:"offline,omitempty"`
}

// Result is a verified plugin on disk.
type Result struct {
	TargetInfo
	// Path is the file in the cache, readable by this user only. Whoever may
	// write there can change it after it was verified: use Open and Path at once.
	Path string `json:"path"`
	// FromCache says that no bytes had to be fetched; they were hashed again.
	FromCache bool `json:"from_cache"`
	// Fallback says why the primary engine did not answer, "" if it did.
	Fallback string `json:"fallback,omitempty"`
}

// Open opens the verified file for reading.
func (r *Result) Open() (*os.File, error) { return os.Open(r.Path) }

// DownloadOptions are the options of one download.
type DownloadOptions struct {
	// ExpectedHash is what the caller expects the target's SHA-256 to be, as
	// "sha256:HEX" or HEX. It is compared with the signed hash before anything is
	// fetched.
	ExpectedHash string
	// UnsafeExpiryGrace accepts metadata that has expired not longer ago than this,
	// for this download alone; see [Client.UnsafeLookup]. It needs ExpectedHash.
	UnsafeExpiryGrace time.Duration
	// Decide, if not nil, is called with what verified metadata says before a byte
	// is fetched, or handed out from the cache. Its error ends the call as it is.
	Decide func(*TargetInfo) error
	// Progress is called with the bytes that have arrived and the signed length.
	Progress func(done, total int64)
}

// Status tells how a client is doing.
type Status struct {
	Mode Mode `json:"mode"`
	// Engine is the engine that the next call goes to: "go", "python", "go+python" or "none".
	Engine  string        `json:"engine"`
	Breaker BreakerStatus `json:"breaker"`
	Worker  WorkerStatus  `json:"worker"`
	// LastRefresh is the start of the last verified refresh, zero if there was none.
	LastRefresh time.Time    `json:"last_refresh,omitzero"`
	Roles       []RoleStatus `json:"roles"`
	// Offline is why verified metadata stands in for the repository since the last
	// refresh, "" if it does not.
	Offline protocol.Code `json:"offline,omitempty"`
	// LastError is the last call's error, "" if it succeeded, and LastErrorCode its
	// code; LastFallback is why go-tuf was last passed over.
	LastError     string        `json:"last_error,omitempty"`
	LastErrorCode protocol.Code `json:"last_error_code,omitempty"`
	LastFallback  string        `json:"last_fallback,omitempty"`
	// LastErr is the error that LastError is the text of.
	LastErr error `json:"-"`
	// MetadataURL and TargetsURL are file URLs if the repository lies in a directory.
	MetadataURL string `json:"metadata_url"`
	TargetsURL  string `json:"targets_url"`
	// Mirrors lists the repository and its mirrors in order of preference; nil if
	// there are no mirrors.
	Mirrors     []MirrorStatus `json:"mirrors,omitempty"`
	MetadataDir string         `json:"metadata_dir"`
	CacheDir    string         `json:"cache_dir"`
}

// MirrorStatus is how one of the places is doing where the repository is served.
type MirrorStatus struct {
	// The URLs are shown without what may be secret.
	MetadataURL string `json:"metadata_url"`
	TargetsURL  string `json:"targets_url"`
	// State is "in use" for the one that answered last, "ready", "down" when it did
	// not give what was asked for, or "set back" when what it served was refused.
	State string `json:"state"`
	// LastError is what went wrong since the last success, "" if nothing has.
	LastError string `json:"last_error,omitempty"`
	// Until says how long it is passed over while others are well; zero if it is not.
	Until time.Time `json:"until,omitzero"`
}

// BreakerStatus is the state of the circuit breaker around go-tuf: "closed",
// "half-open" or "open".
type BreakerStatus struct {
	State               string `json:"state"`
	Requests            uint32 `json:"requests"`
	TotalSuccesses      uint32 `json:"total_successes"`
	TotalFailures       uint32 `json:"total_failures"`
	ConsecutiveFailures uint32 `json:"consecutive_failures"`
}

// WorkerStatus is the state of the python worker.
type WorkerStatus struct {
	// State is "not needed", "stopped", "starting", "ready", "backing off",
	// "closed" or "unavailable".
	State string `json:"state"`
	// Python is the interpreter's path and Source where it was found.
	Python string `json:"python,omitempty"`
	Source string `json:"source,omitempty"`
	PID    int    `json:"pid,omitempty"`
	// Versions maps component to version, once the worker has greeted.
	Versions map[string]string `json:"versions,omitempty"`
	Restarts int               `json:"restarts"`
	// RSS is the worker's resident memory in bytes, 0 if unknown.
	RSS int64 `json:"rss_bytes,omitempty"`
	// Error says why there is no worker.
	Error string `json:"error,omitempty"`
}

// RoleStatus is one role of the trust store.
type RoleStatus struct {
	Name    string    `json:"name"`
	Version int64     `json:"version"`
	Expires time.Time `json:"expires"`
}

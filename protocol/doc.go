// Package protocol is the language that a Go host and its python-tuf worker
// speak, and the one table of error codes, classes and exit codes that both
// share. This comment is the specification of the wire format; the golden
// vectors in testdata/protocol are read by the tests of both languages.
//
// # Frames
//
// The worker is a child process. The host writes to its standard input and
// reads its standard output. Both carry NDJSON: every frame is one JSON object
// (RFC 8259, UTF-8, no NaN, no duplicate names) on one line that ends in "\n".
// No line is longer than [MaxLine] bytes including the newline. Standard error
// carries log lines, NDJSON objects with "level", "logger" and "message", at
// most [MaxLogLine] bytes each; anything else there is logged as it is. A line
// that belongs to a request with a traceparent has its "trace_id" and "span_id".
// Unknown fields of a frame are ignored by both sides. Missing optional fields
// and null mean the same. A line that is not a frame, is too long, or answers a
// question nobody asked is a protocol violation: the host then kills the worker.
//
// Metadata bytes travel as standard base64 (RFC 4648, padded) of the raw file.
// Times are RFC 3339 in UTC with microseconds at most.
//
// # Greeting
//
// Before anything else the worker writes
//
//	{"hello":{"protocol":2,"pid":4711,"python":"3.11.7","tuf":"7.0.1","securesystemslib":"1.6.0","cryptography":"50.0.2"}}
//
// A host that does not speak that protocol version says so and kills the
// worker. A worker that cannot work writes, instead of the greeting,
//
//	{"fatal":{"code":"missing_dependency","class":"fault","message":"Missing python-tuf dependency: …"}}
//
// and exits with the exit code of that error code.
//
// # Requests and replies (host to worker, worker to host)
//
//	{"id":1,"method":"refresh","params":{…},"deadline_ms":30000}
//	{"id":1,"ok":true,"result":{…}}
//	{"id":1,"ok":false,"error":{"code":"rollback","class":"verdict","message":"…","role":"timestamp","detail":{…}}}
//
// id is a positive integer that the host never uses twice. deadline_ms is how
// long the worker may take, the time it waits for the host excluded; after it
// the worker replies engine_timeout. At most [MaxInFlight] requests run at a time;
// one more is refused with the code usage. Every request is answered exactly once.
//
// A request may have a "traceparent", the span of the host's trace that it is part
// of (W3C Trace Context, version 00). It changes no answer; a worker that finds
// something else there, or knows no traces, goes on without.
//
//	method    params           result
//	ping      –                {}
//	cancel    {"id":N}         {}; request N is then answered with code cancelled
//	init      [TUFParams]      {"version":N} of the trusted root, checked
//	refresh   [TUFParams]      [TUFResult]
//	lookup    [TUFParams]      [TUFResult] with answers for params.targets
//	list      [TUFParams]      [TUFResult], every reachable role verified
//	shutdown  –                {}; the worker then exits with 0
//
// At the end of its standard input the worker exits at once, whatever it is
// doing: the host is gone.
//
// # Files (worker to host and back)
//
// The worker opens no file and no connection. While a request runs it asks the
// host for metadata, one file after another:
//
//	{"id":1,"event":"fetch","fetch":{"seq":2,"role":"root","version":2,"length":512000}}
//	{"fetched":{"id":1,"seq":2,"data":"eyJzaWduYXR1cmVzIj…"}}
//	{"fetched":{"id":1,"seq":2,"error":{"code":"not_found","class":"not_found","message":"…"}}}
//
// seq counts the fetches of one request from 1. "local":true asks for the
// trusted copy instead of the repository's; not_found then means there is none.
// The first fetch of every request is the one of the trusted root, local and
// without a version; only it asks for that. version is absent where the file
// name has no version. not_found for a root version means that the trusted root
// is the newest. Any other error ends the request: the worker replies with that
// same error, detail.verified added. A file without data, same and error is
// empty.
//
// # What the worker keeps
//
// The worker may keep files that it has verified, and that their bytes have been
// verified, from one request to the next, within a bound. When it asks for a
// file of which it keeps a likely version it says so with the SHA-256 of those
// bytes, in lower-case hex:
//
//	{"id":1,"event":"fetch","fetch":{"seq":3,"role":"timestamp","local":true,"have":"9f86d0…"}}
//	{"fetched":{"id":1,"seq":3,"same":true}}
//
// If the file that the host would send has that very digest it may answer "same"
// instead of sending it; otherwise it answers as if there were no "have". The
// host keeps no account of what a worker has, and a worker may forget at any
// time. What was kept changes no answer: everything that does not follow from
// the bytes alone is judged anew in each request.
//
// # Errors
//
// "code" is one of [Codes] and "class" the class the table gives it. Only a
// fault lets the host ask another engine. detail may hold "verified", a list as
// in [TUFResult] of what was verified before the error: that much may be kept;
// for rollback and bad_version also the versions "trusted" and "received".
//
// # Exit codes
//
// The worker and all commands exit with [Code.Exit] of what went wrong, and with
// 0 otherwise. A worker killed by a signal is reported as engine_crash.
package protocol

import "encoding/json"

// Version is the protocol version of this package.
const Version = 2

// Limits of the protocol. A frame beyond them is a violation.
const (
	// MaxLine is the longest frame in bytes, newline included, both ways.
	MaxLine = 96 << 20
	// MaxLogLine is the longest line of standard error that is logged whole.
	MaxLogLine = 64 << 10
	// MaxInFlight is how many requests may be unanswered at a time.
	MaxInFlight = 16
)

// Methods.
const (
	MethodPing     = "ping"
	MethodCancel   = "cancel"
	MethodInit     = "init"
	MethodRefresh  = "refresh"
	MethodLookup   = "lookup"
	MethodList     = "list"
	MethodShutdown = "shutdown"
)

// Request is a frame from the host that wants a reply.
type Request struct {
	ID         int64           `json:"id"`
	Method     string          `json:"method"`
	Params     json.RawMessage `json:"params,omitempty"`
	DeadlineMS int64           `json:"deadline_ms,omitempty"`
	// TraceParent is a traceparent, "" for none.
	TraceParent string `json:"traceparent,omitempty"`
}

// Message is any frame from the worker; exactly one of Hello, Fatal, Event and
// OK is set.
type Message struct {
	Hello *Hello `json:"hello,omitempty"`
	Fatal *Error `json:"fatal,omitempty"`

	ID     int64           `json:"id,omitempty"`
	OK     *bool           `json:"ok,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  *Error          `json:"error,omitempty"`

	Event string `json:"event,omitempty"`
	Fetch *Fetch `json:"fetch,omitempty"`
}

// EventFetch is the event that asks the host for a file.
const EventFetch = "fetch"

// Hello is the worker's greeting.
type Hello struct {
	Protocol         int    `json:"protocol"`
	PID              int    `json:"pid"`
	Python           string `json:"python"`
	TUF              string `json:"tuf"`
	SecureSystemsLib string `json:"securesystemslib"`
	Cryptography     string `json:"cryptography"`
}

// Error is an error on the wire.
type Error struct {
	Code    Code            `json:"code"`
	Class   Class           `json:"class"`
	Message string          `json:"message"`
	Role    string          `json:"role,omitempty"`
	Detail  json.RawMessage `json:"detail,omitempty"`
}

// Fetch asks the host for a metadata file.
type Fetch struct {
	Seq     int64  `json:"seq"`
	Role    string `json:"role"`
	Version int64  `json:"version,omitempty"`
	Length  int64  `json:"length,omitempty"`
	Local   bool   `json:"local,omitempty"`
	// Have is the lower-case hex SHA-256 of the bytes that the worker already
	// has, if it has any.
	Have string `json:"have,omitempty"`
}

// FetchedFrame is the host's answer to a [Fetch].
type FetchedFrame struct {
	Fetched Fetched `json:"fetched"`
}

// Fetched carries the bytes of one file, or why there are none.
type Fetched struct {
	ID   int64  `json:"id"`
	Seq  int64  `json:"seq"`
	Data []byte `json:"data,omitempty"`
	// Same tells that the bytes are those that the worker said it has.
	Same  bool   `json:"same,omitempty"`
	Error *Error `json:"error,omitempty"`
}

// TUFParams are the parameters of init, refresh, lookup and list.
type TUFParams struct {
	// ReferenceTime is the fixed update start time (specification, 5.1).
	ReferenceTime string `json:"reference_time"`
	// Targets are the target paths to look up.
	Targets []string `json:"targets,omitempty"`
	// MaxRoots bounds new root versions, MaxRoles the roles visited.
	MaxRoots int `json:"max_roots"`
	MaxRoles int `json:"max_roles"`
	// Lengths are the most bytes of a file by kind where signed metadata gives
	// no length: root, timestamp, snapshot, targets.
	Lengths map[string]int64 `json:"lengths"`
}

// TUFResult is the result of refresh, lookup and list.
type TUFResult struct {
	// Verified lists every file that python-tuf verified, in that order.
	Verified []VerifiedFile `json:"verified"`
	// Answers holds for each target path looked up what python-tuf found, or
	// null if no role lists it.
	Answers map[string]*Answer `json:"answers,omitempty"`
}

// VerifiedFile says that python-tuf verified some bytes as a role's metadata.
type VerifiedFile struct {
	Role string `json:"role"`
	// Delegator is the role whose keys signed: "root" for top-level roles.
	Delegator string `json:"delegator"`
	Version   int64  `json:"version"`
	// SHA256 is the lower-case hex digest of the bytes.
	SHA256 string `json:"sha256"`
}

// Answer is what python-tuf found for a target path.
type Answer struct {
	// Role is the targets role that lists the path.
	Role   string            `json:"role"`
	Length int64             `json:"length"`
	Hashes map[string]string `json:"hashes"`
	Custom json.RawMessage   `json:"custom,omitempty"`
}

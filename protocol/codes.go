package protocol

// Class says what kind of answer an error is. It decides whether another
// engine may be asked: only after a fault.
type Class string

// The classes of errors.
const (
	// ClassVerdict: an engine worked correctly and says no. Final.
	ClassVerdict Class = "verdict"
	// ClassFault: an engine could not do its work. The other one may try.
	ClassFault Class = "fault"
	// ClassTransport: bytes could not be had from the repository.
	ClassTransport Class = "transport"
	// ClassLocal: this machine's disk, lock or trust store is in the way.
	ClassLocal Class = "local"
	// ClassUsage: the caller asked for something that cannot be.
	ClassUsage Class = "usage"
	// ClassNotFound: verified metadata does not list the target. An answer.
	ClassNotFound Class = "not_found"
	// ClassCancelled: the caller gave up, or its deadline passed.
	ClassCancelled Class = "cancelled"
)

// Code names one way to fail. Codes are stable: programs may compare them.
type Code string

// The codes. Class and exit code of each stand in [Codes].
const (
	CodeInternal    Code = "internal"
	CodeUsage       Code = "usage"
	CodeInvalidName Code = "invalid_name"
	CodeDisabled    Code = "disabled"
	CodeNotFound    Code = "not_found"

	CodeUnsigned       Code = "unsigned"
	CodeRollback       Code = "rollback"
	CodeBadVersion     Code = "bad_version"
	CodeExpired        Code = "expired"
	CodeMismatch       Code = "mismatch"
	CodeEndlessData    Code = "endless_data"
	CodeMalformed      Code = "malformed"
	CodeExpectedHash   Code = "expected_hash"
	CodeRootConflict   Code = "root_conflict"
	CodeNotInSnapshot  Code = "not_in_snapshot"
	CodeDisagreement   Code = "disagreement"
	CodeTooMany        Code = "too_many"
	CodeUnableInDual   Code = "unable_in_dual"
	CodePolicyDenied   Code = "policy_denied"
	CodeUnreachable    Code = "unreachable"
	CodeHTTPStatus     Code = "http_status"
	CodeNotARepository Code = "not_a_repository"
	CodeStale          Code = "stale"
	CodeBusy           Code = "busy"

	CodeLocalIO     Code = "local_io"
	CodeDiskFull    Code = "disk_full"
	CodeNoRoot      Code = "no_root"
	CodeBadRoot     Code = "bad_root"
	CodeLocked      Code = "locked"
	CodeContention  Code = "contention"
	CodePermissions Code = "permissions"

	CodeUnrepresentable   Code = "unrepresentable"
	CodeEngineCrash       Code = "engine_crash"
	CodeEngineTimeout     Code = "engine_timeout"
	CodeEngineInternal    Code = "engine_internal"
	CodeProtocol          Code = "protocol_violation"
	CodeWorkerUnavailable Code = "worker_unavailable"
	CodeMissingDependency Code = "missing_dependency"
	CodeEnginesFailed     Code = "engines_failed"

	CodeCancelled Code = "cancelled"
	CodeTimeout   Code = "timeout"
)

// Info is one row of the table of codes.
type Info struct {
	Code  Code
	Class Class
	// Exit is the exit code of every command for this code.
	Exit int
	// Meaning is one sentence for people.
	Meaning string
}

// ExitOK is the exit code of success.
const ExitOK = 0

// Codes is the one table of error codes, in the order of their exit codes.
// testdata/protocol/codes.json holds the same table for other languages; a
// test compares them.
var Codes = []Info{
	{CodeInternal, ClassFault, 1, "a defect of this software"},
	{CodeUsage, ClassUsage, 2, "the request cannot be understood"},
	{CodeNotFound, ClassNotFound, 3, "verified metadata does not list the target"},
	{CodeInvalidName, ClassUsage, 4, "the target name is not acceptable"},
	{CodeDisabled, ClassUsage, 5, "verification is switched off, so every request is refused"},

	{CodeUnsigned, ClassVerdict, 10, "not signed by the required threshold of distinct keys"},
	{CodeRollback, ClassVerdict, 11, "an older version than one already trusted"},
	{CodeBadVersion, ClassVerdict, 12, "not the version that was announced"},
	{CodeExpired, ClassVerdict, 13, "the metadata has expired"},
	{CodeMismatch, ClassVerdict, 14, "length or hash differ from the signed ones"},
	{CodeEndlessData, ClassVerdict, 15, "more bytes than the limit allows"},
	{CodeMalformed, ClassVerdict, 16, "the metadata breaks the specification's format"},
	{CodeExpectedHash, ClassVerdict, 17, "the signed hash is not the one the caller expects"},
	{CodeRootConflict, ClassVerdict, 18, "the trusted root differs from the pinned one"},
	{CodeNotInSnapshot, ClassVerdict, 19, "a delegated role is missing from the snapshot"},
	{CodeDisagreement, ClassVerdict, 20, "the two engines disagree about the same bytes"},
	{CodeTooMany, ClassVerdict, 21, "more root versions or delegations than the bound"},
	{CodeUnableInDual, ClassVerdict, 22, "dual mode: one of the engines could not judge these bytes"},
	{CodePolicyDenied, ClassVerdict, 23, "the application's own policy refuses the plugin"},

	{CodeUnreachable, ClassTransport, 30, "repository not accessible"},
	{CodeHTTPStatus, ClassTransport, 31, "the repository answered with an HTTP error"},
	{CodeNotARepository, ClassTransport, 32, "what answered is not TUF metadata"},
	{CodeStale, ClassTransport, 33, "metadata is stale: offline for too long"},
	{CodeBusy, ClassTransport, 34, "too much is being asked of this repository at once: try later"},

	{CodeLocalIO, ClassLocal, 40, "a local file or directory cannot be used"},
	{CodeDiskFull, ClassLocal, 41, "no space is left on the device"},
	{CodePermissions, ClassLocal, 42, "a local file or directory may not be read or written"},
	{CodeNoRoot, ClassLocal, 43, "no trusted root has been given yet"},
	{CodeBadRoot, ClassLocal, 44, "the trusted root file cannot be used"},
	{CodeLocked, ClassLocal, 45, "the trust store stayed locked"},
	{CodeContention, ClassLocal, 46, "the trust store kept changing underneath"},

	{CodeUnrepresentable, ClassFault, 50, "an engine cannot represent well-formed metadata"},
	{CodeEngineCrash, ClassFault, 51, "an engine crashed"},
	{CodeEngineTimeout, ClassFault, 52, "an engine took too long"},
	{CodeEngineInternal, ClassFault, 53, "an engine failed in an unexpected way"},
	{CodeProtocol, ClassFault, 54, "the worker broke the protocol"},
	{CodeWorkerUnavailable, ClassFault, 55, "the python worker cannot be started"},
	{CodeMissingDependency, ClassFault, 56, "Missing python-tuf dependency"},
	{CodeEnginesFailed, ClassFault, 57, "neither engine could do its work"},

	{CodeTimeout, ClassCancelled, 124, "the caller's deadline passed"},
	{CodeCancelled, ClassCancelled, 130, "the caller gave up"},
}

// Lookup returns the row of a code; ok is false for a code this version does
// not know.
func (c Code) Lookup() (info Info, ok bool) {
	for _, i := range Codes {
		if i.Code == c {
			return i, true
		}
	}
	return Info{Code: c, Class: ClassFault, Exit: 1}, false
}

// Class returns the class of the code; an unknown code is a fault.
func (c Code) Class() Class {
	i, _ := c.Lookup()
	return i.Class
}

// Exit returns the exit code of the code; an unknown code exits with 1.
func (c Code) Exit() int {
	i, _ := c.Lookup()
	return i.Exit
}

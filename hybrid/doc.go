// Package hybrid is the client that an application embeds to install plugins
// it must be able to trust. Every plugin is a target in a TUF repository. Two
// independent implementations can verify it: go-tuf in this process, and
// python-tuf in a supervised child process.
//
// Promise: the bytes the publisher signed, or a typed error; never anything
// else, whatever breaks.
//
//	c, err := hybrid.New(hybrid.Options{RepositoryURL: url, Root: root})
//	if err != nil { … }
//	defer c.Shutdown(context.Background())
//	plugin, err := c.VerifyAndDownloadPlugin(ctx, "plugins/acme/hello.1.0.0.tar.gz", hybrid.DownloadOptions{})
//
// A client talks to one repository, behind a URL or in a directory of this machine
// ([Options].RepositoryDir). How much it asks of it at a time and in a second is
// bounded by [Options].HTTP; other clients, of other repositories, are not held up
// when those bounds are reached.
//
// # Modes
//
//	auto    go-tuf verifies; when it cannot do its work, python-tuf does (default)
//	go, js  go-tuf alone
//	python  python-tuf alone
//	dual    both judge the same bytes and must agree; anything else fails closed
//	off     every call is refused; nothing unverified is ever returned instead
//
// In auto only a fault lets python-tuf try: go-tuf crashed, took too long, or
// cannot represent well-formed metadata. A verdict (not signed, rolled back,
// expired, hash mismatch, …) is final. python-tuf then verifies everything from
// scratch over the very same bytes, and the host checks thresholds, versions,
// hashes, expiry and delegations itself before it believes either engine. A
// circuit breaker remembers faults: after a number of them, each answered by
// python-tuf, calls go straight there until a probe finds go-tuf well again.
//
// # Mirrors
//
// Options.Mirrors names further places where the same repository is served. They
// share one trust store and one cache, and are verified alike, whichever answers:
//
//   - A mirror that does not give what is needed (unreachable, an HTTP error, no TUF
//     metadata) is down: the operation starts again at the next one. Only when none
//     answers may what was verified before stand in, or comes the error, with one
//     cause for each mirror.
//   - A verdict about what a mirror served is final for the call; nobody is asked to
//     overrule it. But the mirror is set back: the next call begins with another.
//   - Who is down or set back is passed over for a cool-down of 5 s, doubled with
//     each further trouble up to 5 min, or until all others are in trouble, too. Then
//     one call tries it again. A success resets the cool-down.
//   - Metadata of one operation comes from one mirror. A target that breaks off goes
//     on at the next one if that proves to have the same file, else it starts again.
//   - Token and client certificate go to RepositoryURL only, unless
//     Mirror.SendCredentials says otherwise.
//
// A mirror that hangs costs the call that finds out as long as Options.HTTP allows.
//
// # Errors
//
// Every error is an [*Error]; errors.As finds it and with it the evidence: role,
// trusted and received version, digest, engine, section of the specification.
// errors.Is finds the family:
//
//	ErrVerdict    refused for good: do not install; tell the publisher. Its members:
//	  ErrUnsigned       not signed by the threshold: somebody without the keys changed it
//	  ErrRollback       older than what is trusted: a mirror that lags behind, or an attack
//	  ErrBadVersion     not the version announced: files that do not belong together
//	  ErrExpired        the publisher must sign again, or the clock here is wrong
//	  ErrMismatch       length or hash differ: changed after it was signed; try another mirror
//	  ErrEndlessData    longer than signed or allowed: likewise
//	  ErrMalformed      breaks the format: the publisher must mend it
//	  ErrNotInSnapshot  the snapshot does not list a role: likewise
//	  ErrTooMany        more roots or roles than Options allow
//	  ErrExpectedHash   the publisher signed other bytes than the caller was told
//	  ErrRootConflict   another trusted root than the pinned one: see Options.ReplaceRoot
//	  ErrDisagreement   dual mode: one engine accepts what the other does not; report it
//	  ErrUnableInDual   dual mode: one engine cannot read these files; auto would do
//	  ErrPolicyDenied   package vault: the application's own policy refuses the plugin
//	ErrNotFound   verified metadata does not list the target: check the name
//	ErrTransport  the repository could not be asked: try again later
//	ErrStale      offline for longer than MaxMetadataAge
//	ErrBusy       Options.HTTP bounds what waits for the repository: try again later.
//	              The repository is not to blame, and nothing stands in for it
//	ErrLocal      a directory, lock or trusted root of this machine is in the way
//	ErrFault      no engine could do its work: see Status, and doctor of ragnos-tuf.
//	              In dual mode a missing python-tuf is one
//	ErrUsage      the call or an option is wrong, or the mode is off
//	ErrCancelled  the context ended
package hybrid

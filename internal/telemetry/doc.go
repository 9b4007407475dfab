// Package telemetry is the one place that knows what this software tells
// OpenTelemetry: the names of spans, instruments and attributes, and their units.
// It takes the API only; an application brings the SDK. Telemetry that is off is a
// nil pointer, and costs a comparison with nil.
//
// Nothing that is told is a secret or says anything about the user: no token, no
// local path, no text of an error. An error is its code (error.type) and its class
// (ragnos.error.class), as package protocol has them, and the evidence that anybody
// can have who asks the repository: role, versions, section of the specification.
//
// Spans, kind internal, status Error for every error but not_found, which is an
// answer:
//
//	ragnos.vault.install     a plugin is decided on, verified and installed
//	ragnos.vault.open        the bytes of an installed plugin are handed out
//	ragnos.vault.list        all repositories are listed or searched
//	ragnos.vault.lookup      metadata of a plugin is looked up
//	ragnos.vault.resolve     a version is chosen
//	ragnos.tuf.initialize    the root is pinned, the trust store loaded
//	ragnos.tuf.refresh       a caller asks for fresh metadata
//	ragnos.tuf.lookup        a caller asks what metadata says of a target
//	ragnos.tuf.list          all delegated roles are verified and listed
//	ragnos.tuf.download      a caller asks for the bytes of a target
//	ragnos.tuf.export        a bundle is written
//	ragnos.tuf.import        a bundle is verified and taken over
//	ragnos.tuf.update        one mirror is asked for news; calls at the same time share it
//	ragnos.tuf.verify        one engine, and the host after it, judge metadata
//	ragnos.tuf.commit        the trust store takes over what was verified
//	ragnos.tuf.worker.start  a python worker is started and greets
//
// Where one engine answers in place of the other, the span of the update, or of the
// look-up that needed more roles, has the event ragnos.tuf.fallback.
//
// Instruments:
//
//	ragnos.tuf.operation.duration        histogram      s
//	ragnos.vault.operation.duration      histogram      s
//	ragnos.vault.events                  counter        {event}
//	ragnos.tuf.verifications             counter        {verification}
//	ragnos.tuf.fallbacks                 counter        {fallback}
//	ragnos.tuf.breaker                   updowncounter  {breaker}
//	ragnos.tuf.worker.restarts           counter        {restart}
//	ragnos.tuf.metadata.time_to_expiry   gauge          s
//	ragnos.tuf.cache.lookups             counter        {lookup}
//	ragnos.tuf.received                  counter        By
//	ragnos.tuf.http.requests             counter        {request}
//	ragnos.tuf.http.retries              counter        {retry}
//	ragnos.tuf.http.queue.duration       histogram      s
//
// Attributes of each, and what it means, stand in [Spans] and [Instruments], and in
// docs/telemetry.md.
package telemetry

// Package python is the engine that has python-tuf judge metadata in a worker
// process.
//
// The worker is not believed more than it has to be. It gets admitted documents
// only, and all it can say is which of the very documents that it was given it
// has verified, and in which role it found a target. Bytes, lengths, hashes and
// versions are taken from the host's documents. A claim about anything else, or
// an error that is not an engine's to give, is a protocol violation: a fault.
package python

import (
	"context"
	"encoding/json"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/telemetry"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/pywrapper"
)

// Name is the name of the engine.
const Name = "python"

// Engine runs python-tuf. It is safe for concurrent use.
type Engine struct {
	sup     *pywrapper.Supervisor
	timeout time.Duration
}

var _ engine.Engine = (*Engine)(nil)

// New returns an engine on a worker that the caller supervises and closes.
// timeout is how long the worker itself may take for one run, the time in
// op.Source excluded; 0 means pywrapper.DefaultTimeout.
func New(sup *pywrapper.Supervisor, timeout time.Duration) *Engine {
	return &Engine{sup: sup, timeout: timeout}
}

// Name returns "python".
func (e *Engine) Name() string { return Name }

// Run implements [engine.Engine]. It starts the worker if it does not run.
func (e *Engine) Run(ctx context.Context, op *engine.Operation) (*engine.Outcome, error) {
	r := &run{op: op}
	r.restart()
	raw, err := e.sup.Call(ctx, pywrapper.Call{
		Method: method(op), Params: params(op), Timeout: e.timeout, Fetch: r.fetch,
		TraceParent: telemetry.TraceParent(ctx),
	})
	var out *engine.Outcome
	if err != nil {
		out, err = r.failed(err)
	} else {
		out, err = r.succeeded(raw)
	}
	if tuferr.CodeOf(err) != protocol.CodeProtocol {
		return out, err
	}
	e.sup.Discard(err)
	return &engine.Outcome{}, err // whoever lies is believed nothing
}

func method(op *engine.Operation) string {
	switch {
	case op.All:
		return protocol.MethodList
	case len(op.Targets) > 0:
		return protocol.MethodLookup
	default:
		return protocol.MethodRefresh
	}
}

func params(op *engine.Operation) protocol.TUFParams {
	p := protocol.TUFParams{
		ReferenceTime: op.Start.UTC().Truncate(time.Microsecond).Format("2006-01-02T15:04:05.999999Z"),
		MaxRoots:      op.MaxRoots,
		// The worker counts the top-level role too.
		MaxRoles: op.MaxRoles + 1,
		Lengths:  map[string]int64{},
	}
	if !op.All {
		p.Targets = op.Targets
	}
	limits := admission.DefaultLimits()
	for _, k := range []admission.Kind{admission.KindRoot, admission.KindTimestamp, admission.KindSnapshot, admission.KindTargets} {
		p.Lengths[string(k)] = limits.Bytes(k)
	}
	return p
}

// violation is the fault of a worker that claims what cannot be.
func violation(format string, args ...any) *tuferr.Error {
	e := tuferr.New(protocol.CodeProtocol, "the python worker cannot be believed: "+format, args...)
	e.Engine = Name
	return e
}

func decode(raw json.RawMessage, into any) error {
	if len(raw) == 0 {
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return violation("its answer cannot be read: %w", err)
	}
	return nil
}

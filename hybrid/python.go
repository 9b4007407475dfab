package hybrid

import (
	"context"
	"sync"

	vaulttuf "github.com/ragnos-labs/vault-tuf"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/engine/python"
	"github.com/ragnos-labs/vault-tuf/internal/pyenv"
	"github.com/ragnos-labs/vault-tuf/internal/telemetry"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/pywrapper"
)

// pythonEngine is the python engine with the worker that it starts when it is
// first asked and stops when it is no longer needed.
type pythonEngine struct {
	opts Options
	tel  *telemetry.Telemetry

	mu   sync.Mutex
	sup  *pywrapper.Supervisor
	busy int // runs under way
	// spare: nobody needs the worker any more, and the last run stops it.
	spare   bool
	found   pyenv.Interpreter
	absent  error
	stopped bool
	// last is the status of a worker that has been stopped.
	last     pywrapper.Status
	stopping sync.WaitGroup
}

func newPythonEngine(o Options, tel *telemetry.Telemetry) *pythonEngine {
	return &pythonEngine{opts: o, tel: tel}
}

// Name returns "python".
func (p *pythonEngine) Name() string { return python.Name }

// Run implements [engine.Engine] on the worker, starting one if there is none.
func (p *pythonEngine) Run(ctx context.Context, op *engine.Operation) (*engine.Outcome, error) {
	sup, err := p.supervisor()
	if err != nil {
		return &engine.Outcome{}, err
	}
	out, err := python.New(sup, p.opts.EngineTimeout).Run(ctx, op)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leave()
	switch tuferr.CodeOf(err) {
	case protocol.CodeWorkerUnavailable, protocol.CodeMissingDependency:
		p.absent = err
	case protocol.CodeCancelled, protocol.CodeTimeout:
	default:
		p.absent = nil
	}
	return out, err
}

func (p *pythonEngine) supervisor() (*pywrapper.Supervisor, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return nil, tuferr.New(protocol.CodeWorkerUnavailable, "the client has been shut down")
	}
	p.spare = false
	if p.sup != nil {
		p.busy++
		return p.sup, nil
	}
	found, err := pyenv.Find(p.opts.Python)
	if err != nil {
		p.absent = err
		return nil, asFault(err)
	}
	p.found = found
	p.busy++
	p.sup = pywrapper.New(pywrapper.Options{
		Python: found.Path, Script: vaulttuf.PythonClient, Logger: p.opts.Logger, OnStart: p.starting,
	})
	return p.sup, nil
}

// starting tells telemetry of a start.
func (p *pythonEngine) starting(ctx context.Context, restart bool) func(*protocol.Hello, error) {
	_, op := p.tel.Begin(ctx, telemetry.WorkerStart)
	if restart {
		p.tel.Restarted()
	}
	return func(hello *protocol.Hello, err error) {
		if op.On() {
			op.Set(telemetry.Restart.Bool(restart))
		}
		if hello != nil && op.On() {
			op.Set(telemetry.PythonTUF.String(hello.TUF))
		}
		op.End(python.Fault(err))
	}
}

// prepare starts the worker in the background if it does not run: go-tuf is in
// trouble, and whoever is asked next should not have to wait.
func (p *pythonEngine) prepare() {
	if !p.startable() {
		return
	}
	sup, err := p.supervisor()
	if err != nil {
		return // Run will say so.
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		p.leave()
		return
	}
	p.stopping.Go(func() {
		_ = sup.Start(context.Background()) // Run will say so; close ends it.
		p.mu.Lock()
		defer p.mu.Unlock()
		p.leave()
	})
}

// leave ends a run. The lock is held.
func (p *pythonEngine) leave() {
	if p.busy--; p.busy == 0 && p.spare {
		p.drop()
	}
}

// asFault makes any reason not to have a worker a fault: an interpreter that
// may not be used must not pass for a verdict or a local error of the operation.
func asFault(err error) error {
	if tuferr.ClassOf(err) == protocol.ClassFault {
		return err
	}
	return tuferr.New(protocol.CodeWorkerUnavailable, "%w", err)
}

// startable says whether asking python makes sense: not if there was no worker
// to be had the last time.
func (p *pythonEngine) startable() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.absent == nil
}

// release stops the worker, if there is one, as soon as it does nothing, without
// waiting for its end.
func (p *pythonEngine) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spare = true
	if p.busy == 0 || p.stopped {
		p.drop()
	}
}

// drop stops the worker. The lock is held.
func (p *pythonEngine) drop() {
	sup := p.sup
	if sup == nil {
		return
	}
	p.sup = nil
	p.last = sup.Status()
	p.stopping.Go(func() { _ = sup.Close(context.Background()) })
}

// close stops the worker for good and waits until it is gone or ctx ends.
func (p *pythonEngine) close(ctx context.Context) error {
	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
	p.release()
	done := make(chan struct{})
	go func() {
		p.stopping.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return engine.Cancelled(ctx)
	}
}

// status describes the worker; it starts none.
func (p *pythonEngine) status(mode Mode) WorkerStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	if mode == ModeGo || mode == ModeOff {
		return WorkerStatus{State: "not needed"}
	}
	st, found, absent := p.last, p.found, p.absent
	if p.sup != nil {
		st = p.sup.Status()
	} else if found.Path == "" {
		found, absent = pyenv.Find(p.opts.Python)
	}
	w := WorkerStatus{
		State: string(st.State), Python: found.Path, Source: string(found.Source),
		PID: st.PID, Restarts: st.Restarts, RSS: st.RSS,
	}
	if p.sup == nil {
		w.State, w.PID, w.RSS = "stopped", 0, 0
	}
	if h := st.Hello; h != nil {
		w.Versions = map[string]string{
			"python": h.Python, "tuf": h.TUF, "securesystemslib": h.SecureSystemsLib, "cryptography": h.Cryptography,
		}
	}
	if absent != nil {
		w.State, w.Error = "unavailable", absent.Error()
	}
	return w
}

package hybrid

import (
	"context"
	"fmt"

	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// run lets the engines of the mode judge. The result is nil where nothing may
// be kept; beside an error it holds what was verified before.
func (r *attempt) run(ctx context.Context) (*verified, error) {
	switch r.opts.Mode {
	case ModeGo:
		return r.alone(ctx, r.goTUF)
	case ModePython:
		return r.alone(ctx, r.python)
	case ModeDual:
		return r.both(ctx)
	default:
		return r.auto(ctx)
	}
}

func (r *attempt) alone(ctx context.Context, e engine.Engine) (*verified, error) {
	good, err := r.judge(ctx, e)
	err = r.tell(decide(r.opts.Mode, err), err)
	return r.kept(e, good, err), err
}

// kept is what may be committed after an answer.
func (r *attempt) kept(e engine.Engine, good *engine.Outcome, err error) *verified {
	if good == nil || !decide(r.opts.Mode, err).commit {
		return nil
	}
	return &verified{out: good, engine: e.Name()}
}

// auto asks go-tuf, and python-tuf where go-tuf could not do its work. While
// the breaker is open it is the other way round, unless no worker can be had.
func (r *attempt) auto(ctx context.Context) (*verified, error) {
	report, allowed := r.brk.allow()
	first, second := r.goTUF, engine.Engine(r.python)
	told := notCounted
	switch {
	case allowed:
		// Whatever happens, also a panic: a report that is lost wedges the breaker.
		defer func() {
			report(told)
			if told == worked && r.brk.closed() {
				r.python.release()
			}
		}()
	case r.python.startable():
		first, second = second, first
	}
	good, err := r.judge(ctx, first)
	act := decide(ModeAuto, err)
	err = r.tell(act, err)
	if act.fallback && ctx.Err() != nil {
		return nil, engine.Cancelled(ctx)
	}
	if !act.fallback {
		told = act.breaker
		v := r.kept(first, good, err)
		if v != nil && first.Name() == r.python.Name() {
			v.fallback = "the breaker around go-tuf is open"
		}
		return v, err
	}

	why := err
	good, err = r.judge(ctx, second)
	if decide(ModeAuto, err).fallback {
		return nil, r.enginesFailed(why, err)
	}
	if err == nil {
		// The other engine has verified the very bytes that this one could not.
		told = act.breaker
	} else {
		err = r.tell(decide(ModeAuto, err), err)
	}
	r.status.fellBack(why)
	r.tel.FellBack(ctx, second.Name(), why)
	r.events.emit(SeverityWarning, "fallback", fmt.Sprintf("%s answered in place of %s", second.Name(), first.Name()), why)
	v := r.kept(second, good, err)
	if v != nil {
		v.fallback = why.Error()
	}
	return v, err
}

func (r *attempt) enginesFailed(errs ...error) error {
	e := tuferr.New(protocol.CodeEnginesFailed, "neither engine could do its work")
	e.Causes = errs
	e.Hint = `run "ragnos-tuf doctor" to see what each of them needs`
	return e
}

// tell raises the event that goes with an action, and returns err, which says
// then whether a verdict has been told of.
func (r *attempt) tell(act action, err error) error {
	switch {
	case act.event == SeverityCritical:
		return r.events.refused("refused", err)
	case act.event != "":
		r.events.emit(act.event, string(tuferr.CodeOf(err)), err.Error(), err)
	}
	return err
}

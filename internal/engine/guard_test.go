package engine_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// play is an engine that does what it is told.
type play func(ctx context.Context, op *engine.Operation) (*engine.Outcome, error)

func (play) Name() string { return "go" }

func (p play) Run(ctx context.Context, op *engine.Operation) (*engine.Outcome, error) {
	return p(ctx, op)
}

// slow is a source that takes its time.
type slow time.Duration

func (s slow) Remote(ctx context.Context, _ engine.File) (*admission.Doc, error) {
	select {
	case <-time.After(time.Duration(s)):
		return nil, nil
	case <-ctx.Done():
		return nil, engine.Cancelled(ctx)
	}
}

func (s slow) Local(string, *admission.Doc) *admission.Doc {
	time.Sleep(time.Duration(s))
	return nil
}

const limit = 10 * time.Second

// run guards an engine in a bubble of its own time.
func run(t *testing.T, s engine.Source, p play, then func(out *engine.Outcome, err error)) {
	synctest.Test(t, func(t *testing.T) {
		then(engine.Guard(p, limit).Run(t.Context(), &engine.Operation{Source: s}))
		time.Sleep(10 * time.Hour) // for an engine that was left behind
	})
}

func TestGuardPassesOn(t *testing.T) {
	want, wantErr := &engine.Outcome{}, errors.New("its own")
	run(t, slow(0), func(context.Context, *engine.Operation) (*engine.Outcome, error) {
		time.Sleep(limit - time.Second)
		return want, wantErr
	}, func(out *engine.Outcome, err error) {
		require.Same(t, want, out)
		require.Equal(t, wantErr, err)
	})
	require.Equal(t, "go", engine.Guard(play(nil), limit).Name())
}

func TestGuardCatchesPanics(t *testing.T) {
	for _, value := range []any{"boom", errors.New("boom"), 7} {
		run(t, slow(0), func(context.Context, *engine.Operation) (*engine.Outcome, error) { panic(value) },
			func(out *engine.Outcome, err error) {
				require.Equal(t, &engine.Outcome{}, out)
				require.Equal(t, protocol.CodeEngineCrash, tuferr.CodeOf(err))
				require.Equal(t, "go", tuferr.As(err).Engine)
			})
	}
	run(t, slow(0), func(context.Context, *engine.Operation) (*engine.Outcome, error) {
		var doc *admission.Doc
		return nil, errors.New(doc.SHA256)
	}, func(_ *engine.Outcome, err error) {
		require.Equal(t, protocol.CodeEngineCrash, tuferr.CodeOf(err))
	})
}

// TestGuardEndsWorkThatTakesTooLong, also work that heeds nothing; it is cut off
// from the source.
func TestGuardEndsWorkThatTakesTooLong(t *testing.T) {
	var late error
	run(t, slow(0), func(ctx context.Context, op *engine.Operation) (*engine.Outcome, error) {
		time.Sleep(limit + time.Second)
		_, late = op.Source.Remote(ctx, engine.File{})
		return &engine.Outcome{Answers: map[string]string{"late": ""}}, nil
	}, func(out *engine.Outcome, err error) {
		require.Equal(t, &engine.Outcome{}, out, "what comes late is dropped")
		require.Equal(t, protocol.CodeEngineTimeout, tuferr.CodeOf(err))
	})
	require.ErrorIs(t, late, context.Canceled)
}

// TestGuardDoesNotCountTheSource: only the engine's own time runs.
func TestGuardDoesNotCountTheSource(t *testing.T) {
	ask := func(work time.Duration) play {
		return func(ctx context.Context, op *engine.Operation) (*engine.Outcome, error) {
			for range 4 {
				time.Sleep(work)
				_, err := op.Source.Remote(ctx, engine.File{})
				op.Source.Local("targets", nil)
				if err != nil {
					return &engine.Outcome{}, err
				}
			}
			return &engine.Outcome{}, nil
		}
	}
	run(t, slow(time.Hour), ask(limit/4-time.Second), func(_ *engine.Outcome, err error) { require.NoError(t, err) })
	run(t, slow(time.Hour), ask(limit/4+time.Second), func(_ *engine.Outcome, err error) {
		require.Equal(t, protocol.CodeEngineTimeout, tuferr.CodeOf(err), "the time between the questions adds up")
	})
}

func TestGuardEndsWithItsContext(t *testing.T) {
	wait := func(ctx context.Context, _ *engine.Operation) (*engine.Outcome, error) {
		<-ctx.Done()
		return &engine.Outcome{}, nil
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := engine.Guard(play(wait), limit).Run(ctx, &engine.Operation{Source: slow(0)})
		if err != nil { // its answer and the end of the context come together
			require.Equal(t, protocol.CodeTimeout, tuferr.CodeOf(err))
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		busy := func(context.Context, *engine.Operation) (*engine.Outcome, error) {
			time.Sleep(time.Second)
			return &engine.Outcome{}, nil
		}
		_, err := engine.Guard(play(busy), limit).Run(ctx, &engine.Operation{Source: slow(0)})
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, protocol.CodeCancelled, tuferr.CodeOf(err))
		time.Sleep(limit)
	})
}

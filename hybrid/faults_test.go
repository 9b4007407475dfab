//go:build unix

package hybrid

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/engine/gotuf"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// TestDecide has a row for every class and mode.
func TestDecide(t *testing.T) {
	rows := []struct {
		err   error
		auto  action
		tally tally
	}{
		{nil, action{commit: true}, worked},
		{tuferr.New(protocol.CodeNotFound, ""), action{commit: true}, worked},
		{tuferr.New(protocol.CodeUnsigned, ""), action{commit: true, event: SeverityCritical}, worked},
		{tuferr.New(protocol.CodeUnrepresentable, ""), action{fallback: true, event: SeverityWarning}, failed},
		{errors.New("foreign"), action{fallback: true, event: SeverityWarning}, failed},
		{fmt.Errorf("wrapped: %w", tuferr.New(protocol.CodeRollback, "")), action{commit: true, event: SeverityCritical}, worked},
		{tuferr.New("a code of the future", ""), action{fallback: true, event: SeverityWarning}, failed},
		{tuferr.New(protocol.CodeUnreachable, ""), action{commit: true}, notCounted},
		{tuferr.New(protocol.CodeDiskFull, ""), action{event: SeverityWarning}, notCounted},
		{tuferr.New(protocol.CodeUsage, ""), action{}, notCounted},
		{tuferr.New(protocol.CodeCancelled, ""), action{}, notCounted},
	}
	classes := map[protocol.Class]bool{}
	for _, row := range rows {
		classes[tuferr.ClassOf(row.err)] = true
		for _, mode := range []Mode{ModeAuto, ModeGo, ModePython, ModeDual, ModeOff} {
			want := row.auto
			want.breaker = row.tally
			if mode != ModeAuto {
				want.fallback, want.breaker = false, notCounted
			}
			require.Equal(t, want, decide(mode, row.err), "%s %v", mode, row.err)
		}
	}
	for _, info := range protocol.Codes {
		require.True(t, classes[info.Class], "no row for class %s", info.Class)
		require.Equal(t, info.Class == protocol.ClassFault, decide(ModeAuto, tuferr.New(info.Code, "")).fallback, info.Code)
	}
}

// playedEngine is a go engine that does what it is told.
type playedEngine func(ctx context.Context, op *engine.Operation) (*engine.Outcome, error)

func (playedEngine) Name() string { return gotuf.Name }

func (p playedEngine) Run(ctx context.Context, op *engine.Operation) (*engine.Outcome, error) {
	return p(ctx, op)
}

// panics breaks in the middle of its work, like a library that meets a null.
func panics(ctx context.Context, op *engine.Operation) (*engine.Outcome, error) {
	if _, err := op.Source.Remote(ctx, engine.File{Role: "timestamp"}); err != nil {
		return &engine.Outcome{}, err
	}
	var outcome *engine.Outcome
	return outcome, errors.New(outcome.Timestamp.SHA256)
}

// hangs works until nobody waits for it any more.
func hangs(ctx context.Context, _ *engine.Operation) (*engine.Outcome, error) {
	<-ctx.Done()
	return &engine.Outcome{}, engine.Cancelled(ctx)
}

// with gives a client another go engine.
func with(c *Client, p playedEngine) *Client {
	c.goTUF = engine.Guard(p, 50*time.Millisecond)
	return c
}

// TestEngineFaultsEndInAVerifiedDownload by the other engine; status says why,
// and the breaker counts.
func TestEngineFaultsEndInAVerifiedDownload(t *testing.T) {
	for name, tt := range map[string]struct {
		engine playedEngine
		code   protocol.Code
		why    string
	}{
		"panic":   {panics, protocol.CodeEngineCrash, "panicked"},
		"timeout": {hangs, protocol.CodeEngineTimeout, "worked for more than"},
		"lies":    {lies, protocol.CodeEngineInternal, "reports success, but"},
		"foreign": {func(context.Context, *engine.Operation) (*engine.Outcome, error) {
			return &engine.Outcome{}, errors.New("odd")
		}, protocol.CodeInternal, "odd"},
		"nonsense": {claimsRoots, protocol.CodeRollback, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if tt.why == "" { // the host finds the claim refuted: nobody else is asked
				w.refused(with(w.client(ModeAuto), tt.engine), tuferr.OfCode(tt.code))
				require.NotContains(t, w.codes(), "fallback")
				return
			}
			c := with(w.client(ModeAuto, func(o *Options) { o.BreakerFailures = 2 }), tt.engine)
			r := w.get(c)
			require.Equal(t, "python", r.Engine)
			require.Contains(t, r.Fallback, tt.why)
			s := status(t, c)
			require.Contains(t, s.LastFallback, tt.why)
			require.Empty(t, s.LastError)
			require.Equal(t, uint32(1), s.Breaker.ConsecutiveFailures)
			require.Equal(t, "closed", s.Breaker.State)
			require.Contains(t, w.codes(), "fallback")
			require.Contains(t, w.get(c).Fallback, tt.why, "unchanged: nobody has to look again")
			require.Equal(t, "closed", status(t, c).Breaker.State)
			w.repo.PublishTimestamp()
			w.get(c)
			require.Equal(t, "open", status(t, c).Breaker.State)
			require.Contains(t, w.codes(), "breaker")
			w.repo.PublishTimestamp()
			require.Equal(t, "the breaker around go-tuf is open", w.get(c).Fallback)

			e := w.refused(with(w.client(ModeGo), tt.engine), ErrFault)
			require.Equal(t, tt.code, e.Code)
			e = w.refused(with(w.client(ModeDual), tt.engine), ErrVerdict)
			require.Equal(t, protocol.CodeUnableInDual, e.Code)
		})
	}
}

// lies reports success without any work.
func lies(context.Context, *engine.Operation) (*engine.Outcome, error) {
	return &engine.Outcome{Answers: map[string]string{plugin: "targets"}}, nil
}

// claimsRoots claims to have verified the root that is trusted anyway.
func claimsRoots(_ context.Context, op *engine.Operation) (*engine.Outcome, error) {
	return &engine.Outcome{Roots: []*admission.Doc{op.Root}}, nil
}

// TestSuccessNeedsAllTheWork: an engine that does honest work and then leaves
// something out of it, without an error, has not succeeded.
func TestSuccessNeedsAllTheWork(t *testing.T) {
	const teamPath = "team/x"
	list := func(c *Client) error { _, err := c.List(context.Background()); return err }
	look := func(c *Client) error { _, err := c.Lookup(context.Background(), teamPath); return err }
	for name, tt := range map[string]struct {
		leaveOut func(out *engine.Outcome)
		call     func(c *Client) error
		want     string
	}{
		"timestamp":        {func(out *engine.Outcome) { *out = engine.Outcome{} }, look, "did not take the repository's timestamp"},
		"snapshot":         {func(out *engine.Outcome) { out.Snapshot, out.Targets, out.Answers = nil, nil, nil }, look, "not all top-level roles"},
		"targets":          {func(out *engine.Outcome) { out.Targets, out.Answers = nil, nil }, look, "not all top-level roles"},
		"answer":           {func(out *engine.Outcome) { out.Answers = nil }, look, "did not look up every target"},
		"a delegated role": {func(out *engine.Outcome) { out.Targets = out.Targets[:1] }, list, "not every delegated role"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.repo.Delegate("targets", tuftest.Delegation{Name: "team", Paths: []string{"team/*"}})
			w.repo.AddTarget("team", teamPath, content, nil)
			w.repo.Publish("targets", "team")
			honest := func(ctx context.Context, op *engine.Operation) (*engine.Outcome, error) {
				return gotuf.Engine{}.Run(ctx, op)
			}
			for _, call := range []func(c *Client) error{list, look} {
				c := w.client(ModeGo)
				c.goTUF = engine.Guard(playedEngine(honest), time.Minute)
				require.NoError(t, call(c))
			}
			c := w.client(ModeGo)
			c.goTUF = engine.Guard(playedEngine(func(ctx context.Context, op *engine.Operation) (*engine.Outcome, error) {
				out, err := honest(ctx, op)
				tt.leaveOut(out)
				return out, err
			}), time.Minute)
			err := tt.call(c)
			require.ErrorIs(t, err, tuferr.OfCode(protocol.CodeEngineInternal))
			require.ErrorContains(t, err, tt.want)
		})
	}
}

// TestBothEnginesFail: the error carries both causes.
func TestBothEnginesFail(t *testing.T) {
	w := newWorld(t)
	for name, tt := range map[string]struct {
		python func(o *Options)
		code   protocol.Code
	}{
		"python missing":     {func(o *Options) { o.Python = filepath.Join(w.dir, "none") }, protocol.CodeWorkerUnavailable},
		"python dies":        {func(o *Options) { o.Python = "/bin/false" }, protocol.CodeWorkerUnavailable},
		"python breaks down": {func(o *Options) { o.Python = hostilePython(t, "os._exit(1)") }, protocol.CodeEngineCrash},
	} {
		t.Run(name, func(t *testing.T) {
			c := with(w.client(ModeAuto, tt.python), panics)
			e := w.refused(c, ErrFault)
			require.Equal(t, protocol.CodeEnginesFailed, e.Code)
			require.Len(t, e.Causes, 2)
			require.ErrorIs(t, e, tuferr.OfCode(protocol.CodeEngineCrash))
			require.ErrorIs(t, e, tuferr.OfCode(tt.code))
			require.Zero(t, status(t, c).Breaker.TotalFailures, "nobody has verified the bytes")
			require.Empty(t, w.cached())
		})
	}
}

// TestMissingPythonBypassesTheBreaker: a breaker that would send calls to a
// worker that cannot be had does not stand in go-tuf's way.
func TestMissingPythonBypassesTheBreaker(t *testing.T) {
	w := newWorld(t)
	c := w.client(ModeAuto, func(o *Options) { o.Python = filepath.Join(w.dir, "none") })
	openBreaker(c)
	for range 2 {
		require.Equal(t, "go", w.get(c).Engine)
	}
	require.Equal(t, "go", status(t, c).Engine)
}

// TestCancelDuringFallback ends the call with the context's error, and counts
// against nobody.
func TestCancelDuringFallback(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(context.Background())
	c := with(w.client(ModeAuto), panics)
	// The worker asks for the next root; go-tuf's stand-in did not.
	w.server.Before("metadata/2.root.json", cancel)
	w.server.On("metadata/2.root.json", tuftest.Silence)
	_, err := c.VerifyAndDownloadPlugin(ctx, plugin, DownloadOptions{})
	require.ErrorIs(t, err, ErrCancelled)
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, status(t, c).Breaker.TotalFailures)
	w.server.Heal()
	require.Equal(t, "python", w.get(c).Engine)

	done, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = c.VerifyAndDownloadPlugin(done, plugin, DownloadOptions{})
	require.ErrorIs(t, err, ErrCancelled)
}

// TestHalfOpen: while one call probes go-tuf, the others go to python; a probe
// that says nothing about go-tuf does not wedge the breaker.
func TestHalfOpen(t *testing.T) {
	w := newWorld(t)
	probing, proceed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	gate := func(ctx context.Context, op *engine.Operation) (*engine.Outcome, error) {
		once.Do(func() { close(probing) })
		select {
		case <-proceed:
			return gotuf.Engine{}.Run(ctx, op)
		case <-ctx.Done(): // Nobody else could answer: there is no python.
			return &engine.Outcome{}, engine.Cancelled(ctx)
		}
	}
	c := w.client(ModeAuto, func(o *Options) { o.BreakerCoolDown = time.Millisecond })
	c.goTUF = engine.Guard(playedEngine(gate), time.Hour)
	require.NoError(t, c.Initialize(context.Background()))
	openBreaker(c)
	require.Eventually(t, func() bool { return c.brk.status().State == "half-open" }, 10*time.Second, time.Millisecond)

	// Below what callers share: each of these is an operation of its own.
	first := make(chan *verified, 1)
	go func() {
		v, err := c.operate(t.Context(), request{})
		if err != nil {
			t.Error(err)
		}
		first <- v
	}()
	<-probing
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		v, err := c.operate(ctx, request{})
		cancel()
		require.NoError(t, err)
		require.Equal(t, "python", v.engine)
	}
	require.Equal(t, "half-open", c.brk.status().State)
	close(proceed)
	require.Equal(t, "go", (<-first).engine)
	require.True(t, c.brk.closed())
}

// TestProbeThatTellsNothing: transport faults, cancels and both engines' faults
// end a probe without a word about go-tuf. The next call probes again.
func TestProbeThatTellsNothing(t *testing.T) {
	w := newWorld(t)
	c := w.client(ModeAuto, func(o *Options) { o.BreakerCoolDown, o.MaxMetadataAge = time.Millisecond, -1 })
	openBreaker(c)
	halfOpen := func() bool { return c.brk.status().State == "half-open" }
	require.Eventually(t, halfOpen, 10*time.Second, time.Millisecond)
	for range 3 {
		w.server.On("metadata/timestamp.json", tuftest.Status(503))
		w.refused(c, ErrTransport)
		require.True(t, halfOpen())

		ctx, cancel := context.WithCancel(context.Background())
		w.server.On("metadata/timestamp.json", tuftest.Silence)
		w.server.Before("metadata/timestamp.json", cancel)
		require.ErrorIs(t, c.Refresh(ctx), ErrCancelled)
		// The call is over before the probe that it left behind is.
		require.Eventually(t, func() bool {
			n := c.brk.cb.Counts()
			return n.Requests == n.TotalExclusions
		}, 10*time.Second, time.Millisecond)
		require.True(t, halfOpen())
		w.server.Heal()
	}
	require.Equal(t, "go", w.get(c).Engine)
	require.True(t, c.brk.closed())
}

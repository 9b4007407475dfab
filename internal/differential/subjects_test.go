package differential

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest/plain"
)

// subjects returns the clients to compare, the libraries first.
func subjects(t *testing.T) []Subject {
	interpreter, err := plain.Interpreter()
	require.NoError(t, err)
	all := []Subject{
		{Name: "go-tuf", New: func() (plain.Client, func()) { return plain.Go{}, func() {} }},
		{Name: "python-tuf", New: func() (plain.Client, func()) {
			p := plain.NewPython(interpreter)
			return p, p.Close
		}},
	}
	for _, m := range []struct {
		mode    hybrid.Mode
		slow    bool
		allowed func(c *Case, d Deviation) bool
	}{
		{hybrid.ModeAuto, false, func(*Case, Deviation) bool { return false }},
		{hybrid.ModeGo, false, func(c *Case, d Deviation) bool { return d == WronglyRefused && c.GoCannot }},
		{hybrid.ModePython, true, func(c *Case, d Deviation) bool { return d == WronglyRefused && c.PythonCannot }},
		{hybrid.ModeDual, true, func(c *Case, d Deviation) bool { return d == WronglyRefused && (c.GoCannot || c.PythonCannot) }},
	} {
		all = append(all, Subject{Name: "hybrid " + string(m.mode), Strict: true, Slow: m.slow, Allowed: m.allowed, New: func() (plain.Client, func()) {
			h := &hybridClient{mode: m.mode, python: interpreter}
			return h, h.Restart
		}})
	}
	return all
}

// hybridClient runs this project's client in one mode. It keeps the client
// from step to step, as a long-lived application does, until [Restart].
type hybridClient struct {
	mode   hybrid.Mode
	python string

	client *hybrid.Client
	root   string
	now    time.Time
}

// Run is one step.
func (h *hybridClient) Run(ctx context.Context, r plain.Request) (content []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", plain.ErrCrash, p)
		}
	}()
	h.now = r.Now
	if h.client == nil || h.root != string(r.Root) {
		if err := h.start(r); err != nil {
			return nil, err
		}
	}
	result, err := h.client.VerifyAndDownloadPlugin(ctx, r.Target, hybrid.DownloadOptions{})
	switch {
	case errors.Is(err, hybrid.ErrNotFound):
		return nil, fmt.Errorf("%w: %w", plain.ErrNotFound, err)
	case err != nil:
		return nil, err
	}
	return os.ReadFile(result.Path)
}

func (h *hybridClient) start(r plain.Request) error {
	h.Restart()
	client, err := hybrid.New(hybrid.Options{
		MetadataURL: r.MetadataURL, TargetsURL: r.TargetsURL, MetadataDir: r.MetadataDir, CacheDir: r.TargetsDir,
		Root: r.Root, Mode: h.mode, Python: h.python, Now: func() time.Time { return h.now },
		// Without the offline cache: the specification knows none.
		MaxMetadataAge: -1, EngineTimeout: 20 * time.Second,
		HTTP: hybrid.HTTPOptions{
			ConnectTimeout: 2 * time.Second, FirstByteTimeout: 2 * time.Second, TotalTimeout: 6 * time.Second,
			MinRateWindow: 2 * time.Second, BackoffMin: 5 * time.Millisecond, BackoffMax: 20 * time.Millisecond,
		},
	})
	h.client, h.root = client, string(r.Root)
	return err
}

// Restart ends the client; the next step starts a new one.
func (h *hybridClient) Restart() {
	if h.client == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := h.client.Shutdown(ctx); err != nil {
		panic(err)
	}
	h.client = nil
}

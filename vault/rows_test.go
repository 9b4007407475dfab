package vault

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/pyenv/pyenvtest"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

const rowPlugin = "plugins/acme/hello.1.0.0.tar.gz"

// outcome is what becomes of a call, and the events that tell of it.
type outcome struct {
	mode   hybrid.Mode // go if empty
	before func(r *tuftest.Repo, s *tuftest.Server, dir string)
	call   func(ctx context.Context, c *hybrid.Client) error // a download if nil
	want   []EventCode
}

func rowDownload(ctx context.Context, c *hybrid.Client) error {
	_, err := c.VerifyAndDownloadPlugin(ctx, rowPlugin, hybrid.DownloadOptions{})
	return err
}

// odd publishes a signature that go-tuf cannot decode; python-tuf does.
func odd(r *tuftest.Repo, _ *tuftest.Server, _ string) {
	r.Timestamp.EditSignatures = func(list []any) []any {
		return append(list, tuftest.Map{"keyid": "feed", "sig": "this is not hex"})
	}
	r.PublishTimestamp()
}

func unplug(_ *tuftest.Repo, s *tuftest.Server, _ string) { s.Close() }

var outcomes = map[string]outcome{
	"success": {want: nil},
	"not found": {call: func(ctx context.Context, c *hybrid.Client) error {
		_, err := c.Lookup(ctx, "plugins/none")
		return err
	}, want: []EventCode{EventNotFound}},
	"verdict on metadata": {before: func(r *tuftest.Repo, _ *tuftest.Server, _ string) {
		r.Timestamp.Signers = tuftest.Keys(90, 1)
		r.PublishTimestamp()
	}, want: []EventCode{EventRefused}},
	"verdict on a plugin": {before: func(r *tuftest.Repo, s *tuftest.Server, _ string) {
		r.AddTarget("targets", rowPlugin, []byte("another one"), nil)
		r.Publish("targets")
		s.On("targets/plugins/acme/"+tuftest.SHA256([]byte("another one"))+".hello.1.0.0.tar.gz", tuftest.Body([]byte("ANOTHER ONE")))
	}, want: []EventCode{EventRefused}},
	"unexpected hash": {call: func(ctx context.Context, c *hybrid.Client) error {
		_, err := c.VerifyAndDownloadPlugin(ctx, rowPlugin, hybrid.DownloadOptions{ExpectedHash: tuftest.SHA256(nil)})
		return err
	}, want: []EventCode{EventRefused}},
	"fallback": {mode: hybrid.ModeAuto, before: odd, want: []EventCode{EventFallback}},
	"fault":    {before: odd, want: []EventCode{EventFault}},
	"damaged local file": {before: func(_ *tuftest.Repo, _ *tuftest.Server, dir string) {
		_ = os.WriteFile(filepath.Join(dir, "metadata", "timestamp.json"), []byte("garbage"), 0o600)
	}, want: []EventCode{EventStore}},
	"captive portal": {before: func(_ *tuftest.Repo, s *tuftest.Server, _ string) {
		s.On("metadata/timestamp.json", tuftest.HTML)
	}, want: []EventCode{EventUnreachable}},
	"offline": {before: unplug, want: []EventCode{EventOffline}},
	"offline refresh": {before: unplug,
		call: func(ctx context.Context, c *hybrid.Client) error { return c.Refresh(ctx) }, want: []EventCode{EventOffline}},
	"root moved": {before: func(r *tuftest.Repo, _ *tuftest.Server, _ string) { r.PublishRoot() }, want: []EventCode{EventRoot}},
	"cancelled": {call: func(ctx context.Context, c *hybrid.Client) error {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		return rowDownload(ctx, c)
	}, want: []EventCode{EventCancelled}},
	"usage": {call: func(ctx context.Context, c *hybrid.Client) error {
		_, err := c.Lookup(ctx, "../x")
		return err
	}, want: nil},
}

// TestEveryOutcomeOfACallRaisesOneEvent with a real client: what it tells of,
// together with what eventOf makes of its error.
func TestEveryOutcomeOfACallRaisesOneEvent(t *testing.T) {
	for name, o := range outcomes {
		t.Run(name, func(t *testing.T) { o.test(t) })
	}
}

func (o outcome) test(t *testing.T) {
	repo, dir := tuftest.NewRepo(tuftest.Config{}), t.TempDir()
	repo.AddTarget("targets", rowPlugin, []byte("the bytes"), nil)
	repo.Publish("targets")
	server := tuftest.NewServer(repo)
	t.Cleanup(server.Close)
	var mu sync.Mutex
	var got []EventCode
	note := func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Code != "" {
			got = append(got, e.Code)
		}
	}
	client := func(mode hybrid.Mode) *hybrid.Client {
		python := ""
		if mode != hybrid.ModeGo {
			python = pyenvtest.Python(t)
		}
		c, err := hybrid.New(hybrid.Options{
			RepositoryURL: server.URL, Root: repo.RootBytes(1), Mode: mode, Python: python,
			MetadataDir: filepath.Join(dir, "metadata"), CacheDir: filepath.Join(dir, "cache"),
			HTTP:    hybrid.HTTPOptions{BackoffMin: time.Millisecond, BackoffMax: time.Millisecond},
			OnEvent: func(e hybrid.Event) { note(translate("acme", e)) },
		})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, c.Shutdown(context.Background())) })
		return c
	}
	require.NoError(t, rowDownload(t.Context(), client(hybrid.ModeGo)))
	require.Empty(t, got)

	if o.before != nil {
		o.before(repo, server, dir)
	}
	if o.mode == "" {
		o.mode = hybrid.ModeGo
	}
	if o.call == nil {
		o.call = rowDownload
	}
	err := o.call(t.Context(), client(o.mode))
	note(eventOf("acme", rowPlugin, err))
	require.Equal(t, o.want, got, "%v", err)
}

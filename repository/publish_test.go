package repository

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestPublish(t *testing.T) {
	r, _ := newTestRepository(t)
	target, _, err := r.Publish(t.Context(), helloArchive, helloManifest, PublishOptions{})
	require.NoError(t, err)
	data, err := os.ReadFile(helloArchive)
	require.NoError(t, err)
	sum := sha256.Sum256(data)
	digest := hex.EncodeToString(sum[:])
	require.Equal(t, Target{Path: helloPath, Length: int64(len(data)), SHA256: digest, Role: "targets", Channel: "stable"}, target)
	copied, err := os.ReadFile(filepath.Join(r.Dir(), "targets/plugins/ragnos", digest+".hello-world.1.0.0.tar.gz"))
	require.NoError(t, err)
	require.Equal(t, data, copied)

	s, err := r.load(t.Context())
	require.NoError(t, err)
	doc, err := s.targets()
	require.NoError(t, err)
	require.Equal(t, [3]int64{2, 2, 2}, [3]int64{doc.Version, s.snapshot.Version, s.timestamp.Version})
	listed := doc.Targets.Find(helloPath)
	require.Len(t, listed.Hashes, 1)
	manifest, err := os.ReadFile(helloManifest)
	require.NoError(t, err)
	require.JSONEq(t, withRelease(t, string(manifest), `{"channel":"stable","latest":["stable","beta"]}`), string(listed.Custom))
}

func TestAPublishedVersionStays(t *testing.T) {
	r, _ := newTestRepository(t)
	_, _, err := r.Publish(t.Context(), helloArchive, helloManifest, PublishOptions{})
	require.NoError(t, err)
	before := listFiles(t, r.Dir())
	other := filepath.Join(t.TempDir(), "other.tar.gz")
	require.NoError(t, os.WriteFile(other, packed(t, "bin/hello.sh", "evil"), 0o600))
	_, _, err = r.Publish(t.Context(), other, helloManifest, PublishOptions{})
	require.ErrorIs(t, err, ErrPublished)
	require.Equal(t, helloPath, requireCode(t, err, protocol.CodeUsage).Target)
	require.Equal(t, before, listFiles(t, r.Dir()))
}

func TestBadPluginsLeaveNothingBehind(t *testing.T) {
	r, _ := newTestRepository(t)
	r.limits.Size = 2000
	before := listFiles(t, r.Dir())
	dir := t.TempDir()
	path := func(name string, data []byte) string {
		p := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(p, data, 0o600))
		return p
	}
	pipe := filepath.Join(dir, "pipe")
	require.NoError(t, unix.Mkfifo(pipe, 0o600))
	badManifest := path("bad.json", manifestWith(t, map[string]any{"name": "../x"}))
	var archive *ArchiveError
	var manifest *ManifestError
	for name, tc := range map[string]struct {
		plugin, manifest string
		code             protocol.Code
		as               any
	}{
		"evil archive":        {path("evil.tar.gz", packed(t, "../x", "x")), helloManifest, protocol.CodeUsage, &archive},
		"too large":           {path("large.tar.gz", make([]byte, 2001)), helloManifest, protocol.CodeUsage, &archive},
		"missing entry point": {path("small.tar.gz", packed(t, "x", "x")), helloManifest, protocol.CodeUsage, &manifest},
		"bad manifest":        {helloArchive, badManifest, protocol.CodeUsage, &manifest},
		"large manifest":      {helloArchive, path("large.json", make([]byte, MaxManifest+1)), protocol.CodeUsage, nil},
		"no plugin":           {filepath.Join(dir, "none"), helloManifest, protocol.CodeLocalIO, nil},
		"no manifest":         {helloArchive, filepath.Join(dir, "none"), protocol.CodeLocalIO, nil},
		"a directory":         {dir, helloManifest, protocol.CodeUsage, nil},
		"a pipe":              {pipe, helloManifest, protocol.CodeUsage, nil},
		"a pipe as manifest":  {helloArchive, pipe, protocol.CodeUsage, nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := r.Publish(t.Context(), tc.plugin, tc.manifest, PublishOptions{})
			require.Equal(t, "publish", requireCode(t, err, tc.code).Op)
			if tc.as != nil {
				require.ErrorAs(t, err, tc.as)
			}
			require.Equal(t, before, listFiles(t, r.Dir()))
		})
	}
}

func TestPublishersAtOnce(t *testing.T) {
	r, _ := newTestRepository(t)
	const publishers = 8
	manifests := make([]string, publishers)
	for i := range manifests {
		manifests[i] = writeManifest(t, fmt.Sprintf("p%d", i), "tool", "1.0.0")
	}
	contested := writeManifest(t, "all", "tool", "1.0.0")
	errs := make([]error, publishers)
	var work sync.WaitGroup
	for i := range publishers {
		work.Go(func() {
			own, err := Open(r.Dir(), Options{Clock: r.clock})
			if err == nil {
				_, _, err = own.Publish(context.Background(), helloArchive, manifests[i], PublishOptions{})
			}
			if err == nil {
				_, _, errs[i] = own.Publish(context.Background(), helloArchive, contested, PublishOptions{})
				return
			}
			errs[i] = fmt.Errorf("its own plugin: %w", err)
		})
	}
	work.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		require.ErrorIs(t, err, ErrPublished)
		require.NotContains(t, err.Error(), "its own plugin")
	}
	require.Equal(t, 1, won)
	st, err := r.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, publishers+1, st.Targets)
	require.Equal(t, int64(publishers+2), st.Roles[1].Version)
}

func TestWaitingForTheLockHonoursTheContext(t *testing.T) {
	r, _ := newTestRepository(t)
	release, err := lock(t.Context(), r.Dir())
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, _, err = r.Publish(ctx, helloArchive, helloManifest, PublishOptions{})
	requireCode(t, err, protocol.CodeTimeout)
	require.ErrorContains(t, err, "another process")
	release()
	_, _, err = r.Publish(t.Context(), helloArchive, helloManifest, PublishOptions{})
	require.NoError(t, err)
}

func TestACancelledCopyLeavesNothing(t *testing.T) {
	r, _ := newTestRepository(t)
	before := listFiles(t, r.Dir())
	m, err := ParseManifest(manifestWith(t, nil))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	_, err = r.change(ctx, func(c *change) error {
		cancel()
		_, err := c.add(ctx, helloArchive, m, "")
		return err
	})
	requireCode(t, err, protocol.CodeCancelled)
	require.Equal(t, before, listFiles(t, r.Dir()))
}

// TestPublishWithAClockFarAhead: what was signed then would be good for too long.
// Under a root that has really expired clients would refuse it.
func TestPublishWithAClockFarAhead(t *testing.T) {
	r, clock := newFastRepository(t)
	right := clock.now
	clock.now = right.AddDate(10, 0, 0)
	_, _, err := r.Publish(t.Context(), helloArchive, helloManifest, PublishOptions{})
	e := requireCode(t, err, protocol.CodeExpired)
	require.Contains(t, e.Msg, "expired 2031-01-02 03:04 UTC, and the clock says 2040-01-02")
	require.Contains(t, e.Hint, "root propose")
	_, _, err = r.PublishBatch(t.Context(), batchOf(t, "acme/tool/1.0.0", "acme/tool/1.0.1"), BatchOptions{})
	requireCode(t, err, protocol.CodeExpired)
	clock.now = right
	require.Empty(t, verified(t, r, VerifyOptions{}).Problems)
	publishAs(t, r, "ragnos", "tool", "1.0.0")
}

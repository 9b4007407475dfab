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
	target, err := r.Publish(t.Context(), helloArchive, helloManifest)
	require.NoError(t, err)
	data, err := os.ReadFile(helloArchive)
	require.NoError(t, err)
	sum := sha256.Sum256(data)
	digest := hex.EncodeToString(sum[:])
	require.Equal(t, Target{Path: helloPath, Length: int64(len(data)), SHA256: digest, Version: 2}, target)
	copied, err := os.ReadFile(filepath.Join(r.Dir(), "targets/plugins/ragnos", digest+".hello-world.1.0.0.tar.gz"))
	require.NoError(t, err)
	require.Equal(t, data, copied)

	s, err := r.load()
	require.NoError(t, err)
	require.Equal(t, [3]int64{2, 2, 2}, [3]int64{s.targets.Signed.Version, s.snapshot.Signed.Version, s.timestamp.Signed.Version})
	listed := s.targets.Signed.Targets[helloPath]
	require.Len(t, listed.Hashes, 1)
	manifest, err := os.ReadFile(helloManifest)
	require.NoError(t, err)
	require.JSONEq(t, string(manifest), string(*listed.Custom))
}

func TestAPublishedVersionStays(t *testing.T) {
	r, _ := newTestRepository(t)
	_, err := r.Publish(t.Context(), helloArchive, helloManifest)
	require.NoError(t, err)
	before := listFiles(t, r.Dir())
	other := filepath.Join(t.TempDir(), "other.tar.gz")
	require.NoError(t, os.WriteFile(other, packed(t, "bin/hello.sh", "evil"), 0o600))
	_, err = r.Publish(t.Context(), other, helloManifest)
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
			_, err := r.Publish(t.Context(), tc.plugin, tc.manifest)
			require.Equal(t, "publish", requireCode(t, err, tc.code).Op)
			if tc.as != nil {
				require.ErrorAs(t, err, tc.as)
			}
			require.Equal(t, before, listFiles(t, r.Dir()))
		})
	}
}

// TestKilledPublish builds, for every moment at which a publish can be killed,
// the repository as it is left then: still the old one, and the next publish works.
func TestKilledPublish(t *testing.T) {
	r, clock := newTestRepository(t)
	old := map[string][]byte{}
	for _, f := range listFiles(t, r.Dir()) {
		data, err := os.ReadFile(filepath.Join(r.Dir(), f))
		require.NoError(t, err)
		old[f] = data
	}
	target, err := r.Publish(t.Context(), helloArchive, helloManifest)
	require.NoError(t, err)
	// In the order in which publish writes them.
	written := []string{
		"targets/plugins/ragnos/" + target.SHA256 + ".hello-world.1.0.0.tar.gz",
		"metadata/2.targets.json", "metadata/2.snapshot.json", "metadata/timestamp.json",
	}
	for done := range len(written) + 1 {
		t.Run(fmt.Sprintf("after %d files", done), func(t *testing.T) {
			dir := t.TempDir()
			put := func(name string, data []byte) {
				p := filepath.Join(dir, name)
				require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o700))
				require.NoError(t, os.WriteFile(p, data, 0o600))
			}
			for name, data := range old {
				put(name, data)
			}
			for _, name := range written[:done] {
				data, err := os.ReadFile(filepath.Join(r.Dir(), name))
				require.NoError(t, err)
				put(name, data)
			}
			require.NoError(t, os.MkdirAll(filepath.Join(dir, "targets"), 0o700))
			put("metadata/"+tempPrefix+"1", []byte("{"))
			put("targets/"+tempPrefix+"2", []byte("half"))

			left, err := Open(dir, clock.Now)
			require.NoError(t, err)
			st, err := left.Status()
			require.NoError(t, err)
			complete := done == len(written)
			require.Equal(t, complete, st.Targets == 1)

			manifest := helloManifest
			if complete {
				manifest = writeManifest(t, "ragnos", "next", "1.0.0")
			}
			_, err = left.Publish(t.Context(), helloArchive, manifest)
			require.NoError(t, err)
			for _, f := range listFiles(t, dir) {
				require.NotContains(t, f, tempPrefix, "the next change sweeps")
			}
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
			own, err := Open(r.Dir(), r.clock)
			if err == nil {
				_, err = own.Publish(context.Background(), helloArchive, manifests[i])
			}
			if err == nil {
				_, errs[i] = own.Publish(context.Background(), helloArchive, contested)
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
	st, err := r.Status()
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
	_, err = r.Publish(ctx, helloArchive, helloManifest)
	requireCode(t, err, protocol.CodeTimeout)
	require.ErrorContains(t, err, "another process")
	release()
	_, err = r.Publish(t.Context(), helloArchive, helloManifest)
	require.NoError(t, err)
}

func TestACancelledCopyLeavesNothing(t *testing.T) {
	r, _ := newTestRepository(t)
	before := listFiles(t, r.Dir())
	m, err := ParseManifest(manifestWith(t, nil))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	requireCode(t, r.addFile(ctx, helloArchive, m, &Target{Path: m.TargetPath()}), protocol.CodeCancelled)
	require.Equal(t, before, listFiles(t, r.Dir()))
}

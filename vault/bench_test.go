package vault

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/vault/policy"
)

// benchVault is a vault with a plugin of 10 kB, with or without an audit log.
func benchVault(b *testing.B, audited bool) (v *Vault, cache string) {
	repo := tuftest.NewRepo(tuftest.Config{Kind: tuftest.RSA})
	repo.AddTarget("targets", tool("1.0.0").path(), make([]byte, 10_000), nil)
	repo.Publish("targets")
	server := tuftest.NewServer(repo)
	b.Cleanup(server.Close)
	dir := b.TempDir()
	o := Options{
		Repositories: []Repository{{Name: "one", URL: server.URL, Root: repo.RootBytes(1)}},
		Policy:       policy.Policy{Allow: policy.Match{Names: []string{"*"}}},
		MetadataDir:  filepath.Join(dir, "metadata"), CacheDir: filepath.Join(dir, "cache"),
		Mode: hybrid.ModeGo, RefreshInterval: time.Hour,
	}
	if audited {
		o.AuditDir = filepath.Join(dir, "audit")
	}
	v, err := New(o)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, v.Shutdown(context.Background())) })
	benchInstall(b, v)
	return v, o.CacheDir
}

func benchInstall(b *testing.B, v *Vault) {
	if _, err := v.VerifyAndDownloadPlugin(context.Background(), tool("1.0.0").path(), InstallOptions{}); err != nil {
		b.Error(err)
	}
}

// BenchmarkAudit is what the audit log costs: a hit is a plugin that is in the cache
// and verified once more, -32 of them at a time; a download is the same with an empty
// cache. Each is a line that is on the disk before the call returns.
func BenchmarkAudit(b *testing.B) {
	for name, audited := range map[string]bool{"off": false, "on": true} {
		v, cache := benchVault(b, audited)
		b.Run("hit/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				benchInstall(b, v)
			}
		})
		b.Run("hit-32/"+name, func(b *testing.B) {
			b.SetParallelism(32 / min(32, runtime.GOMAXPROCS(0)))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					benchInstall(b, v)
				}
			})
		})
		b.Run("download/"+name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				require.NoError(b, os.RemoveAll(cache))
				b.StartTimer()
				benchInstall(b, v)
			}
		})
	}
}

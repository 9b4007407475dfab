package gotuf_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/engine/gotuf"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/internal/verify"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// repository is a source with nothing local.
type repository struct{ *tuftest.Repo }

func (r repository) Local(string, *admission.Doc) *admission.Doc { return nil }

func (r repository) Remote(_ context.Context, f engine.File) (*admission.Doc, error) {
	raw, ok := r.Get(r.MetadataName(f.Role, int(f.Version)))
	if !ok {
		return nil, tuferr.New(protocol.CodeNotFound, "no such file")
	}
	return admission.Parse(admission.KindOf(f.Role), raw, admission.Limits{})
}

// BenchmarkRun100k judges an index of 100,000 targets, and lets the gate confirm it.
func BenchmarkRun100k(b *testing.B) { benchmarkRun(b, 100_000) }

// BenchmarkRunSmall judges an index of one target.
func BenchmarkRunSmall(b *testing.B) { benchmarkRun(b, 1) }

func benchmarkRun(b *testing.B, n int) {
	repo := tuftest.NewRepo(tuftest.Config{})
	for i := range n {
		repo.Targets.Signed["targets"].(tuftest.Map)[fmt.Sprintf("plugins/vendor-%03d/plugin-%06d/1.2.3/plugin.tar.gz", i%997, i)] = tuftest.Map{
			"length": i, "hashes": tuftest.Map{"sha256": tuftest.SHA256(fmt.Append(nil, i))}, "custom": tuftest.Map{"os": "linux"}}
	}
	repo.Publish("targets")
	root, err := admission.Parse(admission.KindRoot, repo.RootBytes(1), admission.Limits{})
	require.NoError(b, err)
	op := &engine.Operation{Root: root, Source: repository{repo}, Start: time.Now(), MaxRoots: 8, MaxRoles: 8, Targets: []string{"plugins"}}
	b.ReportAllocs()
	for b.Loop() {
		out, err := gotuf.Engine{}.Run(context.Background(), op)
		require.NoError(b, err)
		_, err = verify.Outcome(verify.Base{Root: root}, op, out)
		require.NoError(b, err)
	}
}

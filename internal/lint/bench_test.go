package lint

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

// BenchmarkLarge looks at a role of 100,000 targets: all of it, and one target more.
func BenchmarkLarge(b *testing.B) {
	r := tuftest.NewRepo(tuftest.Config{})
	doc := func() *admission.Doc {
		r.Publish("targets")
		raw, _ := r.Get(r.MetadataName("targets", r.Targets.Version))
		doc, err := admission.Parse(admission.KindTargets, raw, admission.Limits{})
		require.NoError(b, err)
		return doc
	}
	for n := range 100_000 {
		r.Targets.Signed["targets"].(tuftest.Map)[fmt.Sprintf("plugins/acme/p%06d.1.0.0.tar.gz", n)] = tuftest.Map{
			"length": n, "hashes": tuftest.Map{"sha256": tuftest.SHA256(fmt.Append(nil, n))}, "custom": tuftest.Map{"name": "p", "version": "1.0.0"}}
	}
	before := doc()
	r.AddTarget("targets", "plugins/acme/one.1.0.0.tar.gz", nil, nil)
	after := doc()
	b.Run("file", func(b *testing.B) {
		for b.Loop() {
			require.Empty(b, File("targets", after))
		}
	})
	b.Run("change", func(b *testing.B) {
		for b.Loop() {
			require.Empty(b, Change("targets", before, after))
		}
	})
}

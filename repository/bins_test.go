package repository

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/draft"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func makeBins(t *testing.T, r *Repository, role string, bits int) Bins {
	t.Helper()
	b, p, err := r.MakeBins(t.Context(), role, bits)
	require.NoError(t, err)
	require.Nil(t, p)
	return b
}

// versions are those of the files that the newest snapshot lists.
func versions(t *testing.T, r *Repository) map[string]int64 {
	t.Helper()
	s, err := r.load(t.Context())
	require.NoError(t, err)
	all := map[string]int64{"snapshot": s.snapshot.Version, "timestamp": s.timestamp.Version}
	for name, m := range s.snapshot.Meta {
		all[strings.TrimSuffix(name, ".json")] = m.Version
	}
	return all
}

// rewritten says which roles have a newer version than before.
func rewritten(before, after map[string]int64) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if after[name] != before[name] {
			names = append(names, name)
		}
	}
	return names
}

func TestBinsOfTargets(t *testing.T) {
	r, _ := newFastRepository(t)
	first := publishAs(t, r, "acme", "tool", "1.0.0")
	other := publishAs(t, r, "bob", "tool", "1.0.0")
	b := makeBins(t, r, "targets", 3)
	require.Equal(t, Bins{Role: "targets", First: "_targets-0", Last: "_targets-7", Count: 8, Targets: 2}, b)
	s, err := r.load(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.all(t.Context()))
	require.Len(t, s.roles, 9)
	require.Zero(t, s.roles["targets"].doc.Targets.Len())

	before := versions(t, r)
	second := publishAs(t, r, "acme", "tool", "1.1.0")
	changed := rewritten(before, versions(t, r))
	bins := &admission.SuccinctRoles{BitLength: 3, NamePrefix: "_targets"}
	want := []string{bins.RoleFor(first), bins.RoleFor(second), "snapshot", "timestamp"}
	slices.Sort(want)
	require.Equal(t, slices.Compact(want), changed, "the bin of the new version, and that of the one that is no longer the latest")
	requireInstalls(t, r, "", first, second, other)

	before = versions(t, r)
	third := publishAs(t, r, "carol", "thing", "1.0.0")
	require.Equal(t, []string{bins.RoleFor(third), "snapshot", "timestamp"}, rewritten(before, versions(t, r)))
}

func TestBinsOfAPublisher(t *testing.T) {
	r, _ := newFastRepository(t)
	_, _, err := r.AddPublisher(t.Context(), "acme", PublisherOptions{Threshold: 2})
	require.NoError(t, err)
	first := publishAs(t, r, "acme", "tool", "1.0.0")
	b := makeBins(t, r, "acme", 1)
	require.Equal(t, "_acme-0", b.First)
	require.EqualValues(t, 2, b.Count)
	before := versions(t, r)
	second := publishAs(t, r, "acme", "other", "1.0.0")
	require.NotContains(t, rewritten(before, versions(t, r)), "acme")
	requireInstalls(t, r, "", first, second)
	list, err := r.Publishers(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 2, list[0].Bins)
	require.Equal(t, 2, list[0].Targets)

	// The bins take the keys of the role, all of them.
	s, err := r.load(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.all(t.Context()))
	_, role, ok := s.roles["acme"].doc.Delegated("_acme-1")
	require.True(t, ok)
	require.Equal(t, 2, role.Threshold)
	require.Len(t, role.KeyIDs, 2)

	_, _, err = r.AddPublisher(t.Context(), "bob", PublisherOptions{Keys: []string{filepath.Join(r.Dir(), keysName, "acme-1.pub")}})
	require.ErrorContains(t, err, "signs for")
}

func TestBinsNeedTheRolesKeys(t *testing.T) {
	r, _ := newFastRepository(t)
	addPublisher(t, r, "acme")
	path := publishAs(t, r, "acme", "tool", "1.0.0")
	require.NoError(t, os.Remove(keyPath(r.Dir(), "acme")))
	before := versions(t, r)
	_, p, err := r.MakeBins(t.Context(), "acme", 2)
	require.NoError(t, err)
	require.NotNil(t, p)
	require.Equal(t, before, versions(t, r))
	requireInstalls(t, r, "acme", path)
}

func TestBinsAreRefused(t *testing.T) {
	r, _ := newFastRepository(t)
	addPublisher(t, r, "acme")
	addPublisher(t, r, "binned")
	makeBins(t, r, "binned", 1)
	before := versions(t, r)
	for name, tc := range map[string]struct {
		role string
		bits int
		code protocol.Code
		says string
	}{
		"no bits":     {"acme", 0, protocol.CodeUsage, "2^0 bins"},
		"many bits":   {"acme", 15, protocol.CodeUsage, "2^15 bins"},
		"nobody":      {"nobody", 1, protocol.CodeNotFound, "no such publisher"},
		"root":        {"root", 1, protocol.CodeNotFound, "no such publisher"},
		"a bin":       {"_binned-0", 1, protocol.CodeNotFound, "no such publisher"},
		"twice":       {"binned", 2, protocol.CodeUsage, "in 2 bins already"},
		"delegations": {"targets", 1, protocol.CodeUsage, "delegates to 2 publishers"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := r.MakeBins(t.Context(), tc.role, tc.bits)
			require.ErrorContains(t, err, tc.says)
			require.NotEmpty(t, requireCode(t, err, tc.code).Hint)
			require.Equal(t, before, versions(t, r))
		})
	}
	t.Run("publishers beside bins", func(t *testing.T) {
		r, _ := newFastRepository(t)
		makeBins(t, r, "targets", 1)
		_, _, err := r.AddPublisher(t.Context(), "acme", PublisherOptions{})
		require.ErrorContains(t, err, "hash bins")
	})
}

// TestTheMostBins: they still fit into the snapshot that clients accept.
func TestTheMostBins(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 16384 roles")
	}
	r, _ := newFastRepository(t)
	name := strings.Repeat("n", 64)
	addPublisher(t, r, name)
	makeBins(t, r, name, MaxBinBits)
	requireInstalls(t, r, "", publishAs(t, r, name, "tool", "1.0.0"))
}

// docWith returns metadata of a role that lists so many targets.
func docWith(t *testing.T, targets int, delegate func(*draft.Targets)) *admission.Doc {
	t.Helper()
	d := draft.NewTargets()
	for n := range targets {
		require.NoError(t, d.Set(fmt.Sprintf("plugins/acme/x%d", n), draft.Target{SHA256: "00"}))
	}
	delegate(d)
	signed, err := d.Encode()
	require.NoError(t, err)
	doc, err := admission.Parse(admission.KindTargets, draft.Seal(admission.KindTargets, signed).Bytes(), ownLimits)
	require.NoError(t, err)
	return doc
}

func TestLargeRolesAreToldOf(t *testing.T) {
	none := func(*draft.Targets) {}
	large := docWith(t, largeTargets+1, none)
	require.Empty(t, largeRole("acme", docWith(t, 100, none)))
	require.Contains(t, largeRole("acme", large), "local-tuf bins --role acme")
	require.Contains(t, largeRole("targets", large), "local-tuf publisher add")
	require.Contains(t, largeRole("targets", large), "local-tuf bins --role targets")
	delegating := docWith(t, largeTargets+1, func(d *draft.Targets) { require.NoError(t, d.Delegate("acme", 1, "plugins/acme/*")) })
	require.NotContains(t, largeRole("targets", delegating), "bins")
	binned := docWith(t, 0, func(d *draft.Targets) { require.NoError(t, d.DelegateBins("_acme", 1, 1)) })
	s := &state{roles: map[string]*loadedRole{
		"targets": {delegating, "root"}, "acme": {binned, "targets"}, "_acme-0": {large, "acme"}, "bob": {large, "targets"},
	}}
	require.Equal(t, []string{largeRole("bob", large), largeRole("targets", delegating)}, s.largeRoles(), "bins cannot be divided")
}

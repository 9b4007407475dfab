package repository

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/draft"
	"github.com/ragnos-labs/vault-tuf/internal/keyfile"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

const helloFile = "targets/plugins/ragnos/26307fc5fa5642c9864429b70803c9130082db2f355dbb3b353019a749da8027.hello-world.1.0.0.tar.gz"

// newQuickRepository makes a repository with keys that are made at once.
func newQuickRepository(t testing.TB) *Repository {
	t.Helper()
	r, err := Init(t.Context(), filepath.Join(t.TempDir(), "repo"), InitOptions{Options: Options{Keys: plainKeys}, Algorithm: keyfile.Ed25519})
	require.NoError(t, err)
	return r
}

func verified(t *testing.T, r *Repository, o VerifyOptions) Report {
	t.Helper()
	report, err := r.Verify(t.Context(), o)
	require.NoError(t, err)
	return report
}

func TestVerifyASoundRepository(t *testing.T) {
	r := newQuickRepository(t)
	addRole(t, r, "ragnos")
	_, _, err := r.Publish(t.Context(), helloArchive, helloManifest, PublishOptions{})
	require.NoError(t, err)
	before := listFiles(t, r.Dir())
	report := verified(t, r, VerifyOptions{})
	require.Equal(t, Report{Roles: 5, Targets: 1, Bytes: 326, Superseded: 4, Problems: []Problem{}}, report)
	require.NoError(t, report.Warning())
	require.Zero(t, verified(t, r, VerifyOptions{MetadataOnly: true}).Bytes)
	require.Equal(t, before, listFiles(t, r.Dir()), "nothing is changed")

	// Others may hold the keys.
	require.NoError(t, os.RemoveAll(filepath.Join(r.Dir(), keysName)))
	require.Empty(t, verified(t, r, VerifyOptions{}).Problems)
}

// TestVerifyFinds: whatever is wrong on the disk is named.
func TestVerifyFinds(t *testing.T) {
	write := func(name string, perm fs.FileMode) func(t *testing.T, r *Repository) {
		return func(t *testing.T, r *Repository) {
			p := filepath.Join(r.Dir(), name)
			require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
			require.NoError(t, os.WriteFile(p, []byte("content"), perm))
		}
	}
	chmod := func(name string, perm fs.FileMode) func(t *testing.T, r *Repository) {
		return func(t *testing.T, r *Repository) { require.NoError(t, os.Chmod(filepath.Join(r.Dir(), name), perm)) }
	}
	for name, tc := range map[string]struct {
		do   func(t *testing.T, r *Repository)
		want Problem
		code protocol.Code
	}{
		"a missing plugin": {func(t *testing.T, r *Repository) { require.NoError(t, os.Remove(filepath.Join(r.Dir(), helloFile))) },
			Problem{KindMissing, true, helloFile, "listed as " + helloPath, "backup"}, protocol.CodeLocalIO},
		"a link in place of a plugin": {func(t *testing.T, r *Repository) {
			p := filepath.Join(r.Dir(), helloFile)
			require.NoError(t, os.Rename(p, filepath.Join(t.TempDir(), "x")))
			require.NoError(t, os.Symlink("/etc/hostname", p))
		}, Problem{KindMissing, true, helloFile, "cannot be served", "backup"}, protocol.CodeLocalIO},
		"a cut plugin": {func(t *testing.T, r *Repository) {
			require.NoError(t, os.Truncate(filepath.Join(r.Dir(), helloFile), 100))
		},
			Problem{KindDamaged, true, helloFile, "100 bytes, signed were 326", "backup"}, protocol.CodeMismatch},
		"a changed plugin": {func(t *testing.T, r *Repository) {
			require.NoError(t, os.WriteFile(filepath.Join(r.Dir(), helloFile), make([]byte, 326), 0o600))
		}, Problem{KindDamaged, true, helloFile, "not the bytes", "backup"}, protocol.CodeMismatch},
		"an unknown file":      {write("targets/plugins/x/y", 0o644), Problem{KindUnknown, false, "targets/plugins/x/y", "no metadata lists it", "remove"}, ""},
		"unknown metadata":     {write("metadata/3.other.json", 0o644), Problem{KindUnknown, false, "metadata/3.other.json", "no metadata", "remove"}, ""},
		"newer metadata":       {write("metadata/9.targets.json", 0o644), Problem{KindUnknown, false, "metadata/9.targets.json", "newer", "remove"}, ""},
		"what was interrupted": {write("metadata/.unfinished-1", 0o600), Problem{KindLeftover, false, "metadata/.unfinished-1", "interrupted", "remove"}, ""},
		"a staged change":      {write(".staged/0", 0o600), Problem{KindLeftover, false, ".staged", "interrupted", "removes"}, ""},
		"a change half done":   {write(".staged/journal.json", 0o600), Problem{KindLeftover, true, ".staged", "not complete", "serve"}, protocol.CodeLocalIO},
		"a served key": {func(t *testing.T, r *Repository) {
			require.NoError(t, os.Rename(keyPath(r.Dir(), "root"), filepath.Join(r.Dir(), "targets", "root.key")))
		}, Problem{KindSecret, true, "targets/root.key", "a private key", "replace"}, protocol.CodePermissions},
		"an open key":            {chmod("keys/root.key", 0o644), Problem{KindPermissions, true, "keys/root.key", "other users", "chmod 600"}, protocol.CodePermissions},
		"an open directory":      {chmod("metadata", 0o777), Problem{KindPermissions, true, "metadata", "every user", "chmod o-w"}, protocol.CodePermissions},
		"a wrong anchor":         {write("root.json", 0o644), Problem{KindAnchor, true, "root.json", "not one of the roots", "1.root.json"}, protocol.CodeRootConflict},
		"a damaged key":          {write("keys/root.key", 0o600), Problem{KindKey, false, "keys/root.key", "damaged", ""}, ""},
		"a key that has no role": {anotherKey, Problem{KindKey, false, "keys/spare.key", "signs for no role", "remove"}, ""},
		"what clients read differently": {func(t *testing.T, r *Repository) { addBins(t, r, 1) },
			Problem{KindLint, false, "metadata/3.targets.json", "tough", "do without"}, ""},
		"a plugin in the wrong role": {func(t *testing.T, r *Repository) {
			addRole(t, r, "acme")
			_, err := r.change(t.Context(), func(c *change) error {
				_, err := c.targets()
				require.NoError(t, err)
				d, err := c.editRole("acme", roleTargets)
				if err == nil {
					err = d.Set("plugins/other/x", draft.Target{Length: 326, SHA256: "26307fc5fa5642c9864429b70803c9130082db2f355dbb3b353019a749da8027"})
				}
				return err
			})
			require.NoError(t, err)
			require.NoError(t, os.MkdirAll(filepath.Join(r.Dir(), "targets/plugins/other"), 0o755))
			require.NoError(t, os.Link(filepath.Join(r.Dir(), helloFile), filepath.Join(r.Dir(), "targets/plugins/other", "26307fc5fa5642c9864429b70803c9130082db2f355dbb3b353019a749da8027.x")))
		}, Problem{KindUnknown, false, "role acme", "found by no client", "trusted"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newQuickRepository(t)
			_, _, err := r.Publish(t.Context(), helloArchive, helloManifest, PublishOptions{})
			require.NoError(t, err)
			tc.do(t, r)
			report := verified(t, r, VerifyOptions{})
			require.NotEmpty(t, report.Problems)
			got := report.Problems[len(report.Problems)-1]
			require.Equal(t, tc.want.Kind, got.Kind, "%v", report.Problems)
			require.Equal(t, tc.want.Error, got.Error)
			require.Contains(t, got.Path, tc.want.Path)
			require.Contains(t, got.Text, tc.want.Text)
			require.Contains(t, got.Do, tc.want.Do)
			if tc.code == "" && got.Kind == KindLint {
				require.NoError(t, report.Warning())
				return
			}
			if tc.code == "" {
				require.NoError(t, report.Err())
				requireCode(t, report.Warning(), protocol.CodeStale)
				return
			}
			requireCode(t, report.Err(), tc.code)
			require.Equal(t, report.Err(), report.Warning())
		})
	}
}

func anotherKey(t *testing.T, r *Repository) {
	_, err := keyfile.Generate(t.Context(), filepath.Join(r.dir, keysName), "spare", keyfile.Ed25519, keyfile.Plain)
	require.NoError(t, err)
}

// TestVerifyLooksBehindLinks: the served directories may lie elsewhere.
func TestVerifyLooksBehindLinks(t *testing.T) {
	r := newQuickRepository(t)
	_, _, err := r.Publish(t.Context(), helloArchive, helloManifest, PublishOptions{})
	require.NoError(t, err)
	want := verified(t, r, VerifyOptions{})
	for _, name := range []string{metadataName, targetsName} {
		elsewhere := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.Rename(filepath.Join(r.Dir(), name), elsewhere))
		require.NoError(t, os.Symlink(elsewhere, filepath.Join(r.Dir(), name)))
	}
	require.Equal(t, want, verified(t, r, VerifyOptions{}))
	require.NoError(t, os.Rename(keyPath(r.Dir(), "root"), filepath.Join(r.Dir(), targetsName, "root.key")))
	requireCode(t, verified(t, r, VerifyOptions{}).Err(), protocol.CodePermissions)
}

// TestVerifyLeavesProposedKeys: nobody is told to remove a key that will sign.
func TestVerifyLeavesProposedKeys(t *testing.T) {
	c := newCeremony(t)
	_, p, err := c.r.RotateKeys(t.Context(), Rotate{Role: roleTimestamp})
	require.NoError(t, err)
	_, err = c.r.KeepProposal(p)
	require.NoError(t, err)
	require.Empty(t, verified(t, c.r, VerifyOptions{}).Problems)
	c.sign(p, "root-1", "root-2")
	require.NoError(t, c.r.PublishProposal(t.Context(), p))
	problems := verified(t, c.r, VerifyOptions{}).Problems
	require.Len(t, problems, 1)
	require.Contains(t, problems[0].Path, "timestamp.key", "the one before")
}

// TestVerifyTellsSupersededFiles: a file that an earlier version listed is no
// stranger.
func TestVerifyTellsSupersededFiles(t *testing.T) {
	r := newQuickRepository(t)
	_, _, err := r.Publish(t.Context(), helloArchive, helloManifest, PublishOptions{})
	require.NoError(t, err)
	_, err = r.change(t.Context(), func(c *change) error {
		d, err := c.editRole(roleTargets, roleRoot)
		if err == nil {
			d.Move(helloPath, draft.NewTargets())
		}
		return err
	})
	require.NoError(t, err)
	require.Equal(t, Report{Roles: 4, Superseded: 5, Problems: []Problem{}}, verified(t, r, VerifyOptions{}))
}

func TestSplit(t *testing.T) {
	a, b, c := errors.New("a"), errors.New("b"), errors.New("c")
	require.Equal(t, []error{a, b, c}, split(errors.Join(errors.Join(a, b), c)))
	whole := &Error{Err: errors.Join(a, b)}
	require.Equal(t, []error{whole}, split(whole))
	require.Empty(t, split(nil))
}

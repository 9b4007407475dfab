package repository

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

// newFullRepository has two plugins of two publishers and two versions of root.
func newFullRepository(t *testing.T) *Repository {
	t.Helper()
	r, _ := newFastRepository(t)
	for _, publisher := range []string{"acme", "other"} {
		addPublisher(t, r, publisher)
		publishAs(t, r, publisher, "tool", "1.0.0")
	}
	_, p, err := r.RotateKeys(t.Context(), Rotate{Role: roleTimestamp, plain: true})
	require.NoError(t, err)
	require.Nil(t, p)
	return r
}

// found maps what a report names, with the error's sign, to what it says.
func found(report Report) map[string]string {
	all := map[string]string{}
	for _, p := range report.Problems {
		sign := "warning "
		if p.Error {
			sign = "error "
		}
		all[sign+string(p.Kind)+" "+p.Path] = p.Text
	}
	return all
}

// TestVerifyGoesOn: whatever is missing or damaged, what else is wrong is named.
func TestVerifyGoesOn(t *testing.T) {
	r := newFullRepository(t)
	s, err := r.load(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.all(t.Context()))
	snapshot := "metadata/" + versioned(roleSnapshot, s.snapshot.Version)
	acme := "metadata/" + versioned("acme", s.roles["acme"].doc.Version)
	targets := "metadata/" + versioned(roleTargets, s.roles[roleTargets].doc.Version)
	var files []string
	for _, role := range []string{"acme", "other"} {
		for p := range s.roles[role].doc.Targets.Paths() {
			files = append(files, "targets/"+hashedPath(p, s.roles[role].doc.Targets.Find(p).Hashes["sha256"]))
		}
	}
	require.Len(t, files, 2)
	for _, tc := range []struct {
		name   string
		remove []string
		want   []string
		code   protocol.Code
	}{
		{"targets", []string{"targets"}, []string{"error missing targets", "error missing " + files[0], "error missing " + files[1]}, protocol.CodeLocalIO},
		{"a publisher's targets", []string{"targets/plugins/acme"}, []string{"error missing " + files[0]}, protocol.CodeLocalIO},
		{"a publisher's metadata", []string{acme, filepath.Dir(files[1])}, []string{"error missing " + acme, "error missing " + files[1], "warning unknown metadata"}, protocol.CodeLocalIO},
		{"targets metadata", []string{targets}, []string{"error missing " + targets}, protocol.CodeLocalIO},
		{"the timestamp", []string{"metadata/timestamp.json", files[0]},
			[]string{"error missing metadata/timestamp.json", "warning missing " + snapshot, "error missing " + files[0]}, protocol.CodeLocalIO},
		{"the snapshot", []string{snapshot, files[0]}, []string{"error missing " + snapshot, "error missing " + files[0]}, protocol.CodeLocalIO},
		{"the first root", []string{"metadata/1.root.json", files[1]}, []string{"error missing metadata/1.root.json", "error missing " + files[1]}, protocol.CodeLocalIO},
		{"all roots", []string{"metadata/1.root.json", "root.json", "metadata/2.root.json"},
			[]string{"error missing metadata/1.root.json", "error missing root.json"}, protocol.CodeLocalIO},
		{"metadata", []string{"metadata"}, []string{"error missing metadata", "error missing metadata/timestamp.json", "warning unknown metadata"}, protocol.CodeLocalIO},
		{"the anchor", []string{"root.json"}, []string{"error missing root.json"}, protocol.CodeLocalIO},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := copyOf(t, r)
			for _, name := range tc.remove {
				require.NoError(t, os.RemoveAll(filepath.Join(c.dir, name)))
			}
			report := verified(t, c, VerifyOptions{})
			got := found(report)
			for _, want := range tc.want {
				require.Contains(t, got, want)
			}
			requireCode(t, report.Err(), tc.code)
		})
	}
}

func TestVerifyNamesAGapOfRoots(t *testing.T) {
	r := newFullRepository(t)
	for range 2 {
		_, _, err := r.RotateKeys(t.Context(), Rotate{Role: roleTimestamp, plain: true})
		require.NoError(t, err)
	}
	require.NoError(t, os.Remove(r.metadataPath("3.root.json")))
	require.Contains(t, found(verified(t, r, VerifyOptions{}))["error missing metadata/3.root.json"], "a root of version 4")
}

// TestVerifyNamesDamagedMetadata, with the code that clients refuse it with, and
// still finds a key that is served.
func TestVerifyNamesDamagedMetadata(t *testing.T) {
	r := newFullRepository(t)
	s, err := r.load(t.Context())
	require.NoError(t, err)
	name := versioned(roleSnapshot, s.snapshot.Version)
	require.NoError(t, os.WriteFile(r.metadataPath(name), []byte("{"), 0o600))
	require.NoError(t, os.Rename(keyPath(r.dir, "root"), r.metadataPath("root.key")))
	report := verified(t, r, VerifyOptions{})
	require.Contains(t, found(report), "error damaged metadata/"+name)
	require.Contains(t, found(report), "error secret metadata/root.key")
	require.Equal(t, "verify", requireCode(t, report.Err(), protocol.CodeMalformed).Op)
}

// TestMetadataThatIsNoFile: nobody has named it, so that it is no wrong use.
func TestMetadataThatIsNoFile(t *testing.T) {
	r := newFullRepository(t)
	path := r.metadataPath("timestamp.json")
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Mkdir(path, 0o700))
	_, err := r.Status(t.Context())
	require.ErrorContains(t, requireCode(t, err, protocol.CodeMalformed), "not a regular file")
	requireCode(t, verified(t, r, VerifyOptions{}).Err(), protocol.CodeMalformed)
}

// TestAnAnchorThatCannotBeRead is not one of another repository.
func TestAnAnchorThatCannotBeRead(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	r := newFullRepository(t)
	require.NoError(t, os.Chmod(filepath.Join(r.dir, anchorName), 0))
	st, err := r.Status(t.Context())
	require.NoError(t, err)
	require.NotContains(t, requireCode(t, st.Err(), protocol.CodePermissions).Hint, "1.root.json")
	requireCode(t, verified(t, r, VerifyOptions{}).Err(), protocol.CodePermissions)
}

// TestStatusOfHalfARepository: what is missing is named, with what restores it.
func TestStatusOfHalfARepository(t *testing.T) {
	full := newFullRepository(t)
	for _, tc := range []struct {
		remove, copied string
		health         Health
		code           protocol.Code
		path, hint     string
	}{
		{"targets", "", Down, protocol.CodeLocalIO, "targets", "restore the directory from a backup"},
		{"root.json", "", Degraded, protocol.CodeLocalIO, "root.json", "copy metadata/1.root.json there"},
		{"root.json", "repository.json", Degraded, protocol.CodeRootConflict, "root.json", "find out who changed it"},
		{"metadata", "", Down, protocol.CodeLocalIO, "metadata", "restore metadata from a backup of the latest state"},
		{"metadata/1.root.json", "", Down, protocol.CodeLocalIO, "metadata/1.root.json", "copy root.json of the repository there"},
		{"metadata/timestamp.json", "", Down, protocol.CodeLocalIO, "metadata/timestamp.json", "backup"},
	} {
		t.Run(tc.remove+tc.copied, func(t *testing.T) {
			r := copyOf(t, full)
			require.NoError(t, os.RemoveAll(filepath.Join(r.dir, tc.remove)))
			if tc.copied != "" {
				require.NoError(t, os.Rename(filepath.Join(copyOf(t, full).dir, tc.copied), filepath.Join(r.dir, tc.remove)))
			}
			st, err := r.Status(t.Context())
			if err == nil {
				err = st.Err()
			}
			e := requireCode(t, err, tc.code)
			require.Equal(t, filepath.Join(r.dir, tc.path), e.Path)
			require.Contains(t, e.Hint, tc.hint)
			require.Equal(t, tc.health, st.Status)
			require.NotEmpty(t, st.Problems)
		})
	}
}

// TestPublishIntoHalfARepository: a directory that has gone is not made anew, as if
// nothing were missing.
func TestPublishIntoHalfARepository(t *testing.T) {
	r := newFullRepository(t)
	require.NoError(t, os.RemoveAll(filepath.Join(r.dir, targetsName)))
	_, _, err := r.Publish(t.Context(), helloArchive, helloManifest, PublishOptions{})
	require.Contains(t, requireCode(t, err, protocol.CodeLocalIO).Hint, "backup")
	require.NoDirExists(t, filepath.Join(r.dir, targetsName))
}

// TestVerifySaysEachThingOnce: neither path nor hint is repeated.
func TestVerifySaysEachThingOnce(t *testing.T) {
	r := newFullRepository(t)
	require.NoError(t, os.Chmod(keyPath(r.dir, "root"), 0o644))
	report := verified(t, r, VerifyOptions{})
	require.Equal(t, 1, strings.Count(report.Err().Error(), "chmod 600"))
	require.Equal(t, "refusing what keeps a secret and is within reach of other users", report.Problems[0].Text)
}

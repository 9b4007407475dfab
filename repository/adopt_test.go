package repository

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// onDisk writes a repository of another tool to the disk.
func onDisk(t *testing.T, r *tuftest.Repo) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, raw := range r.Files() {
		p := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		require.NoError(t, os.WriteFile(p, raw, 0o600))
	}
	return dir
}

func adoptFrom(t *testing.T, source string) (*Repository, Adoption, string, error) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "r")
	r, a, err := Adopt(t.Context(), dir, AdoptOptions{Metadata: filepath.Join(source, "metadata"), Targets: filepath.Join(source, "targets")})
	return r, a, dir, err
}

func foreign() *tuftest.Repo {
	r := tuftest.NewRepo(tuftest.Config{})
	r.Delegate("targets", tuftest.Delegation{Name: "team", Paths: []string{"team/*"}})
	r.AddTarget("targets", "one", []byte("one"), nil)
	r.AddTarget("team", "team/two", []byte("two"), nil)
	r.Publish("targets", "team")
	return r
}

const (
	oneFile = "targets/7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed.one"
	twoFile = "targets/team/3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3.two"
)

func TestAdoptWithoutKeys(t *testing.T) {
	source := onDisk(t, foreign())
	r, a, dir, err := adoptFrom(t, source)
	require.NoError(t, err)
	require.Equal(t, Adoption{Roles: 5, Targets: 2, Bytes: 6, Keys: []AdoptedKey{}, Missing: []string{"root", "targets", "snapshot", "timestamp", "team"}, Findings: []Finding{}}, a)
	require.Empty(t, verified(t, r, VerifyOptions{}).Problems)
	again, err := Open(dir, Options{})
	require.NoError(t, err)
	require.Empty(t, verified(t, again, VerifyOptions{}).Problems)
	_, err = Init(t.Context(), dir, InitOptions{Options: Options{Keys: plainKeys}})
	require.ErrorIs(t, err, ErrExists)
}

// TestAdoptTakesWhatToolsDo: plain names of targets, root.json, and versions that
// are not published.
func TestAdoptTakesWhatToolsDo(t *testing.T) {
	source := onDisk(t, foreign())
	require.NoError(t, os.Rename(filepath.Join(source, oneFile), filepath.Join(source, "targets/one")))
	require.NoError(t, os.Rename(filepath.Join(source, "metadata/1.root.json"), filepath.Join(source, "metadata/root.json")))
	for _, name := range []string{"9.targets.json", "notes.json", "1.unknown.json", "targets.json"} {
		require.NoError(t, os.WriteFile(filepath.Join(source, "metadata", name), []byte("{}"), 0o600))
	}
	r, _, _, err := adoptFrom(t, source)
	require.NoError(t, err)
	require.Empty(t, verified(t, r, VerifyOptions{}).Problems)
}

func TestAdoptNamesWhatClientsReadDifferently(t *testing.T) {
	foreign := foreign()
	foreign.Targets.Signed["targets"].(tuftest.Map)["one"].(tuftest.Map)["custom"] = nil
	foreign.Publish("targets")
	_, a, _, err := adoptFrom(t, onDisk(t, foreign))
	require.NoError(t, err)
	require.Len(t, a.Findings, 2)
	require.Equal(t, "custom-null", a.Findings[0].Rule)
}

// TestAdoptRefuses: all or nothing.
func TestAdoptRefuses(t *testing.T) {
	remove := func(name string) func(t *testing.T, source string) {
		return func(t *testing.T, source string) { require.NoError(t, os.Remove(filepath.Join(source, name))) }
	}
	write := func(name, content string) func(t *testing.T, source string) {
		return func(t *testing.T, source string) {
			require.NoError(t, os.WriteFile(filepath.Join(source, name), []byte(content), 0o600))
		}
	}
	for name, tc := range map[string]struct {
		repo *tuftest.Repo
		do   func(t *testing.T, source string)
		code protocol.Code
		text string
	}{
		"no consistent snapshots": {func() *tuftest.Repo {
			r := tuftest.NewRepo(tuftest.Config{Inconsistent: true})
			for _, role := range []string{"targets", "snapshot"} {
				raw, _ := r.Get("metadata/" + role + ".json")
				r.Put("metadata/1."+role+".json", raw)
			}
			return r
		}(), nil, protocol.CodeUsage, "consistent_snapshot"},
		"a broken signature": {func() *tuftest.Repo {
			r := foreign()
			r.Targets.Signers = tuftest.Keys(70, 1)
			r.Publish("targets")
			return r
		}(), nil, protocol.CodeUnsigned, "targets"},
		"a damaged role":           {nil, write("metadata/1.team.json", "{}"), protocol.CodeNotARepository, "metadata/1.team.json"},
		"a missing role":           {nil, remove("metadata/1.team.json"), protocol.CodeLocalIO, "metadata/1.team.json"},
		"no timestamp":             {nil, remove("metadata/timestamp.json"), protocol.CodeLocalIO, "metadata/timestamp.json"},
		"no metadata at all":       {nil, func(t *testing.T, source string) { require.NoError(t, os.RemoveAll(filepath.Join(source, "metadata"))) }, protocol.CodeLocalIO, "metadata"},
		"a missing target":         {nil, remove(twoFile), protocol.CodeLocalIO, twoFile},
		"a changed target":         {nil, write(oneFile, "ONE"), protocol.CodeMismatch, oneFile},
		"a longer target":          {nil, write(oneFile, "one and more"), protocol.CodeMismatch, oneFile},
		"all targets gone":         {nil, func(t *testing.T, source string) { require.NoError(t, os.RemoveAll(filepath.Join(source, "targets"))) }, protocol.CodeLocalIO, "2 targets cannot be adopted"},
		"a hash that nobody knows": {hashedWith("md5", "e358efa489f58062f10dd7316b65649e"), nil, protocol.CodeUsage, "md5"},
		"a path that leads away":   {named("../../x"), nil, protocol.CodeUsage, "../../x"},
		"a role name with a space": {func() *tuftest.Repo {
			r := foreign()
			r.Delegate("targets", tuftest.Delegation{Name: "a b", Paths: []string{"x"}})
			r.Publish("targets", "a b")
			return r
		}(), func(t *testing.T, source string) {
			dir := filepath.Join(source, "metadata")
			require.NoError(t, os.Rename(filepath.Join(dir, "1.a b.json"), filepath.Join(dir, "1.a%20b.json")))
		}, protocol.CodeUsage, "another one in a URL"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.repo == nil {
				tc.repo = foreign()
			}
			source := onDisk(t, tc.repo)
			if tc.do != nil {
				tc.do(t, source)
			}
			if name == "no consistent snapshots" {
				require.NoError(t, os.Remove(filepath.Join(source, "metadata", "root.json")))
			}
			_, _, dir, err := adoptFrom(t, source)
			e := requireCode(t, err, tc.code)
			require.Equal(t, "adopt", e.Op)
			require.Contains(t, err.Error(), tc.text)
			require.NotContains(t, err.Error(), tempPrefix, "the copy is nobody's business")
			require.Subset(t, []string{lockName}, listFiles(t, dir))
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	source := onDisk(t, foreign())
	_, _, err := Adopt(ctx, filepath.Join(t.TempDir(), "r"), AdoptOptions{Metadata: filepath.Join(source, "metadata"), Targets: filepath.Join(source, "targets")})
	requireCode(t, err, protocol.CodeCancelled)
	_, _, err = Adopt(t.Context(), source, AdoptOptions{})
	requireCode(t, err, protocol.CodeUsage)
}

// TestAdoptServesNothingFromElsewhere: no link in the source is followed, and what
// nobody has verified stays behind.
func TestAdoptServesNothingFromElsewhere(t *testing.T) {
	foreign := foreign()
	foreign.Publish("targets") // Versions 1 and 2 of targets are superseded.
	present := []string{"metadata/timestamp.json", "metadata/3.targets.json", "metadata/1.team.json", "metadata/1.root.json", oneFile, "targets/team"}
	for _, name := range append(present, "metadata/2.root.json") {
		t.Run(name, func(t *testing.T) {
			source := onDisk(t, foreign)
			at := filepath.Join(source, filepath.FromSlash(name))
			elsewhere := filepath.Join(t.TempDir(), "elsewhere")
			if name == "metadata/2.root.json" {
				require.NoError(t, os.WriteFile(elsewhere, []byte("secret"), 0o600))
			} else {
				require.NoError(t, os.Rename(at, elsewhere))
			}
			require.NoError(t, os.Symlink(elsewhere, at))
			_, _, dir, err := adoptFrom(t, source)
			requireCode(t, err, protocol.CodeUsage)
			require.ErrorContains(t, err, "symbolic link")
			require.ErrorContains(t, err, at)
			require.Subset(t, []string{lockName}, listFiles(t, dir))
		})
	}
	source := onDisk(t, foreign)
	require.NoError(t, os.Mkdir(filepath.Join(source, "metadata/2.root.json"), 0o700))
	_, _, _, err := adoptFrom(t, source)
	requireCode(t, err, protocol.CodeUsage)
	require.NoError(t, os.Remove(filepath.Join(source, "metadata/2.root.json")))
	secret := filepath.Join(t.TempDir(), "secret.key")
	require.NoError(t, os.WriteFile(secret, []byte("secret"), 0o600))
	for _, name := range []string{"1.targets.json", "2.targets.json", "1.snapshot.json", "9.team.json"} {
		at := filepath.Join(source, "metadata", name)
		_ = os.Remove(at)
		require.NoError(t, os.Symlink(secret, at))
	}
	r, _, _, err := adoptFrom(t, source)
	require.NoError(t, err)
	require.Equal(t, []string{"1.root.json", "1.team.json", "3.snapshot.json", "3.targets.json", "timestamp.json"}, listFiles(t, filepath.Join(r.Dir(), metadataName)))
	require.Empty(t, verified(t, r, VerifyOptions{}).Problems)
}

// TestAdoptNeedsTheFirstRoot: a later one that is called root.json is no anchor.
func TestAdoptNeedsTheFirstRoot(t *testing.T) {
	foreign := foreign()
	foreign.PublishRoot()
	source := onDisk(t, foreign)
	require.NoError(t, os.Remove(filepath.Join(source, "metadata/1.root.json")))
	require.NoError(t, os.Rename(filepath.Join(source, "metadata/2.root.json"), filepath.Join(source, "metadata/root.json")))
	_, _, _, err := adoptFrom(t, source)
	requireCode(t, err, protocol.CodeUsage)
	require.ErrorContains(t, err, "the first root has version 2")
}

func hashedWith(algorithm, digest string) *tuftest.Repo {
	r := foreign()
	r.Targets.Signed["targets"].(tuftest.Map)["one"].(tuftest.Map)["hashes"] = tuftest.Map{algorithm: digest}
	r.Publish("targets")
	return r
}

func named(target string) *tuftest.Repo {
	r := foreign()
	all := r.Targets.Signed["targets"].(tuftest.Map)
	all[target] = all["one"]
	r.Publish("targets")
	return r
}

// TestAdoptWantsTheKeysItNeeds: a key file that cannot be used is an error if it
// may be the one that is missing.
func TestAdoptWantsTheKeysItNeeds(t *testing.T) {
	source := onDisk(t, foreign())
	keys := filepath.Join(t.TempDir(), "keys")
	require.NoError(t, os.Mkdir(keys, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(keys, "x.key"), []byte("no key"), 0o600))
	_, _, err := Adopt(t.Context(), filepath.Join(t.TempDir(), "r"), AdoptOptions{Options: Options{Keys: Keys{Dirs: []string{keys}}},
		Metadata: filepath.Join(source, "metadata"), Targets: filepath.Join(source, "targets")})
	require.Error(t, err)
	require.True(t, strings.Contains(err.Error(), "x.key"), err)
}

// TestAdoptKeysOnAnOpenMedium: where every directory is everybody's no key is written.
func TestAdoptKeysOnAnOpenMedium(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, keysName), 0o755))
	a := &adopting{r: newRepository(dir, config{}, Options{})}
	requireCode(t, a.writeKey("a.key", 0o600, []byte("secret")), protocol.CodePermissions)
	require.NoFileExists(t, filepath.Join(dir, keysName, "a.key"))
	require.NoError(t, os.Chmod(filepath.Join(dir, keysName), 0o700))
	require.NoError(t, a.writeKey("a.key", 0o600, []byte("secret")))
}

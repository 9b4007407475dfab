package interop

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/ragnos-labs/vault-tuf/internal/pyenv/pyenvtest"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest/plain"
	"github.com/ragnos-labs/vault-tuf/repository"
)

//go:embed repository.py
var pythonTool string

// adoptedTargets are what both tools publish.
var adoptedTargets = map[string]string{
	"plain.txt": "plain", "plugins/acme/tool.1.0.0.tar.gz": "tool", "docs/a.txt": "docs", "team/a.txt": "team",
}

// TestAdopt adopts repositories that the APIs of python-tuf and go-tuf have made,
// works on them, and has the libraries' own clients read the result.
func TestAdopt(t *testing.T) {
	interpreter := pyenvtest.Python(t)
	tools := map[string]func(t *testing.T, dir, kind string){
		"python-tuf": func(t *testing.T, dir, kind string) {
			out, err := exec.CommandContext(t.Context(), interpreter, "-I", "-c", pythonTool, dir, kind).CombinedOutput()
			require.NoError(t, err, string(out))
		},
		"go-tuf": goTool,
	}
	for tool, make := range tools {
		for _, kind := range []string{"rsa", "ecdsa", "ed25519"} {
			t.Run(tool+" "+kind, func(t *testing.T) {
				t.Parallel()
				source := t.TempDir()
				make(t, source, kind)
				adopt(t, source, interpreter)
			})
		}
	}
}

func adopt(t *testing.T, source, interpreter string) {
	before := contents(t, source)
	keys := repository.Keys{Dirs: []string{filepath.Join(source, "keys")}, Passphrase: repository.PlainKeys}
	r, found, err := repository.Adopt(t.Context(), filepath.Join(t.TempDir(), "r"), repository.AdoptOptions{
		Options:  repository.Options{Keys: keys},
		Metadata: filepath.Join(source, "metadata"), Targets: filepath.Join(source, "targets"),
	})
	require.NoError(t, err)
	require.Equal(t, before, contents(t, source), "the other repository stays as it is")
	require.Equal(t, 6, found.Roles)
	require.Equal(t, 4, found.Targets)
	require.Empty(t, found.Missing)
	for _, f := range found.Findings {
		require.NotEqual(t, repository.LintRefuse, f.Level, "%s", f)
	}
	for name, data := range contents(t, filepath.Join(r.Dir(), "metadata")) {
		require.Equal(t, before["metadata/"+name], data, "the signed files stay as they are")
	}
	require.NoFileExists(t, filepath.Join(r.Dir(), "keys", "a.key"), "a key of root alone is not copied")
	sound(t, r)
	read(t, r, interpreter, adoptedTargets)

	// It is worked on like any other.
	published, p, err := r.Publish(t.Context(), "../../testdata/plugins/hello-world.1.0.0.tar.gz",
		"../../testdata/plugins/hello-world.1.0.0.json", repository.PublishOptions{})
	require.NoError(t, err)
	require.Nil(t, p)
	for role, old := range map[string]string{"timestamp": "", "snapshot": "", "targets": "", "docs": "", "root": "a"} {
		_, p, err := r.RotateKeys(t.Context(), repository.Rotate{Role: role, Old: old})
		require.NoError(t, err, role)
		require.Nil(t, p, role)
	}
	_, err = r.Resign(t.Context())
	require.NoError(t, err)
	sound(t, r)
	want := map[string]string{published.Path: ""}
	for name, content := range adoptedTargets {
		want[name] = content
	}
	read(t, r, interpreter, want)
	unknownFieldsAreKept(t, r)
}

// sound says that nothing is wrong on the disk but what is only worth a warning.
func sound(t *testing.T, r *repository.Repository) {
	report, err := r.Verify(t.Context(), repository.VerifyOptions{})
	require.NoError(t, err)
	require.NoError(t, report.Err())
}

// read has the plain clients of both libraries download every target; "" is any
// content.
func read(t *testing.T, r *repository.Repository, interpreter string, want map[string]string) {
	server := httptest.NewServer(r.Handler())
	defer server.Close()
	root, err := os.ReadFile(filepath.Join(r.Dir(), "root.json"))
	require.NoError(t, err)
	python := plain.NewPython(interpreter)
	defer python.Close()
	for _, client := range []plain.Client{plain.Go{}, python} {
		dir := t.TempDir()
		for name, content := range want {
			got, err := client.Run(context.Background(), plain.Request{
				MetadataURL: server.URL + "/metadata/", TargetsURL: server.URL + "/targets/", Root: root, Target: name,
				MetadataDir: filepath.Join(dir, "metadata"), TargetsDir: filepath.Join(dir, "targets"),
			})
			require.NoError(t, err, "%T %s", client, name)
			if content != "" {
				require.Equal(t, content, string(got))
			}
		}
	}
}

func unknownFieldsAreKept(t *testing.T, r *repository.Repository) {
	text := func(role string) string {
		names, err := filepath.Glob(filepath.Join(r.Dir(), "metadata", "*."+role+".json"))
		require.NoError(t, err)
		newest := filepath.Join(r.Dir(), "metadata", fmt.Sprintf("%d.%s.json", len(names), role)) // None is missing.
		data, err := os.ReadFile(newest)
		require.NoError(t, err)
		return string(data)
	}
	require.Contains(t, text("root"), `"x-root":{"note":"kept"}`)
	require.Contains(t, text("docs"), `"x-role":"docs"`)
	targets := text("targets")
	require.Contains(t, targets, `"x-targets":"kept"`)
	require.Contains(t, targets, `"x-delegation":"kept"`)
	var file struct {
		Signed struct {
			Targets map[string]map[string]any `json:"targets"`
		} `json:"signed"`
	}
	require.NoError(t, json.Unmarshal([]byte(targets), &file))
	require.Equal(t, []any{1.0, nil}, file.Signed.Targets["plain.txt"]["x-target"])
	require.Equal(t, map[string]any{"note": "größe"}, file.Signed.Targets["plain.txt"]["custom"])
}

// contents returns all files below dir.
func contents(t *testing.T, dir string) map[string]string {
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		rel, _ := filepath.Rel(dir, p)
		all[filepath.ToSlash(rel)] = string(data)
		return err
	}))
	return all
}

// goTool makes with go-tuf's API what repository.py makes with python-tuf's.
func goTool(t *testing.T, dir, kind string) {
	for _, name := range []string{"metadata", "targets", "keys"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o700))
	}
	until := time.Now().Add(30 * 24 * time.Hour).UTC().Truncate(time.Second)
	one, two, lost := newSigner(t, dir, "a", kind), newSigner(t, dir, "b", kind), newSigner(t, dir, "c", kind)
	online, team, second := newSigner(t, dir, "online", kind), newSigner(t, dir, "d", kind), newSigner(t, dir, "e", kind)
	kept := func(name string, v any) map[string]any { return map[string]any{name: v} }

	root := metadata.Root(until)
	root.Signed.UnrecognizedFields = kept("x-root", map[string]any{"note": "kept"})
	for role, signers := range map[string][]signer{"root": {one, two, lost}, "targets": {two}, "snapshot": {online}, "timestamp": {online}} {
		for _, s := range signers {
			require.NoError(t, root.Signed.AddKey(s.key, role))
		}
	}
	root.Signed.Roles["root"].Threshold = 2
	writeGo(t, root, dir, "1.root.json", one, two)
	root.Signed.Version = 2
	require.NoError(t, root.Signed.RevokeKey(lost.id(), "root"))
	writeGo(t, root, dir, "2.root.json", one, two)

	targets := metadata.Targets(until)
	targets.Signed.UnrecognizedFields = kept("x-targets", "kept")
	addGo(t, targets, dir, "plain.txt", `{"note":"größe"}`)
	addGo(t, targets, dir, "plugins/acme/tool.1.0.0.tar.gz", `{"any":1}`)
	targets.Signed.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}, Roles: []metadata.DelegatedRole{
		{Name: "docs", KeyIDs: []string{}, Threshold: 1, Paths: []string{"docs/*", "docs/*/?.txt"}, UnrecognizedFields: kept("x-delegation", "kept")},
		{Name: "team", KeyIDs: []string{}, Threshold: 2, Terminating: true, Paths: []string{"team/*"}},
	}}
	for role, signers := range map[string][]signer{"docs": {team}, "team": {team, second}} {
		for _, s := range signers {
			require.NoError(t, targets.Signed.AddKey(s.key, role))
		}
	}
	for _, version := range []int64{1, 2} {
		targets.Signed.Version = version
		writeGo(t, targets, dir, fmt.Sprintf("%d.targets.json", version), two)
	}
	snapshot := metadata.Snapshot(until)
	snapshot.Signed.Meta["targets.json"] = metadata.MetaFile(2)
	for name, signers := range map[string][]signer{"docs": {team}, "team": {team, second}} {
		role := metadata.Targets(until)
		role.Signed.UnrecognizedFields = kept("x-role", name)
		addGo(t, role, dir, name+"/a.txt", `{"of":"`+name+`"}`)
		writeGo(t, role, dir, "1."+name+".json", signers...)
		snapshot.Signed.Meta[name+".json"] = metadata.MetaFile(1)
	}
	writeGo(t, snapshot, dir, "1.snapshot.json", online)
	writeGo(t, metadata.Timestamp(until), dir, "timestamp.json", online)
}

func writeGo[T metadata.Roles](t *testing.T, m *metadata.Metadata[T], dir, name string, signers ...signer) {
	m.ClearSignatures()
	for _, s := range signers {
		_, err := m.Sign(s)
		require.NoError(t, err)
	}
	require.NoError(t, m.ToFile(filepath.Join(dir, "metadata", name), true))
}

// addGo lists a target, whose file lies below its hash.
func addGo(t *testing.T, m *metadata.Metadata[metadata.TargetsType], dir, name, custom string) {
	content := []byte(adoptedTargets[name])
	file, err := metadata.TargetFile().FromBytes(name, content, "sha256")
	require.NoError(t, err)
	raw := json.RawMessage(custom)
	file.Custom, file.UnrecognizedFields = &raw, map[string]any{"x-target": []any{1, nil}}
	m.Signed.Targets[name] = file
	at := filepath.Join(dir, "targets", filepath.FromSlash(path.Dir(name)), hex.EncodeToString(file.Hashes["sha256"])+"."+path.Base(name))
	require.NoError(t, os.MkdirAll(filepath.Dir(at), 0o700))
	require.NoError(t, os.WriteFile(at, content, 0o600))
}

// newSigner makes a key file NAME.pem.
func newSigner(t *testing.T, dir, name, kind string) signer {
	var private crypto.Signer
	var err error
	switch kind {
	case "rsa":
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ecdsa":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	}
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	file := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	require.NoError(t, os.WriteFile(filepath.Join(dir, "keys", name+".pem"), file, 0o600))
	var s signature.Signer
	if k, ok := private.(*rsa.PrivateKey); ok {
		s, err = signature.LoadRSAPSSSigner(k, crypto.SHA256, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256})
	} else {
		s, err = signature.LoadSigner(private, crypto.SHA256)
	}
	require.NoError(t, err)
	public, err := s.PublicKey()
	require.NoError(t, err)
	key, err := metadata.KeyFromPublicKey(public)
	require.NoError(t, err)
	return signer{s, key}
}

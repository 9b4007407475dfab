package vault

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/vault/policy"
)

// put writes a file that only its owner can read, below dir, and returns its path.
func put(t testing.TB, dir, name, content string) string {
	path := filepath.Join(dir, filepath.FromSlash(name))
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// pair returns a certificate and its key in PEM.
func pair(t testing.TB) (cert, key string) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "client"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
}

// full writes the example of everything with all that it names, and returns its path.
func full(t testing.TB) string {
	dir := t.TempDir()
	raw, err := os.ReadFile("testdata/full.yaml")
	require.NoError(t, err)
	cert, key := pair(t)
	for name, content := range map[string]string{
		"trust/acme.json": "{acme}", "trust/local.json": "{local}", "secrets/token": "s3cret\n",
		"secrets/ca.pem": cert, "secrets/client.pem": cert, "secrets/client.key": key,
	} {
		put(t, dir, name, content)
	}
	return put(t, dir, "full.yaml", string(raw))
}

// TestFullExample: what the example of everything says arrives.
func TestFullExample(t *testing.T) {
	path := full(t)
	dir := filepath.Dir(path)
	in := func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
	got, err := ReadOptions(path)
	require.NoError(t, err)

	http := &got.Repositories[0].HTTP
	require.NotNil(t, http.RootCAs)
	require.Len(t, http.ClientCertificate.Certificate, 1)
	http.RootCAs, http.ClientCertificate = nil, nil
	require.Equal(t, Options{
		Repositories: []Repository{{
			Name: "acme", URL: "https://plugins.acme.example",
			MetadataURL: "https://meta.acme.example/v1", TargetsURL: "https://cdn.acme.example/v1",
			Mirrors: []hybrid.Mirror{
				{URL: "https://mirror.example/acme"},
				{MetadataURL: "https://meta.mirror.example", TargetsURL: "https://cdn.mirror.example", SendCredentials: true},
			},
			RootFile: in("trust/acme.json"), MetadataDir: in("state/acme"),
			Limits: hybrid.Limits{Root: 262144, Timestamp: 8192, Snapshot: 1048576, Targets: 8388608,
				Depth: 64, Signatures: 16, Keys: 128, Roles: 256},
			MaxRoots: 64, MaxRoles: 16, MaxDownloads: 4,
			HTTP: hybrid.HTTPOptions{
				ConnectTimeout: 5 * time.Second, FirstByteTimeout: 10 * time.Second, TotalTimeout: 40 * time.Second,
				StreamTimeout: 30 * time.Minute, MinRate: 2048, MinRateWindow: 20 * time.Second,
				Attempts: 4, BackoffMin: 200 * time.Millisecond, BackoffMax: 3 * time.Second, MaxRedirects: 2,
				RequestsPerSecond: 2.5, MaxRequests: 8, BytesPerSecond: 10000000, MaxWaiting: 100,
				BearerToken: "s3cret", UserAgent: "example-app/1.0",
			},
		}, {Name: "on disk", Dir: in("plugins"), RootFile: in("trust/local.json")}},
		Mappings: []Mapping{
			{Paths: []string{"plugins/acme/*"}, Repositories: []string{"acme", "on disk"}, Threshold: 2, Terminating: true},
			{Paths: []string{"*"}, Repositories: []string{"acme"}},
		},
		Policy: policy.Policy{
			Allow:    policy.Match{Publishers: []string{"acme"}, Names: []string{"plugins/tools/*"}},
			Deny:     policy.Match{Publishers: []string{"evil"}, Names: []string{"plugins/acme/old*"}},
			Channels: []string{"stable", "beta"}, MaxSize: 104857600,
			Plugins: map[string]policy.Rule{"acme/hello": {
				Version: "^1.2", MinVersion: "1.2.3", Channels: []string{"stable"}, MaxSize: 1048576,
				SHA256: []string{"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
			}},
		},
		Plugins:     map[string]string{"acme/hello": "^1.2", "acme/tool": "2.0.1"},
		MetadataDir: in("state"), CacheDir: "/var/cache/example/plugins",
		Mode: hybrid.ModeDual, Python: in("venv/bin/python"),
		EngineTimeout: 45 * time.Second, BreakerFailures: 5, BreakerCoolDown: time.Minute,
		RefreshInterval: 10 * time.Minute, MaxMetadataAge: 12 * time.Hour, ExpiryWarning: 48 * time.Hour,
		AuditDir: in("audit"), AuditBestEffort: true,
	}, got)

	resolved, err := Options{File: path}.resolve(none)
	require.NoError(t, err)
	require.Equal(t, "{acme}", string(resolved.Repositories[0].Root))
	require.Equal(t, "{local}", string(resolved.Repositories[1].Root))
}

func none(string) string { return "" }

func env(vars ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(vars); i += 2 {
			if vars[i] == name {
				return vars[i+1]
			}
		}
		return ""
	}
}

// TestPrecedence: code goes before the environment, the environment before the
// file, the file before the default. One row for each option.
func TestPrecedence(t *testing.T) {
	url := func(o Options) any { return o.Repositories[0].URL }
	root := func(o Options) any { return string(o.Repositories[0].Root) }
	seen := map[string]bool{ // of code alone
		"File": true, "OnSecurityEvent": true, "Logger": true, "Now": true, "TracerProvider": true, "MeterProvider": true,
	}
	for name, tt := range map[string]struct {
		get  func(Options) any
		code func(*Options)
		env  string
		file string
		// what code, environment, file and default say; "" in env: it says nothing
		fromCode, fromEnv, fromFile, fromDefault any
	}{
		"Mode": {func(o Options) any { return o.Mode }, func(o *Options) { o.Mode = "JS" }, hybrid.EnvMode, "mode: dual",
			hybrid.ModeGo, hybrid.Mode("python"), hybrid.ModeDual, hybrid.ModeAuto},
		"Mode, as client": {func(o Options) any { return o.Mode }, func(o *Options) { o.Mode = "off" }, hybrid.EnvMode, "client: js",
			hybrid.ModeOff, hybrid.Mode("python"), hybrid.ModeGo, hybrid.ModeAuto},
		"Python": {func(o Options) any { return o.Python }, func(o *Options) { o.Python = "/code" }, hybrid.EnvPython, "pythonBin: python3.13",
			"/code", "/env", "python3.13", ""},
		"MetadataDir": {func(o Options) any { return o.MetadataDir }, func(o *Options) { o.MetadataDir = "/code" }, hybrid.EnvMetadataDir, "metadataDir: /file",
			"/code", "/env", "/file", "./tuf-metadata"},
		"CacheDir": {func(o Options) any { return o.CacheDir }, func(o *Options) { o.CacheDir = "/code" }, hybrid.EnvCacheDir, "cacheDir: /file",
			"/code", "/env", "/file", "./tuf-cache"},
		"Repositories, the URL": {url, func(o *Options) { o.Repositories = []Repository{{Name: "x", URL: "https://code"}} }, hybrid.EnvRepoURL, "remoteRepoUrl: https://file",
			"https://code", "https://env", "https://file", "http://localhost:8080"},
		"Repositories, the URL of a list": {url, func(o *Options) { o.Repositories = []Repository{{Name: "x", URL: "https://code"}} }, "", "repositories: [{name: a, url: 'https://file'}]",
			"https://code", nil, "https://file", "http://localhost:8080"},
		"Repositories, the root": {root, func(o *Options) {
			o.Repositories = []Repository{{Name: "x", URL: "https://code", Root: []byte("code")}}
		}, hybrid.EnvRoot, "root: file.json",
			"code", "env", "file", ""},
		"Repositories, the root file": {root, func(o *Options) { o.Repositories = []Repository{{Name: "x", URL: "https://code"}} }, hybrid.EnvRoot, "rootFile: file.json",
			"", "env", "file", ""},
		"EngineTimeout": {func(o Options) any { return o.EngineTimeout }, func(o *Options) { o.EngineTimeout = 1 }, "", "engineTimeout: 2s",
			time.Duration(1), nil, 2 * time.Second, time.Duration(0)},
		"BreakerFailures": {func(o Options) any { return o.BreakerFailures }, func(o *Options) { o.BreakerFailures = 1 }, "", "breakerFailures: 2",
			uint32(1), nil, uint32(2), uint32(0)},
		"BreakerCoolDown": {func(o Options) any { return o.BreakerCoolDown }, func(o *Options) { o.BreakerCoolDown = 1 }, "", "breakerCoolDown: 2s",
			time.Duration(1), nil, 2 * time.Second, time.Duration(0)},
		"RefreshInterval": {func(o Options) any { return o.RefreshInterval }, func(o *Options) { o.RefreshInterval = 1 }, "", "refreshInterval: 2h30m",
			time.Duration(1), nil, 150 * time.Minute, time.Duration(0)},
		"MaxMetadataAge": {func(o Options) any { return o.MaxMetadataAge }, func(o *Options) { o.MaxMetadataAge = -1 }, "", "maxMetadataAge: 2h",
			time.Duration(-1), nil, 2 * time.Hour, 24 * time.Hour},
		"ExpiryWarning": {func(o Options) any { return o.ExpiryWarning }, func(o *Options) { o.ExpiryWarning = 1 }, "", "expiryWarning: -1s",
			time.Duration(1), nil, -time.Second, 24 * time.Hour},
		"AuditDir": {func(o Options) any { return filepath.Base(o.AuditDir) }, func(o *Options) { o.AuditDir = "code" }, "", "auditDir: file",
			"code", nil, "file", "."},
		"AuditBestEffort": {func(o Options) any { return o.AuditBestEffort }, func(o *Options) { o.AuditBestEffort = true }, "", "auditBestEffort: true",
			true, nil, true, false},
		"DisableFallback": {func(o Options) any { return o.DisableFallback }, func(o *Options) { o.DisableFallback = true }, "", "allowFallback: false",
			true, nil, true, false},
		"Mappings": {func(o Options) any { return len(o.Mappings) },
			func(o *Options) {
				o.Mappings = make([]Mapping, 1)
				o.Mappings[0] = Mapping{Paths: []string{"*"}, Repositories: []string{"default"}}
			}, "",
			"mappings: [{paths: [a], repositories: [default]}, {paths: [b], repositories: [default]}]", 1, nil, 2, 0},
		"Policy": {func(o Options) any { return o.Policy.MaxSize }, func(o *Options) { o.Policy.MaxSize = 1 }, "", "policy: {max_size: 2}",
			int64(1), nil, int64(2), int64(0)},
		"Plugins": {func(o Options) any { return o.Plugins["a/b"] }, func(o *Options) { o.Plugins = map[string]string{"a/b": "1"} }, "", "plugins: {a/b: 1.10}",
			"1", nil, "1.10", ""},
	} {
		field, _, _ := strings.Cut(name, ",")
		seen[field] = true
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := put(t, dir, "vault.yaml", tt.file)
			put(t, dir, "file.json", "file")
			vars := none
			if tt.env != "" {
				value, _ := tt.fromEnv.(string)
				switch tt.env {
				case hybrid.EnvRoot:
					value = put(t, dir, "env.json", "env")
				case hybrid.EnvMode:
					value = "python"
				}
				vars = env(tt.env, value)
			}
			got, err := Options{}.resolve(none)
			require.NoError(t, err)
			require.Equal(t, tt.fromDefault, tt.get(got), "default")
			got, err = Options{File: file}.resolve(none)
			require.NoError(t, err)
			require.Equal(t, tt.fromFile, tt.get(got), "file")
			if tt.fromEnv != nil {
				for _, o := range []Options{{}, {File: file}} {
					got, err = o.resolve(vars)
					require.NoError(t, err)
					require.Equal(t, tt.fromEnv, tt.get(got), "environment, and file %q", o.File)
				}
			}
			for _, o := range []Options{{}, {File: file}} {
				tt.code(&o)
				got, err = o.resolve(vars)
				require.NoError(t, err)
				require.Equal(t, tt.fromCode, tt.get(got), "code, and file %q", o.File)
			}
		})
	}
	for i := range reflect.TypeFor[Options]().NumField() {
		require.True(t, seen[reflect.TypeFor[Options]().Field(i).Name], reflect.TypeFor[Options]().Field(i).Name)
	}
}

// TestEnvironmentChangesNoList: whoever lists repositories means those.
func TestEnvironmentChangesNoList(t *testing.T) {
	dir := t.TempDir()
	vars := env(hybrid.EnvRepoURL, "https://env", hybrid.EnvRoot, filepath.Join(dir, "missing"))
	file := put(t, dir, "vault.yaml", "repositories: [{name: a, url: 'https://a'}]")
	for name, o := range map[string]Options{
		"code": {Repositories: []Repository{{Name: "a", URL: "https://a"}}},
		"file": {File: file},
		"both": {File: file, Repositories: []Repository{{Name: "a", URL: "https://a"}}},
	} {
		got, err := o.resolve(vars)
		require.NoError(t, err, name)
		require.Equal(t, []Repository{{Name: "a", URL: "https://a"}}, got.Repositories, name)
	}
}

// TestShortForm: the spellings that name at most two repositories.
func TestShortForm(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "r.json", "r")
	put(t, dir, "l.json", "l")
	local := Repository{Name: "local", Dir: filepath.Join(dir, "repo")}
	remote := Repository{Name: "remote", URL: "https://r"}
	elsewhere := Repository{Name: "remote", URL: hybrid.DefaultRepoURL}
	with := func(r Repository, root string) Repository { r.RootFile = filepath.Join(dir, root); return r }
	for text, want := range map[string][]Repository{
		"":                                      nil,
		"localRepoDir: repo":                    {local},
		"localRepoDir: repo\nroot: r.json":      {with(local, "r.json")},
		"localRepoDir: repo\nlocalRoot: l.json": {with(local, "l.json")},
		"remoteRepoUrl: https://r\nlocalRepoDir: repo\nroot: r.json":                          {local, with(remote, "r.json")},
		"remoteRepoUrl: https://r\nlocalRepoDir: repo\nrootFile: r.json\nlocalRoot: l.json":   {with(local, "l.json"), with(remote, "r.json")},
		"remoteRepoUrl: https://r\nlocalRepoDir: repo\nenableLocalRepo: false":                {remote},
		"remoteRepoUrl: https://r\nlocalRepoDir: repo\nenableRemoteRepo: false":               {local},
		"remoteRepoUrl: https://r\nlocalRepoDir: repo\nenableRemoteRepo: false\nroot: r.json": {with(local, "r.json")},
		"localRepoDir: repo\nenableRemoteRepo: true\nenableLocalRepo: true":                   {local, elsewhere},
		"enableRemoteRepo: true": {elsewhere},
		"root: r.json":           {with(elsewhere, "r.json")},
		"enableLocalRepo: false": nil,
	} {
		got, err := ReadOptions(put(t, dir, "vault.yaml", text))
		require.NoError(t, err, text)
		require.Equal(t, want, got.Repositories, text)
	}
	got, err := Options{File: put(t, dir, "vault.yaml", "localRepoDir: repo\nenableRemoteRepo: true")}.resolve(env(hybrid.EnvRepoURL, "https://r"))
	require.NoError(t, err)
	require.Equal(t, []Repository{local, remote}, got.Repositories)
	got, err = Options{File: put(t, dir, "vault.yaml", "localRepoDir: repo")}.resolve(env(hybrid.EnvRepoURL, "https://r"))
	require.NoError(t, err)
	require.Equal(t, []Repository{local}, got.Repositories, "the environment adds no repository")
}

func TestDefaults(t *testing.T) {
	got, err := Options{}.resolve(none)
	require.NoError(t, err)
	require.Equal(t, []Repository{{Name: DefaultRepository, URL: hybrid.DefaultRepoURL, MetadataDir: hybrid.DefaultMetadataDir}}, got.Repositories)
	require.NotNil(t, got.Logger)
	require.NotNil(t, got.Now)
	got, err = Options{DisableFallback: true, Mappings: []Mapping{{Paths: []string{"*"}, Repositories: []string{DefaultRepository}}}}.resolve(none)
	require.NoError(t, err)
	require.Equal(t, hybrid.ModeGo, got.Mode)
	require.Equal(t, 1, got.Mappings[0].Threshold)
}

// TestOptionsAreCopied: nothing that New got is changed, then or later.
func TestOptionsAreCopied(t *testing.T) {
	make := func() Options {
		return Options{
			Repositories: []Repository{{Name: "a", URL: "https://a", Root: []byte("a"), Mirrors: []hybrid.Mirror{{URL: "https://m"}}}},
			Mappings:     []Mapping{{Paths: []string{"*"}, Repositories: []string{"a"}}},
			Policy: policy.Policy{Allow: policy.Match{Publishers: []string{"a"}}, Plugins: map[string]policy.Rule{"a/b": {SHA256: []string{
				strings.Repeat("a", 64)}}}},
			Plugins: map[string]string{"a/b": "1"},
		}
	}
	given := make()
	got, err := given.resolve(none)
	require.NoError(t, err)
	got.Repositories[0].Root[0] = 'x'
	got.Repositories[0].Mirrors[0].URL = "x"
	got.Mappings[0].Paths[0], got.Mappings[0].Repositories[0] = "x", "x"
	got.Policy.Allow.Publishers[0] = "x"
	got.Policy.Plugins["a/b"].SHA256[0] = "x"
	got.Policy.Plugins["x"], got.Plugins["x"] = policy.Rule{}, "x"
	require.Equal(t, make(), given)
}

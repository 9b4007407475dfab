package vault

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/vault/policy"
)

// The repositories that the short form of the file names.
const (
	localRepository  = "local"
	remoteRepository = "remote"
)

// shortKeys are the keys of the short form.
var shortKeys = []string{"localRepoDir", "enableLocalRepo", "localRoot", "remoteRepoUrl", "enableRemoteRepo", "root", "rootFile"}

// fileOptions is the shape of the file. docs/configuration.md explains it.
type fileOptions struct {
	// The short form: at most one repository of each kind.
	LocalRepoDir     string `yaml:"localRepoDir"`
	EnableLocalRepo  *bool  `yaml:"enableLocalRepo"`
	LocalRoot        string `yaml:"localRoot"`
	RemoteRepoURL    string `yaml:"remoteRepoUrl"`
	EnableRemoteRepo *bool  `yaml:"enableRemoteRepo"`
	Root             string `yaml:"root"`
	RootFile         string `yaml:"rootFile"`
	// The full form.
	Repositories []fileRepository  `yaml:"repositories"`
	Mappings     []fileMapping     `yaml:"mappings"`
	Policy       policy.Policy     `yaml:"policy"`
	Plugins      map[string]string `yaml:"plugins"`

	MetadataDir         string   `yaml:"metadataDir"`
	CacheDir            string   `yaml:"cacheDir"`
	Client              fileMode `yaml:"client"`
	Mode                fileMode `yaml:"mode"`
	AllowFallback       *bool    `yaml:"allowFallback"`
	RequireVerification *bool    `yaml:"requireVerification"`
	PythonBin           string   `yaml:"pythonBin"`
	EngineTimeout       duration `yaml:"engineTimeout"`
	BreakerFailures     uint32   `yaml:"breakerFailures"`
	BreakerCoolDown     duration `yaml:"breakerCoolDown"`
	RefreshInterval     duration `yaml:"refreshInterval"`
	MaxMetadataAge      duration `yaml:"maxMetadataAge"`
	ExpiryWarning       duration `yaml:"expiryWarning"`
	AuditDir            string   `yaml:"auditDir"`
	AuditBestEffort     bool     `yaml:"auditBestEffort"`
}

type fileRepository struct {
	Name        string       `yaml:"name"`
	URL         string       `yaml:"url"`
	MetadataURL string       `yaml:"metadataUrl"`
	TargetsURL  string       `yaml:"targetsUrl"`
	Dir         string       `yaml:"dir"`
	Mirrors     []fileMirror `yaml:"mirrors"`
	Root        string       `yaml:"root"`
	MetadataDir string       `yaml:"metadataDir"`

	TokenFile   string      `yaml:"tokenFile"`
	CAFile      string      `yaml:"caFile"`
	CertFile    string      `yaml:"certFile"`
	KeyFile     string      `yaml:"keyFile"`
	Token       inlineToken `yaml:"token"`
	BearerToken inlineToken `yaml:"bearerToken"`
	UserAgent   string      `yaml:"userAgent"`

	Limits         fileLimits         `yaml:"limits"`
	MetadataLimits fileMetadataLimits `yaml:"metadataLimits"`
	Timeouts       fileTimeouts       `yaml:"timeouts"`
	Retries        fileRetries        `yaml:"retries"`
}

type fileMirror struct {
	URL             string `yaml:"url"`
	MetadataURL     string `yaml:"metadataUrl"`
	TargetsURL      string `yaml:"targetsUrl"`
	SendCredentials bool   `yaml:"sendCredentials"`
}

type fileLimits struct {
	RequestsPerSecond float64  `yaml:"requestsPerSecond"`
	Requests          int      `yaml:"requests"`
	Downloads         int      `yaml:"downloads"`
	BytesPerSecond    int64    `yaml:"bytesPerSecond"`
	Waiting           int      `yaml:"waiting"`
	MinRate           int64    `yaml:"minRate"`
	MinRateWindow     duration `yaml:"minRateWindow"`
	Roots             int      `yaml:"roots"`
	Roles             int      `yaml:"roles"`
}

// apply puts the limits of the file where the repository has them.
func (l fileLimits) apply(r *Repository) {
	r.MaxRoots, r.MaxRoles, r.MaxDownloads = l.Roots, l.Roles, l.Downloads
	r.HTTP.RequestsPerSecond, r.HTTP.BytesPerSecond = l.RequestsPerSecond, l.BytesPerSecond
	r.HTTP.MaxRequests, r.HTTP.MaxWaiting = l.Requests, l.Waiting
	r.HTTP.MinRate, r.HTTP.MinRateWindow = l.MinRate, time.Duration(l.MinRateWindow)
}

type fileMetadataLimits struct {
	Root       int64 `yaml:"root"`
	Timestamp  int64 `yaml:"timestamp"`
	Snapshot   int64 `yaml:"snapshot"`
	Targets    int64 `yaml:"targets"`
	Depth      int   `yaml:"depth"`
	Signatures int   `yaml:"signatures"`
	Keys       int   `yaml:"keys"`
	Roles      int   `yaml:"roles"`
}

type fileTimeouts struct {
	Connect   duration `yaml:"connect"`
	FirstByte duration `yaml:"firstByte"`
	Total     duration `yaml:"total"`
	Stream    duration `yaml:"stream"`
}

type fileRetries struct {
	Attempts   int      `yaml:"attempts"`
	BackoffMin duration `yaml:"backoffMin"`
	BackoffMax duration `yaml:"backoffMax"`
	Redirects  int      `yaml:"redirects"`
}

type fileMapping struct {
	Paths        []string `yaml:"paths"`
	Repositories []string `yaml:"repositories"`
	Threshold    int      `yaml:"threshold"`
	Terminating  bool     `yaml:"terminating"`
}

// duration is written as Go has it: 90s, 30m, 24h.
type duration time.Duration

func (d *duration) UnmarshalText(text []byte) error {
	n, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 90s, 30m or 24h", clip(string(text)))
	}
	*d = duration(n)
	return nil
}

// fileMode is a [hybrid.Mode].
type fileMode hybrid.Mode

func (m *fileMode) UnmarshalText(text []byte) error {
	mode, err := hybrid.ParseMode(clip(string(text)))
	*m = fileMode(mode)
	return err
}

// inlineToken refuses what stands there.
type inlineToken struct{}

func (inlineToken) UnmarshalText([]byte) error {
	return errors.New("a secret must not stand in this file; put it into one of its own, and name that with tokenFile")
}

// fromFile is what a file says.
type fromFile struct {
	Options
	from  origins
	found mistakes
	// remote is the one repository that the environment may move, nil if there is none.
	remote *Repository
}

// parse reads a file that lies in dir, an absolute path.
func parse(data []byte, dir string) *fromFile {
	d := &decoder{from: origins{}, left: maxValues}
	f := &fromFile{from: d.from}
	var raw fileOptions
	if root := d.document(data); root != nil {
		d.decode(root, "", reflect.ValueOf(&raw).Elem())
	}
	f.found = d.found
	raw.fill(f, dir)
	return f
}

// document returns the value of the one document in data, nil if it is empty.
func (d *decoder) document(data []byte) *yaml.Node {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0 {
		return nil
	}
	if err == nil {
		if err = dec.Decode(&second); errors.Is(err, io.EOF) {
			return doc.Content[0]
		}
		if err == nil {
			d.found.addAt(second.Line, "", "", "the file holds a second document")
			return doc.Content[0]
		}
	}
	d.found.add("", "", "%s", visible(clip(strings.TrimPrefix(err.Error(), "yaml: "))))
	return nil
}

// fill turns the file into options.
func (raw *fileOptions) fill(f *fromFile, dir string) {
	f.Options = Options{
		Policy: raw.Policy, Plugins: raw.Plugins,
		MetadataDir: below(dir, raw.MetadataDir), CacheDir: below(dir, raw.CacheDir),
		Mode: hybrid.Mode(raw.Mode), Python: raw.PythonBin, DisableFallback: isFalse(raw.AllowFallback),
		EngineTimeout: time.Duration(raw.EngineTimeout), BreakerFailures: raw.BreakerFailures,
		BreakerCoolDown: time.Duration(raw.BreakerCoolDown), RefreshInterval: time.Duration(raw.RefreshInterval),
		MaxMetadataAge: time.Duration(raw.MaxMetadataAge), ExpiryWarning: time.Duration(raw.ExpiryWarning),
		AuditDir: below(dir, raw.AuditDir), AuditBestEffort: raw.AuditBestEffort,
	}
	if strings.ContainsRune(raw.PythonBin, filepath.Separator) || strings.Contains(raw.PythonBin, "/") {
		f.Python = below(dir, raw.PythonBin) // a bare name is looked for in PATH
	}
	if raw.Client != "" {
		if raw.Mode != "" {
			f.found.add("client", "", "client and mode say the same")
		}
		f.Mode = hybrid.Mode(raw.Client)
		f.from["mode"] = f.from["client"]
	}
	if isFalse(raw.RequireVerification) {
		f.found.add("requireVerification", "leave it out", "requireVerification: nothing yields bytes that were not verified")
	}
	for _, m := range raw.Mappings {
		f.Mappings = append(f.Mappings, Mapping(m))
	}
	for i := range raw.Repositories {
		key := fmt.Sprintf("repositories[%d]", i)
		f.Repositories = append(f.Repositories, raw.Repositories[i].repository(dir, key, &f.found))
	}
	raw.short(f, dir)
}

// short adds the repositories of the short form, the local one first.
func (raw *fileOptions) short(f *fromFile, dir string) {
	if raw.Root != "" && raw.RootFile != "" {
		f.found.add("rootFile", "", "root and rootFile say the same")
	}
	local := raw.LocalRepoDir != "" && !isFalse(raw.EnableLocalRepo)
	remote := !isFalse(raw.EnableRemoteRepo) && (raw.RemoteRepoURL != "" || raw.EnableRemoteRepo != nil)
	root, rootKey := raw.Root, "root"
	if root == "" {
		root, rootKey = raw.RootFile, "rootFile"
	}
	if len(raw.Repositories) > 0 {
		for _, key := range shortKeys {
			if f.from[key] != "" {
				f.found.add(key, "put it into the list", "%s goes with the short form, and repositories says it already", key)
			}
		}
		return
	}
	if raw.EnableLocalRepo != nil && *raw.EnableLocalRepo && raw.LocalRepoDir == "" {
		f.found.add("enableLocalRepo", "name its directory with localRepoDir", "enableLocalRepo: there is no local repository")
	}
	localRoot, localKey := raw.LocalRoot, "localRoot"
	if localRoot == "" && !remote {
		localRoot, localKey = root, rootKey
	}
	remote = remote || root != "" && !local && raw.EnableRemoteRepo == nil
	if local {
		f.place("dir", "localRepoDir", localKey)
		f.Repositories = append(f.Repositories, Repository{
			Name: localRepository, Dir: below(dir, raw.LocalRepoDir), RootFile: below(dir, localRoot),
		})
	}
	if remote {
		f.place("url", "remoteRepoUrl", rootKey)
		url := raw.RemoteRepoURL
		if url == "" {
			url = hybrid.DefaultRepoURL
		}
		f.Repositories = append(f.Repositories, Repository{Name: remoteRepository, URL: url, RootFile: below(dir, root)})
		f.remote = &f.Repositories[len(f.Repositories)-1]
	}
}

// place says where the next repository stands in the file.
func (f *fromFile) place(field, key, rootKey string) {
	at := fmt.Sprintf("repositories[%d]", len(f.Repositories))
	f.from[at], f.from[at+"."+field], f.from[at+".root"] = f.from[key], f.from[key], f.from[rootKey]
}

// repository turns r into a repository, and reads its secrets.
func (r *fileRepository) repository(dir, key string, found *mistakes) Repository {
	m := r.MetadataLimits
	out := Repository{
		Name: r.Name, URL: r.URL, MetadataURL: r.MetadataURL, TargetsURL: r.TargetsURL,
		Dir: below(dir, r.Dir), RootFile: below(dir, r.Root), MetadataDir: below(dir, r.MetadataDir),
		Limits: hybrid.Limits{Root: m.Root, Timestamp: m.Timestamp, Snapshot: m.Snapshot, Targets: m.Targets,
			Depth: m.Depth, Signatures: m.Signatures, Keys: m.Keys, Roles: m.Roles},
		HTTP: hybrid.HTTPOptions{
			ConnectTimeout: time.Duration(r.Timeouts.Connect), FirstByteTimeout: time.Duration(r.Timeouts.FirstByte),
			TotalTimeout: time.Duration(r.Timeouts.Total), StreamTimeout: time.Duration(r.Timeouts.Stream),
			Attempts: r.Retries.Attempts, BackoffMin: time.Duration(r.Retries.BackoffMin),
			BackoffMax: time.Duration(r.Retries.BackoffMax), MaxRedirects: r.Retries.Redirects, UserAgent: r.UserAgent,
		},
	}
	r.Limits.apply(&out)
	for _, m := range r.Mirrors {
		out.Mirrors = append(out.Mirrors, hybrid.Mirror(m))
	}
	files := secretFiles{key: key, found: found}
	out.HTTP.BearerToken = files.token(below(dir, r.TokenFile))
	out.HTTP.RootCAs = files.authorities(below(dir, r.CAFile))
	out.HTTP.ClientCertificate = files.certificate(below(dir, r.CertFile), below(dir, r.KeyFile))
	return out
}

// below makes a path of the file absolute; "" stays "".
func below(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

func isFalse(b *bool) bool { return b != nil && !*b }

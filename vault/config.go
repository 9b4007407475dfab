package vault

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/vault/policy"
)

// maxConfigFile is the largest file of options in bytes.
const maxConfigFile = 1 << 20

// ReadOptions returns what a YAML file of at most 1 MiB says, and nothing else:
// no environment, no defaults. Relative paths in it are relative to its directory;
// the result has absolute ones. An empty file is the zero Options.
//
// It is for looking at a file. What it returns is code's once it is given to
// [New], and goes before the environment; to use a file, name it in Options.File.
//
// The error is of class usage. Its Causes are all mistakes at once, each with its
// line: unknown keys, wrong values, secrets that others can read or that stand in
// the file itself, and everything that New refuses.
func ReadOptions(path string) (Options, error) {
	f, err := readFile(path)
	if err != nil {
		return Options{}, err
	}
	_, unreadable := f.roots()
	f.found = append(append(f.found, f.check()...), unreadable...)
	if err := f.found.err(path, f.from); err != nil {
		return Options{}, err
	}
	return f.Options, nil
}

// readFile reads a file; its mistakes are not yet an error.
func readFile(path string) (*fromFile, error) {
	dir, err := filepath.Abs(filepath.Dir(path))
	var data []byte
	if err == nil {
		data, _, err = readRegular(path, maxConfigFile)
	}
	if err != nil {
		e := tuferr.New(protocol.CodeUsage, "cannot read the options: %w", err)
		e.Path = path
		return nil, e
	}
	return parse(data, dir), nil
}

// Resolve returns the options that [New] would work with, and makes and asks nothing:
// what code, environment, file and defaults say together, with every root file read
// into Root. The error is that of New.
func (o Options) Resolve() (Options, error) {
	o, err := o.resolve(os.Getenv)
	if err != nil {
		return Options{}, err // Nobody uses, or shows, half of it.
	}
	return o, nil
}

// resolve returns what holds: what code says, else the environment, else the file
// that Options.File names, else the defaults. Nothing in it is shared with o. Every
// root file is read into Root. The error names every mistake, as ReadOptions has it.
func (o Options) resolve(getenv func(string) string) (Options, error) {
	file := &fromFile{from: origins{}}
	if o.File != "" {
		var err error
		if file, err = readFile(o.File); err != nil {
			return o, err
		}
	}
	found := file.found
	one := len(o.Repositories) == 0 && len(file.Repositories) == 0
	o.merge(file, getenv)
	o.setDefaults()
	if one {
		// Where package hybrid and its commands have it.
		o.Repositories[0].MetadataDir = o.MetadataDir
	}
	found = append(found, o.check()...)
	roots, unreadable := o.roots()
	if err := append(found, unreadable...).err(o.File, file.from); err != nil {
		return o, err
	}
	for i, root := range roots {
		o.Repositories[i].Root, o.Repositories[i].RootFile = root, ""
	}
	mode, err := hybrid.ParseMode(string(o.Mode))
	if o.Mode = mode; o.DisableFallback && mode == hybrid.ModeAuto {
		o.Mode = hybrid.ModeGo
	}
	return o, err
}

// merge fills what code left unset. Lists, the policy and plugins are one value
// each: they are taken as a whole, never mixed.
func (o *Options) merge(file *fromFile, getenv func(string) string) {
	from := file.from
	o.mergeRepositories(file, getenv)
	if len(o.Mappings) > 0 {
		from.drop("mappings")
	} else {
		o.Mappings = file.Mappings
	}
	o.Mappings = cloneMappings(o.Mappings)
	if !isZero(o.Policy) {
		from.drop("policy")
	} else {
		o.Policy = file.Policy
	}
	o.Policy = clonePolicy(o.Policy)
	if o.Plugins != nil {
		from.drop("plugins")
	} else {
		o.Plugins = file.Plugins
	}
	o.Plugins = maps.Clone(o.Plugins)

	takeEnv(from, "mode", &o.Mode, hybrid.EnvMode, getenv, file.Mode)
	takeEnv(from, "pythonBin", &o.Python, hybrid.EnvPython, getenv, file.Python)
	takeEnv(from, "metadataDir", &o.MetadataDir, hybrid.EnvMetadataDir, getenv, file.MetadataDir)
	takeEnv(from, "cacheDir", &o.CacheDir, hybrid.EnvCacheDir, getenv, file.CacheDir)
	take(from, "engineTimeout", &o.EngineTimeout, file.EngineTimeout)
	take(from, "breakerFailures", &o.BreakerFailures, file.BreakerFailures)
	take(from, "breakerCoolDown", &o.BreakerCoolDown, file.BreakerCoolDown)
	take(from, "refreshInterval", &o.RefreshInterval, file.RefreshInterval)
	take(from, "maxMetadataAge", &o.MaxMetadataAge, file.MaxMetadataAge)
	take(from, "expiryWarning", &o.ExpiryWarning, file.ExpiryWarning)
	take(from, "auditDir", &o.AuditDir, file.AuditDir)
	o.AuditBestEffort = o.AuditBestEffort || file.AuditBestEffort
	o.DisableFallback = o.DisableFallback || file.DisableFallback
}

// mergeRepositories takes the list of code, else of the file. The environment says
// where one repository is that no list names: the default one, or the file's remote.
func (o *Options) mergeRepositories(file *fromFile, getenv func(string) string) {
	if len(o.Repositories) > 0 {
		file.from.drop("repositories")
		o.Repositories = cloneRepositories(o.Repositories)
		return
	}
	if len(file.Repositories) == 0 {
		file.Repositories = []Repository{{Name: DefaultRepository, URL: hybrid.DefaultRepoURL}}
		file.remote = &file.Repositories[0]
	}
	if r := file.remote; r != nil {
		key := fmt.Sprintf("repositories[%d]", len(file.Repositories)-1)
		for _, v := range []struct {
			field *string
			name  string
			key   string
		}{{&r.URL, hybrid.EnvRepoURL, ".url"}, {&r.RootFile, hybrid.EnvRoot, ".root"}} {
			if value := getenv(v.name); value != "" {
				*v.field = value
				file.from[key+v.key] = v.name
			}
		}
	}
	o.Repositories = cloneRepositories(file.Repositories)
}

// take fills *field from the file, if code left it unset.
func take[T comparable](from origins, key string, field *T, file T) {
	var zero T
	if *field != zero {
		from.drop(key)
		return
	}
	*field = file
}

// takeEnv is take with a variable of the environment between code and file.
func takeEnv[T ~string](from origins, key string, field *T, name string, getenv func(string) string, file T) {
	if value := getenv(name); value != "" && *field == "" {
		*field = T(value)
		from[key] = name
		return
	}
	take(from, key, field, file)
}

// setDefaults fills the rest; what it leaves unset package hybrid fills.
func (o *Options) setDefaults() {
	setDefault(&o.MetadataDir, hybrid.DefaultMetadataDir)
	setDefault(&o.CacheDir, hybrid.DefaultCacheDir)
	setDefault(&o.Mode, hybrid.ModeAuto)
	setDefault(&o.MaxMetadataAge, hybrid.DefaultMaxMetadataAge)
	setDefault(&o.ExpiryWarning, DefaultExpiryWarning)
	for i := range o.Mappings {
		setDefault(&o.Mappings[i].Threshold, 1)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// roots returns the root of every repository, read from its file if it has one, nil
// without; and a mistake for each file that cannot be read.
func (o Options) roots() ([][]byte, []error) {
	var found mistakes
	roots := make([][]byte, len(o.Repositories))
	for i, r := range o.Repositories {
		if roots[i] = r.Root; r.RootFile == "" || r.Root != nil {
			continue
		}
		raw, _, err := readRegular(r.RootFile, r.Limits.Bytes(admission.KindRoot))
		if err == nil && len(raw) == 0 {
			err = errors.New("empty")
		}
		if err != nil {
			found.add(fmt.Sprintf("repositories[%d].root", i), "name the root metadata file that the publisher gave you",
				"%s: cannot read the root file %s: %v", r.label(i), visible(r.RootFile), withoutPath(err))
			continue
		}
		roots[i] = raw
	}
	return roots, found
}

func cloneRepositories(all []Repository) []Repository {
	all = slices.Clone(all)
	for i := range all {
		all[i].Root = bytes.Clone(all[i].Root)
		all[i].Mirrors = slices.Clone(all[i].Mirrors)
	}
	return all
}

func cloneMappings(all []Mapping) []Mapping {
	all = slices.Clone(all)
	for i := range all {
		all[i].Paths = slices.Clone(all[i].Paths)
		all[i].Repositories = slices.Clone(all[i].Repositories)
	}
	return all
}

func clonePolicy(p policy.Policy) policy.Policy {
	for _, list := range []*[]string{&p.Allow.Publishers, &p.Allow.Names, &p.Deny.Publishers, &p.Deny.Names, &p.Channels} {
		*list = slices.Clone(*list)
	}
	p.Plugins = maps.Clone(p.Plugins)
	for name, rule := range p.Plugins {
		rule.SHA256, rule.Channels = slices.Clone(rule.SHA256), slices.Clone(rule.Channels)
		p.Plugins[name] = rule
	}
	return p
}

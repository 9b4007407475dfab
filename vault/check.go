package vault

import (
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/plugin"
	"github.com/ragnos-labs/vault-tuf/vault/policy"
)

const (
	maxRepositoryName = 64
	maxPattern        = 1024
)

// check returns everything that is wrong with the options, each a *mistake. It
// takes what is unset for right, and reads no file.
func (o Options) check() []error {
	var found mistakes
	o.checkEngines(&found)
	for _, d := range []struct {
		key   string
		value time.Duration
	}{
		{"engineTimeout", o.EngineTimeout}, {"breakerCoolDown", o.BreakerCoolDown}, {"refreshInterval", o.RefreshInterval},
	} {
		if d.value < 0 {
			found.add(d.key, "", "%s is negative: %v", d.key, d.value)
		}
	}
	names := map[string]bool{}
	for i, r := range o.Repositories {
		key := fmt.Sprintf("repositories[%d]", i)
		checkName(r.Name, key, &found)
		if r.Name != "" && names[r.Name] {
			found.add(key+".name", "", "%s: another repository has the same name", r.label(i))
		}
		names[r.Name] = true
		r.check(key, r.label(i), &found)
	}
	if len(o.Repositories) == 0 {
		names[DefaultRepository] = true
	}
	o.checkStores(&found)
	for i, m := range o.Mappings {
		m.check(fmt.Sprintf("mappings[%d]", i), names, &found)
	}
	for _, err := range o.Policy.Check() {
		// Its text begins with the field, such as "allow.names[0]: ".
		field, _, _ := strings.Cut(err.Error(), ": ")
		found.add("policy."+field, "", "policy.%v", err)
	}
	for _, id := range slices.Sorted(maps.Keys(o.Plugins)) {
		checkPlugin(id, o.Plugins[id], &found)
	}
	return found
}

func (o Options) checkEngines(found *mistakes) {
	mode := o.Mode
	if mode != "" {
		var err error
		if mode, err = hybrid.ParseMode(clip(string(o.Mode))); err != nil {
			found.add("mode", "", "%v", err)
		}
	}
	if o.DisableFallback && (mode == hybrid.ModePython || mode == hybrid.ModeDual) {
		found.add("allowFallback", "choose mode go or auto", "mode %s needs python-tuf, and it is left out", mode)
	}
}

// checkStores finds trust stores that several repositories would share.
func (o Options) checkStores(found *mistakes) {
	owner := map[string]string{realPath(filepath.Join(o.MetadataDir, recordsName)): "the record of what is installed"}
	for i, r := range o.Repositories {
		dir := r.MetadataDir
		if dir == "" {
			dir = filepath.Join(o.MetadataDir, storeName(r.Name))
		}
		dir = realPath(dir)
		if other := owner[dir]; other == r.label(i) {
			continue // It has been said that they have one name.
		}
		if other, ok := owner[dir]; ok {
			found.add(fmt.Sprintf("repositories[%d].metadataDir", i), "give each a trust store of its own",
				"%s: %s has the same metadata directory", r.label(i), other)
			continue
		}
		owner[dir] = r.label(i)
	}
}

// realPath is the one name of a directory, as far as it can be known.
func realPath(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if p, err := filepath.EvalSymlinks(path); err == nil {
		return p
	}
	return path
}

// label is what mistakes call a repository.
func (r Repository) label(i int) string {
	if r.Name == "" {
		return fmt.Sprintf("repositories[%d]", i)
	}
	return fmt.Sprintf("repository %q", clip(r.Name))
}

func checkName(name, key string, found *mistakes) {
	switch {
	case name == "":
		found.add(key, "", "%s: no name", key)
	case utf8.RuneCountInString(name) > maxRepositoryName:
		found.add(key+".name", "", "%s: the name has more than %d characters", key, maxRepositoryName)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		found.add(key+".name", "", "%s: the name %q has characters that cannot be printed", key, name)
	}
}

// check finds what is wrong with one repository, by itself.
func (r Repository) check(key, label string, found *mistakes) {
	add := func(field, format string, args ...any) { found.add(key+field, "", label+": "+format, args...) }
	remote := r.URL != "" || r.MetadataURL != "" || r.TargetsURL != ""
	switch {
	case r.Dir != "" && (remote || len(r.Mirrors) > 0):
		add(".dir", "a directory and URLs: it is in one place")
	case r.Dir == "" && r.URL == "" && (r.MetadataURL == "" || r.TargetsURL == ""):
		add("", "neither a URL nor a directory says where it is")
	}
	checkURLs(key, label, found, r.URL, r.MetadataURL, r.TargetsURL)
	for i, m := range r.Mirrors {
		at, name := fmt.Sprintf("%s.mirrors[%d]", key, i), fmt.Sprintf("%s, mirrors[%d]", label, i)
		if m.URL == "" && (m.MetadataURL == "" || m.TargetsURL == "") {
			found.add(at, "", "%s: no URL says where it is", name)
		}
		checkURLs(at, name, found, m.URL, m.MetadataURL, m.TargetsURL)
	}
	if r.Root != nil && r.RootFile != "" {
		add(".root", "both a root and a root file")
	}
	if r.HTTP.BackoffMin > 0 && r.HTTP.BackoffMax > 0 && r.HTTP.BackoffMax < r.HTTP.BackoffMin {
		add(".retries.backoffMax", "the longest pause between attempts is less than the shortest")
	}
	for _, text := range []struct{ field, name, value string }{
		{".userAgent", "user agent", r.HTTP.UserAgent}, {".tokenFile", "token", r.HTTP.BearerToken},
	} {
		if strings.ContainsFunc(text.value, func(r rune) bool { return r < ' ' || r > '~' }) {
			add(text.field, "the %s is not printable ASCII", text.name)
		}
	}
	for _, b := range r.bounds() {
		if b.negative {
			add("."+b.field, "%s is negative", b.field)
		}
	}
}

// bound is a number that must not be negative, by its key in the file.
type bound struct {
	field    string
	negative bool
}

func (r Repository) bounds() []bound {
	h, l := r.HTTP, r.Limits
	return []bound{
		{"limits.roots", r.MaxRoots < 0}, {"limits.roles", r.MaxRoles < 0}, {"limits.downloads", r.MaxDownloads < 0},
		{"limits.requestsPerSecond", !(h.RequestsPerSecond >= 0)}, {"limits.requests", h.MaxRequests < 0},
		{"limits.bytesPerSecond", h.BytesPerSecond < 0}, {"limits.waiting", h.MaxWaiting < 0},
		{"limits.minRate", h.MinRate < 0}, {"limits.minRateWindow", h.MinRateWindow < 0},
		{"timeouts.connect", h.ConnectTimeout < 0}, {"timeouts.firstByte", h.FirstByteTimeout < 0},
		{"timeouts.total", h.TotalTimeout < 0}, {"timeouts.stream", h.StreamTimeout < 0},
		{"retries.attempts", h.Attempts < 0}, {"retries.redirects", h.MaxRedirects < 0},
		{"retries.backoffMin", h.BackoffMin < 0}, {"retries.backoffMax", h.BackoffMax < 0},
		{"metadataLimits.root", l.Root < 0}, {"metadataLimits.timestamp", l.Timestamp < 0},
		{"metadataLimits.snapshot", l.Snapshot < 0}, {"metadataLimits.targets", l.Targets < 0},
		{"metadataLimits.depth", l.Depth < 0}, {"metadataLimits.signatures", l.Signatures < 0},
		{"metadataLimits.keys", l.Keys < 0}, {"metadataLimits.roles", l.Roles < 0},
	}
}

func checkURLs(key, label string, found *mistakes, base, metadata, targets string) {
	const hint = "give an http or https URL such as https://plugins.example.com"
	for _, u := range []struct{ field, value string }{{"url", base}, {"metadataUrl", metadata}, {"targetsUrl", targets}} {
		if problem := badURL(u.value); problem != "" {
			found.add(key+"."+u.field, hint, "%s: %s %s", label, u.field, problem)
		}
	}
}

// badURL says what is wrong with a URL, "" if nothing is. It does not show it: a
// password may stand in it.
func badURL(s string) string {
	if s == "" {
		return ""
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "is not a URL"
	case u.User != nil:
		return "has a user name or password"
	case u.Scheme != "http" && u.Scheme != "https":
		return "is not http or https"
	case u.Host == "":
		return "names no host"
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "has a query or fragment, and paths are put after it"
	}
	return ""
}

func (m Mapping) check(key string, known map[string]bool, found *mistakes) {
	if len(m.Paths) == 0 {
		found.add(key, `the path "*" stands for all`, "%s: no paths", key)
	}
	for i, p := range m.Paths {
		if problem := badPattern(p); problem != "" {
			found.add(fmt.Sprintf("%s.paths[%d]", key, i), "", "%s: the path %q %s", key, clip(p), problem)
		}
	}
	if len(m.Repositories) == 0 {
		found.add(key, "", "%s: no repositories", key)
	}
	seen := map[string]bool{}
	for i, name := range m.Repositories {
		at := fmt.Sprintf("%s.repositories[%d]", key, i)
		switch {
		case seen[name]:
			found.add(at, "", "%s: repository %q is there twice", key, clip(name))
		case !known[name] || name == "":
			found.add(at, "", "%s: there is no repository %q", key, clip(name))
		}
		seen[name] = true
	}
	switch {
	case m.Threshold < 0:
		found.add(key+".threshold", "", "%s: the threshold is negative: %d", key, m.Threshold)
	case m.Threshold > len(seen) && len(seen) > 0:
		found.add(key+".threshold", "", "%s: the threshold is %d, of %d repositories", key, m.Threshold, len(seen))
	}
}

// badPattern says why a pattern matches no target path, "" if it may match one.
func badPattern(p string) string {
	switch {
	case p == "":
		return "is empty"
	case len(p) > maxPattern:
		return fmt.Sprintf("is longer than %d bytes", maxPattern)
	case !utf8.ValidString(p) || strings.ContainsFunc(p, unicode.IsControl):
		return "has control characters"
	case strings.HasPrefix(p, "/"):
		return "begins with a slash, and target paths do not"
	}
	// One that matches nothing leaves its names to the next mapping.
	return policy.PatternProblem(p)
}

func checkPlugin(id, constraint string, found *mistakes) {
	key := "plugins[" + visible(clip(id)) + "]"
	publisher, name, _ := strings.Cut(id, "/")
	if _, ok := plugin.IsPath(plugin.Path(publisher, name, "1.0.0")); !ok || strings.Contains(name, "/") {
		found.add(key, "", "%s: a plugin is called PUBLISHER/NAME, such as acme/hello", key)
	}
	if _, err := policy.ParseRange(constraint); err != nil && constraint != "latest" {
		found.add(key, `write a version, a range such as "^1.2", or latest`, "%s: %q is no range of versions", key, clip(constraint))
	}
}

func isZero[T any](v T) bool { return reflect.ValueOf(v).IsZero() }

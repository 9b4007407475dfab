package plugin

import (
	"iter"
	"strings"
)

const suffix = ".tar.gz"

// Path is the target path of a version of a plugin.
func Path(publisher, name, version string) string {
	return "plugins/" + publisher + "/" + name + "." + version + suffix
}

// IsPath tells whether path is one that [Path] makes of valid names, and whose
// plugin it is.
func IsPath(path string) (publisher string, ok bool) {
	for publisher := range Identities(path) {
		return publisher, true
	}
	return "", false
}

// Identities returns of which publisher and name path may be a version. It is nearly
// always one: acme/a.1.0.0-b 2.0.0 and acme/a 1.0.0-b.2.0.0 have the same path.
func Identities(path string) iter.Seq2[string, string] {
	return func(yield func(publisher, name string) bool) {
		rest, ok := strings.CutPrefix(path, "plugins/")
		publisher, file, _ := strings.Cut(rest, "/")
		base, isArchive := strings.CutSuffix(file, suffix)
		if !ok || !isArchive || isPublisher(publisher) != "" {
			return
		}
		for i := range len(base) {
			if base[i] == '.' && isName(base[:i]) == "" && isVersion(base[i+1:]) == "" && !yield(publisher, base[:i]) {
				return
			}
		}
	}
}

// CheckIdentity tells whether the three are such that [Path] of them is the path
// of a plugin. The error is a [*ManifestError].
func CheckIdentity(publisher, name, version string) error {
	f := fieldReader{}
	for _, c := range []struct{ field, problem string }{
		{"publisher", isPublisher(publisher)}, {"name", isName(name)}, {"version", isVersion(version)},
	} {
		if c.problem != "" {
			f.fail(c.field, c.problem)
		}
	}
	return f.err
}

// CheckEntryPoint tells whether a manifest may name such an entry point. The error
// is a [*ManifestError].
func CheckEntryPoint(name string) error {
	if problem := isEntryPoint(name); problem != "" {
		return &ManifestError{"entryPoint", problem}
	}
	return nil
}

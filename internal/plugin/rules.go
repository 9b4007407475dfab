package plugin

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

var (
	// https://semver.org, without build metadata: it does not take part in
	// the order of versions, so two files could claim to be the same version.
	// Numbers of 19 digits fit into 64 bits; beyond, readers differ.
	semverPattern = regexp.MustCompile(`^(0|[1-9][0-9]{0,18})\.(0|[1-9][0-9]{0,18})\.(0|[1-9][0-9]{0,18})` +
		`(-(0|[1-9][0-9]{0,18}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(\.(0|[1-9][0-9]{0,18}|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*)?$`)
	permissionPattern = regexp.MustCompile(`^[a-z0-9][A-Za-z0-9._:/*-]*$`)
)

// roleNames cannot be publishers: a publisher has a role of its own.
var roleNames = []string{"root", "targets", "snapshot", "timestamp", "mirrors"}

const deviceProblem = "is a name that Windows takes for a device"

// The rules say what is wrong with a value, or "".

func isName(s string) string {
	if s == "" {
		return "is empty"
	}
	if len(s) > maxName {
		return fmt.Sprintf("is longer than %d characters", maxName)
	}
	for _, r := range s {
		if !isLetterOrDigit(r) && !strings.ContainsRune("._-", r) {
			return fmt.Sprintf("holds %#U, which is not a lower-case ASCII letter, a digit, \".\", \"_\" or \"-\"", r)
		}
	}
	switch {
	case !isLetterOrDigit(rune(s[0])), !isLetterOrDigit(rune(s[len(s)-1])):
		return "must begin and end with a letter or digit"
	case strings.Contains(s, ".."):
		return `must not contain ".."`
	case isDevice(s):
		return deviceProblem
	}
	return ""
}

func isLetterOrDigit(r rune) bool { return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' }

func isPublisher(s string) string {
	if slices.Contains(roleNames, s) {
		return "is the name of a role of TUF, and publishers have roles of their own"
	}
	return isName(s)
}

func isVersion(s string) string {
	switch {
	case len(s) > maxVersion:
		return fmt.Sprintf("is longer than %d characters", maxVersion)
	case strings.Contains(s, "+"):
		return "must not have build metadata (+…): two files could claim to be the same version"
	case !semverPattern.MatchString(s):
		return "must be a semantic version such as 1.2.3 or 1.2.3-beta.1, its numbers of at most 19 digits"
	}
	return ""
}

// isText is the rule for what is shown to people: nothing that could make it
// look like something else.
func isText(s string) string {
	if !utf8.ValidString(s) {
		return "is not UTF-8"
	}
	if utf8.RuneCountInString(s) > maxText {
		return fmt.Sprintf("is longer than %d characters", maxText)
	}
	// Some scripts and emoji need the joiners.
	joiner := func(r rune) bool { return r == '\u200c' || r == '\u200d' }
	for _, r := range s {
		if r != '\n' && !joiner(r) && unseen(r) {
			return fmt.Sprintf("holds %#U, a control or invisible character", r)
		}
	}
	if !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsSpace(r) && !joiner(r) }) {
		return "is empty"
	}
	return ""
}

// unseen tells whether a reader cannot see r, or not what it does: control
// characters, formatting such as the change of direction, private use. What is
// not assigned yet is left alone, lest the verdict hang on Unicode's version.
func unseen(r rune) bool {
	if r < 0x7f {
		return r < ' '
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp)
}

func isEntryPoint(s string) string {
	if problem := badPath(s); problem != "" {
		return problem
	}
	if path.Clean(s) != s || s == "." {
		return "must be a plain path of a file in the archive, such as bin/plugin"
	}
	return ""
}

// badPath says what is wrong with a slash-separated relative path, or "". A
// path must mean the same file on every system.
func badPath(p string) string {
	switch {
	case p == "":
		return "has an empty path"
	case len(p) > maxEntryName:
		return fmt.Sprintf("has a path of more than %d bytes", maxEntryName)
	case !utf8.ValidString(p):
		return "has a path that is not UTF-8"
	case strings.HasPrefix(p, "/"):
		return "has an absolute path"
	}
	for _, r := range p {
		if unseen(r) {
			return fmt.Sprintf("has a path with %#U, a control or invisible character", r)
		}
	}
	if i := strings.IndexAny(p, `\:*?"<>|`); i >= 0 {
		return fmt.Sprintf("has a path with %q, which some systems read as a separator, a drive or a pattern", p[i])
	}
	for part := range strings.SplitSeq(p, "/") {
		switch {
		case part == "..":
			return `has ".." in its path`
		case part != "." && strings.TrimRight(part, ". ") != part:
			return "has a path with a part that ends in a dot or space, which some systems drop"
		case isDevice(part):
			return "has a path with a part that " + deviceProblem
		}
	}
	return ""
}

// isDevice tells whether Windows takes a file of that name for a device,
// whatever follows the first dot.
func isDevice(name string) bool {
	stem, _, _ := strings.Cut(name, ".")
	stem = strings.TrimRight(stem, " ")
	if len(stem) > len("conout$") {
		return false
	}
	stem = strings.ToLower(stem)
	for _, kind := range []string{"com", "lpt"} {
		if port, ok := strings.CutPrefix(stem, kind); ok {
			return utf8.RuneCountInString(port) == 1 && strings.Contains("0123456789¹²³", port)
		}
	}
	return slices.Contains([]string{"con", "prn", "aux", "nul", "conin$", "conout$"}, stem)
}

package policy

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ragnos-labs/vault-tuf/internal/delegation"
	"github.com/ragnos-labs/vault-tuf/internal/plugin"
)

const (
	// all stands for every publisher, or every target path.
	all = "*"
	// maxPattern is the longest pattern in characters.
	maxPattern = 1024
	// below is where plugins lie.
	below = "plugins/"
)

var (
	unseenPattern = regexp.MustCompile(`[\p{Cc}\p{Cf}\p{Co}\p{Zl}\p{Zp}]`)
	// A set must be closed, and a backslash take the meaning from something.
	globPattern = regexp.MustCompile(`^(?:[^\\\[]|\\[*?\[\]\\]|\[[!^]?[^\\\[\]/!^]+\])*$`)
	rangeInSet  = regexp.MustCompile(`.-.`)
)

// PatternProblem says why a pattern of target paths cannot mean what it says, or "".
// Some of these [delegation.Match] would read as plain characters: a rule that
// denies would deny nothing.
func PatternProblem(s string) string {
	switch {
	case s == "":
		return "is empty"
	case !utf8.ValidString(s):
		return "is not UTF-8"
	case utf8.RuneCountInString(s) > maxPattern:
		return "is longer than 1024 characters"
	case unseenPattern.MatchString(s):
		return "holds a control or invisible character"
	case strings.HasPrefix(s, "/"), strings.HasSuffix(s, "/"), strings.Contains(s, "//"):
		return "has an empty part, which no target path has"
	case strings.Contains(s, "**"):
		return `holds "**", which like "*" matches within one part of a path`
	case slices.ContainsFunc(strings.Split(s, "/"), func(part string) bool { return part == "." || part == ".." }):
		return `has "." or ".." for a part, which no target path has`
	case !globPattern.MatchString(s):
		return `has a "[" without its "]", or a "\" that is not before one of * ? [ ] \`
	}
	for _, r := range rangeInSet.FindAllString(inSets(s), -1) {
		low, size := utf8.DecodeRuneInString(r)
		if high, _ := utf8.DecodeRuneInString(r[size+1:]); low > high {
			return "has a set that goes backwards and matches nothing"
		}
	}
	return ""
}

var setPattern = regexp.MustCompile(`\\.|\[[!^]?([^\]]*)\]`)

// inSets returns what stands between brackets, with line feeds in between.
func inSets(pattern string) string {
	var in []string
	for _, m := range setPattern.FindAllStringSubmatch(pattern, -1) {
		in = append(in, m[1])
	}
	return strings.Join(in, "\n")
}

// publisherProblem says why an entry is neither a publisher nor all, or "".
func publisherProblem(s string) string {
	if s == all {
		return ""
	}
	return plugin.PublisherProblem(s)
}

// keyProblem says why a key of [Policy.Plugins] is about no plugin, or "".
func keyProblem(key string) string {
	publisher, name, ok := strings.Cut(key, "/")
	if !ok {
		return `has no "/"`
	}
	if problem := plugin.PublisherProblem(publisher); problem != "" {
		return "has a publisher that " + problem
	}
	if name == all {
		return ""
	}
	if problem := plugin.NameProblem(name); problem != "" {
		return "has a name that " + problem
	}
	return ""
}

// matching returns the pattern that matches a target path.
func matching(patterns []string, target string) (pattern string, ok bool) {
	for _, p := range patterns {
		if p == all || delegation.Match(p, target) {
			return p, true
		}
	}
	return "", false
}

// publisherOf is the publisher whose path a target has, "" if it is nobody's.
func publisherOf(target string) string {
	rest, ok := strings.CutPrefix(target, below)
	if !ok {
		return ""
	}
	publisher, _, ok := strings.Cut(rest, "/")
	if !ok {
		return ""
	}
	return publisher
}

// isAbout tells whether a key of [Policy.Plugins] is about the candidate. Without a
// manifest, or with that of another path, its path counts as well.
func isAbout(key string, c *Candidate) bool {
	publisher, name, _ := strings.Cut(key, "/")
	if c.Publisher == publisher && (name == all || c.Name == name) {
		return true
	}
	if c.Publisher != "" && c.Target == plugin.Path(c.Publisher, c.Name, c.Version) {
		return false
	}
	rest, ok := strings.CutPrefix(c.Target, below+publisher+"/")
	if !ok || name == all {
		return ok
	}
	rest, ok = strings.CutPrefix(rest, name)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '/')
}

// about returns the keys that are about the candidate, sorted.
func (p *Policy) about(c *Candidate) []string {
	var keys []string
	for key := range p.Plugins {
		if isAbout(key, c) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// keys returns the keys of [Policy.Plugins], sorted.
func (p *Policy) keys() []string { return slices.Sorted(maps.Keys(p.Plugins)) }

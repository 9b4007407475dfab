package policy

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/ragnos-labs/vault-tuf/internal/plugin"
)

// maxRange is the longest range of versions in characters: more would have room for
// more alternatives than are read.
const maxRange = 96

const (
	number     = `(?:0|[1-9][0-9]{0,18})`
	anyNumber  = `[xX*]`
	identifier = `(?:0|[1-9][0-9]{0,18}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)`
	// A version, or as much of it as matters.
	partial = `(?:` + number + `\.` + number + `\.` + number + `(?:-` + identifier + `(?:\.` + identifier + `)*)?|` +
		number + `\.` + number + `(?:\.` + anyNumber + `)?|` + number + `(?:\.` + anyNumber + `){0,2})`
	comparison = `(?:` + anyNumber + `|(?:=|!=|>=?|<=?|~|\^)? *` + partial + `)`
	conjuncts  = ` *` + comparison + `(?:(?: *, *| +)` + comparison + `)* *`
)

var (
	rangePattern = regexp.MustCompile(`^` + conjuncts + `(?:\|\|` + conjuncts + `)*$`)
	// The library takes ~0.0.0 for "any version".
	anyInDisguise = regexp.MustCompile(`~ *0\.0\.0`)
)

// parseRange reads a range of versions; problem says why it cannot, or is "". What
// the library reads in ways of its own is refused.
func parseRange(s string) (c *semver.Constraints, problem string) {
	switch {
	case len(s) > maxRange:
		return nil, "is longer than 96 characters"
	case !rangePattern.MatchString(s):
		return nil, "is no version or range of versions"
	case anyInDisguise.MatchString(s):
		return nil, `holds "~0.0.0", which some read as any version`
	}
	c, err := semver.NewConstraint(s)
	if err != nil {
		return nil, "cannot be read"
	}
	return c, ""
}

// admits tells whether the range holds v. Pre-releases that the range does not ask
// for are in it only when they are followed, and then only if what they lead to is
// in it too: "<2.0.0" is not meant to admit 2.0.0-rc.1.
func admits(c *semver.Constraints, v *semver.Version, prereleases bool) bool {
	if c.Check(v) {
		return true
	}
	if v.Prerelease() == "" || !prereleases {
		return false
	}
	release, err := v.SetPrerelease("")
	if err != nil {
		return false
	}
	wide := *c
	wide.IncludePrerelease = true
	return wide.Check(v) && wide.Check(&release)
}

// pins returns the versions that a range consists of, nil if it is not a list of
// versions.
func pins(s string) []string {
	var versions []string
	for one := range strings.SplitSeq(s, "||") {
		v := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(one), "="))
		if plugin.VersionProblem(v) != "" {
			return nil
		}
		versions = append(versions, v)
	}
	return versions
}

// Range is a range of versions, such as "1.2.3", "^1.2" or ">=1.2, <2".
type Range struct{ c *semver.Constraints }

// ParseRange reads a range. The error is a [*Mistake].
func ParseRange(s string) (Range, error) {
	c, problem := parseRange(s)
	if problem != "" {
		return Range{}, &Mistake{Field: "version range", Problem: fmt.Sprintf("%.100q %s", s, problem), Fix: `write a version such as 1.2.3, or a range such as ^1.2 or ">=1.2, <2"`}
	}
	return Range{c}, nil
}

// Admits tells whether a version is in the range. Pre-releases are if the range
// names one; otherwise if prereleases are followed, and the release that they lead
// to is in the range too.
func (r Range) Admits(version string, prereleases bool) bool {
	v, err := semver.StrictNewVersion(version)
	return err == nil && admits(r.c, v, prereleases)
}

package policy

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/ragnos-labs/vault-tuf/internal/plugin"
)

// Mistake is what is wrong with a field of a policy. It is an error.
type Mistake struct {
	// Field is such as "allow.names[0]" or "plugins[acme/hello].version".
	Field string
	// Problem begins with the value. Fix says what to write instead.
	Problem, Fix string
}

// Error names the field, its value, what is wrong with it and what to write instead.
func (m *Mistake) Error() string { return m.Field + ": " + m.Problem + ": " + m.Fix }

var hashPattern = regexp.MustCompile(`^(sha256:)?[0-9a-fA-F]{64}$`)

// Check returns every mistake in the policy, each a [*Mistake], in the order of the
// fields and, for plugins, of the keys; nil if there is none. What denies more than
// it allows is no mistake.
func (p *Policy) Check() []error {
	c := &checker{}
	c.match("allow", p.Allow)
	c.match("deny", p.Deny)
	c.channels("channels", p.Channels)
	c.size("max_size", p.MaxSize)
	for _, key := range p.keys() {
		field := "plugins[" + key + "]"
		if problem := keyProblem(key); problem != "" {
			field = fmt.Sprintf("plugins[%.130q]", key)
			c.add(field, key, problem, `write "publisher/name", or "publisher/*" for all plugins of a publisher`)
		}
		c.rule(field, p.Plugins[key])
		c.contradiction(p, key, field)
	}
	return c.mistakes
}

type checker struct{ mistakes []error }

func (c *checker) add(field, value, problem, fix string) {
	c.mistakes = append(c.mistakes, &Mistake{field, fmt.Sprintf("%.200q %s", value, problem), fix})
}

func (c *checker) match(field string, m Match) {
	for i, s := range m.Publishers {
		if problem := publisherProblem(s); problem != "" {
			c.add(fmt.Sprintf("%s.publishers[%d]", field, i), s, problem,
				`write the name as the publisher's manifests have it, or "*" alone for all; patterns belong in `+field+".names")
		}
	}
	for i, s := range m.Names {
		if problem := PatternProblem(s); problem != "" {
			c.add(fmt.Sprintf("%s.names[%d]", field, i), s, problem,
				`write a pattern of target paths such as "plugins/acme/*", or "*" alone for all`)
		}
	}
}

func (c *checker) channels(field string, list []string) {
	for i, s := range list {
		if _, err := plugin.ParseChannel(s); err != nil {
			c.add(fmt.Sprintf("%s[%d]", field, i), s, "is no channel", `write "stable", or "beta" for both`)
		}
	}
}

func (c *checker) size(field string, n int64) {
	if n < 0 {
		c.mistakes = append(c.mistakes, &Mistake{field, fmt.Sprintf("%d is negative", n), "write a number of bytes, or leave it out for the default"})
	}
}

func (c *checker) rule(field string, r Rule) {
	if r.Version != "" {
		if _, problem := parseRange(r.Version); problem != "" {
			c.add(field+".version", r.Version, problem, `write a version such as "1.2.3", or a range such as "^1.2" or ">=1.2, <1.5"`)
		}
	}
	if r.MinVersion != "" {
		if problem := plugin.VersionProblem(r.MinVersion); problem != "" {
			c.add(field+".min_version", r.MinVersion, problem, `write a whole version such as "1.2.0"; ranges belong in version`)
		}
	}
	for i, s := range r.SHA256 {
		if !hashPattern.MatchString(s) {
			c.add(fmt.Sprintf("%s.sha256[%d]", field, i), s, "is no SHA-256", `write 64 hex digits, with or without "sha256:" before them`)
		}
	}
	c.channels(field+".channels", r.Channels)
	c.size(field+".max_size", r.MaxSize)
}

// contradiction finds versions that are pinned and too old at the same time, also
// for what a rule for all plugins of the publisher says.
func (c *checker) contradiction(p *Policy, key, field string) {
	pinned := pins(p.Plugins[key].Version)
	if pinned == nil {
		return
	}
	publisher, _, _ := strings.Cut(key, "/")
	from := []string{key}
	if forAll := publisher + "/" + all; forAll != key {
		from = append(from, forAll)
	}
	for _, k := range from {
		oldest := p.Plugins[k].MinVersion
		if oldest == "" || plugin.VersionProblem(oldest) != "" {
			continue
		}
		if tooOld(pinned, oldest) {
			c.add(field+".version", p.Plugins[key].Version, fmt.Sprintf("is older than the min_version %q of plugins[%.130s], so that nothing is allowed", oldest, k),
				"write a newer version, or lower min_version")
		}
	}
}

func tooOld(pinned []string, oldest string) bool {
	for _, v := range pinned {
		if plugin.Compare(v, oldest) >= 0 {
			return false
		}
	}
	return true
}

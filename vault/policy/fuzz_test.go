package policy

import (
	"testing"
	"unicode/utf8"

	"github.com/ragnos-labs/vault-tuf/internal/delegation"
	"github.com/stretchr/testify/require"
)

// FuzzDecide looks for what panics, for what is denied and passes, and for paths
// that are refused before anybody asked and would have been allowed.
func FuzzDecide(f *testing.F) {
	f.Add("acme", "plugins/acme/*", "evil", "x", "acme/hello", "^1.2", "1.0.0", hashA, "beta", int64(0),
		"plugins/acme/hello.1.2.0.tar.gz", "acme", "hello", "1.2.0", "stable", int64(9), "1.0.0")
	f.Add("*", "*", "*", "[", "acme/*", "~0.0.0", "", "", "", int64(-1), "plugins//x", "", "", "", "", int64(-1), "")
	for _, tc := range refusals {
		entry := func(list []string) string { return append(list, "")[0] }
		p, c := tc.policy, tc.c
		for key, r := range p.Plugins {
			f.Add(entry(p.Allow.Publishers), entry(p.Allow.Names), entry(p.Deny.Publishers), entry(p.Deny.Names), key, r.Version, r.MinVersion,
				entry(r.SHA256), entry(p.Channels), p.MaxSize, c.Target, c.Publisher, c.Name, c.Version, c.Channel, c.Length, c.Installed)
		}
	}
	list := func(s string) []string {
		if s == "" {
			return nil
		}
		return []string{s}
	}
	f.Fuzz(func(t *testing.T, allowPublisher, allowName, denyPublisher, denyName, key, version, oldest, hash, channel string, size int64,
		target, publisher, name, v, in string, length int64, installed string) {
		p := Policy{Allow: Match{list(allowPublisher), list(allowName)}, Deny: Match{list(denyPublisher), list(denyName)},
			Channels: list(channel), MaxSize: size,
			Plugins: map[string]Rule{key: {Version: version, MinVersion: oldest, SHA256: list(hash)}}}
		c := Candidate{Target: target, Publisher: publisher, Name: name, Version: v, Channel: in, Length: length, SHA256: hashA, Installed: installed}
		early := p.DecideTarget(target)
		d := p.Decide(c)
		require.Equal(t, d, p.Decide(c))
		if d != nil {
			requireShowable(t, d)
			return
		}
		require.Nil(t, early, "refused before it was asked for")
		require.False(t, denyName == "*" || denyName != "" && delegation.Match(denyName, target))
		require.False(t, denyPublisher == "*" || denyPublisher != "" && (denyPublisher == publisher || denyPublisher == publisherOf(target)))
		require.False(t, allowPublisher == "" && allowName == "")
		require.False(t, key == publisher+"/"+name && hash != "" && normalHash(hash) != hashA)
		// Whatever else is in metadata, nothing more than this policy is allowed.
		require.NotNil(t, (&Policy{}).Decide(c))
		why := "withdrawn"
		c.Yanked = &why
		require.NotNil(t, p.Decide(c))
	})
}

// requireShowable: printable, and not longer than a screen.
func requireShowable(t *testing.T, d *Denial) {
	for _, s := range []string{d.Rule, d.Message, d.Hint} {
		require.NotEmpty(t, s)
		require.True(t, utf8.ValidString(s))
		require.NotRegexp(t, `[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]`, s)
		require.Less(t, len(s), 5000)
	}
}

// FuzzCheck holds Check against the schema: what one of them accepts and the other
// does not would surprise somebody.
func FuzzCheck(f *testing.F) {
	seed := func(p Policy) {
		for _, publisher := range append(p.Allow.Publishers, "acme") {
			for _, name := range append(p.Allow.Names, p.Deny.Names...) {
				f.Add(publisher, name, "acme/hello", "1.0.0", "", hashA)
			}
			f.Add(publisher, "x", "acme/*", "^1", "1.0.0", hashA)
		}
		for key, r := range p.Plugins {
			f.Add("acme", "x", key, r.Version, r.MinVersion, append(r.SHA256, hashA)[0])
		}
	}
	for _, p := range goodPolicies {
		seed(p)
	}
	for _, tc := range mistakes {
		seed(tc.policy)
	}
	schema := compiled(f)
	f.Fuzz(func(t *testing.T, publisher, name, key, version, oldest, hash string) {
		for _, s := range []string{publisher, name, key, version, oldest, hash} {
			if !utf8.ValidString(s) {
				return // JSON has no such strings
			}
		}
		p := Policy{Allow: Match{[]string{publisher}, []string{name}}, Plugins: map[string]Rule{key: {Version: version, SHA256: []string{hash}}}}
		inSet := PatternProblem(name) == "has a set that goes backwards and matches nothing"
		require.Equal(t, len(p.Check()) == 0, bySchema(t, schema, p) == nil && !inSet, "%v", p.Check())
		p = Policy{Plugins: map[string]Rule{"acme/hello": {MinVersion: oldest}}}
		require.Equal(t, len(p.Check()) == 0, bySchema(t, schema, p) == nil, "%v", p.Check())
	})
}

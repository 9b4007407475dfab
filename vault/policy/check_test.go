package policy

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// goodPolicies are policies without mistakes.
var goodPolicies = map[string]Policy{
	"zero":       {},
	"publishers": {Allow: Match{Publishers: []string{"*", "acme", "a", "0-a.b_c"}}, Deny: Match{Publishers: []string{"evil"}}},
	"names": {Allow: Match{Names: []string{"*", "plugins/*", "plugins/*/hello.?.*", "a b/é", "x[ab]", "x[!a-z]/y", "x[^0-9_]", `\[x\]`, `\*\?\\`, "a]", "...", "a/.b",
		`\[z-a`, "[a-]", "[-a]"}}},
	"deny and allow the same": {Allow: Match{Publishers: []string{"acme"}}, Deny: Match{Publishers: []string{"acme"}}},
	"channels":                {Channels: []string{"stable", "beta"}},
	"size":                    {MaxSize: 1<<63 - 1},
	"empty rule":              {Plugins: map[string]Rule{"acme/hello": {}, "acme/*": {}, "a/h.w-x_y": {}}},
	"hashes":                  {Plugins: map[string]Rule{"acme/hello": {SHA256: []string{hashA, "sha256:" + hashB, strings.ToUpper(hashA)}}}},
	"ranges": {Plugins: rangeRules("1.2.3", "=1.2.3", "= 1.2.3", "1.2.3-rc.1", "1", "1.2", "1.x", "1.2.*", "1.X.x", "*", "x", "^1.2", "~1.2.3", "^0", "~0.0", "!=1.5.0",
		">=1.2, <1.5", ">=1.2 <1.5", " >= 1.2 , < 1.5 ", "1.2.3||1.2.4", "^1 || ^2 || >=4.0.0-rc.1", "9223372036854775807.0.0", "^1.0.0-0",
		strings.Repeat("1||", 31)+"1")},
	"oldest":              {Plugins: map[string]Rule{"acme/hello": {MinVersion: "1.2.3-rc.1", Version: "^1"}}},
	"pinned and oldest":   {Plugins: map[string]Rule{"acme/hello": {MinVersion: "1.2.0", Version: "1.2.0"}}},
	"one pin is too old":  {Plugins: map[string]Rule{"acme/hello": {MinVersion: "1.2.0", Version: "1.1.0 || 1.2.0"}}},
	"others' oldest":      {Plugins: map[string]Rule{"acme/hello": {Version: "1.1.0"}, "acm/*": {MinVersion: "2.0.0"}}},
	"channels and size":   {Plugins: map[string]Rule{"acme/hello": {Channels: []string{"beta"}, MaxSize: 1}}},
	"longest publisher":   {Allow: Match{Publishers: []string{strings.Repeat("a", 64)}}},
	"longest key":         {Plugins: map[string]Rule{strings.Repeat("a", 64) + "/" + strings.Repeat("b", 64): {}}},
	"longest pattern":     {Allow: Match{Names: []string{strings.Repeat("é", 1024)}}},
	"a range of versions": {Plugins: rangeRules("1.0.0 1.0.0")},
}

// rangeRules are rules with these ranges, one each.
func rangeRules(all ...string) map[string]Rule {
	m := map[string]Rule{}
	for _, s := range all {
		m["acme/p"+strings.Repeat("x", len(m))] = Rule{Version: s}
	}
	return m
}

// mistakes are policies with one mistake each.
var mistakes = map[string]struct {
	policy Policy
	want   string
}{
	"publisher, upper case":  {Policy{Allow: Match{Publishers: []string{"acme", "Acme"}}}, `allow.publishers[1]: "Acme" holds U+0041 'A'`},
	"publisher, pattern":     {Policy{Deny: Match{Publishers: []string{"ac*"}}}, `deny.publishers[0]: "ac*" holds U+002A '*', which is not a lower-case ASCII letter, a digit, ".", "_" or "-": write the name as the publisher's manifests have it, or "*" alone for all; patterns belong in deny.names`},
	"publisher, empty":       {Policy{Allow: Match{Publishers: []string{""}}}, `allow.publishers[0]: "" is empty: write`},
	"publisher, role":        {Policy{Allow: Match{Publishers: []string{"targets"}}}, "name of a role"},
	"publisher, device":      {Policy{Allow: Match{Publishers: []string{"con"}}}, "device"},
	"publisher, dots":        {Policy{Allow: Match{Publishers: []string{"a..b"}}}, `".."`},
	"publisher, long":        {Policy{Allow: Match{Publishers: []string{strings.Repeat("a", 65)}}}, "longer than 64"},
	"pattern, empty":         {Policy{Deny: Match{Names: []string{""}}}, `deny.names[0]: "" is empty: write a pattern of target paths such as "plugins/acme/*", or "*" alone for all`},
	"pattern, absolute":      {Policy{Allow: Match{Names: []string{"/plugins/*"}}}, "empty part"},
	"pattern, directory":     {Policy{Allow: Match{Names: []string{"plugins/"}}}, "empty part"},
	"pattern, two slashes":   {Policy{Allow: Match{Names: []string{"plugins//x"}}}, "empty part"},
	"pattern, two stars":     {Policy{Deny: Match{Names: []string{"plugins/**"}}}, `holds "**"`},
	"pattern, dot":           {Policy{Allow: Match{Names: []string{"./plugins/*"}}}, `"."`},
	"pattern, dots":          {Policy{Allow: Match{Names: []string{"plugins/.."}}}, `".."`},
	"pattern, control":       {Policy{Allow: Match{Names: []string{"a\nb"}}}, "control"},
	"pattern, direction":     {Policy{Allow: Match{Names: []string{"a\u202eb"}}}, "invisible"},
	"pattern, open set":      {Policy{Deny: Match{Names: []string{"plugins/[ab"}}}, `"[" without its "]"`},
	"pattern, empty set":     {Policy{Deny: Match{Names: []string{"x[]y"}}}, `"["`},
	"pattern, set of parts":  {Policy{Deny: Match{Names: []string{"x[a/b]"}}}, `"["`},
	"pattern, Windows":       {Policy{Deny: Match{Names: []string{`plugins\acme`}}}, `"\"`},
	"pattern, ends in \\":    {Policy{Deny: Match{Names: []string{`x\`}}}, `"\"`},
	"pattern, long":          {Policy{Allow: Match{Names: []string{strings.Repeat("é", 1025)}}}, "longer than 1024"},
	"channel":                {Policy{Channels: []string{"stable", "nightly"}}, `channels[1]: "nightly" is no channel: write "stable", or "beta" for both`},
	"channel, case":          {Policy{Channels: []string{"Beta"}}, "no channel"},
	"size":                   {Policy{MaxSize: -1}, "max_size: -1 is negative: write a number of bytes"},
	"key, no slash":          {Policy{Plugins: map[string]Rule{"hello": {}}}, `plugins["hello"]: "hello" has no "/": write "publisher/name", or "publisher/*"`},
	"key, path":              {Policy{Plugins: map[string]Rule{"plugins/acme/hello": {}}}, `has a name that holds U+002F '/'`},
	"key, all":               {Policy{Plugins: map[string]Rule{"*": {}}}, `has no "/"`},
	"key, all publishers":    {Policy{Plugins: map[string]Rule{"*/hello": {}}}, "has a publisher that"},
	"key, pattern":           {Policy{Plugins: map[string]Rule{"acme/he*": {}}}, "has a name that"},
	"key, empty name":        {Policy{Plugins: map[string]Rule{"acme/": {}}}, "has a name that is empty"},
	"key, role":              {Policy{Plugins: map[string]Rule{"root/hello": {}}}, "role"},
	"key, device":            {Policy{Plugins: map[string]Rule{"acme/nul.x": {}}}, "device"},
	"version, word":          {Policy{Plugins: rangeRules("latest")}, `plugins[acme/p].version: "latest" is no version or range of versions: write a version such as "1.2.3", or a range such as "^1.2"`},
	"version, v":             {Policy{Plugins: rangeRules("v1.2.3")}, "no version"},
	"version, four numbers":  {Policy{Plugins: rangeRules("1.2.3.4")}, "no version"},
	"version, leading zero":  {Policy{Plugins: rangeRules("1.02.3")}, "no version"},
	"version, metadata":      {Policy{Plugins: rangeRules("1.2.3+x")}, "no version"},
	"version, x in between":  {Policy{Plugins: rangeRules("1.x.3")}, "no version"},
	"version, bar":           {Policy{Plugins: rangeRules("1|2")}, "no version"},
	"version, nothing or":    {Policy{Plugins: rangeRules("1.2.3 ||")}, "no version"},
	"version, hyphen range":  {Policy{Plugins: rangeRules("1.2 - 1.4")}, "no version"},
	"version, more than any": {Policy{Plugins: rangeRules(">*")}, "no version"},
	"version, space":         {Policy{Plugins: rangeRules(" ")}, "no version"},
	"version, in disguise":   {Policy{Plugins: rangeRules("~ 0.0.0")}, "any version"},
	"version, long":          {Policy{Plugins: rangeRules("1.2.3-" + strings.Repeat("a", 91))}, "longer than 96"},
	"oldest, range":          {Policy{Plugins: map[string]Rule{"acme/*": {MinVersion: "^1.2"}}}, `plugins[acme/*].min_version: "^1.2" must be a semantic version`},
	"oldest, part":           {Policy{Plugins: map[string]Rule{"acme/hello": {MinVersion: "1.2"}}}, `ranges belong in version`},
	"oldest, long":           {Policy{Plugins: map[string]Rule{"acme/hello": {MinVersion: "1.2.0-" + strings.Repeat("a", 60)}}}, `longer than 64`},
	"hash, short":            {Policy{Plugins: map[string]Rule{"acme/hello": {SHA256: []string{hashA, hashA[1:]}}}}, `plugins[acme/hello].sha256[1]: "` + hashA[1:] + `" is no SHA-256: write 64 hex digits`},
	"hash, other":            {Policy{Plugins: map[string]Rule{"acme/hello": {SHA256: []string{"sha512:" + hashA}}}}, "no SHA-256"},
	"hash, not hex":          {Policy{Plugins: map[string]Rule{"acme/hello": {SHA256: []string{"g" + hashA[1:]}}}}, "no SHA-256"},
	"hash, line feed":        {Policy{Plugins: map[string]Rule{"acme/hello": {SHA256: []string{hashA + "\n"}}}}, "no SHA-256"},
	"plugin's channel":       {Policy{Plugins: map[string]Rule{"acme/hello": {Channels: []string{""}}}}, `plugins[acme/hello].channels[0]: "" is no channel`},
	"plugin's size":          {Policy{Plugins: map[string]Rule{"acme/hello": {MaxSize: -5}}}, "plugins[acme/hello].max_size: -5 is negative"},
}

// beyondSchema are mistakes that JSON Schema cannot name.
var beyondSchema = map[string]struct {
	policy Policy
	want   string
}{
	"pinned below oldest":         {Policy{Plugins: map[string]Rule{"acme/hello": {Version: "=1.1.0 || 1.1.9", MinVersion: "1.2.0"}}}, `plugins[acme/hello].version: "=1.1.0 || 1.1.9" is older than the min_version "1.2.0" of plugins[acme/hello], so that nothing is allowed: write a newer version, or lower min_version`},
	"pinned below oldest for all": {Policy{Plugins: map[string]Rule{"acme/hello": {Version: "1.1.0"}, "acme/*": {MinVersion: "1.2.0"}}}, `of plugins[acme/*]`},
	"all pinned below oldest":     {Policy{Plugins: map[string]Rule{"acme/*": {Version: "1.1.0", MinVersion: "1.2.0"}}}, `plugins[acme/*].version`},
	"a set that goes backwards":   {Policy{Deny: Match{Names: []string{"plugins/[a-cz-x]*"}}}, "backwards"},
	"not UTF-8":                   {Policy{Deny: Match{Names: []string{"\xff"}}}, "not UTF-8"},
}

func TestCheck(t *testing.T) {
	for name, p := range goodPolicies {
		require.Empty(t, p.Check(), name)
	}
	bad := map[string]struct {
		policy Policy
		want   string
	}{}
	for _, m := range []map[string]struct {
		policy Policy
		want   string
	}{mistakes, beyondSchema} {
		for name, tc := range m {
			bad[name] = tc
		}
	}
	for name, tc := range bad {
		all := tc.policy.Check()
		require.Len(t, all, 1, name)
		require.ErrorContains(t, all[0], tc.want, name)
		var m *Mistake
		require.True(t, errors.As(all[0], &m))
		require.NotEmpty(t, m.Field)
		require.NotEmpty(t, m.Problem)
		require.NotEmpty(t, m.Fix)
	}
}

// TestCheckTellsAll mistakes at once, in a stable order: nobody wants to mend a
// policy one start at a time.
func TestCheckTellsAll(t *testing.T) {
	wrong := Rule{Version: "?", MinVersion: "?", SHA256: []string{"?", hashA, "!"}, Channels: []string{"?"}, MaxSize: -1}
	p := Policy{
		Allow: Match{Publishers: []string{"?"}, Names: []string{"/"}}, Deny: Match{Publishers: []string{"?"}, Names: []string{"/"}},
		Channels: []string{"?"}, MaxSize: -1,
		Plugins: map[string]Rule{"b/?": wrong, "acme/hello": wrong},
	}
	for range 5 {
		var fields []string
		for _, err := range p.Check() {
			fields = append(fields, err.(*Mistake).Field)
		}
		require.Equal(t, []string{
			"allow.publishers[0]", "allow.names[0]", "deny.publishers[0]", "deny.names[0]", "channels[0]", "max_size",
			"plugins[acme/hello].version", "plugins[acme/hello].min_version", "plugins[acme/hello].sha256[0]", "plugins[acme/hello].sha256[2]",
			"plugins[acme/hello].channels[0]", "plugins[acme/hello].max_size",
			`plugins["b/?"]`, `plugins["b/?"].version`, `plugins["b/?"].min_version`, `plugins["b/?"].sha256[0]`, `plugins["b/?"].sha256[2]`,
			`plugins["b/?"].channels[0]`, `plugins["b/?"].max_size`,
		}, fields)
	}
}

// TestCheckIsSafeToShow: a policy may come from anywhere before it is checked.
func TestCheckIsSafeToShow(t *testing.T) {
	evil := strings.Repeat("\x1b\u202e\n", 10_000)
	p := Policy{Allow: Match{[]string{evil}, []string{evil}}, Channels: []string{evil}, Plugins: map[string]Rule{evil: {Version: evil, MinVersion: evil, SHA256: []string{evil}}}}
	all := p.Check()
	require.Len(t, all, 7)
	for _, err := range all {
		require.NotRegexp(t, `[^ -~]`, err.Error())
		require.Less(t, len(err.Error()), 5000)
	}
}

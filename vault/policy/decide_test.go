package policy

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	hashA = strings.Repeat("a", 64)
	hashB = strings.Repeat("b", 64)
)

// hello is a plugin that open allows.
func hello() Candidate {
	return Candidate{Target: "plugins/acme/hello.1.2.0.tar.gz", Publisher: "acme", Name: "hello", Version: "1.2.0",
		Channel: "stable", Length: 1000, SHA256: hashA}
}

// plain is a target without a manifest.
func plain(target string) Candidate { return Candidate{Target: target, Length: 1000, SHA256: hashA} }

func open() Policy { return Policy{Allow: Match{Publishers: []string{"acme"}}} }

func with(edit func(*Policy)) Policy {
	p := open()
	edit(&p)
	return p
}

func withRule(key string, r Rule) Policy {
	return with(func(p *Policy) { p.Plugins = map[string]Rule{key: r} })
}

func but(edit func(*Candidate)) Candidate {
	c := hello()
	edit(&c)
	return c
}

func ptr[T any](v T) *T { return &v }

// refusals are candidates that one rule alone refuses: it is the first of what is
// checked that is left out, that lets them through.
var refusals = map[string]struct {
	rule   string // of the list of rules
	said   string // in the denial
	policy Policy
	c      Candidate
}{
	"denied publisher":                   {"deny.publishers", "deny.publishers", with(func(p *Policy) { p.Deny.Publishers = []string{"evil", "acme"} }), hello()},
	"all publishers denied":              {"deny.publishers", "deny.publishers", with(func(p *Policy) { p.Deny.Publishers = []string{"*"} }), hello()},
	"denied by its path, no manifest":    {"deny.publishers", "deny.publishers", Policy{Allow: Match{Names: []string{"*"}}, Deny: Match{Publishers: []string{"acme"}}}, plain("plugins/acme/data")},
	"denied by its path, other manifest": {"deny.publishers", "deny.publishers", Policy{Allow: Match{Names: []string{"*"}}, Deny: Match{Publishers: []string{"evil"}}}, but(func(c *Candidate) { c.Target = "plugins/evil/hello.1.2.0.tar.gz" })},
	"unreadable denied publisher":        {"deny.publishers", "deny.publishers", with(func(p *Policy) { p.Deny.Publishers = []string{"Evil"} }), hello()},
	"denied name":                        {"deny.names", "deny.names", with(func(p *Policy) { p.Deny.Names = []string{"x", "plugins/*/hello.*"} }), hello()},
	"all names denied":                   {"deny.names", "deny.names", with(func(p *Policy) { p.Deny.Names = []string{"*"} }), hello()},
	"unreadable denied name":             {"deny.names", "deny.names", with(func(p *Policy) { p.Deny.Names = []string{"plugins/[evil/*"} }), hello()},
	"nothing allowed":                    {"allow", "allow", Policy{}, hello()},
	"other publisher":                    {"allow", "allow", Policy{Allow: Match{Publishers: []string{"acm"}, Names: []string{"plugins/*"}}}, hello()},
	"publisher without manifest":         {"allow", "allow", open(), plain("plugins/acme/hello.1.2.0.tar.gz")},
	"all publishers, no manifest":        {"allow", "allow", Policy{Allow: Match{Publishers: []string{"*", ""}}}, plain("data.txt")},
	"manifest says another publisher":    {"allow", "allow", open(), but(func(c *Candidate) { c.Target = "plugins/evil/hello.1.2.0.tar.gz" })},
	"manifest outside of plugins":        {"allow", "allow", open(), but(func(c *Candidate) { c.Target = "data/acme/hello.1.2.0.tar.gz" })},
	"yanked":                             {"yanked", "yanked", open(), but(func(c *Candidate) { c.Yanked = ptr("it deletes files") })},
	"yanked without reason":              {"yanked", "yanked", open(), but(func(c *Candidate) { c.Yanked = ptr("") })},
	"unreadable key":                     {"plugins", "plugins", withRule("acme", Rule{}), hello()},
	"other hash":                         {"plugins[].sha256", "plugins[acme/hello].sha256", withRule("acme/hello", Rule{SHA256: []string{hashB, "sha256:" + hashB[1:] + "c"}}), hello()},
	"no hash":                            {"plugins[].sha256", "plugins[acme/hello].sha256", withRule("acme/hello", Rule{SHA256: []string{hashA, ""}}), but(func(c *Candidate) { c.SHA256 = "" })},
	"hash for all of a publisher":        {"plugins[].sha256", "plugins[acme/*].sha256", withRule("acme/*", Rule{SHA256: []string{hashB}}), hello()},
	"hash, no manifest":                  {"plugins[].sha256", "plugins[acme/hello].sha256", Policy{Allow: Match{Names: []string{"*"}}, Plugins: map[string]Rule{"acme/hello": {SHA256: []string{hashB}}}}, plain("plugins/acme/hello.1.2.0.tar.gz")},
	"hash, manifest of another path":     {"plugins[].sha256", "plugins[acme/hello].sha256", Policy{Allow: Match{Names: []string{"*"}}, Plugins: map[string]Rule{"acme/hello": {SHA256: []string{hashB}}}}, but(func(c *Candidate) { c.Name = "other" })},
	"other version":                      {"plugins[].version", "plugins[acme/hello].version", withRule("acme/hello", Rule{Version: "1.1.0"}), hello()},
	"outside the range":                  {"plugins[].version", "plugins[acme/hello].version", withRule("acme/hello", Rule{Version: "^1.3 || <1.2.0"}), hello()},
	"no version, no manifest":            {"plugins[].version", "plugins[acme/hello].version", Policy{Allow: Match{Names: []string{"*"}}, Plugins: map[string]Rule{"acme/hello": {Version: "*"}}}, plain("plugins/acme/hello.1.2.0.tar.gz")},
	"bad version":                        {"plugins[].version", "plugins[acme/hello].version", withRule("acme/hello", Rule{Version: "*"}), but(func(c *Candidate) { c.Version = "v1" })},
	"unreadable range":                   {"plugins[].version", "plugins[acme/hello].version", withRule("acme/hello", Rule{Version: "any"}), hello()},
	"any version in disguise":            {"plugins[].version", "plugins[acme/hello].version", withRule("acme/hello", Rule{Version: "~0.0.0"}), hello()},
	"too old":                            {"plugins[].min_version", "plugins[acme/hello].min_version", withRule("acme/hello", Rule{MinVersion: "1.10.0"}), hello()},
	"before the oldest":                  {"plugins[].min_version", "plugins[acme/hello].min_version", withRule("acme/hello", Rule{MinVersion: "1.2.0"}), but(func(c *Candidate) { c.Version = "1.2.0-rc.1" })},
	"no version to compare":              {"plugins[].min_version", "plugins[acme/*].min_version", Policy{Allow: Match{Names: []string{"*"}}, Plugins: map[string]Rule{"acme/*": {MinVersion: "0.0.1"}}}, plain("plugins/acme/data")},
	"unreadable oldest":                  {"plugins[].min_version", "plugins[acme/hello].min_version", withRule("acme/hello", Rule{MinVersion: "1"}), hello()},
	"beta by default":                    {"channels", "channels", open(), but(func(c *Candidate) { c.Channel = "beta" })},
	"beta where stable is followed":      {"channels", "channels", with(func(p *Policy) { p.Channels = []string{"stable"} }), but(func(c *Candidate) { c.Channel = "beta" })},
	"beta for others only": {"channels", "plugins[acme/hello].channels", with(func(p *Policy) {
		p.Channels, p.Plugins = []string{"beta"}, map[string]Rule{"acme/hello": {Channels: []string{"stable"}}}
	}), but(func(c *Candidate) { c.Channel = "beta" })},
	"unknown channel":                  {"channels", "channels", with(func(p *Policy) { p.Channels = []string{"beta", "nightly"} }), but(func(c *Candidate) { c.Channel = "nightly" })},
	"unknown channel followed":         {"channels", "channels", with(func(p *Policy) { p.Channels = []string{"nightly"} }), hello()},
	"a manifest without channel":       {"channels", "channels", with(func(p *Policy) { p.Channels = []string{"beta"} }), but(func(c *Candidate) { c.Channel = "" })},
	"too large":                        {"max_size", "max_size", with(func(p *Policy) { p.MaxSize = 999 }), hello()},
	"too large by default":             {"max_size", "max_size", open(), but(func(c *Candidate) { c.Length = DefaultMaxSize + 1 })},
	"too large for this one":           {"max_size", "plugins[acme/hello].max_size", with(func(p *Policy) { p.MaxSize, p.Plugins = 5000, map[string]Rule{"acme/hello": {MaxSize: 999}} }), hello()},
	"negative limit":                   {"max_size", "max_size", with(func(p *Policy) { p.MaxSize = -1 }), but(func(c *Candidate) { c.Length = 0 })},
	"negative length":                  {"max_size", "max_size", open(), but(func(c *Candidate) { c.Length = -1 })},
	"older than installed":             {"downgrade", "downgrade", open(), but(func(c *Candidate) { c.Installed = "1.10.0" })},
	"pre-release of what is installed": {"downgrade", "downgrade", open(), but(func(c *Candidate) { c.Version, c.Installed = "1.2.0-rc.1", "1.2.0" })},
	"unreadable record":                {"downgrade", "downgrade", open(), but(func(c *Candidate) { c.Installed = "1.2" })},
	"no version, something installed":  {"downgrade", "downgrade", Policy{Allow: Match{Names: []string{"*"}}}, Candidate{Target: "data", Installed: "0.0.1"}},
}

// TestEachRuleRefuses: with one rule left out, what it alone refuses is allowed, so
// none of them can be lost unnoticed.
func TestEachRuleRefuses(t *testing.T) {
	tested := map[string]bool{}
	for name, tc := range refusals {
		t.Run(name, func(t *testing.T) {
			d := tc.policy.Decide(tc.c)
			require.NotNil(t, d)
			require.Equal(t, tc.said, d.Rule)
			require.NotEmpty(t, d.Message)
			require.NotEmpty(t, d.Hint)
			require.Equal(t, "policy rule "+tc.said+": "+d.Message, d.Error())
			for _, r := range rules {
				without := slices.DeleteFunc(slices.Clone(rules), func(o rule) bool { return o.name == r.name })
				require.Equal(t, r.name == tc.rule, decide(without, &tc.policy, &tc.c) == nil, "without %s", r.name)
			}
		})
		tested[tc.rule] = true
	}
	for _, r := range rules {
		require.True(t, tested[r.name], "no candidate is refused by %s", r.name)
	}
}

func TestAllowed(t *testing.T) {
	beta := func(p *Policy) { p.Channels = []string{"beta"} }
	anyPath := Policy{Allow: Match{Names: []string{"*"}}}
	for name, tc := range map[string]struct {
		policy Policy
		c      Candidate
	}{
		"by publisher":                   {open(), hello()},
		"by any publisher":               {Policy{Allow: Match{Publishers: []string{"*"}}}, hello()},
		"by path":                        {Policy{Allow: Match{Names: []string{"plugins/acme/hello.*"}}}, hello()},
		"by any path":                    {anyPath, hello()},
		"no manifest":                    {anyPath, plain("plugins/acme/data/x")},
		"no manifest, stable":            {with(func(p *Policy) { p.Allow.Names, p.Channels = []string{"*"}, []string{"stable"} }), plain("data")},
		"others denied":                  {with(func(p *Policy) { p.Deny = Match{[]string{"acm", "acmee"}, []string{"plugins/acme/*/*", "plugins/*"}} }), hello()},
		"rules for others":               {with(func(p *Policy) { p.Plugins = map[string]Rule{"acme/hell": {Version: "9.0.0"}, "acm/*": {MaxSize: 1}} }), hello()},
		"a longer name is another":       {withRule("acme/hello", Rule{Version: "9.0.0"}), but(func(c *Candidate) { c.Name, c.Target = "hello.world", "plugins/acme/hello.world.1.2.0.tar.gz" })},
		"no manifest, another name":      {Policy{Allow: Match{Names: []string{"*"}}, Plugins: map[string]Rule{"acme/hello": {MaxSize: 1}}}, plain("plugins/acme/hello-world.1.0.0.tar.gz")},
		"pinned hash":                    {withRule("acme/hello", Rule{SHA256: []string{hashB, hashA}}), hello()},
		"pinned hash, otherwise spelled": {withRule("acme/hello", Rule{SHA256: []string{"sha256:" + strings.ToUpper(hashA)}}), hello()},
		"pinned version":                 {withRule("acme/hello", Rule{Version: "1.2.0"}), hello()},
		"in the range":                   {withRule("acme/hello", Rule{Version: ">=1.0, <2 || ^3"}), hello()},
		"the oldest":                     {withRule("acme/hello", Rule{MinVersion: "1.2.0"}), hello()},
		"beta followed":                  {with(beta), but(func(c *Candidate) { c.Channel = "beta" })},
		"beta followed, stable offered":  {with(beta), hello()},
		"beta followed for this one":     {withRule("acme/*", Rule{Channels: []string{"beta"}}), but(func(c *Candidate) { c.Channel = "beta" })},
		"as large as allowed":            {with(func(p *Policy) { p.MaxSize = 1000 }), hello()},
		"as large as the default":        {open(), but(func(c *Candidate) { c.Length = DefaultMaxSize })},
		"larger for this one":            {with(func(p *Policy) { p.MaxSize, p.Plugins = 1, map[string]Rule{"acme/hello": {MaxSize: 1000}} }), hello()},
		"installed again":                {open(), but(func(c *Candidate) { c.Installed = "1.2.0" })},
		"an update":                      {open(), but(func(c *Candidate) { c.Installed = "1.2.0-rc.1" })},
		"a downgrade that is asked for":  {open(), but(func(c *Candidate) { c.Installed, c.AllowDowngrade = "2.0.0", true })},
		"no record that can be read":     {open(), but(func(c *Candidate) { c.Installed, c.AllowDowngrade = "?", true })},
	} {
		t.Run(name, func(t *testing.T) {
			require.Empty(t, tc.policy.Check())
			require.Nil(t, tc.policy.Decide(tc.c))
			require.Nil(t, tc.policy.DecideTarget(tc.c.Target))
		})
	}
}

// TestOrder: of all rules that refuse, the first of the list is told.
func TestOrder(t *testing.T) {
	p := Policy{
		Deny:     Match{Publishers: []string{"acme"}, Names: []string{"*"}},
		MaxSize:  1,
		Channels: []string{"stable"},
		Plugins: map[string]Rule{
			"acme/*": {Version: "2.0.0", MinVersion: "2.0.0", SHA256: []string{hashB}},
			"bad":    {},
		},
	}
	c := but(func(c *Candidate) { c.Yanked, c.Channel, c.Installed = ptr("bad"), "beta", "3.0.0" })
	for _, step := range []struct {
		rule string
		mend func()
	}{
		{"deny.publishers", func() { p.Deny.Publishers = nil }},
		{"deny.names", func() { p.Deny.Names = nil }},
		{"allow", func() { p.Allow.Publishers = []string{"acme"} }},
		{"yanked", func() { c.Yanked = nil }},
		{"plugins", func() { delete(p.Plugins, "bad") }},
		{"plugins[acme/*].sha256", func() { c.SHA256 = hashB }},
		{"plugins[acme/*].version", func() { p.Plugins["acme/*"] = Rule{MinVersion: "2.0.0"} }},
		{"plugins[acme/*].min_version", func() { c.Version = "2.0.0" }},
		{"channels", func() { c.Channel = "stable" }},
		{"max_size", func() { p.MaxSize = 0 }},
		{"downgrade", func() { c.Installed = "" }},
	} {
		d := p.Decide(c)
		require.NotNil(t, d, step.rule)
		require.Equal(t, step.rule, d.Rule)
		step.mend()
	}
	require.Nil(t, p.Decide(c))
}

// TestAllThatMatchHold, and the first in the order of the keys is told.
func TestAllThatMatchHold(t *testing.T) {
	strict, loose := Rule{Version: "2.0.0", MinVersion: "2.0.0", SHA256: []string{hashB}, MaxSize: 1, Channels: []string{"stable"}},
		Rule{Version: "1.2.0", MinVersion: "1.0.0", SHA256: []string{hashA}, MaxSize: 9999, Channels: []string{"beta"}}
	only := []func(*Rule){
		func(r *Rule) { *r = Rule{SHA256: r.SHA256} }, func(r *Rule) { *r = Rule{Version: r.Version} },
		func(r *Rule) { *r = Rule{MinVersion: r.MinVersion} }, func(r *Rule) { *r = Rule{MaxSize: r.MaxSize} },
		func(r *Rule) { *r = Rule{Channels: r.Channels} },
	}
	c := but(func(c *Candidate) { c.Channel = "beta" })
	for i, field := range []string{"sha256", "version", "min_version", "max_size", "channels"} {
		a, b := strict, loose
		only[i](&a)
		only[i](&b)
		for key, m := range map[string]map[string]Rule{"acme/hello": {"acme/hello": a, "acme/*": b}, "acme/*": {"acme/hello": b, "acme/*": a}} {
			p := with(func(p *Policy) { p.Plugins, p.Channels = m, []string{"beta"} })
			require.Equal(t, "plugins["+key+"]."+field, p.Decide(c).Rule)
		}
		p := with(func(p *Policy) {
			p.Plugins, p.Channels = map[string]Rule{"acme/hello": a, "acme/*": a}, []string{"beta"}
		})
		for range 20 {
			require.Equal(t, "plugins[acme/*]."+field, p.Decide(c).Rule)
		}
	}
}

func TestTheZeroPolicyAllowsNothing(t *testing.T) {
	var p Policy
	require.Empty(t, p.Check())
	for _, c := range []Candidate{{}, hello(), plain("data"), but(func(c *Candidate) { c.AllowDowngrade = true })} {
		require.Equal(t, "allow", p.Decide(c).Rule)
		require.Equal(t, "the policy allows nothing", p.DecideTarget(c.Target).Message)
	}
}

func TestPrereleases(t *testing.T) {
	for _, tc := range []struct {
		said, version string
		stable, beta  bool // what is followed
	}{
		{"1.3.0-rc.1", "1.3.0-rc.1", true, true},
		{"=1.3.0-rc.1", "1.3.0-rc.1", true, true},
		{"1.3.0-rc.1", "1.3.0-rc.2", false, false},
		{"1.3.0-rc.1", "1.3.0", false, false},
		{"1.3.0", "1.3.0-rc.1", false, false},
		{"^1.2", "1.3.0", true, true},
		{"^1.2", "1.3.0-rc.1", false, true},
		{"^1.2", "1.2.0-rc.1", false, false},
		{"^1.2", "2.0.0-rc.1", false, false},
		{"~1.2.0", "1.3.0-rc.1", false, false},
		{"<2.0.0", "2.0.0-rc.1", false, false},
		{">=1.0.0, <2", "1.9.0-rc.1", false, true},
		{"*", "1.0.0-rc.1", false, true},
		{"^1.2 || 2.0.0-rc.1", "2.0.0-rc.1", true, true},
		{"^1.3.0-rc.2", "1.3.0-rc.10", true, true},
		{"^1.3.0-rc.2", "1.3.0-rc.1", false, false},
	} {
		// In channel stable, so that no other rule refuses it.
		c := but(func(c *Candidate) { c.Version = tc.version })
		p := withRule("acme/hello", Rule{Version: tc.said})
		require.Empty(t, p.Check())
		require.Equal(t, tc.stable, p.Decide(c) == nil, "%s in %s, stable", tc.version, tc.said)
		p.Channels = []string{"beta"}
		require.Equal(t, tc.beta, p.Decide(c) == nil, "%s in %s, beta", tc.version, tc.said)
	}
}

func TestDecideTarget(t *testing.T) {
	denied := Match{Publishers: []string{"evil"}, Names: []string{"secret/*"}}
	for name, tc := range map[string]struct {
		policy Policy
		target string
		rule   string
	}{
		"allowed publisher":   {open(), "plugins/acme/x", ""},
		"no publisher's path": {open(), "plugins/acme", "allow"},
		"other publisher":     {open(), "plugins/evil/x", "allow"},
		"other place":         {open(), "data/acme/x", "allow"},
		"allowed path":        {Policy{Allow: Match{Names: []string{"data/*"}}}, "data/x", ""},
		"denied publisher":    {Policy{Allow: Match{Names: []string{"*"}}, Deny: denied}, "plugins/evil/x", "deny.publishers"},
		"denied path":         {Policy{Allow: Match{Names: []string{"*"}}, Deny: denied}, "secret/x", "deny.names"},
		"not denied":          {Policy{Allow: Match{Names: []string{"*"}}, Deny: denied}, "plugins/good/x", ""},
		"pinned":              {withRule("acme/hello", Rule{SHA256: []string{hashB}, Version: "9.0.0", MinVersion: "9.0.0"}), "plugins/acme/hello.1.2.0.tar.gz", ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := tc.policy.DecideTarget(tc.target)
			if tc.rule == "" {
				require.Nil(t, d)
				return
			}
			require.NotNil(t, d)
			require.Equal(t, tc.rule, d.Rule)
		})
	}
}

// TestWhatOthersWroteIsSafeToShow: metadata is signed, and may still hold what
// plays tricks on a terminal.
func TestWhatOthersWroteIsSafeToShow(t *testing.T) {
	evil := strings.Repeat("\x1b[2J\u202e\n\xff", 10_000)
	beta := func(p *Policy) { p.Channels = []string{"beta"} }
	for _, tc := range []struct {
		policy Policy
		c      Candidate
	}{
		{open(), Candidate{Target: evil, Publisher: evil, Name: evil}},
		{open(), Candidate{Target: "plugins/" + evil + "/x", Publisher: evil}},
		{with(func(p *Policy) { p.Deny.Names = []string{"plugins/*"} }), Candidate{Target: "plugins/" + evil}},
		{open(), but(func(c *Candidate) { c.Yanked = &evil })},
		{withRule(evil, Rule{}), hello()},
		{withRule("acme/hello", Rule{SHA256: []string{hashA}}), but(func(c *Candidate) { c.SHA256 = evil })},
		{withRule("acme/hello", Rule{Version: evil}), hello()},
		{withRule("acme/hello", Rule{MinVersion: evil}), hello()},
		{withRule("acme/hello", Rule{Version: "*"}), but(func(c *Candidate) { c.Version = evil })},
		{with(beta), but(func(c *Candidate) { c.Channel = evil })},
		{open(), but(func(c *Candidate) { c.Installed = evil })},
		{open(), but(func(c *Candidate) { c.Version, c.Installed = evil, "1.0.0" })},
	} {
		d := tc.policy.Decide(tc.c)
		require.NotNil(t, d)
		for _, s := range []string{d.Rule, d.Message, d.Hint} {
			require.NotRegexp(t, `[^ -~]`, s)
			require.Less(t, len(s), 3000)
		}
	}
}

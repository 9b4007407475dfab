package vault

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// texts returns the mistakes of an error, which is one of code usage.
func texts(t *testing.T, err error) []string {
	e := tuferr.As(err)
	require.NotNil(t, e, "%v", err)
	require.Equal(t, protocol.CodeUsage, e.Code)
	var all []string
	for _, c := range e.Causes {
		require.Equal(t, protocol.CodeUsage, tuferr.CodeOf(c))
		require.Contains(t, err.Error(), c.Error())
		all = append(all, c.Error())
	}
	return all
}

// TestMistakesOfCode: each mistake has its text.
func TestMistakesOfCode(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the system's messages are others")
	}
	dir := t.TempDir()
	ok := Repository{Name: "a", URL: "https://a"}
	with := func(f func(*Repository)) Options { r := ok; f(&r); return Options{Repositories: []Repository{r}} }
	mapped := func(m Mapping) Options {
		return Options{Repositories: []Repository{ok, {Name: "b", Dir: "b"}}, Mappings: []Mapping{m}}
	}
	const urlHint = "; give an http or https URL such as https://plugins.example.com"
	for want, o := range map[string]Options{
		`repositories[0]: no name`:                                                                  with(func(r *Repository) { r.Name = "" }),
		`repository "a": another repository has the same name`:                                      {Repositories: []Repository{ok, ok}},
		`repositories[0]: the name has more than 64 characters`:                                     with(func(r *Repository) { r.Name = strings.Repeat("é", 65) }),
		`repositories[0]: the name "a\nb" has characters that cannot be printed`:                    with(func(r *Repository) { r.Name = "a\nb" }),
		`repositories[0]: the name "\xff" has characters that cannot be printed`:                    with(func(r *Repository) { r.Name = "\xff" }),
		`repository "a": neither a URL nor a directory says where it is`:                            with(func(r *Repository) { r.URL, r.MetadataURL = "", "https://m" }),
		`repository "a": a directory and URLs: it is in one place`:                                  with(func(r *Repository) { r.Dir = "x" }),
		`repository "b": a directory and URLs: it is in one place`:                                  {Repositories: []Repository{{Name: "b", Dir: "b", Mirrors: []hybrid.Mirror{{URL: "https://m"}}}}},
		`repository "a": url is not http or https` + urlHint:                                        with(func(r *Repository) { r.URL = "ftp://a" }),
		`repository "a": url is not a URL` + urlHint:                                                with(func(r *Repository) { r.URL = "http://a b" }),
		`repository "a": url names no host` + urlHint:                                               with(func(r *Repository) { r.URL = "https:///x" }),
		`repository "a": url has a user name or password` + urlHint:                                 with(func(r *Repository) { r.URL = "https://s3cret@a" }),
		`repository "a": metadataUrl has a query or fragment, and paths are put after it` + urlHint: with(func(r *Repository) { r.MetadataURL = "https://a?token=s3cret" }),
		`repository "a": targetsUrl has a query or fragment, and paths are put after it` + urlHint:  with(func(r *Repository) { r.TargetsURL = "https://a#x" }),
		`repository "a", mirrors[1]: no URL says where it is`:                                       with(func(r *Repository) { r.Mirrors = []hybrid.Mirror{{URL: "https://m"}, {MetadataURL: "https://m"}} }),
		`repository "a", mirrors[0]: url is not http or https` + urlHint:                            with(func(r *Repository) { r.Mirrors = []hybrid.Mirror{{URL: "m"}} }),
		`repository "a": both a root and a root file`:                                               with(func(r *Repository) { r.Root, r.RootFile = []byte("x"), "x" }),
		`repository "a": cannot read the root file ` + dir + `/no: no such file or directory; name the root metadata file that the publisher gave you`: with(func(r *Repository) { r.RootFile = dir + "/no" }),
		`repository "a": cannot read the root file ` + dir + `: not a regular file; name the root metadata file that the publisher gave you`:           with(func(r *Repository) { r.RootFile = dir }),
		`repository "a": cannot read the root file ` + dir + `/empty: empty; name the root metadata file that the publisher gave you`:                  with(func(r *Repository) { r.RootFile = put(t, dir, "empty", "") }),
		`repository "a": cannot read the root file ` + dir + `/large: larger than 10 bytes; name the root metadata file that the publisher gave you`:   with(func(r *Repository) { r.Limits.Root, r.RootFile = 10, put(t, dir, "large", "01234567890") }),
		`repository "a": the longest pause between attempts is less than the shortest`:                                                                 with(func(r *Repository) { r.HTTP.BackoffMin, r.HTTP.BackoffMax = 2, 1 }),
		`repository "a": the token is not printable ASCII`:                                                                                             with(func(r *Repository) { r.HTTP.BearerToken = "s3cret\n" }),
		`repository "a": the user agent is not printable ASCII`:                                                                                        with(func(r *Repository) { r.HTTP.UserAgent = "é" }),

		`repository "a": limits.roots is negative`:              with(func(r *Repository) { r.MaxRoots = -1 }),
		`repository "a": limits.roles is negative`:              with(func(r *Repository) { r.MaxRoles = -1 }),
		`repository "a": limits.downloads is negative`:          with(func(r *Repository) { r.MaxDownloads = -1 }),
		`repository "a": limits.minRate is negative`:            with(func(r *Repository) { r.HTTP.MinRate = -1 }),
		`repository "a": limits.minRateWindow is negative`:      with(func(r *Repository) { r.HTTP.MinRateWindow = -1 }),
		`repository "a": timeouts.connect is negative`:          with(func(r *Repository) { r.HTTP.ConnectTimeout = -1 }),
		`repository "a": timeouts.firstByte is negative`:        with(func(r *Repository) { r.HTTP.FirstByteTimeout = -1 }),
		`repository "a": timeouts.total is negative`:            with(func(r *Repository) { r.HTTP.TotalTimeout = -1 }),
		`repository "a": timeouts.stream is negative`:           with(func(r *Repository) { r.HTTP.StreamTimeout = -1 }),
		`repository "a": retries.attempts is negative`:          with(func(r *Repository) { r.HTTP.Attempts = -1 }),
		`repository "a": retries.redirects is negative`:         with(func(r *Repository) { r.HTTP.MaxRedirects = -1 }),
		`repository "a": retries.backoffMin is negative`:        with(func(r *Repository) { r.HTTP.BackoffMin = -1 }),
		`repository "a": retries.backoffMax is negative`:        with(func(r *Repository) { r.HTTP.BackoffMax = -1 }),
		`repository "a": metadataLimits.root is negative`:       with(func(r *Repository) { r.Limits.Root = -1 }),
		`repository "a": metadataLimits.timestamp is negative`:  with(func(r *Repository) { r.Limits.Timestamp = -1 }),
		`repository "a": metadataLimits.snapshot is negative`:   with(func(r *Repository) { r.Limits.Snapshot = -1 }),
		`repository "a": metadataLimits.targets is negative`:    with(func(r *Repository) { r.Limits.Targets = -1 }),
		`repository "a": metadataLimits.depth is negative`:      with(func(r *Repository) { r.Limits.Depth = -1 }),
		`repository "a": metadataLimits.signatures is negative`: with(func(r *Repository) { r.Limits.Signatures = -1 }),
		`repository "a": metadataLimits.keys is negative`:       with(func(r *Repository) { r.Limits.Keys = -1 }),
		`repository "a": metadataLimits.roles is negative`:      with(func(r *Repository) { r.Limits.Roles = -1 }),

		`repository "b": repository "a" has the same metadata directory; give each a trust store of its own`: {Repositories: []Repository{
			{Name: "a", URL: "https://a", MetadataDir: "x/../m"}, {Name: "b", URL: "https://b", MetadataDir: "m/"}}},

		`mappings[0]: no paths; the path "*" stands for all`:                                        mapped(Mapping{Repositories: []string{"a"}}),
		`mappings[0]: the path "" is empty`:                                                         mapped(Mapping{Paths: []string{""}, Repositories: []string{"a"}}),
		`mappings[0]: the path "/a" begins with a slash, and target paths do not`:                   mapped(Mapping{Paths: []string{"/a"}, Repositories: []string{"a"}}),
		`mappings[0]: the path "a/" has an empty part, which no target path has`:                    mapped(Mapping{Paths: []string{"a/"}, Repositories: []string{"a"}}),
		`mappings[0]: the path "a/**" holds "**", which like "*" matches within one part of a path`: mapped(Mapping{Paths: []string{"a/**"}, Repositories: []string{"a"}}),
		`mappings[0]: the path "\x00" has control characters`:                                       mapped(Mapping{Paths: []string{"\x00"}, Repositories: []string{"a"}}),
		`mappings[0]: the path "` + strings.Repeat("a", 64) + `…" is longer than 1024 bytes`:        mapped(Mapping{Paths: []string{strings.Repeat("a", 1025)}, Repositories: []string{"a"}}),
		`mappings[0]: no repositories`:                                                              mapped(Mapping{Paths: []string{"*"}}),
		`mappings[0]: there is no repository "c"`:                                                   mapped(Mapping{Paths: []string{"*"}, Repositories: []string{"c"}}),
		`mappings[0]: repository "a" is there twice`:                                                mapped(Mapping{Paths: []string{"*"}, Repositories: []string{"a", "a"}}),
		`mappings[0]: the threshold is negative: -1`:                                                mapped(Mapping{Paths: []string{"*"}, Repositories: []string{"a"}, Threshold: -1}),
		`mappings[0]: the threshold is 3, of 2 repositories`:                                        mapped(Mapping{Paths: []string{"*"}, Repositories: []string{"a", "b"}, Threshold: 3}),

		`plugins[hello]: a plugin is called PUBLISHER/NAME, such as acme/hello`:                              {Plugins: map[string]string{"hello": "1"}},
		`plugins[a/b/c]: a plugin is called PUBLISHER/NAME, such as acme/hello`:                              {Plugins: map[string]string{"a/b/c": "1"}},
		`plugins[targets/b]: a plugin is called PUBLISHER/NAME, such as acme/hello`:                          {Plugins: map[string]string{"targets/b": "1"}},
		`plugins[a/b]: "newest" is no range of versions; write a version, a range such as "^1.2", or latest`: {Plugins: map[string]string{"a/b": "newest"}},
		`plugins[a/b]: "" is no range of versions; write a version, a range such as "^1.2", or latest`:       {Plugins: map[string]string{"a/b": ""}},

		`"fast" is not a client mode; choose auto, go (or js), python, dual or off`: {Mode: "fast"},
		`mode dual needs python-tuf, and it is left out; choose mode go or auto`:    {Mode: "Dual", DisableFallback: true},
		`mode python needs python-tuf, and it is left out; choose mode go or auto`:  {Mode: hybrid.ModePython, DisableFallback: true},
		`engineTimeout is negative: -1ns`:                                           {EngineTimeout: -1},
		`breakerCoolDown is negative: -1ns`:                                         {BreakerCoolDown: -1},
		`refreshInterval is negative: -1ns`:                                         {RefreshInterval: -1},
	} {
		_, err := o.resolve(none)
		require.Error(t, err, want)
		require.Equal(t, []string{want}, texts(t, err))
		require.NotContains(t, err.Error(), "s3cret")
	}
}

// TestMistakesOfTheFile: each has its text and its line.
func TestMistakesOfTheFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the system's messages are others")
	}
	repo := "repositories:\n- name: a\n  url: https://a\n  "
	for text, want := range map[string]string{
		"cache_dir: x":                                    `line 1: unknown key "cache_dir"; did you mean "cacheDir"?`,
		"\nremoteRepoURL: x":                              `line 2: unknown key "remoteRepoURL"; did you mean "remoteRepoUrl"?`,
		"colour: x":                                       `line 1: unknown key "colour"`,
		"? [a]\n: b":                                      `line 1: a key must be plain text`,
		"? ''\n: b":                                       `line 1: unknown key ""`,
		repo + "key: s3cret":                              `line 4: unknown key "key" in repositories[0]; did you mean "keyFile"?`,
		repo + "timeout: {total: 1s}":                     `line 4: unknown key "timeout" in repositories[0]; did you mean "timeouts"?`,
		repo + "limits:\n    request: 1":                  `line 5: unknown key "request" in repositories[0].limits; did you mean "requests"?`,
		"policy:\n  alow: {}":                             `line 2: unknown key "alow" in policy; did you mean "allow"?`,
		"cacheDir: a\ncacheDir: b":                        `line 2: the key "cacheDir" is there twice`,
		"plugins:\n  a/b: 1\n  a/b: 2":                    `line 3: the key "a/b" is there twice`,
		"- a":                                             `line 1: the file must be a mapping of keys to values`,
		"cacheDir: [a]":                                   `line 1: cacheDir must be one value`,
		"policy:\n  channels: beta":                       `line 2: policy.channels must be a list`,
		"plugins: [a/b]":                                  `line 1: plugins must be a mapping of keys to values`,
		"plugins:\n  a/b: [1]":                            `line 2: plugins[a/b] must be one value`,
		"maxMetadataAge: 24":                              `line 1: maxMetadataAge: "24" is not a duration such as 90s, 30m or 24h`,
		"maxMetadataAge: [24h]":                           `line 1: maxMetadataAge must be one value`,
		"breakerFailures: -1":                             `line 1: breakerFailures: "-1" is not a whole number`,
		"policy: {max_size: 1e9}":                         `line 1: policy.max_size: "1e9" is not a whole number`,
		"allowFallback: yes":                              `line 1: allowFallback: "yes" is not true or false`,
		repo + "limits: {requestsPerSecond: .nan}":        `line 4: repositories[0].limits.requestsPerSecond: ".nan" is not a number`,
		repo + "limits: {requestsPerSecond: NaN}":         `line 4: repositories[0].limits.requestsPerSecond: "NaN" is not a number`,
		"client: fast":                                    `line 1: client: "fast" is not a client mode; choose auto, go (or js), python, dual or off`,
		"client: go\nmode: go":                            `line 1: client and mode say the same`,
		"requireVerification: false":                      `line 1: requireVerification: nothing yields bytes that were not verified; leave it out`,
		"client: dual\nallowFallback: false":              `line 2: mode dual needs python-tuf, and it is left out; choose mode go or auto`,
		"root: r.json\nrootFile: r.json":                  `line 2: root and rootFile say the same`,
		"enableLocalRepo: true":                           `line 1: enableLocalRepo: there is no local repository; name its directory with localRepoDir`,
		"remoteRepoUrl: x\n" + repo:                       `line 1: remoteRepoUrl goes with the short form, and repositories says it already; put it into the list`,
		"\nremoteRepoUrl: x":                              `line 2: repository "remote": url is not http or https; give an http or https URL such as https://plugins.example.com`,
		"localRepoDir: d\nlocalRoot: no.json":             `line 2: repository "local": cannot read the root file DIR/no.json: no such file or directory; name the root metadata file that the publisher gave you`,
		repo + "root: no.json":                            `line 4: repository "a": cannot read the root file DIR/no.json: no such file or directory; name the root metadata file that the publisher gave you`,
		repo + "dir: x":                                   `line 4: repository "a": a directory and URLs: it is in one place`,
		repo + "limits:\n    roles: -1":                   `line 5: repository "a": limits.roles is negative`,
		repo + "token: s3cret":                            `line 4: repositories[0].token: a secret must not stand in this file; put it into one of its own, and name that with tokenFile`,
		repo + "bearerToken: s3cret":                      `line 4: repositories[0].bearerToken: a secret must not stand in this file; put it into one of its own, and name that with tokenFile`,
		repo + "tokenFile: s3cret":                        `line 4: repositories[0].tokenFile: no such file or directory`,
		repo + "tokenFile: .":                             `line 4: repositories[0].tokenFile: not a regular file`,
		repo + "tokenFile: open":                          `line 4: repositories[0].tokenFile: holds a secret, and other users may read or write the file; chmod 600, and replace the secret if others could read it`,
		repo + "tokenFile: empty":                         `line 4: repositories[0].tokenFile: holds no token: one line of printable ASCII without spaces`,
		repo + "tokenFile: lines":                         `line 4: repositories[0].tokenFile: holds no token: one line of printable ASCII without spaces`,
		repo + "tokenFile: large":                         `line 4: repositories[0].tokenFile: larger than 1048576 bytes`,
		repo + "caFile: empty":                            `line 4: repositories[0].caFile: holds no certificate in PEM`,
		repo + "certFile: empty":                          `line 2: repositories[0]: certFile and keyFile go together`,
		repo + "certFile: empty\n  keyFile: lines":        `line 4: repositories[0].certFile: does not go with keyFile; give both in PEM, the key unencrypted`,
		"mappings:\n- paths: [a]\n  repositories:\n  - b": `line 4: mappings[0]: there is no repository "b"`,
		"plugins:\n\n  hello: 1":                          `line 3: plugins[hello]: a plugin is called PUBLISHER/NAME, such as acme/hello`,
		"{}\n---\n{}":                                     `line 2: the file holds a second document`,
		"cacheDir: [":                                     `line 1: did not find expected node content`,
		"cacheDir: *x":                                    `unknown anchor 'x' referenced`,
	} {
		dir := t.TempDir()
		put(t, dir, "r.json", "r")
		put(t, dir, "empty", "")
		put(t, dir, "lines", "s3cret\ns3cret\n")
		put(t, dir, "large", strings.Repeat("s3cret", 1<<18))
		require.NoError(t, os.Chmod(put(t, dir, "open", "s3cret"), 0o640))
		path := put(t, dir, "vault.yaml", text)
		_, err := ReadOptions(path)
		require.Error(t, err, text)
		assert.Equal(t, strings.ReplaceAll(want, "DIR", dir), texts(t, err)[0], text)
		require.Contains(t, err.Error(), path)
		require.NotContains(t, err.Error(), "s3cret")

		_, err = Options{File: path}.resolve(none)
		assert.Equal(t, strings.ReplaceAll(want, "DIR", dir), texts(t, err)[0], text)
	}
}

// TestAllMistakesAtOnce: in the file, in the environment and in code.
func TestAllMistakesAtOnce(t *testing.T) {
	path := put(t, t.TempDir(), "vault.yaml", `
remoteRepoUrl: nowhere
cachedir: x
engineTimeout: -3s
refreshInterval: soon
requireVerification: false
`)
	_, err := Options{File: path, Mappings: []Mapping{{}}}.resolve(env(hybrid.EnvRepoURL, "https://s3cret@a", hybrid.EnvMode, "fast"))
	require.Equal(t, []string{
		`line 3: unknown key "cachedir"; did you mean "cacheDir"?`,
		`line 5: refreshInterval: "soon" is not a duration such as 90s, 30m or 24h`,
		`line 6: requireVerification: nothing yields bytes that were not verified; leave it out`,
		`RAGNOS_TUF_CLIENT: "fast" is not a client mode; choose auto, go (or js), python, dual or off`,
		`line 4: engineTimeout is negative: -3s`,
		`RAGNOS_TUF_REPO_URL: repository "remote": url has a user name or password; give an http or https URL such as https://plugins.example.com`,
		`mappings[0]: no paths; the path "*" stands for all`,
		`mappings[0]: no repositories`,
	}, texts(t, err))
	require.NotContains(t, err.Error(), "s3cret")
}

// TestLinesAreOfTheFile: what code says has no line, though the file says it too.
func TestLinesAreOfTheFile(t *testing.T) {
	path := put(t, t.TempDir(), "vault.yaml", "engineTimeout: 3s\nrepositories:\n- {name: a, url: 'https://a'}\nmappings:\n- {}")
	_, err := Options{File: path, EngineTimeout: -1, Repositories: []Repository{{}}, Mappings: []Mapping{{}}}.resolve(none)
	for _, text := range texts(t, err) {
		require.NotContains(t, text, "line")
	}
}

// What stands in the file is shown to a person, and obeyed by no terminal.
func TestMistakesHoldNoEscapes(t *testing.T) {
	const one = "repositories: [{name: a, url: http://x}]\n"
	for name, text := range map[string]string{
		"a key":            `"\e[2J": 1`,
		"a plugin":         `plugins: {"\e[2J\u202e": "1"}`,
		"a plugin's range": `plugins: {"\e[2J": []}`,
		"a mode":           `mode: "\e[2J"`,
		"a root file":      `repositories: [{name: a, url: "http://x", root: "\e[2J"}]`,
		"a repository":     `repositories: [{name: "\e[2J", url: "http://\e[2J"}]`,
		"a mapping":        one + `mappings: [{paths: ["\e[2J\u202e"], repositories: ["\e[2J"]}]`,
		"a policy":         `policy: {plugins: {"\e[2J/x": {version: "\e"}}, allow: {publishers: ["\e"]}, channels: ["\e"]}`,
		"a duration":       `engineTimeout: "\e[2J"`,
		"a number":         `breakerFailures: "\e[2J"`,
		"no YAML":          "a: *\x1b[2J",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "options.yaml")
			require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
			_, err := ReadOptions(path)
			require.ErrorIs(t, err, hybrid.ErrUsage)
			require.False(t, strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }), "%q", err)
		})
	}
}

func TestManyMistakes(t *testing.T) {
	_, err := ReadOptions(put(t, t.TempDir(), "vault.yaml", "mappings:\n"+strings.Repeat("- {}\n", 60000)))
	require.Len(t, texts(t, err), maxMistakes+1)
	require.Equal(t, "and more", texts(t, err)[maxMistakes])
}

// TestBoundedFile: neither size, nor depth, nor repetition costs much.
func TestBoundedFile(t *testing.T) {
	bomb := "plugins: &a {x/y: &b [1,1,1,1,1,1,1,1]}\nmappings:\n- &l0 {paths: [a], repositories: [b]}\n"
	list := strings.Repeat("*p,", 9000)
	for name, tt := range map[string]struct{ text, want string }{
		"large":      {strings.Repeat("#", maxConfigFile+1), "larger than 1048576 bytes"},
		"deep":       {"policy: " + strings.Repeat("[", 200000), "exceeded max depth"},
		"alias":      {bomb + "- paths: *b\n", "must be one value"},
		"repetition": {"mappings:\n- paths: &p [" + strings.Repeat("a,", 100) + "]\n" + strings.Repeat("- {paths: *p}\n", 2000), "more than 65536 values"},
		"laughs":     {"mappings: &p\n- paths: [" + list + "]\n", "must be one value"},
		"itself":     {"mappings: &p\n- *p\n", "must be a mapping"},
		"values":     {"policy:\n  channels: [" + strings.Repeat("a,", 100000) + "]", "more than 65536 values"},
	} {
		path := put(t, t.TempDir(), "vault.yaml", tt.text)
		_, err := ReadOptions(path)
		require.ErrorContains(t, err, tt.want, name)
		require.Less(t, len(err.Error()), 1<<15, name)
	}
	shared := put(t, t.TempDir(), "vault.yaml", "engineTimeout: &d 3s\nrefreshInterval: *d")
	o, err := ReadOptions(shared)
	require.NoError(t, err)
	require.Equal(t, o.EngineTimeout, o.RefreshInterval)
}

func TestEmptyFiles(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing\n", "---\n", "null", "{}", "policy:\nrepositories: []\ncacheDir:\n"} {
		o, err := ReadOptions(put(t, t.TempDir(), "vault.yaml", text))
		require.NoError(t, err, text)
		require.Empty(t, o.Repositories)
		o.Repositories = nil
		require.Equal(t, Options{}, o, text)
	}
}

func TestUnreadableFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "no.yaml")
	_, err := ReadOptions(path)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorIs(t, err, hybrid.ErrUsage)
	_, err = Options{File: path}.resolve(none)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestTokenEnds: one newline at the end is the editor's, anything else a mistake.
func TestTokenEnds(t *testing.T) {
	for content, want := range map[string]string{"abc": "abc", "abc\n": "abc", "abc\r\n": "abc", "abc\n\n": "", " abc": "", "ab c": ""} {
		dir := t.TempDir()
		put(t, dir, "token", content)
		o, err := ReadOptions(put(t, dir, "vault.yaml", "repositories: [{name: a, url: 'https://a', tokenFile: token}]"))
		if want == "" {
			require.ErrorContains(t, err, "holds no token", "%q", content)
			continue
		}
		require.NoError(t, err, "%q", content)
		require.Equal(t, want, o.Repositories[0].HTTP.BearerToken)
	}
}

// TestHybridTakesTheURLs: what is let through here is not refused below.
func TestHybridTakesTheURLs(t *testing.T) {
	for _, url := range []string{"https://a", "HTTP://a:1/x/", "http://[::1]:8080", "https://a/%20"} {
		require.Empty(t, badURL(url), url)
		c, err := hybrid.New(hybrid.Options{RepositoryURL: url, MetadataDir: t.TempDir(), CacheDir: t.TempDir()})
		require.NoError(t, err, url)
		require.NoError(t, c.Shutdown(t.Context()))
	}
}

func FuzzReadOptions(f *testing.F) {
	raw, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		f.Fatal(err)
	}
	dir := f.TempDir()
	for _, seed := range []string{string(raw), "", "---", "a: &a [*a]", "plugins: {a/b: *x}", "\xff\xfe\x00", "? {}\n: b", "<<: {cacheDir: x}",
		"client: !!binary aGk=", "mappings: [{paths: [a], repositories: [default]}]", "remoteRepoUrl: https://a\nroot: .", "%YAML 1.1\n---\n{}\n...\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > maxConfigFile {
			return
		}
		file := parse(data, dir)
		file.found = append(file.found, file.check()...)
		err := file.found.err("vault.yaml", file.from)
		if err == nil {
			_, err = Options{File: put(t, dir, "fuzz.yaml", string(data))}.resolve(none)
			if err != nil && !strings.Contains(err.Error(), "root file") {
				t.Fatalf("%q was read by itself, and not by resolve: %v", data, err)
			}
			return
		}
		if n := len(tuferr.As(err).Causes); n > maxMistakes+1 {
			t.Fatalf("%d mistakes", n)
		}
	})
}

// TestOneStoreByTwoNames: a link does not hide that two repositories share one.
func TestOneStoreByTwoNames(t *testing.T) {
	dir, link := t.TempDir(), filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	_, err := Options{Repositories: []Repository{
		{Name: "a", URL: "https://a", MetadataDir: dir}, {Name: "b", URL: "https://b", MetadataDir: link},
	}}.resolve(none)
	require.ErrorContains(t, err, "the same metadata directory")
}

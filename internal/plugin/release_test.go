package plugin

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCompareIsTheOrderOfSemver(t *testing.T) {
	// Section 11 of https://semver.org, with what else could go wrong.
	order := []string{
		"none", "v1.0.0",
		"0.0.0-0", "0.0.0", "0.0.1", "0.2.0", "0.10.0",
		"1.0.0--", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11",
		"1.0.0-beta.9999999999999999999", "1.0.0-rc.1", "1.0.0", "1.9.0", "1.10.0", "2.0.0-rc.1", "2.0.0",
		"10.0.0", "9999999999999999999.0.0",
	}
	for i, v := range order {
		for j, w := range order {
			want := 0
			switch {
			case i < j:
				want = -1
			case i > j:
				want = 1
			}
			require.Equal(t, want, Compare(v, w), "%s %s", v, w)
		}
	}
}

func TestPrereleasesAndChannels(t *testing.T) {
	for v, pre := range map[string]bool{"1.0.0": false, "1.0.0-rc.1": true, "0.1.0": false, "0.0.0-0": true, "none": false, "": false} {
		require.Equal(t, pre, IsPrerelease(v), v)
		require.Equal(t, map[bool]Channel{true: Beta, false: Stable}[pre], ChannelOf(v))
	}
	for _, c := range []Channel{Stable, Beta} {
		got, err := ParseChannel(string(c))
		require.NoError(t, err)
		require.Equal(t, c, got)
	}
	for _, s := range []string{"", "Stable", "beta ", "nightly", "bеta"} {
		_, err := ParseChannel(s)
		require.ErrorContains(t, err, "is no channel: use stable or beta", s)
	}
}

func TestLatest(t *testing.T) {
	stable := func(v string) Version { return Version{v, Release{Channel: Stable}} }
	beta := func(v string) Version { return Version{v, Release{Channel: Beta}} }
	yanked := func(v Version) Version {
		v.Release.Yanked = &Yanked{"broken", time.Now()}
		return v
	}
	for name, tc := range map[string]struct {
		all  []Version
		want map[Channel]string
	}{
		"nothing":              {nil, map[Channel]string{}},
		"one":                  {[]Version{stable("1.0.0")}, map[Channel]string{Stable: "1.0.0", Beta: "1.0.0"}},
		"only beta":            {[]Version{beta("1.0.0-rc.1")}, map[Channel]string{Beta: "1.0.0-rc.1"}},
		"beta ahead":           {[]Version{stable("1.0.0"), beta("1.1.0-rc.1")}, map[Channel]string{Stable: "1.0.0", Beta: "1.1.0-rc.1"}},
		"stable ahead":         {[]Version{stable("1.1.0"), beta("1.1.0-rc.1")}, map[Channel]string{Stable: "1.1.0", Beta: "1.1.0"}},
		"a release in beta":    {[]Version{stable("1.0.0"), beta("2.0.0")}, map[Channel]string{Stable: "1.0.0", Beta: "2.0.0"}},
		"not by text":          {[]Version{stable("1.10.0"), stable("1.9.0")}, map[Channel]string{Stable: "1.10.0", Beta: "1.10.0"}},
		"a fix of an old line": {[]Version{stable("2.0.0"), stable("1.9.9")}, map[Channel]string{Stable: "2.0.0", Beta: "2.0.0"}},
		"the highest yanked":   {[]Version{stable("1.0.0"), yanked(stable("2.0.0")), yanked(beta("3.0.0-rc.1"))}, map[Channel]string{Stable: "1.0.0", Beta: "1.0.0"}},
		"all yanked":           {[]Version{yanked(stable("1.0.0"))}, map[Channel]string{}},
		"old marks":            {[]Version{{"1.0.0", Release{Stable, []Channel{Stable, Beta}, nil}}, stable("1.0.1")}, map[Channel]string{Stable: "1.0.1", Beta: "1.0.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			for range 10 {
				rand.Shuffle(len(tc.all), func(i, j int) { tc.all[i], tc.all[j] = tc.all[j], tc.all[i] })
				before := slices.Clone(tc.all)
				require.Equal(t, tc.want, Latest(tc.all))
				require.Equal(t, before, tc.all)
			}
		})
	}
}

func TestCheckIdentity(t *testing.T) {
	require.NoError(t, CheckIdentity("acme", "hello.world", "1.0.0-rc.1"))
	for field, s := range map[string][3]string{
		"publisher": {"root", "hello", "1.0.0"}, "name": {"acme", "Hello", "1.0.0"}, "version": {"acme", "hello", "1.0"},
	} {
		var e *ManifestError
		require.ErrorAs(t, CheckIdentity(s[0], s[1], s[2]), &e)
		require.Equal(t, field, e.Field)
	}
	require.Error(t, CheckIdentity("", "", ""))
}

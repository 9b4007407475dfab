package plugin

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestCustom(t *testing.T) {
	m, err := ParseManifest([]byte(rich))
	require.NoError(t, err)
	custom, err := m.Custom(Release{Channel: Beta, Latest: []Channel{Beta}})
	require.NoError(t, err)
	require.Equal(t, `{"custom":{"deep":[1,-5,true,null,"é"]},"description":"Zwei\nZeilen – ünïcode","entryPoint":"bin/run",`+
		`"minHostVersion":"2.0.0","name":"a.b_c-1","permissions":["net:*","fs/read"],"publisher":"x",`+
		`"release":{"channel":"beta","latest":["beta"]},"version":"1.0.0-beta.1"}`, string(custom))

	zone := time.FixedZone("", 3600)
	custom, err = parsed(t, nil).Custom(Release{Channel: Stable, Yanked: &Yanked{"leaks <b>&", noon.Add(time.Millisecond).In(zone)}})
	require.NoError(t, err)
	require.Contains(t, string(custom), `"release":{"channel":"stable","yanked":{"at":"2026-11-23T12:00:00Z","reason":"leaks <b>&"}}`)
}

func TestCustomThereAndBack(t *testing.T) {
	m := parsed(t, map[string]any{"permissions": []string{"net:*"}, "x": map[string]any{"y": []any{1, "<&>\u2028"}}})
	for _, r := range []Release{
		{Channel: Stable},
		{Channel: Beta},
		{Channel: Beta, Latest: []Channel{Beta}},
		{Channel: Stable, Latest: []Channel{Stable, Beta}},
		{Channel: Stable, Yanked: &Yanked{"broken\nsince noon", noon}},
	} {
		custom, err := m.Custom(r)
		require.NoError(t, err)
		again, said, err := ParseCustom(custom)
		require.NoError(t, err)
		require.Equal(t, r, said)
		require.JSONEq(t, string(m.Raw), string(again.Raw))
		again.Raw = m.Raw
		require.Equal(t, m, again)

		// As an encoder writes it that escapes for HTML.
		escaped, err := json.Marshal(json.RawMessage(custom))
		require.NoError(t, err)
		_, said, err = ParseCustom(escaped)
		require.NoError(t, err)
		require.Equal(t, r, said)
	}
}

func TestCustomCopiesAndSorts(t *testing.T) {
	given := []Channel{Beta, Stable}
	custom, err := parsed(t, nil).Custom(Release{Channel: Stable, Latest: given})
	require.NoError(t, err)
	require.Contains(t, string(custom), `"latest":["stable","beta"]`)
	require.Equal(t, []Channel{Beta, Stable}, given)
}

func TestNoReleaseIsTheLatestOfWhatDoesNotCountIt(t *testing.T) {
	both := []Channel{Stable, Beta}
	for _, tc := range []struct{ said, meant Release }{
		{Release{Channel: Beta, Latest: both}, Release{Channel: Beta, Latest: []Channel{Beta}}},
		{Release{Channel: Beta, Latest: []Channel{Stable}}, Release{Channel: Beta}},
		{Release{Channel: Stable, Latest: []Channel{Beta, Beta}}, Release{Channel: Stable, Latest: []Channel{Beta}}},
		{Release{Stable, both, &Yanked{"x", noon}}, Release{Stable, nil, &Yanked{"x", noon}}},
	} {
		custom, err := parsed(t, nil).Custom(tc.said)
		require.NoError(t, err)
		_, got, err := ParseCustom(custom)
		require.NoError(t, err)
		require.Equal(t, tc.meant, got)

		said := releaseJSON{Channel: tc.said.Channel, Latest: tc.said.Latest}
		if tc.said.Yanked != nil {
			said.Yanked = &yankedJSON{"x", noon}
		}
		_, got, err = ParseCustom(manifestWith(t, map[string]any{"release": said}))
		require.NoError(t, err)
		require.Equal(t, tc.meant, got)
	}
}

func TestCustomOfOlderPublishers(t *testing.T) {
	for version, channel := range map[string]Channel{"1.0.0": Stable, "1.0.0-rc.1": Beta} {
		_, r, err := ParseCustom(manifestWith(t, map[string]any{"version": version}))
		require.NoError(t, err)
		require.Equal(t, Release{Channel: channel}, r)
	}
}

func TestCustomOfLaterPublishers(t *testing.T) {
	_, r, err := ParseCustom(manifestWith(t, map[string]any{"release": map[string]any{
		"channel": "stable", "rollout": 10, "Yanked": true, "yanked": map[string]any{"reason": "x", "at": noon, "by": "y"}}}))
	require.NoError(t, err)
	require.Equal(t, Release{Channel: Stable, Yanked: &Yanked{"x", noon}}, r)
}

// TestTheLargestManifestGoesThere: what can be published can be read, however
// the metadata was encoded.
func TestTheLargestManifestGoesThere(t *testing.T) {
	data := manifestWith(t, map[string]any{"x": ""})
	data = []byte(strings.Replace(string(data), `"x":""`, `"x":"`+strings.Repeat("<", MaxManifest-len(data))+`"`, 1))
	m, err := ParseManifest(data)
	require.NoError(t, err)
	custom, err := m.Custom(Release{Channel: Stable, Yanked: &Yanked{strings.Repeat("\U0001f4a5", maxText), noon}})
	require.NoError(t, err)
	escaped, err := json.Marshal(custom)
	require.NoError(t, err)
	require.Greater(t, len(escaped), 5*MaxManifest)
	_, _, err = ParseCustom(escaped)
	require.NoError(t, err)
	_, _, err = ParseCustom(append(escaped, make([]byte, maxCustom)...))
	require.ErrorContains(t, err, "larger than")
	_, _, err = ParseCustom(manifestWith(t, map[string]any{"x": strings.Repeat("x", MaxManifest)}))
	require.ErrorContains(t, err, "larger than 65536")
}

func TestReleasesThatAreNot(t *testing.T) {
	long := strings.Repeat("x", maxText+1)
	for name, tc := range map[string]struct {
		r    Release
		says string
	}{
		"no channel":             {Release{}, `"" is no channel`},
		"unknown channel":        {Release{Channel: "nightly"}, `"nightly" is no channel`},
		"latest of nothing":      {Release{Channel: Stable, Latest: []Channel{""}}, `"" is no channel`},
		"yanked without reason":  {Release{Channel: Stable, Yanked: &Yanked{" ", noon}}, "reason that is empty"},
		"yanked, hidden reason":  {Release{Channel: Stable, Yanked: &Yanked{"x\u202ey", noon}}, "U+202E"},
		"yanked, half a reason":  {Release{Channel: Stable, Yanked: &Yanked{"x\xff", noon}}, "UTF-8"},
		"yanked, long reason":    {Release{Channel: Stable, Yanked: &Yanked{long, noon}}, "longer than 1000"},
		"yanked without time":    {Release{Channel: Stable, Yanked: &Yanked{"x", time.Time{}}}, "without a time"},
		"yanked in a far future": {Release{Channel: Stable, Yanked: &Yanked{"x", noon.AddDate(9000, 0, 0)}}, "without a time"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parsed(t, nil).Custom(tc.r)
			var e *ManifestError
			require.ErrorAs(t, err, &e)
			require.Equal(t, "release", e.Field)
			require.ErrorContains(t, err, tc.says)
		})
	}
	_, err := (&Manifest{}).Custom(Release{Channel: Stable})
	require.Error(t, err, "a manifest that nobody parsed")
}

func TestCustomsThatAreNot(t *testing.T) {
	at := `"at":"2026-11-23T12:00:00Z"`
	for _, release := range []string{
		`null`, `true`, `[]`, `"stable"`, `{}`, `{"channel":null}`, `{"channel":"Stable"}`, `{"Channel":"stable"}`, `{"channel":7}`,
		`{"channel":"stable","latest":"stable"}`, `{"channel":"stable","latest":[null]}`,
		`{"channel":"stable","latest":["nightly"]}`, `{"channel":"stable","yanked":true}`,
		`{"channel":"stable","yanked":{}}`, `{"channel":"stable","yanked":{"reason":"x"}}`, `{"channel":"stable","yanked":{` + at + `}}`,
		`{"channel":"stable","yanked":{"reason":"x","at":"yesterday"}}`, `{"channel":"stable","yanked":{"reason":"x","at":1}}`,
		`{"channel":"stable","yanked":{"reason":"x","at":"2026-11-23"}}`, `{"channel":"stable","yanked":{"reason":"\u202e",` + at + `}}`,
		`{"channel":"stable","channel":"beta"}`,
	} {
		custom := strings.Replace(string(manifestWith(t, nil)), "{", `{"release":`+release+",", 1)
		m, r, err := ParseCustom([]byte(custom))
		var e *ManifestError
		require.ErrorAs(t, err, &e, release)
		require.Nil(t, m)
		require.Zero(t, r)
	}
	texts := badTexts(t)
	delete(texts, "65 KiB of spaces") // the spelling is the encoder's
	for name, tc := range texts {
		_, _, err := ParseCustom([]byte(tc.text))
		require.Error(t, err, name)
	}
	for field, values := range badFields {
		for _, tc := range values {
			if field != "release" {
				_, _, err := ParseCustom(manifestWith(t, map[string]any{field: tc.value}))
				require.Error(t, err, "%s = %#v", field, tc.value)
			}
		}
	}
}

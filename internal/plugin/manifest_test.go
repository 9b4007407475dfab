package plugin

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func manifestWith(t *testing.T, changes map[string]any) []byte {
	t.Helper()
	m := map[string]any{"name": "tool", "version": "1.2.3", "publisher": "acme", "description": "A tool."}
	maps.Copy(m, changes)
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	data, err := json.Marshal(m)
	require.NoError(t, err)
	return data
}

func TestManifestsThatAreFine(t *testing.T) {
	m, err := ParseManifest([]byte(` {"name":"a.b_c-1","version":"1.0.0-beta.1","publisher":"x","description":"Zwei\nZeilen – ünïcode",
		"entryPoint":"bin/run","minHostVersion":"2.0.0","permissions":["net:*","fs/read"],"custom":{"deep":[1,-5,true,null,"é"]}} `))
	require.NoError(t, err)
	require.Equal(t, "plugins/x/a.b_c-1.1.0.0-beta.1.tar.gz", m.TargetPath())
	require.Equal(t, []string{"net:*", "fs/read"}, m.Permissions)
	require.Equal(t, "bin/run", m.EntryPoint)
	require.Equal(t, "2.0.0", m.MinHostVersion)
	require.Contains(t, string(m.Raw), `"custom":{"deep":[1,-5,true,null,"é"]}`, "unknown fields are kept")
	for _, v := range []string{"0.0.0", "1.0.0--", "1.0.0-0a.x-y", "10.20.30-rc.1"} {
		_, err := ParseManifest(manifestWith(t, map[string]any{"version": v}))
		require.NoError(t, err, v)
	}
}

func TestManifestFieldsThatAreNot(t *testing.T) {
	long := strings.Repeat("a", 65)
	many := strings.Split(strings.Repeat("p", 65), "")
	for field, values := range map[string][]any{
		"name":           {nil, 7, "", "Tool", "../x", "a/b", "a..b", ".a", "a.", "-a", "a b", "аcme", "a\n", long, "con\x00"},
		"publisher":      {nil, true, "", "ACME", "..", "a/b", "acme/", long},
		"version":        {nil, 1, "", "1", "1.2", "v1.2.3", "01.2.3", "1.2.3-01", "1.2.3+build", "1.2.3-", "1.2.3 ", "1.2.3-" + long},
		"description":    {nil, []string{}, "", " \n", "bell\x07", "es\x1b[31mc", "right-to-left \u202e", strings.Repeat("é", 1001)},
		"entryPoint":     {7, "", "/bin/x", "../x", "a/../../x", "a//b", "./a", ".", `a\b`, "c:/x", "a\x00"},
		"minHostVersion": {1, "", "1", "1.0.0+x"},
		"permissions":    {"net", map[string]any{}, []any{1}, []any{nil}, []string{""}, []string{"a b"}, []string{"x", "x"}, []string{strings.Repeat("p", 129)}, many},
		"extra":          {1.5, 1e300, int64(1) << 53, map[string]any{"x": []any{map[string]any{"y": 0.1}}}},
	} {
		for _, v := range values {
			data := manifestWith(t, map[string]any{field: v})
			_, err := ParseManifest(data)
			var e *ManifestError
			require.ErrorAs(t, err, &e, "%s = %#v", field, v)
			require.Equal(t, field, e.Field, "%s = %#v: %v", field, v, err)
			require.Contains(t, err.Error(), field)
		}
	}
}

func TestManifestsThatAreNot(t *testing.T) {
	good := string(manifestWith(t, nil))
	for name, text := range map[string]string{
		"empty":               "",
		"no JSON":             "name: tool",
		"an array":            "[]",
		"a string":            `"x"`,
		"null":                "null",
		"truncated":           good[:len(good)-1],
		"followed by a value": good + "{}",
		"followed by junk":    good + "x",
		"duplicate name":      strings.Replace(good, "{", `{"name":"other",`, 1),
		"duplicate, escaped":  strings.Replace(good, "{", `{"n\u0061me":"other",`, 1),
		"duplicate, deep":     strings.Replace(good, "{", `{"x":{"y":1,"y":2},`, 1),
		"invalid UTF-8":       strings.Replace(good, "A tool", "\xff", 1),
		"lone surrogate":      strings.Replace(good, "A tool", `\ud800`, 1),
		"NaN":                 strings.Replace(good, "{", `{"x":NaN,`, 1),
		"minus zero":          strings.Replace(good, "{", `{"x":-0,`, 1),
		"exponent":            strings.Replace(good, "{", `{"x":1e3,`, 1),
		"name not ASCII":      strings.Replace(good, "{", `{"naïve":1,`, 1),
		"name not ASCII deep": strings.Replace(good, "{", `{"x":{"\u0000":1},`, 1),
		"deep":                strings.Replace(good, "{", `{"x":`+strings.Repeat("[", 20)+strings.Repeat("]", 20)+",", 1),
		"large":               strings.Replace(good, "{", `{"x":"`+strings.Repeat("x", MaxManifest)+`",`, 1),
		"a null name":         strings.Replace(good, `"tool"`, "null", 1),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseManifest([]byte(text))
			var e *ManifestError
			require.ErrorAs(t, err, &e)
		})
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(`{"name":"tool","version":"1.2.3","publisher":"acme","description":"A tool.","x":[1]}`))
	f.Add([]byte(`{"a":{"b":1}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseManifest(data)
		if err != nil {
			var e *ManifestError
			if !errors.As(err, &e) {
				t.Fatalf("not a ManifestError: %v", err)
			}
			return
		}
		again, err := ParseManifest(m.Raw)
		if err != nil || again.TargetPath() != m.TargetPath() {
			t.Fatalf("what was kept does not parse alike: %v", err)
		}
	})
}

package plugin

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/require"
)

// manifestWith returns a good manifest with some fields changed, or, where the
// value is nil, left out.
func manifestWith(t testing.TB, changes map[string]any) []byte {
	t.Helper()
	m := map[string]any{"name": "tool", "version": "1.2.3", "publisher": "acme", "description": "A tool."}
	maps.Copy(m, changes)
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	data, err := json.Marshal(m)
	require.NoError(t, err)
	return data
}

func parsed(t testing.TB, changes map[string]any) *Manifest {
	t.Helper()
	m, err := ParseManifest(manifestWith(t, changes))
	require.NoError(t, err)
	return m
}

const rich = ` {"name":"a.b_c-1","version":"1.0.0-beta.1","publisher":"x","description":"Zwei\nZeilen – ünïcode",
	"entryPoint":"bin/run","minHostVersion":"2.0.0","permissions":["net:*","fs/read"],"custom":{"deep":[1,-5,true,null,"é"]}} `

// goodFields are values that are fine, by field.
var goodFields = map[string][]any{
	"name":           {"a", "0", "a.b_c-1", strings.Repeat("a", 64), "console", "com", "lpt10", "nullable", "release"},
	"publisher":      {"x", "acme.org", "roots", "target"},
	"version":        {"0.0.0", "1.0.0--", "1.0.0-0a.x-y", "10.20.30-rc.1", "1.0.0-00a", "9999999999999999999.0.0", "1.0.0-1700000000000000000"},
	"description":    {"x", "two\nlines", "Zwei Zeilen – ünïcode", "日本語\u3000の説明", "à\u00a0propos", "می\u200cخواهم", "👩\u200d💻", strings.Repeat("é", 1000)},
	"entryPoint":     {"a", "bin/run", "a b/c d", ".hidden", "ünï/cöde", "a..b", "console/com", strings.Repeat("d/", 500) + "a"},
	"minHostVersion": {"0.0.0", "1.0.0-rc.1"},
	"permissions":    {[]string{}, []string{"net:*", "fs/read", "a.B_c-d"}, []string{strings.Repeat("p", 128)}},
	"extra":          {nil, true, "", "\u202e", 0, -1, 1<<53 - 1, []any{}, map[string]any{"x": []any{map[string]any{"": 1}}}},
	"Extra":          {1},
	"":               {1},
}

// badFields are values that are not, with a part of what is said of them.
var badFields = map[string][]struct {
	value any
	says  string
}{
	"name": {
		{nil, "missing"}, {7, "string"}, {"", "empty"}, {"Tool", "U+0054 'T'"}, {"../x", "U+002F '/'"}, {"a/b", "U+002F"}, {"a..b", `".."`},
		{".a", "begin"}, {"a.", "end"}, {"-a", "begin"}, {"a b", "U+0020 ' '"}, {"аcme", "U+0430 'а', which is not a lower-case ASCII letter"},
		{"a\n", "U+000A"}, {strings.Repeat("a", 65), "longer than 64"}, {"con\x00", "U+0000"}, {"to\u200bol", "U+200B"}, {"to\u00adol", "U+00AD"},
		{"\ufefftool", "U+FEFF"}, {"tool\u202e", "U+202E"}, {"ｔool", "U+FF54 'ｔ'"}, {"tооl", "U+043E"}, {"stra\u00dfe", "U+00DF"}, {"e\u0301", "U+0301"},
		{"tool\u3164", "U+3164"}, {"con", "device"}, {"nul.tool", "device"}, {"com1", "device"}, {"lpt9.x", "device"},
	},
	"publisher": {
		{nil, "missing"}, {true, "string"}, {"", "empty"}, {"ACME", "U+0041"}, {"..", "begin"}, {"a/b", "U+002F"}, {"acme/", "U+002F"},
		{strings.Repeat("a", 65), "longer"}, {"асme", "U+0430"}, {"acme\u2060", "U+2060"}, {"aux", "device"}, {"root", "role"}, {"targets", "role"},
		{"snapshot", "role"}, {"timestamp", "role"}, {"mirrors", "role"},
	},
	"version": {
		{nil, "missing"}, {1, "string"}, {"", "semantic"}, {"1", "semantic"}, {"1.2", "semantic"}, {"v1.0.0", "semantic"}, {"V1.0.0", "semantic"},
		{"01.2.3", "semantic"}, {"1.2.3-01", "semantic"}, {"1.2.3+build", "build metadata"}, {"1.2.3-", "semantic"}, {"1.2.3 ", "semantic"},
		{"1.2.3\n", "semantic"}, {"1.2.3-" + strings.Repeat("a", 65), "longer than 64"}, {"18446744073709551616.0.0", "19 digits"},
		{"1.0.99999999999999999999", "19 digits"}, {"1.0.0-18446744073709551616", "19 digits"}, {"1.0.0-a..b", "semantic"},
		{"١.0.0", "semantic"}, {"-1.0.0", "semantic"}, {"1.2.3.4", "semantic"}, {"latest", "semantic"}, {"1.x.0", "semantic"},
	},
	"description": {
		{nil, "missing"}, {[]string{}, "string"}, {"", "empty"}, {" \n", "empty"}, {"\u00a0\u3000", "empty"}, {"\u200d", "empty"}, {"bell\x07", "U+0007"},
		{"es\x1b[31mc", "U+001B"}, {"right-to-left \u202e", "U+202E"}, {"isolate \u2066x\u2069", "U+2066"}, {"mark \u200f", "U+200F"}, {"a\u200bb", "U+200B"},
		{"tag \U000e0041", "U+E0041"}, {"own \ue000", "U+E000"}, {"line\u2028", "U+2028"}, {"cr\r\n", "U+000D"}, {"tab\t", "U+0009"},
		{"del\x7f", "U+007F"}, {"nul\x00", "U+0000"}, {"\ufeffbom", "U+FEFF"}, {strings.Repeat("é", 1001), "longer than 1000"},
	},
	"entryPoint": {
		{7, "string"}, {"", "empty"}, {"/bin/x", "absolute"}, {"../x", `".."`}, {"a/../../x", `".."`}, {"a//b", "plain"}, {"./a", "plain"}, {".", "plain"},
		{"a/", "plain"}, {`a\b`, `'\\'`}, {"c:/x", "':'"}, {"a\x00", "U+0000"}, {"a*", "'*'"}, {"a\u202eb", "U+202E"}, {"bin./x", "dot or space"},
		{"x ", "dot or space"}, {"bin/NUL", "device"}, {"Aux.txt/x", "device"}, {"com¹", "device"}, {strings.Repeat("a", 1025), "more than 1024"},
	},
	"minHostVersion": {{1, "string"}, {"", "semantic"}, {"1", "semantic"}, {"v1.0.0", "semantic"}, {"1.0.0+x", "build"}},
	"permissions": {
		{"net", "array"}, {map[string]any{}, "array"}, {[]any{1}, "array"}, {[]any{nil}, "array"}, {[]string{""}, `holds ""`}, {[]string{"a b"}, `holds "a b"`},
		{[]string{"x", "x"}, "twice"}, {[]string{strings.Repeat("p", 129)}, "at most 128"}, {[]string{"nеt"}, "holds"}, {many(65), "more than 64"},
	},
	"extra":       {{1.5, "number"}, {1e300, "number"}, {int64(1) << 53, "number"}, {map[string]any{"x": []any{map[string]any{"y": 0.1}}}, "number"}},
	"release":     {{map[string]any{}, "repository's"}, {map[string]any{"channel": "stable"}, "repository's"}, {"stable", "repository's"}},
	"Name":        {{"tool", `differs from "name"`}},
	"ENTRYPOINT":  {{"x", `differs from "entryPoint"`}},
	"Release":     {{map[string]any{}, `differs from "release"`}},
	"ключ":        {{1, "ASCII"}},
	"tab\tin it":  {{1, "ASCII"}},
	"permissionſ": {{1, "ASCII"}},
}

func many(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprint("p", i)
	}
	return all
}

// badTexts are no manifests as a whole.
func badTexts(t testing.TB) map[string]struct{ text, says string } {
	good := string(manifestWith(t, nil))
	begin := func(s string) string { return strings.Replace(good, "{", "{"+s, 1) }
	wide := func(order func(unit uint16) string, mark string) string {
		var b strings.Builder
		b.WriteString(mark)
		for _, unit := range utf16.Encode([]rune(good)) {
			b.WriteString(order(unit))
		}
		return b.String()
	}
	big := func(u uint16) string { return string([]byte{byte(u >> 8), byte(u)}) }
	little := func(u uint16) string { return string([]byte{byte(u), byte(u >> 8)}) }
	return map[string]struct{ text, says string }{
		"empty":                {"", "EOF"},
		"spaces":               {"  \n", "EOF"},
		"no JSON":              {"name: tool", "not JSON"},
		"an array":             {"[]", "not a JSON object"},
		"a string":             {`"x"`, "not a JSON object"},
		"null":                 {"null", "not a JSON object"},
		"truncated":            {good[:len(good)-1], "EOF"},
		"followed by a value":  {good + "{}", "followed by something else"},
		"followed by junk":     {good + "x", "not JSON"},
		"followed by NUL":      {good + "\x00", "not JSON"},
		"two lines of JSON":    {good + "\n" + good, "followed by something else"},
		"duplicate name":       {begin(`"name":"other",`), "duplicate"},
		"duplicate, escaped":   {begin(`"n\u0061me":"other",`), "duplicate"},
		"duplicate, deep":      {begin(`"x":{"y":1,"y":2},`), "duplicate"},
		"NaN":                  {begin(`"x":NaN,`), "not JSON"},
		"Infinity":             {begin(`"x":-Infinity,`), "not JSON"},
		"a comment":            {"// mine\n" + good, "not JSON"},
		"trailing comma":       {strings.TrimSuffix(good, "}") + ",}", "not JSON"},
		"single quotes":        {strings.ReplaceAll(good, `"`, "'"), "not JSON"},
		"leading zero":         {begin(`"x":01,`), "not JSON"},
		"byte order mark":      {"\ufeff" + good, "byte order mark"},
		"UTF-16, big":          {wide(big, "\xfe\xff"), "UTF-16"},
		"UTF-16, little":       {wide(little, "\xff\xfe"), "UTF-16"},
		"UTF-16, no mark":      {wide(little, ""), "UTF-16"},
		"UTF-16, no mark, big": {wide(big, ""), "UTF-16"},
		"Latin-1":              {strings.Replace(good, "A tool", "Ein Ger\xe4t", 1), "not JSON"},
		"overlong UTF-8":       {strings.Replace(good, "tool", "t\xc1\xafol", 1), "not JSON"},
		"half a surrogate":     {strings.Replace(good, "A tool", `\ud800`, 1), "not JSON"},
		"a raw line feed":      {strings.Replace(good, "A tool", "a\nb", 1), "not JSON"},
		"negative zero":        {begin(`"x":-0,`), "number"},
		"a whole float":        {begin(`"x":1.0,`), "number"},
		"an exponent":          {begin(`"x":1e2,`), "number"},
		"an endless number":    {begin(`"x":` + strings.Repeat("9", 400) + `,`), "number"},
		"nested":               {begin(`"x":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + ","), "nested more than 16"},
		"nested without end":   {`{"x":` + strings.Repeat("[", MaxManifest-10), "nested more than 16"},
		"nested objects":       {strings.Repeat(`{"a":`, 10_000), "nested more than 16"},
		"large":                {begin(`"x":"` + strings.Repeat("x", MaxManifest) + `",`), "larger than 65536"},
		"65 KiB of spaces":     {good + strings.Repeat(" ", 65<<10), "larger than 65536"},
		"a null name":          {strings.Replace(good, `"tool"`, "null", 1), "string"},
	}
}

func TestManifestsThatAreFine(t *testing.T) {
	m, err := ParseManifest([]byte(rich))
	require.NoError(t, err)
	require.Equal(t, "plugins/x/a.b_c-1.1.0.0-beta.1.tar.gz", m.TargetPath())
	require.Equal(t, []string{"net:*", "fs/read"}, m.Permissions)
	require.Equal(t, "bin/run", m.EntryPoint)
	require.Equal(t, "2.0.0", m.MinHostVersion)
	require.Contains(t, string(m.Raw), `"custom":{"deep":[1,-5,true,null,"é"]}`, "unknown fields are kept")
	for field, values := range goodFields {
		for _, v := range values {
			_, err := ParseManifest(manifestWith(t, map[string]any{field: v}))
			require.NoError(t, err, "%s = %#v", field, v)
		}
	}
}

func TestManifestKeepsNothingOfItsInput(t *testing.T) {
	data := manifestWith(t, nil)
	m, err := ParseManifest(data)
	require.NoError(t, err)
	clear(data)
	require.JSONEq(t, string(manifestWith(t, nil)), string(m.Raw))
}

func TestManifestFieldsThatAreNot(t *testing.T) {
	for field, values := range badFields {
		for _, tc := range values {
			_, err := ParseManifest(manifestWith(t, map[string]any{field: tc.value}))
			var e *ManifestError
			require.ErrorAs(t, err, &e, "%s = %#v", field, tc.value)
			require.Equal(t, field, e.Field, "%s = %#v: %v", field, tc.value, err)
			require.Contains(t, e.Problem, tc.says, "%s = %#v", field, tc.value)
		}
	}
}

func TestManifestsThatAreNot(t *testing.T) {
	for name, tc := range badTexts(t) {
		t.Run(name, func(t *testing.T) {
			_, err := ParseManifest([]byte(tc.text))
			var e *ManifestError
			require.ErrorAs(t, err, &e)
			require.ErrorContains(t, err, tc.says)
			require.Less(t, len(err.Error()), 300, "an error is for people")
		})
	}
}

func TestManifestAtItsBounds(t *testing.T) {
	fill := func(n int) []byte {
		data := manifestWith(t, map[string]any{"x": ""})
		return []byte(strings.Replace(string(data), `"x":""`, `"x":"`+strings.Repeat("y", n-len(data))+`"`, 1))
	}
	_, err := ParseManifest(fill(MaxManifest))
	require.NoError(t, err)
	_, err = ParseManifest(fill(MaxManifest + 1))
	require.ErrorContains(t, err, "larger than 65536 bytes")

	deep := strings.Repeat("[", maxDepth-1) + strings.Repeat("]", maxDepth-1)
	_, err = ParseManifest([]byte(strings.Replace(string(manifestWith(t, nil)), "{", `{"x":`+deep+",", 1)))
	require.NoError(t, err)
}

func TestPaths(t *testing.T) {
	for path, publisher := range map[string]string{
		"plugins/acme/tool.1.2.3.tar.gz":              "acme",
		"plugins/acme/tool.1.2.3-rc.1.tar.gz":         "acme",
		"plugins/x/a.b_c-1.1.0.0-beta.1.tar.gz":       "x",
		"plugins/a.b/tool.1.0.0.9.9.9.tar.gz":         "a.b",
		Path("acme", "tool", "0.0.0-0"):               "acme",
		"plugins/acme/tool.1.2.3.zip":                 "",
		"plugins/acme/tool.tar.gz":                    "",
		"plugins/acme/.1.2.3.tar.gz":                  "",
		"plugins/acme/1.2.3.tar.gz":                   "",
		"plugins/acme/tool.v1.2.3.tar.gz":             "",
		"plugins/acme/x/tool.1.2.3.tar.gz":            "",
		"plugins//tool.1.2.3.tar.gz":                  "",
		"plugins/../tool.1.2.3.tar.gz":                "",
		"plugins/ACME/tool.1.2.3.tar.gz":              "",
		"plugins/root/tool.1.2.3.tar.gz":              "",
		"plugins/acme/../acme/tool.1.2.3.tar.gz":      "",
		"/plugins/acme/tool.1.2.3.tar.gz":             "",
		"x/plugins/acme/tool.1.2.3.tar.gz":            "",
		"plugins/acme/tool.1.2.3.tar.gz/":             "",
		"plugins/acme/tool.1.2.3.tar.gz\n":            "",
		"plugins/аcme/tool.1.2.3.tar.gz":              "",
		"plugins/acme":                                "",
		"plugins":                                     "",
		"":                                            "",
		"plugins/acme/" + strings.Repeat("a.", 1<<16): "",
	} {
		got, ok := IsPath(path)
		require.Equal(t, publisher, got, "%.80q", path)
		require.Equal(t, publisher != "", ok, "%.80q", path)
	}
}

func TestIdentities(t *testing.T) {
	for path, want := range map[string][]string{
		"plugins/acme/a.1.0.0.tar.gz":           {"acme/a"},
		"plugins/acme/a.b.1.0.0-rc.1.tar.gz":    {"acme/a.b"},
		"plugins/acme/a.1.0.0-b.2.0.0.tar.gz":   {"acme/a", "acme/a.1.0.0-b"},
		"plugins/acme/sub/a.1.0.0.tar.gz":       nil,
		"plugins/acme/a.tar.gz":                 nil,
		"plugins/ACME/a.1.0.0.tar.gz":           nil,
		"other/plugins/acme/a.1.0.0.tar.gz":     nil,
		"plugins/acme/a.1.0.0-b.2.0.0.tar.gz.x": nil,
	} {
		var got []string
		for publisher, name := range Identities(path) {
			got = append(got, publisher+"/"+name)
		}
		require.Equal(t, want, got, path)
	}
}

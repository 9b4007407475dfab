package admission

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// repeated is what each returns for 0, 1, 2, …, with commas between, until it has
// about size bytes.
func repeated(size int, each func(i int) string) string {
	var b strings.Builder
	for i := 0; b.Len() < size; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(each(i))
	}
	return b.String()
}

// always ignores its argument.
func always(s string) func(int) string { return func(int) string { return s } }

// backwards makes names that are out of order.
func backwards(format string) func(int) string {
	return func(i int) string { return fmt.Sprintf(format, 99_999_999-i) }
}

func signedPartWith(kind Kind, members string) string {
	return `{"signatures":[],"signed":{"_type":"` + string(kind) + `","expires":"2030-01-01T00:00:00Z","spec_version":"1.0.31","version":1,` + members + `}}`
}

// What Parse may allocate for each byte of a file: most for many small things
// that the document keeps in maps and lists, which are decoded one by one. The
// race detector doubles that, because it makes pools forget.
const (
	usual  = 8
	inMaps = 96
)

// hostile is a file of about size bytes that nobody signed: what it does not cost.
type hostile struct {
	name string
	kind Kind
	raw  func(size int) string
	// times is how many bytes may be allocated for each byte of the file.
	times int
}

func hostiles() []hostile {
	within := func(member, open string, each func(int) string, end string) func(int) string {
		return func(size int) string {
			return signedPartWith(KindTargets, `"targets":{},"`+member+`":`+open+repeated(size, each)+end)
		}
	}
	envelope := func(open string, each func(int) string, end string) func(int) string {
		return func(size int) string {
			return `{` + open + repeated(size, each) + end + `,` + signedPartWith(KindTargets, `"targets":{}`)[1:]
		}
	}
	deep := func(open, end string) func(int) string {
		return func(size int) string {
			one := strings.Repeat(open, 2000) + "1" + strings.Repeat(end, 2000)
			return signedPartWith(KindTargets, `"targets":{},"x":[`+repeated(size, always(one))+`]`)
		}
	}
	entry := `"length":1,"hashes":{"":""}}`
	keyids := func(each func(int) string) func(int) string {
		return within("delegations", `{"keys":{},"roles":[{"name":"a","threshold":1,"keyids":[`, each, `]}]}`)
	}
	return []hostile{
		{"no JSON", KindTargets, func(size int) string { return strings.Repeat("\x00", size) }, usual},
		{"spaces", KindTargets, func(size int) string { return "{" + strings.Repeat(" ", size) }, usual},
		{"deep lists", KindTargets, deep("[", "]"), usual},
		{"deep objects", KindTargets, deep(`{"a":`, "}"), usual},
		{"too deep", KindTargets, func(size int) string { return signedPartWith(KindTargets, `"x":`+strings.Repeat("[", size)) }, usual},
		{"too deep, unsigned", KindTargets, func(size int) string { return `{"x":` + strings.Repeat(`{"":`, size/4) }, usual},
		{"deep and out of order", KindTargets, func(size int) string {
			one := strings.Repeat(`{"b":0,"a":`, 30) + `"` + strings.Repeat("x", 1000) + `"` + strings.Repeat("}", 30)
			return signedPartWith(KindTargets, `"targets":{},"x":[`+repeated(size, always(one))+`]`)
		}, usual},
		{"deep and big and out of order", KindTargets, func(size int) string {
			one := strings.Repeat(`{"b":0,"a":`, 30) + `"` + strings.Repeat("x", size) + `"` + strings.Repeat("}", 30)
			return signedPartWith(KindTargets, `"targets":{},"x":`+one)
		}, usual},
		{"small numbers", KindTargets, within("x", "[", always("0"), "]"), usual},
		{"small lists", KindTargets, within("x", "[", always("[]"), "]"), usual},
		{"small objects", KindTargets, within("x", "[", always("{}"), "]"), usual},
		{"small objects out of order", KindTargets, within("x", "[", always(`{"b":0,"a":0}`), "]"), usual},
		{"one object", KindTargets, within("x", "{", func(i int) string { return fmt.Sprintf(`"%08d":0`, i) }, "}"), usual},
		{"one object out of order", KindTargets, within("x", "{", backwards(`"%08d":0`), "}"), usual},
		{"one object in any order", KindTargets, within("x", "{", func() func(int) string {
			r := rand.New(rand.NewPCG(1, 2))
			return func(int) string { return fmt.Sprintf(`"%x":0`, r.Uint64()) }
		}(), "}"), usual},
		{"one name again and again", KindTargets, within("x", "{", always(`"":0`), "}"), usual},
		{"two names again and again", KindTargets, within("x", "{", func(i int) string { return []string{`"":0`, `"a":0`}[i%2] }, "}"), usual},
		{"escapes out of order", KindTargets, within("x", "{", backwards(`"\"\\\u0041%08d":"\n\u0022"`), "}"), usual},
		{"long names out of order", KindTargets, func(size int) string {
			return within("x", "{", backwards(`"`+strings.Repeat(`\\`, size/100)+`%08d":0`), "}")(size)
		}, usual},
		{"long strings", KindTargets, func(size int) string {
			return within("x", "[", always(`"`+strings.Repeat(`\n\"`, size/40)+`"`), "]")(size)
		}, usual},
		{"long number", KindTargets, func(size int) string { return within("x", "[", always(strings.Repeat("1", size)), "]")(size) }, usual},
		{"members", KindTargets, envelope(`"x":{`, func(i int) string { return fmt.Sprintf(`"%08d":0`, i) }, `}`), usual},
		{"members out of order", KindTargets, envelope("", backwards(`"%08d":{ "b":0.5,"a":[]}`), ""), usual},
		{"signatures", KindTargets, func(size int) string {
			return `{"signatures":[` + repeated(size, always("{}")) + `],"signed":{}}`
		}, usual},
		{"a long signature", KindTargets, func(size int) string {
			return `{"signatures":[{"keyid":"","sig":"` + strings.Repeat("00", size/2) + `"}],"signed":{}}`
		}, usual},
		{"targets", KindTargets, func(size int) string {
			return signedPartWith(KindTargets, `"targets":{`+repeated(size, func(i int) string { return fmt.Sprintf(`"%08d":{`, i) + entry })+`}`)
		}, usual},
		{"targets out of order", KindTargets, func(size int) string {
			return signedPartWith(KindTargets, `"targets":{`+repeated(size, backwards(`"\"%08d":{`+entry))+`}`)
		}, usual},
		{"hashes", KindTargets, func(size int) string {
			return signedPartWith(KindTargets, `"targets":{"":{"length":0,"hashes":{`+repeated(size, func(i int) string { return fmt.Sprintf(`"%08d":""`, i) })+`}}}`)
		}, usual},
		{"hashes, null", KindTargets, func(size int) string {
			return signedPartWith(KindTargets, `"targets":{"":{"length":0,"hashes":{`+repeated(size, func(i int) string { return fmt.Sprintf(`"%08d":null`, i) })+`}}}`)
		}, usual},
		{"meta in the wrong place", KindTargets, within("meta", "{", func(i int) string { return fmt.Sprintf(`"%08d":null`, i) }, "}"), usual},
		{"keys", KindTargets, within("delegations", `{"roles":[],"keys":{`, func(i int) string {
			return fmt.Sprintf(`"%08d":{"keytype":"","scheme":"","keyval":{}}`, i)
		}, "}}"), inMaps},
		{"one large key", KindTargets, within("delegations", `{"roles":[],"keys":{"":{"keytype":"","scheme":"","keyval":{`, func(i int) string { return fmt.Sprintf(`"%08d":0`, i) }, "}}}}"), usual},
		{"roles", KindTargets, within("delegations", `{"keys":{},"roles":[`, func(i int) string {
			return fmt.Sprintf(`{"name":"%d","threshold":1,"keyids":[]}`, i)
		}, "]}"), inMaps},
		{"roles, empty", KindTargets, within("delegations", `{"keys":{},"roles":[`, always("{}"), "]}"), usual},
		{"keyids", KindTargets, keyids(always(`""`)), usual},
		{"keyids, all different", KindTargets, keyids(func(i int) string { return fmt.Sprintf(`"%x"`, i) }), usual},
		{"paths", KindTargets, within("delegations", `{"keys":{},"roles":[{"name":"a","threshold":1,"keyids":[],"paths":[`, always(`""`), `]}]}`), inMaps},
		{"prefixes", KindTargets, within("delegations", `{"keys":{},"roles":[{"name":"a","threshold":1,"keyids":[],"path_hash_prefixes":[`, func(i int) string { return fmt.Sprintf(`"%08x"`, i) }, `]}]}`), inMaps},
		{"snapshot", KindSnapshot, func(size int) string {
			return signedPartWith(KindSnapshot, `"meta":{`+repeated(size, func(i int) string { return fmt.Sprintf(`"%x":{"version":1}`, i) })+`}`)
		}, inMaps},
		{"snapshot with hashes", KindSnapshot, func(size int) string {
			return signedPartWith(KindSnapshot, `"meta":{`+repeated(size, func(i int) string { return fmt.Sprintf(`"%x":{"version":1,"hashes":{"":""}}`, i) })+`}`)
		}, inMaps},
		{"snapshot with many hashes", KindSnapshot, func(size int) string {
			return signedPartWith(KindSnapshot, `"meta":{"a":{"version":1,"hashes":{`+repeated(size, func(i int) string { return fmt.Sprintf(`"%x":""`, i) })+`}}}`)
		}, inMaps},
	}
}

// TestHostileFilesCostLittle: what nobody signed costs memory in proportion to
// its length, whatever it is.
func TestHostileFilesCostLittle(t *testing.T) {
	const size = 512 << 10
	for _, h := range hostiles() {
		t.Run(h.name, func(t *testing.T) {
			raw := []byte(h.raw(size))
			require.InEpsilon(t, size, len(raw), 0.2)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			doc, err := Parse(h.kind, raw, Limits{})
			runtime.ReadMemStats(&after)
			got := float64(after.TotalAlloc-before.TotalAlloc) / float64(len(raw))
			t.Logf("%.2f bytes a byte, admitted %t: %.200v", got, doc != nil, err)
			require.LessOrEqual(t, got, float64(h.times))
		})
	}
}

func BenchmarkParseHostile(b *testing.B) {
	for _, h := range hostiles() {
		raw := []byte(h.raw(int(Limits{}.Bytes(h.kind)) * 9 / 10))
		b.Run(strings.ReplaceAll(h.name, " ", "-"), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				_, _ = Parse(h.kind, raw, Limits{})
			}
		})
	}
}

// TestEscapedOrder compares strings as they would compare unescaped.
func TestEscapedOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	text := func() []byte {
		s := make([]byte, r.IntN(6))
		for i := range s {
			s[i] = " !\"#[\\]"[r.IntN(7)]
		}
		return s
	}
	for range 20_000 {
		a, b := text(), text()
		escaped := func(s []byte) []byte { return []byte(refEscapes.Replace(string(s))) }
		require.Equal(t, bytes.Compare(a, b), compareEscaped(escaped(a), escaped(b)), "%q %q", a, b)
		require.Equal(t, string(a), string(unescape(escaped(a))))
	}
}

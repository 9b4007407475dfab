package admission

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// manyTargets is targets metadata that lists n files, with every member in order.
func manyTargets(n int) []byte {
	var b strings.Builder
	b.WriteString(`{"signatures":[],"signed":{"_type":"targets","expires":"2030-01-01T00:00:00Z","spec_version":"1.0.31","targets":{`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"plugins/vendor-%03d/plugin-%06d/1.2.3/plugin.tar.gz":{`, i/1000, i)
		if i%2 == 0 {
			fmt.Fprintf(&b, `"custom":{"arch":"amd64","os":"linux","plugin":"name-%d"},`, i)
		}
		fmt.Fprintf(&b, `"hashes":{"sha256":"%064x"},"length":%d}`, i, i)
	}
	b.WriteString(`},"version":1}}`)
	return []byte(b.String())
}

// manyRoles is snapshot metadata of n delegated roles.
func manyRoles(n int) []byte {
	var b strings.Builder
	b.WriteString(`{"signatures":[],"signed":{"_type":"snapshot","expires":"2030-01-01T00:00:00Z","meta":{`)
	for i := range n {
		fmt.Fprintf(&b, `"bin-%04x.json":{"hashes":{"sha256":"%064x"},"length":%d,"version":1},`, i, i, i)
	}
	b.WriteString(`"targets.json":{"version":1}},"spec_version":"1.0.31","version":1}}`)
	return []byte(b.String())
}

// indented is raw with white space: its signed part is not in canonical form.
func indented(raw []byte) []byte {
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", " "); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func BenchmarkParse100k(b *testing.B) { benchmarkParse(b, KindTargets, manyTargets(100_000)) }
func BenchmarkParse100kIndented(b *testing.B) {
	benchmarkParse(b, KindTargets, indented(manyTargets(100_000)))
}
func BenchmarkParseSnapshot(b *testing.B) { benchmarkParse(b, KindSnapshot, manyRoles(16384)) }
func BenchmarkParseSmall(b *testing.B)    { benchmarkParse(b, KindRoot, []byte(okRoot)) }

// BenchmarkFind100k looks a target up in an index of 100,000.
func BenchmarkFind100k(b *testing.B) {
	d, err := Parse(KindTargets, manyTargets(100_000), Limits{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if d.Targets.Find("plugins/vendor-054/plugin-054321/1.2.3/plugin.tar.gz") == nil {
			b.Fatal("not found")
		}
	}
}

func benchmarkParse(b *testing.B, kind Kind, raw []byte) {
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := Parse(kind, raw, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

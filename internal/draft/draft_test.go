package draft

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
)

func parse(t testing.TB, kind admission.Kind, text string) *admission.Doc {
	t.Helper()
	doc, err := admission.Parse(kind, []byte(text), admission.Limits{})
	require.NoError(t, err)
	return doc
}

// spaced is as other tools write it, with members that are not known here.
const spaced = `{
 "signatures": [],
 "signed": {
  "_type": "targets",
  "x-first": {"b": [1, 2], "a": " a  b "},
  "version": 7,
  "spec_version": "1.0.0",
  "expires": "2030-01-01T00:00:00Z",
  "targets": {
   "b/\u0062": {"length": 1, "hashes": {"sha256": "00"}, "x": [ 1 ]},
   "a": {
    "length": 2, "hashes": {"sha256": "11"}, "custom": {"text": "two  spaces"}
   }
  }
 },
 "x-outside": true
}`

func TestEditKeepsWhatItDoesNotKnow(t *testing.T) {
	d, err := EditTargets(parse(t, admission.KindTargets, spaced))
	require.NoError(t, err)
	d.Expires = time.Date(2031, 2, 3, 4, 5, 6, 7, time.UTC)
	require.NoError(t, d.Set("c", Target{Length: 3, SHA256: "22"}))
	require.NoError(t, d.SetCustom("a", []byte(`{"new":1}`)))
	signed, err := d.Encode()
	require.NoError(t, err)
	require.Equal(t, `{"_type":"targets","expires":"2031-02-03T04:05:06Z","spec_version":"1.0.0","targets":{`+
		`"a":{"custom":{"new":1},"hashes":{"sha256":"11"},"length":2},`+
		`"b/b":{"length":1,"hashes":{"sha256":"00"},"x":[1]},`+
		`"c":{"hashes":{"sha256":"22"},"length":3}},"version":8,"x-first":{"b":[1,2],"a":" a  b "}}`, string(signed))
	again := parse(t, admission.KindTargets, string(Seal(admission.KindTargets, signed).Bytes()))
	require.Equal(t, 3, again.Targets.Len())

	next, err := EditTargets(again)
	require.NoError(t, err)
	next.Expires, next.Version = d.Expires, d.Version
	same, err := next.Encode()
	require.NoError(t, err)
	require.Equal(t, string(signed), string(same))
}

func TestMembersCalledLikeOnesElsewhereAreKept(t *testing.T) {
	doc := parse(t, admission.KindTimestamp, `{"signatures":[],"signed":{"_type":"timestamp","spec_version":"1.0.0","version":1,
		"expires":"2030-01-01T00:00:00Z","targets":{"kept":1},"meta":{"snapshot.json":{"version":1}}}}`)
	d, err := EditMeta(doc)
	require.NoError(t, err)
	signed, err := d.Encode()
	require.NoError(t, err)
	require.Contains(t, string(signed), `"targets":{"kept":1}`)
}

func TestReopenKeepsTheSignedBytes(t *testing.T) {
	e, err := Reopen(parse(t, admission.KindTargets, spaced))
	require.NoError(t, err)
	require.True(t, strings.Contains(spaced, string(e.Signed)))
	require.True(t, strings.HasPrefix(string(e.Signed), "{") && strings.HasSuffix(string(e.Signed), "}"))
}

func TestMoveKeepsTheEntry(t *testing.T) {
	from, err := EditTargets(parse(t, admission.KindTargets, spaced))
	require.NoError(t, err)
	to := NewTargets()
	from.Move("a", to)
	from.Move("nothing", to)
	require.Equal(t, [2]int{1, 1}, [2]int{from.Len(), to.Len()})
	require.JSONEq(t, `{"text":"two  spaces"}`, string(to.Custom("a")))
}

// BenchmarkOneMore lists one target more in a role of a hundred thousand.
func BenchmarkOneMore(b *testing.B) {
	d := NewTargets()
	d.Expires = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for n := range 100_000 {
		require.NoError(b, d.Set(fmt.Sprintf("plugins/acme/p%06d.1.0.0.tar.gz", n), Target{Length: int64(n), SHA256: strings.Repeat("ab", 32),
			Custom: []byte(`{"name":"p","release":{"channel":"stable","latest":["stable","beta"]},"version":"1.0.0"}`)}))
	}
	signed, err := d.Encode()
	require.NoError(b, err)
	doc := parse(b, admission.KindTargets, string(Seal(admission.KindTargets, signed).Bytes()))
	b.SetBytes(int64(len(signed)))
	for b.Loop() {
		next, err := EditTargets(doc)
		require.NoError(b, err)
		require.NoError(b, next.Set("one", Target{SHA256: "00"}))
		_, err = next.Encode()
		require.NoError(b, err)
	}
}

package admission

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/stretchr/testify/require"

	"encoding/json"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

const pem = `-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n`

const okRoot = `{"signatures":[{"keyid":"a","sig":"00ff"},{"keyid":"b","sig":"not hex"}],"signed":{"_type":"root","spec_version":"1.0.31","version":3,"expires":"2030-01-01T00:00:00Z","consistent_snapshot":true,"keys":{"k":{"keytype":"ecdsa","scheme":"ecdsa-sha2-nistp256","keyval":{"public":"` + pem + `"}}},"roles":{"root":{"keyids":["k"],"threshold":1},"timestamp":{"keyids":["k"],"threshold":1},"snapshot":{"keyids":["k"],"threshold":1},"targets":{"keyids":["k"],"threshold":1}}}}`
const okTimestamp = `{"signatures":[],"signed":{"_type":"timestamp","spec_version":"1.0","version":1,"expires":"2030-01-01T00:00:00Z","meta":{"snapshot.json":{"version":2,"length":10,"hashes":{"sha256":"AB"}}}}}`
const okSnapshot = `{"signatures":[],"signed":{"_type":"snapshot","spec_version":"1.0.31","version":1,"expires":"2030-01-01T00:00:00Z","meta":{"targets.json":{"version":2}}}}`
const okTargets = `{"signatures":[],"signed":{"_type":"targets","spec_version":"1.0.31","version":1,"expires":"2030-01-01T00:00:00Z","targets":{"a/b":{"length":0,"hashes":{"sha256":"00"},"custom":{"x":[1]}}},"delegations":{"keys":{},"roles":[{"name":"r","keyids":[],"threshold":1,"terminating":true,"paths":["*"]}]}}}`

func TestParseKeepsWhatWasSigned(t *testing.T) {
	d, err := Parse(KindRoot, []byte(okRoot), Limits{})
	require.NoError(t, err)
	require.Equal(t, int64(3), d.Version)
	require.True(t, d.Root.ConsistentSnapshot)
	require.Len(t, d.Signatures, 2)
	require.Nil(t, d.Signatures[1].Sig, "a signature that is not hex counts for nothing")
	require.Contains(t, d.Root.Keys["k"].Public, "BEGIN PUBLIC KEY-----\nMFkw")

	d, err = Parse(KindTimestamp, []byte(okTimestamp), Limits{})
	require.NoError(t, err)
	require.Equal(t, MetaFile{Version: 2, Length: 10, Hashes: map[string]string{"sha256": "ab"}}, d.Meta["snapshot.json"])

	d, err = Parse(KindTargets, []byte(okTargets), Limits{})
	require.NoError(t, err)
	require.JSONEq(t, `{"x":[1]}`, string(d.Targets.Find("a/b").Custom))
	_, role, ok := d.Delegated("r")
	require.True(t, ok)
	require.Equal(t, 1, role.Threshold)
}

// TestCanonical compares with the canonical JSON of the TUF libraries.
func TestCanonical(t *testing.T) {
	for _, signed := range []string{
		`{}`, `{"b":1,"a":[true,false,null,"x"],"ab":{"z":{},"y":-5}}`,
		`{"\u00e9":1,"z":2,"\"":3,"\\":4,"a\nb":"\u0041\"\\\/\n","😀":{},"\uff5e":1}`,
		`{ "x" : [ ] , "list":[ {"b":2,"a":1} , [ [ ] ] ] }`,
		`{"big":9007199254740993,"neg":-1}`,
	} {
		var v any
		dec := json.NewDecoder(strings.NewReader(signed))
		dec.UseNumber()
		require.NoError(t, dec.Decode(&v))
		want, err := cjson.EncodeCanonical(v)
		require.NoError(t, err)
		d := &Doc{Raw: []byte(`{"signatures":[],"signed":` + signed + `}`)}
		_ = d.parse(Limits{}.withDefaults())
		require.Equal(t, string(want), string(d.Canonical), signed)
	}
}

func TestMalformed(t *testing.T) {
	edit := func(doc, old, new string) string {
		require.Contains(t, doc, old)
		return strings.Replace(doc, old, new, 1)
	}
	for name, c := range map[string]struct {
		kind Kind
		raw  string
	}{
		"trailing garbage":        {KindRoot, okRoot + "x"},
		"trailing object":         {KindRoot, okRoot + okRoot},
		"byte order mark":         {KindRoot, "{\ufeff" + okRoot[1:]},
		"truncated":               {KindRoot, okRoot[:len(okRoot)-3]},
		"duplicate name":          {KindRoot, edit(okRoot, `"version":3`, `"version":3,"version":4`)},
		"duplicate escaped name":  {KindRoot, edit(okRoot, `"version":3`, `"version":3,"\u0076ersion":4`)},
		"NaN unsigned":            {KindRoot, edit(okRoot, `{"signatures"`, `{"x":NaN,"signatures"`)},
		"float":                   {KindRoot, edit(okRoot, `"version":3`, `"version":3,"x":1.0`)},
		"float version":           {KindRoot, edit(okRoot, `"version":3`, `"version":3.0`)},
		"exponent":                {KindRoot, edit(okRoot, `"version":3`, `"version":3e0`)},
		"boolean version":         {KindRoot, edit(okRoot, `"version":3`, `"version":true`)},
		"string version":          {KindRoot, edit(okRoot, `"version":3`, `"version":"3"`)},
		"zero version":            {KindRoot, edit(okRoot, `"version":3`, `"version":0`)},
		"null version":            {KindRoot, edit(okRoot, `"version":3`, `"version":null`)},
		"huge version":            {KindRoot, edit(okRoot, `"version":3`, `"version":99999999999999999999`)},
		"wrong type":              {KindRoot, edit(okRoot, `"_type":"root"`, `"_type":"snapshot"`)},
		"spec 2":                  {KindRoot, edit(okRoot, "1.0.31", "2.0.0")},
		"spec 10":                 {KindRoot, edit(okRoot, "1.0.31", "10.0.0")},
		"spec words":              {KindRoot, edit(okRoot, "1.0.31", "1.x")},
		"fractional expiry":       {KindRoot, edit(okRoot, "00:00:00Z", "00:00:00.5Z")},
		"offset expiry":           {KindRoot, edit(okRoot, "00:00:00Z", "00:00:00+00:00")},
		"impossible date":         {KindRoot, edit(okRoot, "2030-01-01", "2030-02-30")},
		"invalid utf-8":           {KindRoot, edit(okRoot, `"version":3`, "\"version\":3,\"x\":\"\xff\"")},
		"lone surrogate":          {KindRoot, edit(okRoot, `"version":3`, `"version":3,"x":"\ud800"`)},
		"duplicate keyid":         {KindRoot, edit(okRoot, `"keyid":"b"`, `"keyid":"a"`)},
		"null signature":          {KindRoot, edit(okRoot, `{"keyid":"b","sig":"not hex"}`, `null`)},
		"sig is a number":         {KindRoot, edit(okRoot, `"not hex"`, `1`)},
		"signatures null":         {KindTimestamp, edit(okTimestamp, `"signatures":[]`, `"signatures":null`)},
		"role missing":            {KindRoot, edit(okRoot, `"snapshot":{"keyids"`, `"snapshots":{"keyids"`)},
		"role null":               {KindRoot, edit(okRoot, `"snapshot":{"keyids":["k"],"threshold":1}`, `"snapshot":null`)},
		"threshold 0":             {KindRoot, edit(okRoot, `"threshold":1`, `"threshold":0`)},
		"keyids null":             {KindRoot, edit(okRoot, `"keyids":["k"]`, `"keyids":null`)},
		"key null":                {KindRoot, edit(okRoot, `"k":{`, `"j":null,"k":{`)},
		"other case":              {KindRoot, edit(okRoot, `"roles"`, `"Roles"`)},
		"consistent null":         {KindRoot, edit(okRoot, `"consistent_snapshot":true`, `"consistent_snapshot":null`)},
		"timestamp extra":         {KindTimestamp, edit(okTimestamp, `"snapshot.json"`, `"x.json":{"version":1},"snapshot.json"`)},
		"timestamp no snapshot":   {KindTimestamp, edit(okTimestamp, `"snapshot.json"`, `"x.json"`)},
		"meta null":               {KindSnapshot, edit(okSnapshot, `{"version":2}`, `null`)},
		"meta version 0":          {KindSnapshot, edit(okSnapshot, `{"version":2}`, `{"version":0}`)},
		"meta length null":        {KindSnapshot, edit(okSnapshot, `{"version":2}`, `{"version":2,"length":null}`)},
		"meta length -1":          {KindSnapshot, edit(okSnapshot, `{"version":2}`, `{"version":2,"length":-1}`)},
		"meta hashes empty":       {KindSnapshot, edit(okSnapshot, `{"version":2}`, `{"version":2,"hashes":{}}`)},
		"targets null":            {KindTargets, `{"signatures":[],"signed":{"_type":"targets","spec_version":"1.0","version":1,"expires":"2030-01-01T00:00:00Z","targets":null}}`},
		"target null":             {KindTargets, edit(okTargets, `"a/b":{`, `"c":null,"a/b":{`)},
		"target without hashes":   {KindTargets, edit(okTargets, `{"sha256":"00"}`, `{}`)},
		"target length -1":        {KindTargets, edit(okTargets, `"length":0`, `"length":-1`)},
		"custom is a list":        {KindTargets, edit(okTargets, `{"x":[1]}`, `[1]`)},
		"delegations null":        {KindTargets, edit(okTargets, `{"keys":{},"roles":[{"name":"r","keyids":[],"threshold":1,"terminating":true,"paths":["*"]}]}`, `null`)},
		"reserved role":           {KindTargets, edit(okTargets, `"name":"r"`, `"name":"snapshot"`)},
		"empty role":              {KindTargets, edit(okTargets, `"name":"r"`, `"name":""`)},
		"paths and prefixes":      {KindTargets, edit(okTargets, `"paths":["*"]`, `"paths":["*"],"path_hash_prefixes":["a"]`)},
		"paths null":              {KindTargets, edit(okTargets, `["*"]`, `null`)},
		"duplicate role":          {KindTargets, edit(okTargets, `[{"name":"r"`, `[{"name":"r","keyids":[],"threshold":1,"terminating":true},{"name":"r"`)},
		"roles and succinct":      {KindTargets, edit(okTargets, `"roles"`, `"succinct_roles":{"keyids":[],"threshold":1,"bit_length":4,"name_prefix":"b"},"roles"`)},
		"terminating is a string": {KindTargets, edit(okTargets, `"terminating":true`, `"terminating":"x"`)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(c.kind, []byte(c.raw), Limits{})
			require.ErrorIs(t, err, tuferr.OfCode(protocol.CodeMalformed), "%v", err)
			require.ErrorIs(t, err, tuferr.OfClass(protocol.ClassVerdict))
			require.NotEmpty(t, tuferr.As(err).Digest)
		})
	}
}

func TestNotARepository(t *testing.T) {
	for _, raw := range []string{"", "null", "[]", "{}", `"x"`, "<!doctype html><p>Log in", `{"error":"no"}`, "\x00\x00"} {
		_, err := Parse(KindTimestamp, []byte(raw), Limits{})
		require.ErrorIs(t, err, tuferr.OfCode(protocol.CodeNotARepository), raw)
	}
}

func TestBounds(t *testing.T) {
	_, err := Parse(KindTimestamp, make([]byte, DefaultTimestampBytes+1), Limits{})
	require.ErrorIs(t, err, tuferr.OfCode(protocol.CodeEndlessData))

	deep := strings.Replace(okSnapshot, `"version":1`, `"x":`+strings.Repeat("[", 3000)+strings.Repeat("]", 3000)+`,"version":1`, 1)
	_, err = Parse(KindSnapshot, []byte(deep), Limits{})
	require.ErrorContains(t, err, "nest deeper")

	// Every level out of order moves what is below it: work must not grow with
	// the depth times the size.
	unsorted := strings.Repeat(`{"b":0,"a":`, 1000) + `"` + strings.Repeat("x", 100_000) + `"` + strings.Repeat("}", 1000)
	_, err = Parse(KindSnapshot, []byte(strings.Replace(okSnapshot, `"version":1`, `"x":`+unsorted+`,"version":1`, 1)), Limits{})
	require.ErrorContains(t, err, "out of order too deeply")

	twice := strings.Replace(okRoot, `"keyids":["k"]`, `"keyids":["k","k","k"]`, 1)
	d, err := Parse(KindRoot, []byte(twice), Limits{})
	require.NoError(t, err)
	require.Equal(t, []string{"k"}, d.Root.Roles["root"].KeyIDs, "a keyid that stands twice adds only work")

	many := `{"keyid":"0","sig":""}`
	for i := range 1100 {
		many += `,{"keyid":"x` + strings.Repeat("i", i) + `","sig":""}`
	}
	_, err = Parse(KindSnapshot, []byte(strings.Replace(okSnapshot, `[]`, "["+many+"]", 1)), Limits{})
	require.ErrorContains(t, err, "more than the limit")
}

func TestSuccinctBins(t *testing.T) {
	s := &SuccinctRoles{BitLength: 10, NamePrefix: "bin"}
	require.Equal(t, "bin-3ff", s.BinName(1023))
	require.True(t, s.Contains(s.RoleFor("some/path")))
	for _, no := range []string{"bin-400", "bin-0400", "bin-3FF", "bin-", "bin--01", "other-001", "bin-+01"} {
		require.False(t, s.Contains(no), no)
	}
}

// FuzzParse holds Parse against the slow reference.
func FuzzParse(f *testing.F) {
	for _, s := range []string{okRoot, okTimestamp, okSnapshot, okTargets,
		// Out of order, escaped and spaced in every way.
		`{"x":{"b":1.5,"a":[{}]},"signed":{"version":1,"targets":{"b\"\\":{"length":-0,"hashes":{"b":"A","a":""}},"\u0062":{"x":{"b":1,"a":2},"hashes":{"sha256":"0A"},"custom":null,"length":1},"a\n":{"custom":{"z":"\n","a":{"c":1,"b":[]}},"length":2,"hashes":{"x":"y"}}},"spec_version":"1.0","_type":"targets","expires":"2030-01-01T00:00:00Z"},"signatures":[]}`,
		` { "signed" : { "version" : 1 , "meta" : { "b" : { "version" : 1 , "length" : 0 } , "a\\" : { "version" : 2 , "hashes" : { "x" : "\u0041" } } } , "spec_version" : "1.0" , "_type" : "snapshot" , "expires" : "2030-01-01T00:00:00Z" } , "signatures" : [ ] } `,
		`{"signatures":[],"signed":{"_type":"targets","spec_version":"1.0","version":1,"expires":"2030-01-01T00:00:00Z","targets":{},"delegations":{"keys":{},"succinct_roles":{"keyids":["a","a"],"threshold":1,"bit_length":4,"name_prefix":"b"}}}}`,
	} {
		f.Add([]byte(s))
	}
	files, _ := filepath.Glob("../../testdata/repositories/*/metadata/*.json")
	for _, name := range files {
		if raw, err := os.ReadFile(name); err == nil {
			f.Add(raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, k := range []Kind{KindRoot, KindTimestamp, KindSnapshot, KindTargets} {
			agree(t, k, raw)
		}
	})
}

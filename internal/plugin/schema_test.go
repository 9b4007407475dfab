package plugin

import (
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
)

func compiled(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(Schema))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft7) // so that the schema must say its own
	c.AssertVocabs()
	require.NoError(t, c.AddResource("manifest.schema.json", doc))
	s, err := c.Compile("manifest.schema.json")
	require.NoError(t, err)
	require.Equal(t, 2020, s.DraftVersion)
	return s
}

// bySchema is the verdict of a validator that knows the schema only.
func bySchema(s *jsonschema.Schema, data []byte) error {
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(string(data)))
	if err != nil {
		return err
	}
	return s.Validate(v)
}

// TestTheSchemaSaysTheSame: editors and publishers in other languages learn
// the rules from the schema, and must not be surprised when they publish.
func TestTheSchemaSaysTheSame(t *testing.T) {
	s := compiled(t)
	require.NoError(t, bySchema(s, []byte(rich)))
	for field, values := range goodFields {
		for _, v := range values {
			require.NoError(t, bySchema(s, manifestWith(t, map[string]any{field: v})), "%s = %#v", field, v)
		}
	}
	for field, values := range badFields {
		for _, tc := range values {
			require.Error(t, bySchema(s, manifestWith(t, map[string]any{field: tc.value})), "%s = %#v", field, tc.value)
		}
	}
}

// beyondSchema is what JSON Schema cannot say, or what is lost before a
// validator gets to see it.
var beyondSchema = map[string]string{
	"duplicate name":     "parsers keep the last one",
	"duplicate, escaped": "parsers keep the last one",
	"duplicate, deep":    "parsers keep the last one",
	"negative zero":      "an integer",
	"a whole float":      "an integer",
	"an exponent":        "an integer",
	"nested":             "depth",
	"large":              "bytes of the text",
	"65 KiB of spaces":   "bytes of the text",
	"Latin-1":            "the decoder's business",
	"overlong UTF-8":     "the decoder's business",
	"half a surrogate":   "the decoder's business",
}

func TestWhatTheSchemaCannotSay(t *testing.T) {
	s := compiled(t)
	texts := badTexts(t)
	for name := range beyondSchema {
		require.NoError(t, bySchema(s, []byte(texts[name].text)), "%s: the schema does say it", name)
		delete(texts, name)
	}
	for name, tc := range texts {
		require.Error(t, bySchema(s, []byte(tc.text)), name)
	}
	long := manifestWith(t, map[string]any{"entryPoint": strings.Repeat("é", 1000)})
	require.NoError(t, bySchema(s, long), "a length in bytes")
	_, err := ParseManifest(long)
	require.ErrorContains(t, err, "more than 1024 bytes")
}

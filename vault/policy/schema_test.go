package policy

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
)

func compiled(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft7) // so that the schema must say its own
	c.AssertVocabs()
	require.NoError(t, c.AddResource("policy.schema.json", doc))
	s, err := c.Compile("policy.schema.json")
	require.NoError(t, err)
	require.Equal(t, 2020, s.DraftVersion)
	return s
}

// bySchema is the verdict of a validator that knows the schema only.
func bySchema(t testing.TB, s *jsonschema.Schema, p Policy) error {
	data, err := json.Marshal(p)
	require.NoError(t, err)
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	require.NoError(t, err)
	return s.Validate(v)
}

// TestTheSchemaSaysTheSame as Check, so that an editor tells what a start would.
func TestTheSchemaSaysTheSame(t *testing.T) {
	s := compiled(t)
	for name, p := range goodPolicies {
		require.NoError(t, bySchema(t, s, p), name)
	}
	for name, tc := range mistakes {
		require.Error(t, bySchema(t, s, tc.policy), name)
	}
	for name, tc := range beyondSchema {
		require.NoError(t, bySchema(t, s, tc.policy), "%s: the schema does say it", name)
	}
}

// TestTheSchemaKnowsAllFields and refuses others: a misspelled rule would not hold.
func TestTheSchemaKnowsAllFields(t *testing.T) {
	s := compiled(t)
	full := `{"allow":{"publishers":["acme"],"names":["data/*"]},"deny":{"publishers":["evil"],"names":["data/x"]},"channels":["beta"],
		"max_size":1,"plugins":{"acme/hello":{"version":"^1","min_version":"1.0.0","sha256":["` + hashA + `"],"channels":["beta"],"max_size":1}}}`
	for _, tc := range []struct {
		doc  string
		good bool
	}{
		{full, true},
		{`{}`, true},
		{`{"allowed":{}}`, false},
		{`{"allow":{"publisher":[]}}`, false},
		{`{"deny":{"name":[]}}`, false},
		{`{"plugins":{"acme/hello":{"sha":[]}}}`, false},
		{`{"plugins":[]}`, false},
		{`{"allow":["acme"]}`, false},
		{`{"allow":{"publishers":"acme"}}`, false},
		{`{"max_size":"1"}`, false},
		{`{"max_size":1.5}`, false},
		{`{"plugins":{"acme/hello":{"version":1.2}}}`, false},
		{`[]`, false},
	} {
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(tc.doc)))
		require.NoError(t, err)
		require.Equal(t, tc.good, s.Validate(v) == nil, tc.doc)
	}
	var p Policy
	require.NoError(t, json.Unmarshal([]byte(full), &p))
	require.Empty(t, p.Check())
	data, err := json.Marshal(p)
	require.NoError(t, err)
	require.JSONEq(t, full, string(data))
}

package policy

import _ "embed" // for the schema

// Schema is the JSON Schema (draft 2020-12) of a policy, for editors. What the
// language cannot say, [Policy.Check] still refuses: a pinned version below
// min_version, and a set of characters that goes backwards. Nobody may write to it.
//
//go:embed policy.schema.json
var Schema []byte

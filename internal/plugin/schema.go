package plugin

import _ "embed" // for the schema

// Schema is the JSON Schema (draft 2020-12) of a manifest, for editors and for
// publishers in other languages. What the language cannot say, [ParseManifest]
// still refuses: duplicate members, deep nesting, numbers such as 1.0 or 1e2, a
// manifest or path too large in bytes, text that is not UTF-8.
//
//go:embed manifest.schema.json
var Schema string

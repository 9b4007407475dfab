package policy

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert/yaml"
	"github.com/stretchr/testify/require"
)

const docs = "../../docs/policy.md"

// blocks returns the blocks of one kind in the documentation.
func blocks(t *testing.T, kind string) []string {
	data, err := os.ReadFile(docs)
	require.NoError(t, err)
	var all []string
	for _, m := range regexp.MustCompile("(?s)\n```"+kind+"\n(.*?)\n```").FindAllStringSubmatch(string(data), -1) {
		all = append(all, m[1])
	}
	return all
}

// TestTheDocumentedPolicy has no mistakes, and every field.
func TestTheDocumentedPolicy(t *testing.T) {
	text := []byte(blocks(t, "yaml")[0])
	var doc any
	require.NoError(t, yaml.Unmarshal(text, &doc))
	data, err := json.Marshal(doc)
	require.NoError(t, err)
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(string(data)))
	require.NoError(t, err)
	require.NoError(t, compiled(t).Validate(v))

	var p, same Policy
	require.NoError(t, yaml.Unmarshal(text, &p))
	require.NoError(t, json.Unmarshal(data, &same))
	require.Equal(t, same, p, "YAML and JSON differ")
	require.Empty(t, p.Check())
	for _, field := range []string{"allow", "deny", "publishers", "names", "channels", "max_size", "plugins", "version", "min_version", "sha256"} {
		require.Regexp(t, `(?m)^ *`+field+`:`, string(text))
	}
	c := hello()
	c.Target, c.Version = "plugins/acme/hello.2.0.0.tar.gz", "2.0.0"
	said, err := json.Marshal(p.Decide(c))
	require.NoError(t, err)
	require.JSONEq(t, blocks(t, "json")[0], string(said))
}

func TestTheDocumentedMistake(t *testing.T) {
	p := Policy{Deny: Match{Names: []string{"plugins/**"}}}
	require.Equal(t, blocks(t, "text")[0], p.Check()[0].Error())
}

// TestTheDocumentedOrder is the one in which rules are tried, in both places.
func TestTheDocumentedOrder(t *testing.T) {
	source, err := os.ReadFile("policy.go")
	require.NoError(t, err)
	page, err := os.ReadFile(docs)
	require.NoError(t, err)
	var order []string
	for _, r := range rules {
		order = append(order, strings.ReplaceAll(r.name, "[]", "[P]"))
	}
	var told []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)`").FindAllStringSubmatch(string(page), -1) {
		told = append(told, m[1])
	}
	require.Equal(t, order, told)
	told = nil
	for _, m := range regexp.MustCompile(`(?m)^//\t(\S+(?:, \S+)*)  `).FindAllStringSubmatch(string(source), -1) {
		told = append(told, strings.Split(m[1], ", ")...)
	}
	require.Equal(t, order, told)
}

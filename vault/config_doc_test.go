package vault

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/vault/policy"
)

// TestDocumentation: docs/configuration.md shows the example of everything as it
// is, says every key, and what it shows can be read.
func TestDocumentation(t *testing.T) {
	raw, err := os.ReadFile("testdata/full.yaml")
	require.NoError(t, err)
	doc, err := os.ReadFile("../docs/configuration.md")
	require.NoError(t, err)
	text := strings.ReplaceAll(string(doc), "\r\n", "\n")
	require.Contains(t, text, "```yaml\n"+strings.ReplaceAll(string(raw), "\r\n", "\n")+"```")

	for _, typ := range []reflect.Type{
		reflect.TypeFor[fileOptions](), reflect.TypeFor[fileRepository](), reflect.TypeFor[fileMirror](), reflect.TypeFor[fileLimits](),
		reflect.TypeFor[fileMetadataLimits](), reflect.TypeFor[fileTimeouts](), reflect.TypeFor[fileRetries](), reflect.TypeFor[fileMapping](),
		reflect.TypeFor[policy.Policy](), reflect.TypeFor[policy.Match](), reflect.TypeFor[policy.Rule](),
	} {
		for _, key := range fieldsOf(typ) {
			refused := key == "token" || key == "bearerToken"
			require.True(t, refused || strings.Contains(text, key+":") || strings.Contains(text, "`"+key+"`"), key)
		}
	}
	for i, block := range strings.Split(text, "```yaml\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		dir := t.TempDir()
		for _, err := range parse([]byte(block), dir).found {
			require.ErrorContains(t, err, "File: ", "example %d", i+1) // secrets that it names
		}
	}
}

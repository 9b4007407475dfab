package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// notDocumented is what scripts add to documented commands: that nobody is asked.
var notDocumented = regexp.MustCompile(` --(plain-keys|yes|algorithm ed25519)\b|\$PLUGINS/|^(exec|code \d+) `)

// TestDocumentedCommandsAreRun: every command in docs/operations.md is one that
// the scripts run.
func TestDocumentedCommandsAreRun(t *testing.T) {
	run := map[string]bool{}
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	require.NoError(t, err)
	for _, script := range scripts {
		data, err := os.ReadFile(script)
		require.NoError(t, err)
		for line := range strings.Lines(string(data)) {
			run[notDocumented.ReplaceAllString(strings.TrimSpace(line), "")] = true
		}
	}
	data, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	n := 0
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "local-tuf ") {
			n++
			require.Contains(t, run, strings.TrimSpace(line))
		}
	}
	require.Greater(t, n, 30)
}

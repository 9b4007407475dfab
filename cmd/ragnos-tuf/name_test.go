package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseWanted(t *testing.T) {
	for s, want := range map[string]wanted{
		"acme/tool": {"acme/tool", "", false}, "acme/tool@": {"acme/tool", "", true},
		"a.b/c-d_e@>=1, <2": {"a.b/c-d_e", ">=1, <2", true}, "acme/tool@latest": {"acme/tool", "latest", true},
	} {
		w, ok := parseWanted(s)
		require.True(t, ok, s)
		require.Equal(t, want, w)
	}
	for _, s := range []string{"", "tool", "plugins/acme/tool.1.0.0.tar.gz", "a/b/c@1", "Acme/tool", "acme/", "/tool@1", "targets/x", "acme/to ol", "../x@1"} {
		_, ok := parseWanted(s)
		require.False(t, ok, s)
	}
}

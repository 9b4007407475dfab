package vault

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What is wanted is told as a copy.
func TestPluginsAreACopy(t *testing.T) {
	w := newWorld(t, "one")
	v := w.vault(func(o *Options) { o.Plugins = map[string]string{"acme/tool": "^1.2"} })
	v.Plugins()["acme/tool"] = "*"
	require.Equal(t, map[string]string{"acme/tool": "^1.2"}, v.Plugins())
	require.Empty(t, w.vault().Plugins())
}

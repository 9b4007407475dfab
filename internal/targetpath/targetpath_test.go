package targetpath

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestCheck(t *testing.T) {
	for _, path := range []string{"", "/a", "../a", "a//b", "a/", "a\\b", "a\nb", "%2e%2e/a", "a\xffb"} {
		err := Check(path)
		require.Equal(t, protocol.CodeInvalidName, tuferr.CodeOf(err), "%q", path)
		require.NotEmpty(t, tuferr.As(err).Hint)
	}
	for _, path := range []string{"a", "..a", "50%/x", "plugins/acme/tool.1.0.0.tar.gz", "é"} {
		require.NoError(t, Check(path), "%q", path)
	}
}

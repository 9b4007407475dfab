package targets

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestCheck(t *testing.T) {
	b := []byte("whole")
	want := Want{Length: 5, Hashes: map[string]string{"sha256": sum256(b), "sha512": sum512(b)}}
	verdict := func(want Want, b string) error {
		c, err := NewCheck(want)
		require.NoError(t, err)
		_, err = c.Write([]byte(b))
		require.NoError(t, err)
		return c.Verdict(int64(len(b)))
	}
	require.NoError(t, verdict(want, "whole"))
	require.Equal(t, protocol.CodeMismatch, tuferr.CodeOf(verdict(want, "whale")))
	require.Equal(t, protocol.CodeMismatch, tuferr.CodeOf(verdict(want, "whole ")))
	want.Hashes["sha512"] = sum512([]byte("whale"))
	require.Equal(t, protocol.CodeMismatch, tuferr.CodeOf(verdict(want, "whole")), "every hash has to match")
	_, err := NewCheck(Want{})
	require.Equal(t, protocol.CodeMalformed, tuferr.CodeOf(err))
}

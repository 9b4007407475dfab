package main

import (
	"context"
	"io"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// TestTheQuestionCanBeLeft: who is asked to sign may press Ctrl-C.
func TestTheQuestionCanBeLeft(t *testing.T) {
	in, typed := io.Pipe()
	defer typed.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cmd := &cobra.Command{}
	cmd.SetContext(ctx)
	cmd.SetIn(in)
	cmd.SetOut(io.Discard)
	require.Equal(t, protocol.CodeCancelled, tuferr.CodeOf(confirm(cmd)))
}

package audit

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLines(t *testing.T) {
	dir := newDir(t)
	l := open(t, dir, quiet())
	require.NoError(t, l.Append(background, event("a"), struct {
		B int    `json:"b"`
		A uint64 `json:"a"`
	}{1, 1<<63 + 1}))
	cp, err := l.Checkpoint(background)
	require.NoError(t, err)
	t.Log(read(t, dir, 1), string(cp))
}

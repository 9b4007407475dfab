package admission

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVerified(t *testing.T) {
	doc, delegator, other := &Doc{}, &Doc{}, &Doc{}
	require.False(t, doc.VerifiedFor(delegator, "a"))
	doc.NoteVerified(delegator, "a")
	require.True(t, doc.VerifiedFor(delegator, "a"))
	require.False(t, doc.VerifiedFor(delegator, "b"))
	require.False(t, doc.VerifiedFor(other, "a"))
	require.False(t, delegator.VerifiedFor(doc, "a"))

	var group sync.WaitGroup
	for i := range 100 {
		group.Go(func() {
			doc.NoteVerified(delegator, fmt.Sprint(i))
			doc.VerifiedFor(delegator, "a")
		})
	}
	group.Wait()
	require.Len(t, doc.verified.list, maxVerified, "what is noted is bounded")
	require.False(t, doc.VerifiedFor(delegator, "a"), "the oldest goes")
}

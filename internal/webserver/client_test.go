package webserver

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestClientOf(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:1":                     "192.0.2.1/32",
		"[::ffff:192.0.2.1]:1":            "192.0.2.1/32",
		"[2001:db8:1:2:3:4:5:6]:1":        "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff:ffff::6]:443": "2001:db8:1:2::/64",
		"[2001:db8:1:3::]:1":              "2001:db8:1:3::/64",
		"[fe80::1%eth0]:1":                "fe80::/64",
		"[::1]:1":                         "::/64",
		"@":                               "invalid Prefix",
		"":                                "invalid Prefix",
	} {
		require.Equal(t, want, clientOf(remote).String(), remote)
	}
}

func numbered(n int) client {
	return clientOf(fmt.Sprintf("[2001:db8:%x:%x::1]:1", n>>16, n&0xffff))
}

func TestShare(t *testing.T) {
	s := newShare(8)
	a, b := numbered(1), numbered(2)
	require.True(t, s.take(a))
	require.True(t, s.take(a))
	require.False(t, s.take(a))
	require.True(t, s.take(b))
	s.give(a)
	require.True(t, s.take(a))
	for _, c := range []client{a, a, b} {
		s.give(c)
	}
	require.Empty(t, s.held)
	require.Zero(t, s.taken)
}

// TestGreedyClientsLeaveSome: as long as there are fewer of them than places.
func TestGreedyClientsLeaveSome(t *testing.T) {
	for greedy, each := range map[uint16]int{1: 128, 4: 74, 8: 47, 100: 5, 510: 1} {
		s := newShare(512)
		most := 0
		for progress := true; progress; {
			progress = false
			for c := range greedy {
				progress = s.take(numbered(int(c))) || progress
				most = max(most, s.held[numbered(int(c))])
			}
		}
		require.LessOrEqual(t, most, each)
		require.GreaterOrEqual(t, most, 512/(int(greedy)+3))
		require.True(t, s.take(numbered(int(greedy))), "one more client")
	}
}

func TestBudget(t *testing.T) {
	b := newBudgets(10)
	now := time.Unix(1_000_000, 0)
	a := numbered(1)
	for range burst {
		_, ok := b.spend(a, now)
		require.True(t, ok)
	}
	for range 3 { // being refused costs nothing
		wait, ok := b.spend(a, now)
		require.False(t, ok)
		require.Equal(t, 100*time.Millisecond, wait)
	}
	_, ok := b.spend(numbered(2), now)
	require.True(t, ok, "another client's budget")
	_, ok = b.spend(a, now.Add(100*time.Millisecond))
	require.True(t, ok)
	_, ok = b.spend(a, now.Add(100*time.Millisecond))
	require.False(t, ok)
}

// TestBudgetsForgetNobodyWhoOwes: whatever others do, who has spent his budget
// has spent it, and the table stays within its bound.
func TestBudgetsForgetNobodyWhoOwes(t *testing.T) {
	b := newBudgets(10)
	b.most = 100
	now := time.Unix(1_000_000, 0)
	spender := numbered(0)
	for range burst {
		b.spend(spender, now)
	}
	// Each owes for a tenth of a second: some 25 do at the same time.
	for n := range 10_000 {
		now = now.Add(4 * time.Millisecond)
		_, ok := b.spend(numbered(1+n), now)
		require.True(t, ok)
		require.LessOrEqual(t, len(b.buckets), b.most)
		require.Len(t, b.buckets, b.queue.Len())
	}
	// Now all of them at once: those without room share one budget.
	for n := range 10 * burst {
		b.spend(numbered(20_000+n), now)
		require.LessOrEqual(t, len(b.buckets), b.most)
	}
	_, ok := b.spend(numbered(1), now)
	require.False(t, ok)
	require.Contains(t, b.buckets, spender)
	later := now.Add(time.Second)
	_, ok = b.spend(numbered(1), later)
	require.True(t, ok)
	for range 411 {
		b.spend(spender, later)
	}
	_, ok = b.spend(spender, later)
	require.False(t, ok, "after 41 seconds he has no more than 410")

	// Much later nobody owes, and room is made two by two.
	end := now.Add(time.Hour)
	for n := range b.most {
		b.spend(numbered(90_000+n), end)
	}
	require.LessOrEqual(t, len(b.buckets), b.most)
	require.NotContains(t, b.buckets, spender)
}

func BenchmarkBudgetOfNewClients(b *testing.B) {
	table := newBudgets(DefaultRate)
	now := time.Unix(1_000_000, 0)
	for n := range b.N {
		now = now.Add(50 * time.Microsecond)
		table.spend(netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}), 32), now)
	}
	b.ReportMetric(float64(len(table.buckets)), "clients")
}

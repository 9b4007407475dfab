package webserver

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// burst is how many requests a client may make at once, whatever the rate: more
// than the largest cold start asks for, which is 1024 versions of the root in
// windows of 16, 64 delegated roles, and the plugins.
const burst = 2000

// maxClients bounds the table of budgets. It is far from being filled by what one
// machine can answer; see [budgets].
const maxClients = 1 << 16

// client tells clients apart.
type client = netip.Prefix

// clientOf returns the client that speaks from an address such as 192.0.2.1:1234.
func clientOf(remote string) client {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return client{} // not from the network: one client of its own
	}
	ip := at.Addr().Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	c, _ := ip.Prefix(bits) // the bits fit the address
	return c
}

// share lets each client have a third of what the others leave free: one that is
// alone gets a quarter of all, and each of n greedy ones all/(n+3). So some are
// left for a client that has none, whatever fewer than all of the others do.
type share struct {
	all int

	mu    sync.Mutex
	taken int
	held  map[client]int
}

func newShare(all int) *share { return &share{all: all, held: map[client]int{}} }

// take takes one for c, unless c has as many as it may.
func (s *share) take(c client) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if 3*s.held[c] >= s.all-s.taken {
		return false
	}
	s.held[c]++
	s.taken++
	return true
}

// give gives back what take took.
func (s *share) give(c client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
	if s.held[c]--; s.held[c] <= 0 {
		delete(s.held, c)
	}
}

// budgets holds one token bucket for each client.
//
// Only a bucket that is full again is forgotten, and a new one is full: nobody
// gains by being forgotten, and nobody can have another forgotten. A request
// keeps a bucket from being full for 1/rate seconds, so to fill the table takes
// half of maxClients × rate requests a second: millions, with the default rate.
// Should that happen, those who find no room share one more bucket.
type budgets struct {
	rate rate.Limit
	most int

	mu      sync.Mutex
	buckets map[client]*rate.Limiter
	// queue holds the clients of the table in the order in which they are looked at.
	queue  list.List
	others *rate.Limiter
}

func newBudgets(perSecond int) *budgets {
	limit := rate.Limit(perSecond)
	return &budgets{rate: limit, most: maxClients, buckets: map[client]*rate.Limiter{}, others: rate.NewLimiter(limit, burst)}
}

// spend takes one request from the budget of c. If there is none left it returns
// how long it takes until there is.
func (b *budgets) spend(c client, now time.Time) (wait time.Duration, ok bool) {
	bucket := b.of(c, now)
	if bucket.AllowN(now, 1) {
		return 0, true
	}
	missing := 1 - bucket.TokensAt(now)
	return time.Duration(missing / float64(b.rate) * float64(time.Second)), false
}

func (b *budgets) of(c client, now time.Time) *rate.Limiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	if bucket, ok := b.buckets[c]; ok {
		return bucket
	}
	// Two are looked at for each that comes: the table does not grow while half
	// of it can be forgotten.
	for range 2 {
		b.forget(now)
	}
	if len(b.buckets) >= b.most {
		return b.others
	}
	bucket := rate.NewLimiter(b.rate, burst)
	b.buckets[c] = bucket
	b.queue.PushBack(c)
	return bucket
}

// forget looks at the client that was not looked at for longest.
func (b *budgets) forget(now time.Time) {
	first := b.queue.Front()
	if first == nil {
		return
	}
	c := first.Value.(client)
	if b.buckets[c].TokensAt(now) < burst {
		b.queue.MoveToBack(first)
		return
	}
	b.queue.Remove(first)
	delete(b.buckets, c)
}

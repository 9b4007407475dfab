package hybrid

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/source"
	"github.com/ragnos-labs/vault-tuf/internal/telemetry"
	"github.com/ragnos-labs/vault-tuf/internal/transport"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Mirror is a further place where the same repository is served: the same files,
// signed by the same keys.
type Mirror struct {
	// URL is as Options.RepositoryURL; MetadataURL and TargetsURL override either.
	URL, MetadataURL, TargetsURL string
	// SendCredentials lets the token and client certificate of Options.HTTP go to
	// this mirror, too. Otherwise it sees neither, wherever it lies.
	SendCredentials bool
}

// How long a mirror in trouble is passed over, while others are well: it doubles
// with each further trouble that follows without a success in between.
const (
	minCoolDown = 5 * time.Second
	maxCoolDown = 5 * time.Minute
)

// part is what a mirror is asked for. Trouble with one part is not forgotten by
// success with another: a mirror may serve good metadata and bad targets.
type part int

const (
	partTop part = iota
	partDelegated
	partTargets
	parts
)

// mirror is one place where the repository is served; the first is
// Options.RepositoryURL.
type mirror struct {
	remote     source.Remote
	targetsURL string
	// name is its metadata URL without secrets.
	name string
	// trouble is guarded by the mutex of mirrors.
	trouble [parts]trouble
}

// trouble is what went wrong since the last success.
type trouble struct {
	times int
	until time.Time
	err   error
}

// cooling says whether the cool-down is running. One that seems longer than any
// can be was begun by a clock that has been set back since.
func (t *trouble) cooling(now time.Time) bool {
	left := t.until.Sub(now)
	return t.times > 0 && left > 0 && left <= maxCoolDown
}

func (t *trouble) again(now time.Time) {
	t.until = now.Add(min(minCoolDown<<min(t.times, 16), maxCoolDown))
	t.times++
}

// mirrors are the places where the repository is served, in order of preference,
// and how they are doing. Only one place: nothing is counted, and it is always
// asked.
type mirrors struct {
	all    []*mirror
	now    func() time.Time
	events *events

	mu sync.Mutex
	// inUse is the one that answered last.
	inUse *mirror
}

// newMirrors returns the mirrors of the options, behind the repository itself.
func newMirrors(o Options, first source.Remote, ev *events, tel *telemetry.Telemetry) (*mirrors, error) {
	ms := &mirrors{now: o.Now, events: ev}
	ms.all = []*mirror{{remote: first, targetsURL: o.TargetsURL, name: shown(o.MetadataURL)}}
	ms.inUse = ms.all[0]
	for _, m := range o.Mirrors {
		h := o.HTTP
		if !m.SendCredentials {
			h.BearerToken, h.ClientCertificate = "", nil
		}
		// Each has a stack of its own: what it measures is about one place.
		hc, err := transport.New(h)
		if err != nil {
			return nil, err
		}
		hc.Measured(tel)
		remote := first
		remote.Client, remote.MetadataURL = hc, m.MetadataURL
		ms.all = append(ms.all, &mirror{remote: remote, targetsURL: m.TargetsURL, name: shown(m.MetadataURL)})
	}
	return ms, nil
}

// located returns the mirrors with both URLs filled in and checked.
func located(list []Mirror) ([]Mirror, error) {
	list = slices.Clone(list)
	for i := range list {
		m := &list[i]
		if m.URL != "" {
			base := strings.TrimSuffix(m.URL, "/")
			setDefault(&m.MetadataURL, base+"/metadata")
			setDefault(&m.TargetsURL, base+"/targets")
		}
		for _, u := range []*string{&m.MetadataURL, &m.TargetsURL} {
			if err := checkURL(*u); err != nil {
				return nil, err
			}
			if strings.ContainsAny(*u, "?#") {
				return nil, tuferr.New(protocol.CodeUsage, "the URL of mirror %d has a query or fragment", i+1)
			}
			*u = strings.TrimSuffix(*u, "/")
		}
	}
	return list, nil
}

// shown returns a URL without what may be secret.
func shown(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "the repository"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

func (ms *mirrors) close() {
	for _, m := range ms.all {
		m.remote.Client.Close()
	}
}

// order returns all mirrors in the order in which to ask them: those that are
// well, or may be again, by preference, but first before all; then those whose
// cool-down is running, the least troubled one first.
func (ms *mirrors) order(first *mirror) []*mirror {
	if len(ms.all) == 1 {
		return ms.all
	}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	now := ms.now()
	rank := func(m *mirror) int {
		rank := 0
		for i := range m.trouble {
			if m.trouble[i].cooling(now) {
				rank = max(rank, m.trouble[i].times)
			}
		}
		if rank == 0 && m == first {
			return -1
		}
		return rank
	}
	list := slices.Clone(ms.all)
	slices.SortStableFunc(list, func(a, b *mirror) int { return cmp.Compare(rank(a), rank(b)) })
	return list
}

// cooling says whether the cool-down of a mirror is running.
func (ms *mirrors) cooling(m *mirror) bool {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	now := ms.now()
	return slices.ContainsFunc(m.trouble[:], func(t trouble) bool { return t.cooling(now) })
}

// turn is one request to one mirror.
type turn struct {
	mirror *mirror
	part   part
	since  time.Time
}

// begin notes that a mirror is about to be asked. One that has been in trouble is
// tried by one call, and passed over by others until that one knows: it may hang.
func (ms *mirrors) begin(m *mirror, p part) turn {
	if len(ms.all) == 1 {
		return turn{mirror: m, part: p}
	}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	now := ms.now()
	if t := &m.trouble[p]; t.times > 0 && !t.cooling(now) {
		t.again(now)
	}
	return turn{m, p, now}
}

// note takes down how a mirror answered. It returns true if it gave nothing to
// judge, so that the next one may be asked. A verdict is final, but the next call
// begins elsewhere.
func (ms *mirrors) note(u turn, err error) (next bool) {
	if len(ms.all) == 1 {
		return lost(err)
	}
	if err == nil || ofMirror(err) {
		ms.answered(u.mirror)
	}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	t, now := &u.mirror.trouble[u.part], ms.now()
	switch {
	case err == nil:
		*t = trouble{}
	case lost(err) || ofMirror(err) || u.waited(now, err):
		if t.err = err; !t.cooling(now) { // Calls that ran side by side count once.
			t.again(now)
		}
	}
	return lost(err)
}

// waited says whether a caller gave up on a mirror that was slow to give metadata.
// His deadline may be shorter than those of the HTTP stack, and a mirror that
// hangs must not cost each call its time.
func (u turn) waited(now time.Time, err error) bool {
	return tuferr.ClassOf(err) == protocol.ClassCancelled && u.part != partTargets && now.Sub(u.since) >= minCoolDown
}

// answered makes a mirror the one in use, and says so if it was another.
func (ms *mirrors) answered(m *mirror) {
	ms.mu.Lock()
	from := ms.inUse
	ms.inUse = m
	t := from.worst()
	troubled := t.cooling(ms.now())
	ms.mu.Unlock()
	switch {
	case from == m:
	case troubled:
		ms.events.emit(SeverityWarning, "mirror", fmt.Sprintf("%s answers in place of %s: %v", m.name, from.name, t.err), t.err)
	default:
		ms.events.emit(SeverityInfo, "mirror", fmt.Sprintf("%s answers again, in place of %s", m.name, from.name), nil)
	}
}

// worst returns the trouble that lasts longest.
func (m *mirror) worst() trouble {
	return slices.MaxFunc(m.trouble[:], func(a, b trouble) int { return a.until.Compare(b.until) })
}

// lost says whether an error means that a mirror did not give what was asked for.
// Our own queue in front of it is no fault of the mirror's.
func lost(err error) bool {
	return tuferr.ClassOf(err) == protocol.ClassTransport && tuferr.CodeOf(err) != protocol.CodeBusy
}

// ofMirror says whether an error is a verdict about what a mirror served.
func ofMirror(err error) bool {
	switch tuferr.CodeOf(err) {
	case protocol.CodeRootConflict, protocol.CodeExpectedHash, protocol.CodePolicyDenied:
		return false // About this machine, or what the caller wants.
	}
	return tuferr.ClassOf(err) == protocol.ClassVerdict
}

// status lists the mirrors, nil if there is only the repository itself.
func (ms *mirrors) status() []MirrorStatus {
	if len(ms.all) == 1 {
		return nil
	}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	var list []MirrorStatus
	for _, m := range ms.all {
		t := m.worst()
		s := MirrorStatus{MetadataURL: m.name, TargetsURL: shown(m.targetsURL), State: "ready"}
		if t.err != nil {
			s.LastError = t.err.Error()
		}
		switch {
		case t.cooling(ms.now()):
			s.Until = t.until
			if s.State = "down"; ofMirror(t.err) {
				s.State = "set back"
			}
		case m == ms.inUse:
			s.State = "in use"
		}
		list = append(list, s)
	}
	return list
}

// round is the way of one call from mirror to mirror.
type round struct {
	left   []*mirror
	causes []error
}

func (ms *mirrors) round(first *mirror) *round { return &round{left: slices.Clone(ms.order(first))} }

// next takes the next mirror, nil if each has had its turn.
func (r *round) next() *mirror {
	if len(r.left) == 0 {
		return nil
	}
	m := r.left[0]
	r.left = r.left[1:]
	return m
}

// take takes a mirror out of turn.
func (r *round) take(m *mirror) {
	r.left = slices.DeleteFunc(r.left, func(other *mirror) bool { return other == m })
}

// lose notes why a mirror gave nothing.
func (r *round) lose(err error) { r.causes = append(r.causes, err) }

// err is why no mirror gave anything: what the only one said, or what each did.
func (r *round) err() error {
	if len(r.causes) == 1 {
		return r.causes[0]
	}
	why := tuferr.As(r.causes[max(0, slices.IndexFunc(r.causes, outOfReach))])
	e := tuferr.New(why.Code, "no mirror of the repository answers")
	e.Status, e.Causes = why.Status, r.causes
	e.Hint = "check the network and the URLs of the mirrors"
	return e
}

package vault

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ragnos-labs/vault-tuf/hybrid"
)

// HealthPath is where [Vault.HealthHandler] answers.
const HealthPath = "/health/tuf"

const (
	// healthAge is how long an answer is used again: health checks must not become
	// a lever against the application.
	healthAge = time.Second
	// healthTimeout bounds the time that a status may take.
	healthTimeout = 3 * time.Second
)

// healthHandler answers health checks, GET and HEAD only:
//
//	/health/tuf        the status as JSON: 200, or 503 if it is down
//	/health/tuf/ready  the same codes with grade and reasons alone
//	/health/tuf/live   200 as long as the process answers
//
// The status is without what is nobody's business who may ask for it: local paths
// (directories, interpreter, files that events are about), the text of errors and
// of messages made from them, and who broke the glass and why. Of an error its code
// and what the code means stay. Nothing asks a network. It is safe for concurrent
// use, and runs one status at a time.
type healthHandler struct {
	status  func(context.Context) (*Status, error)
	timeout time.Duration
	// turn holds one: the latest answer, for whoever needs it or makes a new one.
	turn chan *healthAnswer
}

// healthAnswer is an answer, or one that is being made.
type healthAnswer struct {
	done   chan struct{}
	start  time.Time
	status *Status
	// made is when it was.
	made time.Time
}

// newHealthHandler makes the handler of a vault's health. Status must grade what
// it returns; it may fail or hang, which is down.
func newHealthHandler(status func(context.Context) (*Status, error)) http.Handler {
	h := &healthHandler{status: status, timeout: healthTimeout, turn: make(chan *healthAnswer, 1)}
	h.turn <- nil
	return h
}

// ServeHTTP answers one request.
func (h *healthHandler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	sub, ok := strings.CutPrefix(req.URL.Path, HealthPath)
	if !ok || sub != "" && sub != "/ready" && sub != "/live" {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	switch sub {
	case "/live":
		answerHealth(w, req, HealthOK, grade{Health: HealthOK})
	case "/ready":
		st := h.latest(req.Context())
		answerHealth(w, req, st.Health, grade{st.Health, st.Reasons})
	default:
		st := h.latest(req.Context())
		answerHealth(w, req, st.Health, st)
	}
}

// grade is the small answer.
type grade struct {
	Health  Health   `json:"status"`
	Reasons []string `json:"reasons,omitempty"`
}

func answerHealth(w http.ResponseWriter, req *http.Request, health Health, content any) {
	body, err := json.Marshal(content)
	if err != nil {
		http.Error(w, "cannot encode the status", http.StatusInternalServerError)
		return
	}
	body = append(body, '\n')
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if health != HealthOK && health != HealthDegraded {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	if req.Method != http.MethodHead {
		_, _ = w.Write(body) // the client's loss
	}
}

// latest returns a status that is not older than healthAge. It waits for one until
// that takes longer than the timeout, or ctx ends.
func (h *healthHandler) latest(ctx context.Context) *Status {
	a := h.answer()
	select {
	case <-a.done:
		return a.status
	default:
	}
	t := time.NewTimer(h.timeout - time.Since(a.start))
	defer t.Stop()
	select {
	case <-a.done:
		return a.status
	case <-t.C:
	case <-ctx.Done():
	}
	return downBecause("the status takes too long")
}

// answer returns the latest answer, one that is being made, or begins to make one.
func (h *healthHandler) answer() *healthAnswer {
	a := <-h.turn
	defer func() { h.turn <- a }()
	if a != nil {
		select {
		case <-a.done:
			if time.Since(a.made) < healthAge {
				return a
			}
		default:
			return a
		}
	}
	a = &healthAnswer{done: make(chan struct{}), start: time.Now()}
	go h.make(a)
	return a
}

// make asks for the status. It has a goroutine of its own, whose panic nobody else
// would stop.
func (h *healthHandler) make(a *healthAnswer) {
	ctx, cancel := context.WithTimeout(context.Background(), h.timeout)
	defer cancel()
	a.status = downBecause("the status cannot be read")
	defer func() {
		_ = recover()
		a.made = time.Now()
		close(a.done)
	}()
	if st, err := h.status(ctx); err == nil && st != nil {
		a.status = public(st)
	}
}

func downBecause(reason string) *Status {
	return &Status{Health: HealthDown, Reasons: []string{reason}, Repositories: []RepositoryStatus{}, Events: []Event{}}
}

// public returns what may be told of a status; see [healthHandler].
func public(s *Status) *Status {
	p := *s
	p.Repositories, p.Reasons = slices.Clone(s.Repositories), slices.Clone(s.Reasons)
	if s.Err != nil {
		info, _ := s.Err.Code.Lookup()
		if at := slices.Index(p.Reasons, unable+s.Err.Error()); at >= 0 {
			p.Reasons[at] = unable + info.Meaning
		}
		p.Err = nil
	}
	for i := range p.Repositories {
		r := &p.Repositories[i]
		if r.Err == nil && r.Client != nil {
			r.Client = publicClient(*r.Client)
			continue
		}
		r.Client, r.Err = nil, nil
		// Its reasons are the text of an error.
		for _, reason := range r.Reasons {
			if at := slices.Index(p.Reasons, r.Name+": "+reason); at >= 0 {
				p.Reasons[at] = r.Name + ": " + unreadable
			}
		}
		r.Reasons = []string{unreadable}
	}
	p.Events = make([]Event, 0, len(s.Events))
	for _, e := range s.Events {
		p.Events = append(p.Events, publicEvent(e))
	}
	return &p
}

func publicClient(c hybrid.Status) *hybrid.Status {
	c.MetadataDir, c.CacheDir = "", ""
	c.LastError, c.LastFallback = "", ""
	c.Worker.Python, c.Worker.Source, c.Worker.Error = "", "", ""
	c.MetadataURL, c.TargetsURL = publicURL(c.MetadataURL), publicURL(c.TargetsURL)
	c.Mirrors = slices.Clone(c.Mirrors)
	for i := range c.Mirrors {
		m := &c.Mirrors[i]
		m.MetadataURL, m.TargetsURL, m.LastError = publicURL(m.MetadataURL), publicURL(m.TargetsURL), ""
	}
	return &c
}

func publicEvent(e Event) Event {
	if info, ok := e.Evidence.Code.Lookup(); ok {
		e.Message = info.Meaning
	} else if e.Evidence.Path != "" || e.Code == EventStore || e.Code == EventLocal || e.Code == EventBreakGlass {
		e.Message = ""
	}
	e.Message = scrub(e.Message)
	x := &e.Evidence
	x.Path, x.By, x.Reason = "", "", ""
	x.URL = publicURL(x.URL)
	e.Err = nil
	return e
}

// publicURL leaves out what is on this machine.
func publicURL(s string) string {
	if !strings.HasPrefix(s, "http://") && !strings.HasPrefix(s, "https://") {
		return ""
	}
	return scrub(s)
}

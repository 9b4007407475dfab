package vault

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/records"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// sound is the status of a client that has nothing to complain about.
func sound() *hybrid.Status {
	c := &hybrid.Status{
		Mode: hybrid.ModeAuto, Engine: "go", LastRefresh: noon.Add(-time.Hour),
		Breaker: hybrid.BreakerStatus{State: "closed"}, Worker: hybrid.WorkerStatus{State: "stopped"},
	}
	for _, role := range append(topLevel, "acme") {
		c.Roles = append(c.Roles, hybrid.RoleStatus{Name: role, Version: 1, Expires: noon.Add(48 * time.Hour)})
	}
	return c
}

func statusOf(clients ...*hybrid.Status) *Status {
	s := &Status{Mode: hybrid.ModeAuto, Events: []Event{}}
	for i, c := range clients {
		s.Repositories = append(s.Repositories, RepositoryStatus{Name: string(rune('a' + i)), Client: c})
	}
	return s
}

func TestJudge(t *testing.T) {
	expires := func(i int, in time.Duration) func(*hybrid.Status) {
		return func(c *hybrid.Status) { c.Roles[i].Expires = noon.Add(in) }
	}
	const failedExpired = "the last call failed: the metadata has expired"
	expired := func(i int, in time.Duration, code protocol.Code) func(*hybrid.Status) {
		return func(c *hybrid.Status) { c.Roles[i].Expires, c.LastErrorCode = noon.Add(in), code }
	}
	last := func(code protocol.Code) func(*hybrid.Status) {
		return func(c *hybrid.Status) { c.LastErrorCode = code }
	}
	for name, tt := range map[string]struct {
		edit    func(*hybrid.Status)
		health  Health
		reasons []string
	}{
		"sound":        {func(*hybrid.Status) {}, HealthOK, nil},
		"zero breaker": {func(c *hybrid.Status) { c.Breaker.State = "" }, HealthOK, nil},
		"off":          {func(c *hybrid.Status) { c.Mode = hybrid.ModeOff }, HealthDown, []string{"its client is off"}},
		"no root": {func(c *hybrid.Status) { c.Roles, c.LastErrorCode = nil, protocol.CodeNoRoot }, HealthDown,
			[]string{"no trusted root has been given yet"}},
		"root expired":      {expired(0, 0, protocol.CodeExpired), HealthDown, []string{"root expired on 2026-06-01T12:00:00Z", failedExpired}},
		"timestamp expired": {expired(1, -time.Second, protocol.CodeExpired), HealthDown, []string{"timestamp expired on 2026-06-01T11:59:59Z", failedExpired}},
		"snapshot expired":  {expired(2, 0, protocol.CodeExpired), HealthDown, []string{"snapshot expired on 2026-06-01T12:00:00Z", failedExpired}},
		"targets expired":   {expired(3, 0, protocol.CodeExpired), HealthDown, []string{"targets expired on 2026-06-01T12:00:00Z", failedExpired}},
		"expired, and unreachable": {expired(1, 0, protocol.CodeUnreachable), HealthDown,
			[]string{"timestamp expired on 2026-06-01T12:00:00Z", "the last call failed: repository not accessible"}},
		"expired, and the policy denies": {expired(1, 0, protocol.CodePolicyDenied), HealthDegraded,
			[]string{"timestamp expired on 2026-06-01T12:00:00Z; nobody has asked for a newer one since"}},
		"expired, and another hash expected": {expired(1, 0, protocol.CodeExpectedHash), HealthDegraded,
			[]string{"timestamp expired on 2026-06-01T12:00:00Z; nobody has asked for a newer one since"}},
		"expired, and no engine can": {expired(1, 0, protocol.CodeUnrepresentable), HealthDown,
			[]string{"timestamp expired on 2026-06-01T12:00:00Z", "the last call failed: an engine cannot represent well-formed metadata"}},
		"expired, and this machine in the way": {expired(1, 0, protocol.CodeDiskFull), HealthDown,
			[]string{"timestamp expired on 2026-06-01T12:00:00Z", "the last call failed: no space is left on the device"}},
		"expired, and the caller gave up": {expired(1, 0, protocol.CodeCancelled), HealthDegraded,
			[]string{"timestamp expired on 2026-06-01T12:00:00Z; nobody has asked for a newer one since"}},
		"expired while idle": {expires(1, 0), HealthDegraded,
			[]string{"timestamp expired on 2026-06-01T12:00:00Z; nobody has asked for a newer one since"}},
		"mirror down": {func(c *hybrid.Status) {
			c.Mirrors = []hybrid.MirrorStatus{{MetadataURL: "https://user:secret@m/metadata", State: "down"}, {State: "ready"}}
		}, HealthDegraded, []string{"the mirror https://redacted@m/metadata is down"}},
		"publisher expired":              {expires(4, 0), HealthDegraded, []string{"acme expired on 2026-06-01T12:00:00Z"}},
		"expires soon":                   {expires(1, time.Hour-time.Second), HealthDegraded, []string{"timestamp expires soon, on 2026-06-01T12:59:59Z"}},
		"timestamp expires in two hours": {expires(1, 2*time.Hour), HealthOK, nil},
		"targets expire in two hours":    {expires(3, 2*time.Hour), HealthDegraded, []string{"targets expires soon, on 2026-06-01T14:00:00Z"}},
		"offline": {func(c *hybrid.Status) { c.Offline = protocol.CodeUnreachable }, HealthDegraded,
			[]string{"metadata that was verified before answers for it: repository not accessible"}},
		"expires in a day":   {expires(1, DefaultExpiryWarning), HealthOK, nil},
		"never refreshed":    {func(c *hybrid.Status) { c.LastRefresh = time.Time{} }, HealthDegraded, []string{"nothing of it has been verified yet"}},
		"verdict":            {last(protocol.CodeUnsigned), HealthDegraded, []string{"the last call failed: not signed by the required threshold of distinct keys"}},
		"unreachable":        {last(protocol.CodeUnreachable), HealthDegraded, []string{"the last call failed: repository not accessible"}},
		"stale":              {last(protocol.CodeStale), HealthDown, []string{"the last call failed: metadata is stale: offline for too long"}},
		"code of the future": {last("odd"), HealthDegraded, []string{"the last call failed: odd"}},
		"not found":          {last(protocol.CodeNotFound), HealthOK, nil},
		"usage":              {last(protocol.CodeInvalidName), HealthOK, nil},
		"cancelled":          {last(protocol.CodeTimeout), HealthOK, nil},
		"not as expected":    {last(protocol.CodeExpectedHash), HealthOK, nil},
		"not allowed":        {last(protocol.CodePolicyDenied), HealthOK, nil},
		"never been reached": {func(c *hybrid.Status) { c.LastRefresh, c.LastErrorCode = time.Time{}, protocol.CodeUnreachable }, HealthDown,
			[]string{"nothing of it has been verified yet", "the last call failed: repository not accessible"}},
		"breaker":        {func(c *hybrid.Status) { c.Breaker.State = "half-open" }, HealthDegraded, []string{"the breaker around go-tuf is half-open"}},
		"python answers": {func(c *hybrid.Status) { c.Engine = "python" }, HealthDegraded, []string{"python-tuf answers in place of go-tuf"}},
		"fell back": {func(c *hybrid.Status) { c.Breaker.ConsecutiveFailures, c.LastFallback = 1, "why" }, HealthDegraded,
			[]string{"python-tuf answers in place of go-tuf"}},
		"fell back once":         {func(c *hybrid.Status) { c.LastFallback = "why" }, HealthOK, nil},
		"python as wanted":       {func(c *hybrid.Status) { c.Mode, c.Engine = hybrid.ModePython, "python" }, HealthOK, nil},
		"no worker, none needed": {func(c *hybrid.Status) { c.Worker.State = "unavailable" }, HealthOK, nil},
		"no worker": {func(c *hybrid.Status) { c.Mode, c.Worker.State = hybrid.ModeDual, "unavailable" }, HealthDown,
			[]string{"the python worker is unavailable"}},
		"no worker when it matters": {func(c *hybrid.Status) { c.Breaker.State, c.Worker.State = "open", "unavailable" }, HealthDegraded,
			[]string{"the breaker around go-tuf is open", "the python worker is unavailable: go-tuf is asked although it fails"}},
		"worker crashed": {func(c *hybrid.Status) { c.Mode, c.Worker.State = hybrid.ModePython, "backing off" }, HealthDegraded,
			[]string{"the python worker has crashed and is started again"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := sound()
			tt.edit(c)
			s := statusOf(c)
			for range 2 { // Judging again says the same.
				judge(s, 0, noon)
				require.Equal(t, tt.health, s.Repositories[0].Health)
				require.Equal(t, tt.reasons, s.Repositories[0].Reasons)
				require.Equal(t, tt.health, s.Health, "of the only repository")
				require.Len(t, s.Reasons, len(tt.reasons))
				require.Len(t, s.Repositories[0].Roles, len(c.Roles))
			}
		})
	}
}

func TestJudgeWarnsWhenAsked(t *testing.T) {
	s := statusOf(sound())
	judge(s, 72*time.Hour, noon)
	require.Equal(t, HealthDegraded, s.Health)
	require.Len(t, s.Reasons, 3, "not of timestamp and snapshot")
	judge(s, 24*72*time.Hour, noon)
	require.Len(t, s.Reasons, 5)
	require.EqualValues(t, 48*3600, s.Repositories[0].Roles[0].SecondsLeft)
	s.Repositories[0].Client.Roles[1].Expires = noon.Add(time.Nanosecond)
	judge(s, -1, noon)
	require.Equal(t, HealthOK, s.Health)
}

func TestJudgeAVault(t *testing.T) {
	sick, dead := sound(), sound()
	sick.LastErrorCode, dead.Roles = protocol.CodeUnreachable, nil
	for name, tt := range map[string]struct {
		status *Status
		health Health
		reason string
	}{
		"one of two is degraded": {statusOf(sound(), sick), HealthDegraded, "b: the last call failed: repository not accessible"},
		"one of two is down":     {statusOf(dead, sound()), HealthDegraded, "a: no trusted root has been given yet"},
		"all are down":           {statusOf(dead, nil), HealthDown, "b: its trust store cannot be read"},
		"none":                   {statusOf(), HealthDown, "there are no repositories"},
		"off": {func() *Status { s := statusOf(sound()); s.Mode = hybrid.ModeOff; return s }(), HealthDown,
			"verification is switched off: every request is refused"},
	} {
		judge(tt.status, 0, noon)
		require.Equal(t, tt.health, tt.status.Health, name)
		require.Contains(t, tt.status.Reasons, tt.reason, name)
	}
}

func askHealth(h http.Handler, method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

func graded(health Health) func(context.Context) (*Status, error) {
	return func(context.Context) (*Status, error) {
		return &Status{Health: health, Reasons: []string{"a: why"}, Mode: hybrid.ModeAuto, Repositories: []RepositoryStatus{}}, nil
	}
}

func TestHealthHandlerAnswers(t *testing.T) {
	for health, code := range map[Health]int{HealthOK: 200, HealthDegraded: 200, HealthDown: 503, "": 503} {
		h := newHealthHandler(graded(health))
		full, ready := askHealth(h, "GET", "/health/tuf"), askHealth(h, "GET", "/health/tuf/ready")
		require.Equal(t, code, full.Code)
		require.Equal(t, code, ready.Code)
		require.Equal(t, 200, askHealth(h, "GET", "/health/tuf/live").Code)
		require.JSONEq(t, `{"status":"`+string(health)+`","reasons":["a: why"],"mode":"auto","repositories":[],"events":[]}`, full.Body.String())
		require.JSONEq(t, `{"status":"`+string(health)+`","reasons":["a: why"]}`, ready.Body.String())
		require.Equal(t, "application/json", full.Header().Get("Content-Type"))
		require.Equal(t, "no-store", full.Header().Get("Cache-Control"))
		require.Equal(t, "nosniff", full.Header().Get("X-Content-Type-Options"))

		head := askHealth(h, "HEAD", "/health/tuf")
		require.Equal(t, code, head.Code)
		require.Empty(t, head.Body.String())
		require.Equal(t, full.Header(), head.Header())
	}
}

func TestHealthHandlerRefuses(t *testing.T) {
	h := newHealthHandler(func(context.Context) (*Status, error) { panic("is not asked") })
	for _, path := range []string{"/health/tuf", "/health/tuf/ready", "/health/tuf/live"} {
		w := askHealth(h, "POST", path)
		require.Equal(t, 405, w.Code)
		require.Equal(t, "GET, HEAD", w.Header().Get("Allow"))
	}
	for _, path := range []string{"/", "/health", "/health/tuf/", "/health/tuf/x", "/health/tufu", "/health/tuf/live/"} {
		require.Equal(t, 404, askHealth(h, "GET", path).Code, path)
	}
	require.JSONEq(t, `{"status":"ok"}`, askHealth(h, "GET", "/health/tuf/live").Body.String(), "whatever is broken")
}

func TestHealthIsDownIfTheStatusFails(t *testing.T) {
	for _, status := range []func(context.Context) (*Status, error){
		func(context.Context) (*Status, error) { return statusOf(sound()), errors.New("/home/someone: no") },
		func(context.Context) (*Status, error) { return nil, nil },
		func(context.Context) (*Status, error) { panic("at the wrong time") },
	} {
		w := askHealth(newHealthHandler(status), "GET", "/health/tuf")
		require.Equal(t, 503, w.Code)
		require.Contains(t, w.Body.String(), "the status cannot be read")
		require.NotContains(t, w.Body.String(), "someone")
	}
}

// TestHealthIsNoLever: an answer serves for a second, and one status runs at a time.
func TestHealthIsNoLever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		h := newHealthHandler(func(context.Context) (*Status, error) {
			asked.Add(1)
			time.Sleep(time.Second / 2)
			return statusOf(sound()), nil
		})
		for range 100 {
			go askHealth(h, "GET", "/health/tuf")
		}
		synctest.Wait()
		askHealth(h, "GET", "/health/tuf/ready")
		require.EqualValues(t, 1, asked.Load())
		time.Sleep(healthAge - time.Nanosecond)
		askHealth(h, "GET", "/health/tuf")
		require.EqualValues(t, 1, asked.Load())
		time.Sleep(time.Nanosecond)
		askHealth(h, "GET", "/health/tuf")
		require.EqualValues(t, 2, asked.Load())
	})
}

// TestAStatusThatHangs is asked once, and is down at once until it answers.
func TestAStatusThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		release := make(chan struct{})
		h := newHealthHandler(func(ctx context.Context) (*Status, error) {
			asked.Add(1)
			<-ctx.Done()
			<-release
			return graded(HealthOK)(ctx)
		})
		start := time.Now()
		w := askHealth(h, "GET", "/health/tuf/ready")
		require.Equal(t, healthTimeout, time.Since(start))
		require.Equal(t, 503, w.Code)
		require.Contains(t, w.Body.String(), "takes too long")
		require.Equal(t, 503, askHealth(h, "GET", "/health/tuf").Code)
		require.Equal(t, healthTimeout, time.Since(start))
		require.EqualValues(t, 1, asked.Load())
		require.Equal(t, 200, askHealth(h, "GET", "/health/tuf/live").Code)
		close(release)
		synctest.Wait()
		require.Equal(t, 200, askHealth(h, "GET", "/health/tuf").Code)
	})
}

func TestHealthStopsWaitingForAClientThatLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHealthHandler(func(ctx context.Context) (*Status, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		start := time.Now()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/health/tuf", nil))
		require.Equal(t, 503, w.Code)
		require.Zero(t, time.Since(start))
		time.Sleep(healthTimeout) // The status gives up, too.
	})
}

// TestHealthTellsNothingOfTheUser: every text of a status that may name a local
// path, a person or a secret.
func TestHealthTellsNothingOfTheUser(t *testing.T) {
	const secret = "/home/s3cret"
	c := sound()
	c.MetadataDir, c.CacheDir, c.LastError, c.LastFallback = secret, secret, secret, secret
	c.Worker.Python, c.Worker.Source, c.Worker.Error = secret, secret, secret
	c.MetadataURL, c.TargetsURL = "https://example.com/metadata?t=s3cret", "file://"+secret
	c.Mirrors = []hybrid.MirrorStatus{{MetadataURL: "https://example.com/?t=s3cret", TargetsURL: "file://" + secret, State: "down", LastError: secret}}
	c.LastErrorCode = protocol.CodePermissions
	s := statusOf(c, c)
	s.Repositories[1].Err = &hybrid.Error{Code: protocol.CodePermissions, Path: secret, Err: errors.New("no")}
	for _, code := range []EventCode{EventStore, EventLocal, EventRefused, EventBreakGlass} {
		e := Event{ID: 1, Code: code, Message: "in " + secret, Err: errors.New(secret), Evidence: Evidence{Path: secret, By: secret, Reason: secret, URL: "file://" + secret}}
		if code == EventRefused {
			e.Evidence.Code, e.Evidence.Role = protocol.CodeUnsigned, "timestamp"
		}
		s.Events = append(s.Events, e)
	}
	s.Events = append(s.Events, Event{ID: 5, Code: EventBreaker, Message: "from closed to open", Evidence: Evidence{From: "closed", To: "open"}})
	judge(s, 0, noon)
	w := askHealth(newHealthHandler(func(context.Context) (*Status, error) { return s, nil }), "GET", "/health/tuf")
	require.NotContains(t, w.Body.String(), "s3cret")
	require.Equal(t, secret, c.MetadataDir, "the status itself is whole")
	require.Equal(t, secret, c.Mirrors[0].LastError)
	require.Equal(t, secret, s.Events[0].Evidence.Path)

	var got Status
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
	require.Equal(t, "https://example.com/metadata?redacted", got.Repositories[0].Client.MetadataURL)
	require.Equal(t, "a: the last call failed: a local file or directory may not be read or written", got.Reasons[0])
	require.Equal(t, "a: the mirror https://example.com/?redacted is down", got.Reasons[1])
	require.Equal(t, "b: "+unreadable, got.Reasons[2])
	require.Equal(t, []string{unreadable}, got.Repositories[1].Reasons)
	require.Nil(t, got.Repositories[1].Client)
	require.Contains(t, s.Repositories[1].Reasons[0], secret)
	require.Equal(t, "timestamp", got.Events[2].Evidence.Role)
	require.Equal(t, "not signed by the required threshold of distinct keys", got.Events[2].Message)
	require.Equal(t, "from closed to open", got.Events[4].Message)
}

// endsLater ends when it has been asked a number of times.
type endsLater struct {
	context.Context
	left atomic.Int64
}

func (c *endsLater) Err() error {
	if c.left.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

// TestThereIsAStatusOrAnError whenever the context ends.
func TestThereIsAStatusOrAnError(t *testing.T) {
	w := newWorld(t, "one")
	v := w.vault()
	require.NoError(t, v.Initialize(t.Context()))
	for n := range 20 {
		ctx := &endsLater{Context: t.Context()}
		ctx.left.Store(int64(n))
		s, err := v.Status(ctx)
		require.True(t, (s != nil) != (err != nil), "%d: %v, %v", n, s, err)
	}
}

// TestHealthSpeaksAsARepositoryDoes, where the same thing is said.
func TestHealthSpeaksAsARepositoryDoes(t *testing.T) {
	s := statusOf(sound())
	judge(s, 0, noon)
	w := askHealth(newHealthHandler(func(context.Context) (*Status, error) { return s, nil }), "GET", HealthPath)
	var got map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
	require.Equal(t, "ok", got["status"])
	role := got["repositories"].([]any)[0].(map[string]any)["roles"].([]any)[1].(map[string]any)
	require.Equal(t, map[string]any{"name": "timestamp", "version": 1.0, "expires": "2026-06-03T12:00:00Z", "seconds_left": 172800.0}, role)
}

// TestHealthOfWhatNobodyCanVerify: metadata has expired, and the engine cannot read
// what is newer.
func TestHealthOfWhatNobodyCanVerify(t *testing.T) {
	w := newWorld(t, "one")
	expires := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	w.repos["one"].Timestamp.Signed["expires"] = expires.Format(time.RFC3339)
	w.publish("one", tool("1.0.0"))
	var later atomic.Bool
	v := w.vault(func(o *Options) {
		o.Now = func() time.Time {
			if later.Load() {
				return expires
			}
			return time.Now()
		}
	})
	w.install(v, tool("1.0.0"), InstallOptions{})
	later.Store(true)
	odd(w.repos["one"], nil, "")
	w.refused(v, tool("2.0.0"), InstallOptions{}, hybrid.ErrFault)
	s, err := v.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, HealthDown, s.Health, "%v", s.Reasons)
	require.NotContains(t, s.Reasons[0], "nobody has asked")
}

// TestHealthOfATrustStoreThatCannotBeRead: the application is told why, those who
// ask its handler are not.
func TestHealthOfATrustStoreThatCannotBeRead(t *testing.T) {
	w := newWorld(t, "one", "two")
	w.publish("two", tool("1.0.0"))
	file := filepath.Join(t.TempDir(), "secret-place")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	v := w.vault(func(o *Options) { o.Repositories[0].MetadataDir = file })
	w.install(v, tool("1.0.0"), InstallOptions{})
	s, err := v.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, HealthDegraded, s.Health)
	one := s.Repositories[0]
	require.Equal(t, HealthDown, one.Health)
	require.ErrorIs(t, one.Err, hybrid.ErrLocal)
	require.Equal(t, []string{unreadable + ": " + one.Err.Error()}, one.Reasons)
	require.Contains(t, s.Reasons, "one: "+one.Reasons[0])
	require.Contains(t, one.Reasons[0], "secret-place")
	require.NotNil(t, one.Client)

	answer := askHealth(v.HealthHandler(), "GET", HealthPath).Body.String()
	require.Contains(t, answer, `"one: `+unreadable+`"`)
	require.NotContains(t, answer, "secret-place")
}

// TestHealthOfARecordThatCannotBeRead: without it nothing is installed, listed or
// opened.
func TestHealthOfARecordThatCannotBeRead(t *testing.T) {
	w := newWorld(t, "one")
	w.publish("one", tool("1.0.0"), tool("2.0.0"))
	v := w.vault()
	w.install(v, tool("1.0.0"), InstallOptions{})
	s, err := v.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, HealthOK, s.Health)
	file := filepath.Join(w.dir, "metadata", recordsName, records.FileName)
	require.NoError(t, os.WriteFile(file, []byte("{"), 0o600))
	w.refused(v, tool("2.0.0"), InstallOptions{}, hybrid.ErrLocal)
	s, err = v.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, HealthDown, s.Health)
	require.ErrorIs(t, s.Err, hybrid.ErrLocal)
	require.Equal(t, unable+s.Err.Error(), s.Reasons[0])
	require.Contains(t, s.Reasons[0], file)

	answer := askHealth(v.HealthHandler(), "GET", HealthPath)
	require.Equal(t, http.StatusServiceUnavailable, answer.Code)
	require.Contains(t, answer.Body.String(), `"`+unable+`a local file or directory cannot be used"`)
	require.NotContains(t, answer.Body.String(), w.dir)
}

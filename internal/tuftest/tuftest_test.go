package tuftest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest/plain"
)

// clients returns the plain clients of both libraries.
func clients(t *testing.T) map[string]plain.Client {
	interpreter, err := plain.Interpreter()
	require.NoError(t, err)
	python := plain.NewPython(interpreter)
	t.Cleanup(python.Close)
	return map[string]plain.Client{"go-tuf": plain.Go{}, "python-tuf": python}
}

func request(t *testing.T, r *tuftest.Repo, s *tuftest.Server, target string) plain.Request {
	return plain.Request{
		MetadataURL: s.MetadataURL(), TargetsURL: s.TargetsURL(),
		MetadataDir: t.TempDir(), TargetsDir: t.TempDir(),
		Root: r.RootBytes(1), Target: target,
	}
}

func TestBothClientsAcceptANormalRepository(t *testing.T) {
	repos := map[string]func() *tuftest.Repo{
		"inconsistent": func() *tuftest.Repo { return tuftest.NewRepo(tuftest.Config{Inconsistent: true}) },
		"no hashes":    func() *tuftest.Repo { return tuftest.NewRepo(tuftest.Config{NoHashes: true}) },
		"sha512":       func() *tuftest.Repo { return tuftest.NewRepo(tuftest.Config{TargetHashes: []string{"sha512"}}) },
	}
	for _, kind := range []string{tuftest.Ed25519, tuftest.ECDSA, tuftest.ECDSAP384, tuftest.RSA} {
		repos[kind] = func() *tuftest.Repo { return tuftest.NewRepo(tuftest.Config{Kind: kind}) }
	}
	for name, client := range clients(t) {
		for kind, newRepo := range repos {
			t.Run(name+" "+kind, func(t *testing.T) {
				r := newRepo()
				r.AddTarget("targets", "dir/a.txt", []byte("first"), nil)
				r.Delegate("targets", tuftest.Delegation{Name: "team", Paths: []string{"team/*"}})
				r.AddTarget("team", "team/b.txt", []byte("second"), tuftest.Map{"unicode": "é\n\"\\<"})
				r.Publish("targets", "team")
				s := tuftest.NewServer(r)
				defer s.Close()
				req := request(t, r, s, "dir/a.txt")
				require.Equal(t, "first", run(t, client, req))
				req.Target = "team/b.txt"
				require.Equal(t, "second", run(t, client, req))
				r.SetKeys("root", 1, tuftest.NewKey(tuftest.Ed25519, 9))
				r.PublishRoot()
				r.AddTarget("team", "team/b.txt", []byte("third"), nil)
				r.Publish("team")
				require.Equal(t, "third", run(t, client, req))
				req.Target = "team/none"
				_, err := client.Run(t.Context(), req)
				require.ErrorIs(t, err, plain.ErrNotFound)
			})
		}
	}
}

func TestBothClientsAcceptSuccinctBins(t *testing.T) {
	for name, client := range clients(t) {
		t.Run(name, func(t *testing.T) {
			r := tuftest.NewRepo(tuftest.Config{})
			const bits = 5
			bins := r.DelegateSuccinct("targets", bits, "bin")
			names := []string{"targets"}
			for _, b := range bins {
				names = append(names, b.Name)
			}
			r.AddTarget(bins[tuftest.BinOf(bits, "x/y.txt")].Name, "x/y.txt", []byte("binned"), nil)
			r.Publish(names...)
			s := tuftest.NewServer(r)
			defer s.Close()
			require.Equal(t, "binned", run(t, client, request(t, r, s, "x/y.txt")))
		})
	}
}

func TestBothClientsTakeTheReferenceTime(t *testing.T) {
	for name, client := range clients(t) {
		t.Run(name, func(t *testing.T) {
			r := tuftest.NewRepo(tuftest.Config{})
			r.Timestamp.Signed["expires"] = "2001-01-01T00:00:00Z"
			r.PublishTimestamp()
			s := tuftest.NewServer(r)
			defer s.Close()
			req := request(t, r, s, "")
			_, err := client.Run(t.Context(), req)
			require.Error(t, err)
			req.Now = time.Date(2000, 12, 31, 0, 0, 0, 0, time.UTC)
			_, err = client.Run(t.Context(), req)
			require.NoError(t, err)
		})
	}
}

func TestBothClientsRefuseAHookedForgery(t *testing.T) {
	for name, client := range clients(t) {
		t.Run(name, func(t *testing.T) {
			r := tuftest.NewRepo(tuftest.Config{})
			r.AddTarget("targets", "a", []byte("a"), nil)
			r.Targets.Signers = tuftest.Keys(77, 1)
			r.Publish("targets")
			s := tuftest.NewServer(r)
			defer s.Close()
			_, err := client.Run(t.Context(), request(t, r, s, "a"))
			require.Error(t, err)
			require.NotErrorIs(t, err, plain.ErrCrash)
		})
	}
}

func TestAHangingServerIsLeftAfterTheDeadline(t *testing.T) {
	for name, client := range clients(t) {
		t.Run(name, func(t *testing.T) {
			r := tuftest.NewRepo(tuftest.Config{})
			s := tuftest.NewServer(r)
			defer s.Close()
			ctx, cancel := context.WithCancel(t.Context())
			s.On("metadata/timestamp.json", func(x *tuftest.Exchange) { cancel(); tuftest.Silence(x) })
			_, err := client.Run(ctx, request(t, r, s, ""))
			require.ErrorIs(t, err, context.Canceled)
			s.Heal()
			_, err = client.Run(t.Context(), request(t, r, s, ""))
			require.NoError(t, err)
		})
	}
}

func run(t *testing.T, c plain.Client, r plain.Request) string {
	content, err := c.Run(t.Context(), r)
	require.NoError(t, err)
	return string(content)
}

func TestHooksChangeWhatIsPublished(t *testing.T) {
	r := tuftest.NewRepo(tuftest.Config{})
	r.Targets.EditSigned = func(m tuftest.Map) { m["odd"] = json.Number("1e400"); m["raw"] = tuftest.Verbatim("NaN") }
	r.Targets.EditSignatures = func(list []any) []any { return append(list, nil) }
	r.Targets.EditRaw = func(raw []byte) []byte { return append(raw, "tail"...) }
	r.Publish("targets")
	raw, ok := r.Get("metadata/2.targets.json")
	require.True(t, ok)
	require.Contains(t, string(raw), `"odd":1e400,"raw":NaN`)
	require.Contains(t, string(raw), `},null],"signed":`)
	require.Regexp(t, `\}tail$`, string(raw))
	require.NotContains(t, r.Targets.Signed, "odd", "hooks change a copy")
	require.Equal(t, 2, r.Snapshot.Version)
}

func TestSpellingsOfAKeySignAlike(t *testing.T) {
	k := tuftest.NewKey(tuftest.RSA, 0)
	other := k.With(func(k *tuftest.Key) { k.Public += "\n" })
	require.NotEqual(t, k.ID, other.ID)
	require.Equal(t, "id", k.As("id").ID)
	require.Equal(t, tuftest.NewKey(tuftest.ECDSA, 1).Public, tuftest.NewKey(tuftest.ECDSA, 1).Public)
	require.Len(t, tuftest.NewKey(tuftest.RSA1024, 1).Sign([]byte("m")), 128)
}

func TestServerFaults(t *testing.T) {
	r := tuftest.NewRepo(tuftest.Config{})
	s := tuftest.NewServer(r)
	defer s.Close()
	raw, _ := r.Get("metadata/timestamp.json")
	const name = "metadata/timestamp.json"
	get := func() (int, []byte, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/"+name, nil)
		require.NoError(t, err)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, nil, err
		}
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		return res.StatusCode, body, err
	}
	good := map[string]tuftest.Reply{
		"file": tuftest.File, "gzip": tuftest.Gzip, "gzip if asked": tuftest.GzipIfAsked, "redirect": tuftest.RedirectTimes(3),
		"drip": tuftest.Drip(0), "then": tuftest.Then(0, tuftest.Reset, tuftest.File),
	}
	for what, reply := range good {
		s.On(name, reply)
		code, body, err := get()
		require.NoError(t, err, what)
		require.Equal(t, 200, code, what)
		require.Equal(t, raw, body, what)
	}
	for what, reply := range map[string]tuftest.Reply{"reset": tuftest.Reset, "truncated": tuftest.Truncated} {
		s.On(name, reply)
		_, _, err := get()
		require.Error(t, err, what)
	}
	for what, c := range map[string]struct {
		reply tuftest.Reply
		code  int
		size  int
	}{
		"status":  {tuftest.Status(503), 503, 20},
		"later":   {tuftest.RetryAfter(429, 1), 429, 18},
		"odd":     {tuftest.FileWithStatus(203), 203, len(raw)},
		"endless": {tuftest.Endless, 200, 1 << 20},
		"bomb":    {tuftest.GzipBomb(2), 200, 1 << 20},
		"short":   {tuftest.Short, 200, len(raw) / 2},
		"garbage": {tuftest.Garbage, 200, len(raw)},
		"body":    {tuftest.Body([]byte("x")), 200, 1},
		"html":    {tuftest.HTML, 200, 55},
	} {
		s.On(name, c.reply)
		code, body, err := get()
		require.NoError(t, err, what)
		require.Equal(t, c.code, code, what)
		require.Len(t, body, c.size, what)
	}
	s.Heal()
	s.Forget()
	s.Before(name, func() { r.Remove(name) })
	code, _, err := get()
	require.NoError(t, err)
	require.Equal(t, 404, code)
	require.Equal(t, []string{name}, s.Requests())
}

func TestCloseEndsASilentAnswer(t *testing.T) {
	r := tuftest.NewRepo(tuftest.Config{})
	s := tuftest.NewServer(r)
	asked := make(chan struct{})
	s.On("", func(x *tuftest.Exchange) { close(asked); tuftest.Silence(x) })
	failed := make(chan error, 1)
	go func() {
		res, err := http.Get(s.MetadataURL() + "timestamp.json")
		if err == nil {
			err = errors.Join(errors.New("answered"), res.Body.Close())
		}
		failed <- err
	}()
	<-asked
	s.Close()
	require.Error(t, <-failed)
}

func ExampleRepo() {
	r := tuftest.NewRepo(tuftest.Config{})
	r.AddTarget("targets", "plugin.tar.gz", []byte("content"), nil)
	r.Publish("targets")
	fmt.Println(r.MetadataName("targets", r.Targets.Version))
	// Output: metadata/2.targets.json
}

//go:build unix

package deploy_test

import (
	"bufio"
	"bytes"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/otelsetup"
	"github.com/ragnos-labs/vault-tuf/internal/otelsetup/promtest"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest/plain"
	"github.com/ragnos-labs/vault-tuf/repository"
	"github.com/ragnos-labs/vault-tuf/vault"
	"github.com/ragnos-labs/vault-tuf/vault/policy"
)

// plugin is what the repositories have.
const plugin = "plugins/acme/hello.1.0.0.tar.gz"

// scraped is what Prometheus sees of a server, and of an application that has had
// trouble of every kind.
func scraped(t *testing.T) promtest.Samples {
	return append(scrapedServer(t), scrapedClient(t)...)
}

// scrapedServer runs local-tuf, as built from here.
func scrapedServer(t *testing.T) promtest.Samples {
	program, dir := filepath.Join(t.TempDir(), "local-tuf"), filepath.Join(t.TempDir(), "repo")
	out, err := exec.Command("go", "build", "-o", program, "../cmd/local-tuf").CombinedOutput()
	require.NoError(t, err, "%s", out)
	_, err = repository.Init(t.Context(), dir, repository.InitOptions{Options: repository.Options{Keys: repository.Keys{Passphrase: repository.PlainKeys}}})
	require.NoError(t, err)
	cmd := exec.Command(program, "serve", "--dir", dir, "--port", "0", "--metrics-listen", "127.0.0.1:0")
	var log bytes.Buffer
	cmd.Stderr = &log
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewReader(stdout)
	at := func() string {
		line, err := lines.ReadString('\n')
		_, url, _ := strings.Cut(strings.TrimSpace(line), " at ")
		if err != nil || url == "" {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			require.Fail(t, "it does not serve", log.String())
		}
		return url
	}
	url, metrics := at(), at()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url + "/metadata/timestamp.json")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	all := promtest.Scrape(t, client, metrics)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait(), log.String())
	return all
}

func odd(list []any) []any {
	return append(list, tuftest.Map{"keyid": "feed", "sig": "this is not hex"})
}

// scrapedClient gets from a client a fallback, a verdict, retries, a worker that was
// killed, and requests that wait; and from a vault what it decides.
func scrapedClient(t *testing.T) promtest.Samples {
	python, err := plain.Interpreter()
	require.NoError(t, err)
	t.Setenv("OTEL_SDK_DISABLED", "")
	observed := otelsetup.Start(otelsetup.Config{Service: "test", Prometheus: true})
	t.Cleanup(observed.End)
	repo := tuftest.NewRepo(tuftest.Config{})
	repo.AddTarget("targets", plugin, []byte("hello"), map[string]any{"name": "hello", "publisher": "acme", "version": "1.0.0"})
	repo.Publish("targets")
	server := tuftest.NewServer(repo)
	t.Cleanup(server.Close)
	askVault(t, observed, server.URL, repo.RootBytes(1), python)

	ctx := t.Context()
	http := hybrid.HTTPOptions{BackoffMin: time.Millisecond, BackoffMax: time.Millisecond, RequestsPerSecond: 5}
	c, err := hybrid.New(hybrid.Options{
		RepositoryURL: server.URL, Root: repo.RootBytes(1), Mode: hybrid.ModeAuto, Python: python, HTTP: http,
		MetadataDir: filepath.Join(t.TempDir(), "metadata"), CacheDir: t.TempDir(),
		MeterProvider: observed.Meters, TelemetryName: "acme",
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Shutdown(t.Context())) }()
	repo.Timestamp.EditSignatures = odd
	repo.PublishTimestamp()
	server.On("metadata/timestamp.json", tuftest.Then(1, tuftest.Status(503), tuftest.File))
	for range 2 {
		_, err = c.VerifyAndDownloadPlugin(ctx, plugin, hybrid.DownloadOptions{})
		require.NoError(t, err)
	}
	killWorker(t, c)
	repo.PublishTimestamp()
	require.NoError(t, c.Refresh(ctx))
	repo.Timestamp.SetVersion(1)
	repo.PublishTimestamp()
	require.ErrorIs(t, c.Refresh(ctx), hybrid.ErrVerdict)

	w := httptest.NewRecorder()
	observed.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return promtest.Parse(t, w.Body.String())
}

// killWorker kills the python worker, and waits until it has ended.
func killWorker(t *testing.T, c *hybrid.Client) {
	st, err := c.Status(t.Context())
	require.NoError(t, err)
	require.NotZero(t, st.Worker.PID)
	require.NoError(t, syscall.Kill(st.Worker.PID, syscall.SIGKILL))
	require.Eventually(t, func() bool {
		now, err := c.Status(t.Context())
		return err == nil && now.Worker.PID != st.Worker.PID
	}, time.Minute, time.Millisecond)
}

func askVault(t *testing.T, observed *otelsetup.Setup, url string, root []byte, python string) {
	v, err := vault.New(vault.Options{
		Repositories: []vault.Repository{{Name: "acme-vault", URL: url, Root: root}},
		Policy:       policy.Policy{Allow: policy.Match{Names: []string{"*"}}}, Mode: hybrid.ModeGo, Python: python,
		MetadataDir: filepath.Join(t.TempDir(), "metadata"), CacheDir: t.TempDir(), MeterProvider: observed.Meters,
	})
	require.NoError(t, err)
	_, err = v.PluginMetadata(t.Context(), "plugins/acme/none.1.0.0.tar.gz")
	require.ErrorIs(t, err, hybrid.ErrNotFound)
	require.NoError(t, v.Shutdown(t.Context()))
}

//go:build !windows

package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/otelsetup/promtest"
	"github.com/ragnos-labs/vault-tuf/repository"
	"github.com/ragnos-labs/vault-tuf/vault"
	"github.com/ragnos-labs/vault-tuf/vault/lockfile"
)

// The program is built and run as a stranger would, against two real repositories.
func TestHost(t *testing.T) {
	program := filepath.Join(t.TempDir(), "host")
	build := exec.Command("go", "build", "-o", program, ".")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)

	for name, test := range map[string]func(t *testing.T, program string){
		"a newer version takes the place of the old one":    newVersion,
		"a withdrawn version is stopped, and the rule said": withdrawn,
		"a repository that is gone takes nothing with it":   gone,
		"what runs goes on when metadata has expired":       expired,
		"a child that does not want to end is killed":       stubborn,
		"what cannot be started leaves what runs alone":     unstartable,
		"what is wrong is said at once":                     wrongAtOnce,
	} {
		t.Run(name, func(t *testing.T) { test(t, program) })
	}
}

func newVersion(t *testing.T, program string) {
	w := newWorld(t, program)
	h := w.start()
	h.prints("acme/tool 1.0.0 runs", "initech/tool 1.0.0 runs")
	require.Equal(t, "ok", h.health(http.StatusOK).Status)
	metricsOfAHost(t, h)
	old := h.pid("acme/tool.1.0.0")
	w.publish("acme", "1.1.0", runs)
	w.publish("acme", "2.0.0", runs)
	h.prints("acme/tool 1.1.0 runs")
	require.ErrorIs(t, syscall.Kill(old, 0), syscall.ESRCH)
	h.end()
	require.NotContains(t, h.stdout.text(), "2.0.0", "it is not in the range")
	require.Equal(t, 1, strings.Count(h.stdout.text(), "initech/tool 1.0.0 runs"))
	require.Equal(t, "1.1.0", w.locked("acme/tool").Version)

	// It begins where it ended.
	h = w.start()
	h.prints("acme/tool 1.1.0 runs", "initech/tool 1.0.0 runs")
	h.end()
	require.NotContains(t, h.stdout.text(), "acme/tool 1.0.0")
}

func withdrawn(t *testing.T, program string) {
	w := newWorld(t, program)
	h := w.start()
	h.prints("acme/tool 1.0.0 runs", "initech/tool 1.0.0 runs")
	w.publish("acme", "1.1.0", runs)
	h.prints("acme/tool 1.1.0 runs")
	pid := h.pid("acme/tool.1.1.0")
	_, err := w.repos["acme"].Yank(t.Context(), path("acme", "1.1.0"), "it bites")
	require.NoError(t, err)
	h.says(`"ended":"plugins/acme/tool.1.1.0.tar.gz"`)
	require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)
	h.says(`policy rule yanked`, `it bites`, `"code":"policy_denied"`)
	w.publish("acme", "1.1.1", runs)
	h.prints("acme/tool 1.1.1 runs")
	h.end()

	// Where it was never installed the next lower one is good.
	w = newWorld(t, program)
	w.publish("acme", "1.1.0", runs)
	w.lock()
	_, err = w.repos["acme"].Yank(t.Context(), path("acme", "1.1.0"), "it bites")
	require.NoError(t, err)
	h = w.start()
	h.says(`policy rule yanked`)
	h.prints("acme/tool 1.0.0 runs")
	h.end()
	require.NotContains(t, h.stdout.text(), "1.1.0")
}

func gone(t *testing.T, program string) {
	w := newWorld(t, program, "maxMetadataAge: -1s")
	h := w.start()
	h.prints("acme/tool 1.0.0 runs", "initech/tool 1.0.0 runs")
	w.servers["initech"].Close()
	h.says(`"code":"unreachable"`, `"code":"runs_on"`)
	require.NoError(t, syscall.Kill(h.pid("initech/tool.1.0.0"), syscall.SIGKILL))
	require.Eventually(t, func() bool { return strings.Count(h.stdout.text(), "initech/tool 1.0.0 runs") == 2 }, patience, tick)
	w.publish("acme", "1.1.0", runs)
	h.prints("acme/tool 1.1.0 runs")
	require.Eventually(t, func() bool { return h.health(http.StatusOK).Status == "degraded" }, patience, tick)
	h.end()
}

func expired(t *testing.T, program string) {
	w := newWorld(t, program)
	h := w.start()
	h.prints("acme/tool 1.0.0 runs", "initech/tool 1.0.0 runs")
	w.clock = -100 * 24 * time.Hour
	w.publish("acme", "1.1.0", runs)
	h.says(`"code":"runs_on"`, "is expired")
	require.NoError(t, syscall.Kill(h.pid("acme/tool.1.0.0"), syscall.SIGKILL))
	require.Eventually(t, func() bool { return strings.Count(h.stdout.text(), "acme/tool 1.0.0 runs") == 2 }, patience, tick)
	require.Eventually(t, func() bool { return h.health(0).Status != "ok" }, patience, tick)
	w.clock = 0
	w.publish("acme", "1.2.0", runs)
	h.prints("acme/tool 1.2.0 runs")
	h.end()
	require.NotContains(t, h.stdout.text(), "acme/tool 1.1.0")
}

func stubborn(t *testing.T, program string) {
	w := newWorld(t, program)
	w.publish("acme", "1.3.0", "trap '' TERM; echo stubborn; while :; do sleep 1; done")
	w.lock()
	h := w.start()
	h.prints("stubborn")
	h.end()
}

func unstartable(t *testing.T, program string) {
	w := newWorld(t, program)
	h := w.start()
	h.prints("acme/tool 1.0.0 runs")
	w.publishEntry("acme", "1.1.0", tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/run", Linkname: "../real"}, runs)
	h.says("it cannot be started")
	require.NoError(t, syscall.Kill(h.pid("acme/tool.1.0.0"), 0))
	require.Equal(t, "1.0.0", w.locked("acme/tool").Version)
	h.end()
}

func wrongAtOnce(t *testing.T, program string) {
	w := newWorld(t, program)
	require.NoError(t, os.WriteFile(w.lockPath(), []byte("{}"), 0o600))
	h := w.start()
	require.Error(t, h.cmd.Wait())
	require.NoError(t, new(lockfile.File).Write(w.lockPath()))
	h = w.start()
	require.Error(t, h.cmd.Wait())
	require.Contains(t, h.stderr.text(), "acme/tool is not locked")
	require.NotContains(t, h.stderr.text(), `"health"`)
}

const (
	patience = 30 * time.Second
	tick     = 5 * time.Millisecond
	runs     = `echo "$NAME runs"; exec sleep 600`
)

// world is two repositories of two publishers, and what a host is given.
type world struct {
	t            *testing.T
	program, dir string
	repos        map[string]*repository.Repository
	servers      map[string]*httptest.Server
	// clock is what the repositories' clock is beside the real one.
	clock time.Duration
}

func newWorld(t *testing.T, program string, more ...string) *world {
	w := &world{t: t, program: program, dir: t.TempDir(), repos: map[string]*repository.Repository{}, servers: map[string]*httptest.Server{}}
	config := "repositories:\n"
	for _, name := range []string{"acme", "initech"} {
		dir := filepath.Join(w.dir, "repo-"+name)
		repo, err := repository.Init(t.Context(), dir, repository.InitOptions{Options: repository.Options{
			Keys:  repository.Keys{Passphrase: repository.PlainKeys},
			Clock: func() time.Time { return time.Now().Add(w.clock) },
		}})
		require.NoError(t, err)
		w.repos[name], w.servers[name] = repo, httptest.NewServer(repo.Handler())
		t.Cleanup(w.servers[name].Close)
		w.publish(name, "1.0.0", runs)
		config += fmt.Sprintf("  - {name: %s, url: %q, root: %q, retries: {attempts: 1}}\n", name, w.servers[name].URL, filepath.Join(dir, "root.json"))
	}
	config += `
mappings:
  - {paths: ["plugins/acme/*"], repositories: [acme], terminating: true}
  - {paths: ["plugins/initech/*"], repositories: [initech], terminating: true}
policy:
  allow: {publishers: [acme, initech]}
plugins:
  acme/tool: ^1.0
  initech/tool: 1.0.0
metadataDir: state
cacheDir: cache
client: go
` + strings.Join(more, "\n")
	require.NoError(t, os.WriteFile(w.configPath(), []byte(config), 0o600))
	w.lock()
	return w
}

func (w *world) configPath() string { return filepath.Join(w.dir, "host.yaml") }
func (w *world) lockPath() string   { return filepath.Join(w.dir, lockfile.Name) }

// lock locks the newest versions, as an application's developer does.
func (w *world) lock() {
	w.t.Helper()
	v, err := vault.New(vault.Options{File: w.configPath(), MetadataDir: w.t.TempDir(), CacheDir: w.t.TempDir()})
	require.NoError(w.t, err)
	f, err := v.Lock(w.t.Context(), nil, nil, vault.LockOptions{})
	require.NoError(w.t, err)
	require.NoError(w.t, f.Write(w.lockPath()))
	require.NoError(w.t, v.Shutdown(context.Background()))
}

// locked is what the lock file says of a plugin.
func (w *world) locked(id string) lockfile.Entry {
	f, err := lockfile.Read(w.lockPath())
	require.NoError(w.t, err)
	e, ok := f.Find(id)
	require.True(w.t, ok)
	return e
}

func path(publisher, version string) string {
	return "plugins/" + publisher + "/tool." + version + ".tar.gz"
}

// publish publishes a version of a publisher's tool, a shell script that knows its
// NAME.
func (w *world) publish(publisher, version, script string) {
	w.publishEntry(publisher, version, tar.Header{Typeflag: tar.TypeReg, Name: "bin/run"}, script)
}

func (w *world) publishEntry(publisher, version string, entry tar.Header, script string) {
	w.t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	archive := tar.NewWriter(z)
	content := fmt.Sprintf("#!/bin/sh\nNAME='%s/tool %s'\n%s\n", publisher, version, script)
	for _, h := range []tar.Header{{Typeflag: tar.TypeReg, Name: "real"}, entry} {
		h.Mode = 0o755
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(content))
		}
		require.NoError(w.t, archive.WriteHeader(&h))
		_, err := io.WriteString(archive, content[:h.Size])
		require.NoError(w.t, err)
	}
	require.NoError(w.t, archive.Close())
	require.NoError(w.t, z.Close())
	manifest := fmt.Sprintf(`{"name":"tool","publisher":%q,"version":%q,"description":"a tool","entryPoint":"bin/run"}`, publisher, version)
	base := filepath.Join(w.t.TempDir(), version)
	require.NoError(w.t, os.WriteFile(base+".tar.gz", buf.Bytes(), 0o600))
	require.NoError(w.t, os.WriteFile(base+".json", []byte(manifest), 0o600))
	if w.clock != 0 {
		// A repository does not sign with a clock that lags behind its files.
		then := time.Now().Add(w.clock)
		require.NoError(w.t, os.Chtimes(filepath.Join(w.repos[publisher].Dir(), "metadata", "timestamp.json"), then, then))
	}
	_, _, err := w.repos[publisher].Publish(w.t.Context(), base+".tar.gz", base+".json", repository.PublishOptions{})
	require.NoError(w.t, err)
}

// running is a host that runs.
type running struct {
	t              *testing.T
	cmd            *exec.Cmd
	stdout, stderr *output
}

func (w *world) start() *running {
	w.t.Helper()
	h := &running{t: w.t, cmd: exec.Command(w.program, "-listen", "127.0.0.1:0", "-poll", "20ms", w.configPath(), w.lockPath()), stdout: &output{}, stderr: &output{}}
	h.cmd.Stdout, h.cmd.Stderr = h.stdout, h.stderr
	require.NoError(w.t, h.cmd.Start())
	w.t.Cleanup(func() {
		_ = h.cmd.Process.Kill()
		if w.t.Failed() {
			w.t.Logf("stdout:\n%s\nstderr:\n%.5000s", h.stdout.text(), h.stderr.text())
		}
	})
	return h
}

// prints waits until plugins have printed these lines.
func (h *running) prints(lines ...string) {
	h.t.Helper()
	for _, l := range lines {
		require.Eventually(h.t, func() bool { return strings.Contains(h.stdout.text(), l+"\n") }, patience, tick, l)
	}
}

// says waits until the host has said all of this.
func (h *running) says(words ...string) {
	h.t.Helper()
	for _, word := range words {
		require.Eventually(h.t, func() bool { return strings.Contains(h.stderr.text(), word) }, patience, tick, word)
	}
}

// said are the lines of the host, each of which is JSON.
func (h *running) said() []map[string]any {
	var all []map[string]any
	for lines := bufio.NewScanner(strings.NewReader(h.stderr.whole())); lines.Scan(); {
		var l map[string]any
		require.NoError(h.t, json.Unmarshal(lines.Bytes(), &l), lines.Text())
		all = append(all, l)
	}
	return all
}

// pid is the latest process of a plugin.
func (h *running) pid(plugin string) int {
	h.t.Helper()
	pid := 0
	for _, l := range h.said() {
		if l["started"] == "plugins/"+plugin+".tar.gz" {
			pid = int(l["pid"].(float64))
		}
	}
	require.NotZero(h.t, pid, plugin)
	return pid
}

// health asks for the health, which must come with a code, 0 for any.
func (h *running) health(code int) struct{ Status string } {
	h.t.Helper()
	var status struct{ Status string }
	for _, l := range h.said() {
		if url, ok := l["health"].(string); ok {
			resp, err := http.Get(url)
			require.NoError(h.t, err)
			defer resp.Body.Close()
			require.True(h.t, code == 0 || resp.StatusCode == code, resp.Status)
			require.NoError(h.t, json.NewDecoder(resp.Body).Decode(&status))
			return status
		}
	}
	require.Fail(h.t, "the host did not say where its health is")
	return status
}

// metricsOfAHost: what Prometheus gets, by repository.
func metricsOfAHost(t *testing.T, h *running) {
	t.Helper()
	for _, l := range h.said() {
		url, ok := l["metrics"].(string)
		if !ok {
			continue
		}
		all := promtest.Scrape(t, http.DefaultClient, url)
		for _, name := range []string{"acme", "initech"} {
			require.Positive(t, all.Sum("ragnos_tuf_verifications_total", "ragnos_repository="+name, "ragnos_tuf_engine=go"))
			require.Positive(t, all.Sum("ragnos_tuf_metadata_time_to_expiry_seconds", "ragnos_repository="+name, "ragnos_tuf_role=timestamp"))
		}
		require.Positive(t, all.Sum("ragnos_vault_operation_duration_seconds_count", "ragnos_vault_operation=open"))
		require.Positive(t, all.Sum("ragnos_vault_events_total", "ragnos_vault_event=opened"))
		return
	}
	require.Fail(t, "the host did not say where its metrics are")
}

// end stops the host, which leaves no process behind.
func (h *running) end() {
	h.t.Helper()
	require.NoError(h.t, h.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(h.t, h.cmd.Wait())
	for _, l := range h.said() {
		if pid, ok := l["pid"].(float64); ok {
			require.ErrorIs(h.t, syscall.Kill(int(pid), 0), syscall.ESRCH, l)
		}
	}
}

// output is what a process has printed so far.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// whole is the text up to the end of the last line.
func (o *output) whole() string {
	text := o.text()
	return text[:strings.LastIndex(text, "\n")+1]
}

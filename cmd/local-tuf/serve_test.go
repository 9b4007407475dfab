package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/repository"
)

// startServe runs "local-tuf serve" in this process and returns its address and
// what stops it and gives the exit code.
func startServe(t *testing.T, dir string) (url string, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	code := make(chan int, 1)
	go func() { code <- run(ctx, []string{"serve", "--dir", dir, "--port", "0"}, w, io.Discard) }()
	line, err := bufio.NewReader(r).ReadString('\n')
	require.NoError(t, err)
	before, url, ok := strings.Cut(strings.TrimSpace(line), " at ")
	require.True(t, ok)
	require.Equal(t, "serving "+dir, before)
	return url, func() int {
		cancel()
		return <-code
	}
}

func get(t *testing.T, client *http.Client, url string) (int, []byte) {
	t.Helper()
	resp, err := client.Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, body
}

func TestServeKeepsTheRepositoryFreshAndStops(t *testing.T) {
	dir := t.TempDir()
	code, _, stderr := runCommand(t, "init", "--plain-keys", "--dir", dir, "--timestamp-lifetime", "4s", "--snapshot-lifetime", "6s")
	require.Zero(t, code, stderr)
	url, stop := startServe(t, dir)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	require.Eventually(t, func() bool {
		_, body := get(t, client, url+repository.HealthPath)
		var st repository.Status
		require.NoError(t, json.Unmarshal(body, &st))
		return st.Status != repository.Down && st.Roles[2].Version >= 2 && st.Roles[3].Version >= 3
	}, time.Minute, 50*time.Millisecond)
	require.Zero(t, stop())
	_, err := client.Get(url)
	require.Error(t, err)
}

func TestServeLetsRunningAnswersFinish(t *testing.T) {
	dir := t.TempDir()
	r, err := repository.Init(t.Context(), dir, repository.InitOptions{Options: repository.Options{Keys: repository.Keys{Passphrase: repository.PlainKeys}}})
	require.NoError(t, err)
	// Far more than the buffers of a connection hold.
	name := strings.Repeat("a", 64) + ".large"
	large := make([]byte, 32<<20)
	require.NoError(t, os.WriteFile(filepath.Join(r.Dir(), "targets", name), large, 0o600))
	url, stop := startServe(t, dir)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url + "/targets/" + name)
	require.NoError(t, err)
	defer resp.Body.Close()
	stopped := make(chan int, 1)
	go func() { stopped <- stop() }()
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	}, time.Minute, time.Millisecond, "no new connections")
	n, err := io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	require.Equal(t, int64(len(large)), n)
	require.Zero(t, <-stopped)
}

func TestLimitListener(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := limitListener(inner, 1)
	accepted := make(chan net.Conn)
	failed := make(chan error, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				failed <- err
				return
			}
			accepted <- c
		}
	}()
	for range 2 {
		c, err := net.Dial("tcp", inner.Addr().String())
		require.NoError(t, err)
		defer c.Close()
	}
	first := <-accepted
	select {
	case <-accepted:
		t.Fatal("a second connection beyond the limit")
	default:
	}
	require.NoError(t, first.Close())
	_ = first.Close() // gives its place back only once
	second := <-accepted
	defer second.Close()
	require.NoError(t, l.Close())
	require.ErrorIs(t, <-failed, net.ErrClosed, "closing ends an Accept that waits for a place")
}

func TestLifetimeFlag(t *testing.T) {
	for text, want := range map[string]string{"90d": "90d", "48h": "2d", "36h": "36h0m0s", "10m": "10m0s"} {
		var l lifetime
		require.NoError(t, l.Set(text))
		require.Equal(t, want, l.String())
	}
	for _, bad := range []string{"", "d", "-1d", "1", "1s", "0d", "36501d", "4294967295d", "99999999999d", "-3h", "1.5d", "300000000h"} {
		var l lifetime
		require.Error(t, l.Set(bad), bad)
		require.Zero(t, l)
	}
}

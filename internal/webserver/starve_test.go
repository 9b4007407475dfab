package webserver

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

// TestSlowReadersLeaveRoom: eight clients that take every connection they get,
// ask for something large and do not read it, do not keep a ninth from a cold
// start.
func TestSlowReadersLeaveRoom(t *testing.T) {
	repo := tuftest.NewRepo(tuftest.Config{})
	repo.AddTarget("targets", "plugin", []byte("content"), nil)
	repo.Publish("targets")
	dir := t.TempDir()
	for name, raw := range repo.Files() {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, raw, 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "large"), nil, 0o600))
	require.NoError(t, os.Truncate(filepath.Join(dir, "large"), large))
	s := start(t, Config{Rate: DefaultRate}, http.FileServer(http.Dir(dir)), func(s *Server) { s.grace = 0 })

	held := 0
	for i := range 8 {
		for slow := true; slow; {
			slow = askSlowly(t, net.IPv4(127, 0, 0, byte(2+i)), s.addr)
			if slow {
				held++
			}
		}
	}
	require.Greater(t, held, DefaultMaxConnections/4, "else it is no attack")
	client, err := hybrid.New(hybrid.Options{RepositoryURL: s.url, Root: repo.RootBytes(1), Mode: hybrid.ModeGo,
		MetadataDir: filepath.Join(t.TempDir(), "metadata"), CacheDir: filepath.Join(t.TempDir(), "cache"), HTTP: hybrid.HTTPOptions{Attempts: 1}})
	require.NoError(t, err)
	_, err = client.VerifyAndDownloadPlugin(t.Context(), "plugin", hybrid.DownloadOptions{})
	require.NoError(t, err)
	require.NoError(t, client.Shutdown(t.Context()))
}

// askSlowly asks for what is large from an address of loopback, reads the status
// alone, and keeps the connection. It tells whether it got one.
func askSlowly(t *testing.T, from net.IP, addr string) bool {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}
	c, err := dialer.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Skipf("loopback has one address here: %v", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.(*net.TCPConn).SetReadBuffer(4096))
	require.NoError(t, c.SetDeadline(time.Now().Add(time.Minute)))
	_, err = io.WriteString(c, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
	if err == nil {
		_, err = io.ReadFull(c, make([]byte, 12))
	}
	return err == nil
}

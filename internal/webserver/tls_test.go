package webserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

// authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: t.Name()}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	require.NoError(t, err)
	a.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	return a
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// file writes the authority's own certificate.
func (a *authority) file(t *testing.T) string {
	return write(t, filepath.Join(a.dir, "ca.pem"), a.pem(), 0o644)
}

// issue writes a certificate for servers on loopback and for clients, and its key.
func (a *authority) issue(t *testing.T, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<60))
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}, a.cert, key.Public(), a.key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	certFile = write(t, filepath.Join(a.dir, name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
	keyFile = write(t, filepath.Join(a.dir, name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600)
	return certFile, keyFile
}

// trusting is the configuration of a client that trusts the authority and shows
// the certificates.
func (a *authority) trusting(shown ...tls.Certificate) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{RootCAs: pool, Certificates: shown}
}

// pair issues a certificate to show.
func (a *authority) pair(t *testing.T, name string) tls.Certificate {
	t.Helper()
	p, err := tls.LoadX509KeyPair(a.issue(t, name))
	require.NoError(t, err)
	return p
}

// fresh returns a client that makes a connection for each request.
func fresh(t *testing.T, c *tls.Config) *http.Client {
	return newClient(t, &http.Transport{TLSClientConfig: c, DisableKeepAlives: true, ForceAttemptHTTP2: true})
}

func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue(t, "server")
	s := start(t, Config{TLSCert: cert, TLSKey: key}, hello, nil)
	resp, body := get(t, fresh(t, ca.trusting()), s.url)
	require.Equal(t, "hello", body)
	require.Equal(t, 2, resp.ProtoMajor)
	require.Equal(t, "public, max-age=1, immutable", resp.Header.Get("Cache-Control"))
	old := ca.trusting()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	_, err := fresh(t, old).Get(s.url)
	require.ErrorContains(t, err, "protocol version not supported")
	require.Contains(t, exchange(t, s.addr, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "400 Bad Request")
	s.logged(t, map[string]any{"level": "WARN"})
}

func TestCertificateIsReadAgain(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	cert, key := ca.issue(t, "server")
	s := start(t, Config{TLSCert: cert, TLSKey: key}, hello, nil)
	client, newer := fresh(t, ca.trusting()), fresh(t, other.trusting())
	get(t, client, s.url)
	newCert, newKey := other.issue(t, "other")
	content := func(path string) []byte {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		return data
	}
	write(t, cert, content(newCert), 0o644)
	get(t, client, s.url) // while the two do not fit
	s.logged(t, map[string]any{"msg": "a file that was changed cannot be used"})
	write(t, key, content(newKey), 0o600)
	get(t, newer, s.url)
	_, err := client.Get(s.url)
	require.ErrorContains(t, err, "signed by unknown authority")
	require.NoError(t, os.Remove(key))
	get(t, newer, s.url)
}

func TestClientCertificates(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	cert, key := ca.issue(t, "server")
	authorities := ca.file(t)
	s := start(t, Config{TLSCert: cert, TLSKey: key, ClientCA: authorities}, hello, nil)
	mine, theirs := ca.pair(t, "client"), stranger.pair(t, "stranger")

	// One client keeps its sessions for resumption: they must not outlive a change.
	resuming := ca.trusting(mine)
	resuming.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	client := fresh(t, resuming)
	for range 2 {
		resp, body := get(t, client, s.url)
		require.Equal(t, "hello", body)
		require.Equal(t, "private, max-age=1, immutable", resp.Header.Get("Cache-Control"), "not for caches that all share")
	}
	for _, refused := range []*tls.Config{ca.trusting(), ca.trusting(theirs)} {
		_, err := fresh(t, refused).Get(s.url)
		require.Error(t, err)
	}

	write(t, authorities, stranger.pem(), 0o644)
	_, err := client.Get(s.url)
	require.Error(t, err)
	get(t, fresh(t, ca.trusting(theirs)), s.url)

	write(t, authorities, []byte("nothing"), 0o644)
	for range 2 {
		_, err = fresh(t, ca.trusting(theirs)).Get(s.url)
		require.Error(t, err, "nobody is admitted")
	}
	s.logged(t, map[string]any{"msg": "a file that was changed cannot be used"})
	write(t, authorities, ca.pem(), 0o644)
	get(t, client, s.url)
}

// TestOpenConnectionsAreHeldAgainstTheAuthorities: whoever is not admitted any
// more gets nothing, also where the handshake is long past.
func TestOpenConnectionsAreHeldAgainstTheAuthorities(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		ca, other := newAuthority(t), newAuthority(t)
		cert, key := ca.issue(t, "server")
		authorities := ca.file(t)
		s := start(t, Config{TLSCert: cert, TLSKey: key, ClientCA: authorities}, hello, nil)
		var dialed atomic.Int32
		tr := &http.Transport{TLSClientConfig: ca.trusting(ca.pair(t, "client")), ForceAttemptHTTP2: http2,
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				dialed.Add(1)
				return new(net.Dialer).DialContext(ctx, network, addr)
			}}
		client := newClient(t, tr)
		get(t, client, s.url)
		write(t, authorities, append(other.pem(), ca.pem()...), 0o644)
		resp, _ := get(t, client, s.url)
		require.Equal(t, http.StatusOK, resp.StatusCode, "one more authority")
		write(t, authorities, []byte("nothing"), 0o644)
		resp, body := get(t, client, s.url)
		require.Equal(t, http.StatusForbidden, resp.StatusCode)
		require.NotContains(t, body, "hello")
		require.Equal(t, int32(1), dialed.Load(), "all on one connection")
		require.Eventually(t, func() bool {
			resp, err := client.Get(s.url)
			if err == nil {
				_ = resp.Body.Close()
				require.Equal(t, http.StatusForbidden, resp.StatusCode)
			}
			return err != nil
		}, time.Minute, time.Millisecond, "the connection is closed, and there is no new one")

		write(t, authorities, ca.pem(), 0o644)
		resp, _ = get(t, client, s.url)
		require.Equal(t, http.StatusOK, resp.StatusCode)
		write(t, authorities, other.pem(), 0o644)
		resp, _ = get(t, client, s.url)
		require.Equal(t, http.StatusForbidden, resp.StatusCode, "another authority")
	}
}

func TestTLSFilesAreChecked(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue(t, "server")
	otherCert, _ := ca.issue(t, "other")
	shown := file(t, "shown.key", "x", 0o644)
	for says, c := range map[string]struct {
		config Config
		code   protocol.Code
	}{
		"no such file":          {Config{TLSCert: cert + "x", TLSKey: key}, protocol.CodeLocalIO},
		"cannot be used":        {Config{TLSCert: otherCert, TLSKey: key}, protocol.CodeLocalIO},
		"not a regular file":    {Config{TLSCert: cert, TLSKey: ca.dir}, protocol.CodeLocalIO},
		"other users can reach": {Config{TLSCert: cert, TLSKey: shown}, protocol.CodePermissions},
		"holds no certificate":  {Config{TLSCert: cert, TLSKey: key, ClientCA: key}, protocol.CodeLocalIO},
	} {
		c.config.MaxConnections = 8
		_, err := New(c.config, hello)
		requireCode(t, err, c.code, says)
	}
	require.NoError(t, os.Chmod(key, 0o640))
	_, err := New(Config{MaxConnections: 8, TLSCert: cert, TLSKey: key}, hello)
	require.NoError(t, err, "its group may have the key")
}

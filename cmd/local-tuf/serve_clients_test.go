package main

import (
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
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest/plain"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

const readToken = "a-token-for-the-readers"

// certificates writes an authority, and a certificate of it that serves on
// loopback and for clients.
func certificates(t *testing.T) (ca, cert, key string) {
	t.Helper()
	dir := t.TempDir()
	issue := func(name string, template, parent *x509.Certificate, by *ecdsa.PrivateKey) *ecdsa.PrivateKey {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		if by == nil {
			by = private
		}
		template.SerialNumber, template.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, private.Public(), by)
		require.NoError(t, err)
		pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
		require.NoError(t, err)
		for ext, block := range map[string]*pem.Block{".pem": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: pkcs8}} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name+ext), pem.EncodeToMemory(block), 0o600))
		}
		return private
	}
	authority := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	issuer := issue("ca", authority, authority, nil)
	issue("leaf", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}, authority, issuer)
	return filepath.Join(dir, "ca.pem"), filepath.Join(dir, "leaf.pem"), filepath.Join(dir, "leaf.key")
}

// TestClientsWithCredentials: our client and python-tuf's own, over TLS, with a
// token or a certificate, and without.
func TestClientsWithCredentials(t *testing.T) {
	dir := newRepository(t)
	ca, cert, key := certificates(t)
	tokens := filepath.Join(t.TempDir(), "tokens")
	require.NoError(t, os.WriteFile(tokens, []byte(readToken+"\n"), 0o600))
	shown, err := tls.LoadX509KeyPair(cert, key)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		flags  []string
		http   hybrid.HTTPOptions
		python []string
		// refusal is the status of the answer without credentials, 0 for none at all.
		refusal int
	}{
		"token":       {[]string{"--read-token-file", tokens}, hybrid.HTTPOptions{BearerToken: readToken}, []string{"header", "Bearer " + readToken}, http.StatusUnauthorized},
		"certificate": {[]string{"--client-ca", ca}, hybrid.HTTPOptions{ClientCertificate: &shown}, []string{"cert", cert, key}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := startServe(t, dir, append(c.flags, "--tls-cert", cert, "--tls-key", key)...)
			for _, mode := range []hybrid.Mode{hybrid.ModeAuto, hybrid.ModeDual} {
				require.NoError(t, download(t, s.url, dir, ca, mode, c.http))
			}
			err := download(t, s.url, dir, ca, hybrid.ModeAuto, hybrid.HTTPOptions{Attempts: 1})
			require.ErrorIs(t, err, hybrid.ErrTransport)
			if c.refusal != 0 {
				require.ErrorIs(t, err, tuferr.OfCode(protocol.CodeHTTPStatus))
				require.Equal(t, c.refusal, tuferr.As(err).Status)
			}
			require.NoError(t, pythonDownload(t, s.url, dir, ca, c.python...))
			require.Error(t, pythonDownload(t, s.url, dir, ca))
			require.Zero(t, s.stop(t))
			require.NotContains(t, s.log.String(), readToken)
		})
	}
}

// download fetches the plugin with our client.
func download(t *testing.T, url, dir, ca string, mode hybrid.Mode, o hybrid.HTTPOptions) error {
	t.Helper()
	authority, err := os.ReadFile(ca)
	require.NoError(t, err)
	o.RootCAs = x509.NewCertPool()
	require.True(t, o.RootCAs.AppendCertsFromPEM(authority))
	root, err := os.ReadFile(filepath.Join(dir, "root.json"))
	require.NoError(t, err)
	python, err := plain.Interpreter()
	require.NoError(t, err)
	client, err := hybrid.New(hybrid.Options{RepositoryURL: url, Root: root, MetadataDir: filepath.Join(t.TempDir(), "metadata"),
		CacheDir: filepath.Join(t.TempDir(), "cache"), Mode: mode, Python: python, HTTP: o})
	require.NoError(t, err)
	defer func() { require.NoError(t, client.Shutdown(t.Context())) }()
	_, err = client.VerifyAndDownloadPlugin(t.Context(), helloPath, hybrid.DownloadOptions{})
	return err
}

// pythonDownload fetches it with python-tuf's.
func pythonDownload(t *testing.T, url, dir, ca string, access ...string) error {
	t.Helper()
	python, err := plain.Interpreter()
	require.NoError(t, err)
	args := []string{"testdata/ngclient.py", url, filepath.Join(dir, "root.json"), t.TempDir(), helloPath, ca}
	out, err := exec.CommandContext(t.Context(), python, append(args, access...)...).Output()
	if err != nil {
		return err
	}
	want, err := os.ReadFile("../../testdata/plugins/hello-world.1.0.0.tar.gz")
	require.NoError(t, err)
	got, err := os.ReadFile(string(out))
	require.NoError(t, err)
	require.Equal(t, want, got)
	return nil
}

// TestOneShotClientOverTLS: the python command takes authorities from the environment.
func TestOneShotClientOverTLS(t *testing.T) {
	dir := newRepository(t)
	ca, cert, key := certificates(t)
	s := startServe(t, dir, "--tls-cert", cert, "--tls-key", key)
	python, err := plain.Interpreter()
	require.NoError(t, err)
	work := t.TempDir()
	for _, command := range [][]string{{"init"}, {"download", helloPath}} {
		args := append([]string{"../../python/python-tuf-client.py", "--root", filepath.Join(dir, "root.json"),
			"--metadata-dir", filepath.Join(work, "metadata"), "--target-dir", filepath.Join(work, "targets")}, command...)
		cmd := exec.CommandContext(t.Context(), python, args...)
		cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+ca, hybrid.EnvRepoURL+"="+s.url)
		out, err := cmd.Output()
		require.NoError(t, err, "%s", out)
	}
	require.Zero(t, s.stop(t))
}

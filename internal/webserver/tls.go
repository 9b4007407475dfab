package webserver

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"sync"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// protocols are offered to clients, the best first.
var protocols = []string{"h2", "http/1.1"}

// encryption makes the configuration of TLS from files, which are looked at for
// every handshake: three calls of stat beside public key cryptography.
//
// Certificate and key are two files, which nobody can replace at one moment:
// while they do not fit, the ones before go on. A file of authorities for client
// certificates that cannot be used any more admits nobody, also on connections
// that are open: each request is held against it.
type encryption struct {
	certificate *reloaded[*tls.Certificate]
	authorities *reloaded[*x509.CertPool] // nil: clients need no certificate

	mu     sync.Mutex
	made   *tls.Config
	leaf   *tls.Certificate
	accept *x509.CertPool
}

func (c Config) encryption(report func(error)) (*encryption, error) {
	e := &encryption{}
	var err error
	load := func() (*tls.Certificate, error) { return loadCertificate(c.TLSCert, c.TLSKey) }
	if e.certificate, err = newReloaded(report, load, c.TLSCert, c.TLSKey); err != nil || c.ClientCA == "" {
		return e, err
	}
	e.authorities, err = newReloaded(report, func() (*x509.CertPool, error) { return loadPool(c.ClientCA) }, c.ClientCA)
	return e, err
}

// config is what an [http.Server] is given.
func (e *encryption) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: protocols,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return e.current() }}
}

// current returns the configuration for one handshake. A new one has new keys for
// session tickets, so that no session outlives the authority that admitted it.
func (e *encryption) current() (*tls.Config, error) {
	var accept *x509.CertPool
	demand := tls.NoClientCert
	if e.authorities != nil {
		var err error
		if accept, err = e.authorities.get(); err != nil {
			return nil, errors.New("the file of client authorities cannot be used")
		}
		demand = tls.RequireAndVerifyClientCert
	}
	leaf, _ := e.certificate.get() // has been reported
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.made == nil || e.leaf != leaf || e.accept != accept {
		e.leaf, e.accept = leaf, accept
		e.made = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: protocols,
			Certificates: []tls.Certificate{*leaf}, ClientCAs: accept, ClientAuth: demand}
	}
	return e.made, nil
}

// guard lets requests through whose certificate the authorities of this moment
// vouch for. To others it closes the connection: the next handshake decides.
func (e *encryption) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		accept, err := e.authorities.get()
		if err != nil || !vouched(req.TLS, accept) {
			w.Header().Set("Connection", "close")
			refuse(w, http.StatusForbidden, "the certificate is not accepted any more")
			return
		}
		next.ServeHTTP(w, req)
	})
}

// vouched verifies a client's certificate as the handshake does.
func vouched(c *tls.ConnectionState, accept *x509.CertPool) bool {
	if c == nil || len(c.PeerCertificates) == 0 {
		return false
	}
	between := x509.NewCertPool()
	for _, cert := range c.PeerCertificates[1:] {
		between.AddCert(cert)
	}
	_, err := c.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: accept, Intermediates: between,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err == nil
}

func loadCertificate(certFile, keyFile string) (*tls.Certificate, error) {
	cert, err := readFile(certFile, 0)
	if err != nil {
		return nil, err
	}
	// Its group may read it: that is how systems give it to several servers.
	key, err := readFile(keyFile, 0o007)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, &tuferr.Error{Code: protocol.CodeLocalIO, Op: "serve", Path: certFile, Err: err,
			Msg: "certificate and key cannot be used", Hint: "they must be PEM files that belong together, the key not encrypted"}
	}
	return &pair, nil
}

func loadPool(path string) (*x509.CertPool, error) {
	data, err := readFile(path, 0)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, unusable(path, "holds no certificate in PEM form")
	}
	return pool, nil
}

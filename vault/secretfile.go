package vault

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
)

// maxSecretFile is the largest token, key or list of certificates in bytes.
const maxSecretFile = 1 << 20

// secretFiles reads what a repository shows and trusts. No error says where a
// file is or what it holds: a token may stand where its path should.
type secretFiles struct {
	key   string
	found *mistakes
}

// token returns the token in a file without one newline at its end.
func (s secretFiles) token(path string) string {
	data, ok := s.read("tokenFile", path, true)
	if !ok {
		return ""
	}
	token := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		s.add("tokenFile", "", "holds no token: one line of printable ASCII without spaces")
		return ""
	}
	return token
}

// authorities returns the certificate authorities in a PEM file.
func (s secretFiles) authorities(path string) *x509.CertPool {
	data, ok := s.read("caFile", path, false)
	if !ok {
		return nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		s.add("caFile", "", "holds no certificate in PEM")
	}
	return pool
}

// certificate returns the certificate to show, with its key.
func (s secretFiles) certificate(certPath, keyPath string) *tls.Certificate {
	if (certPath == "") != (keyPath == "") {
		s.found.add(s.key, "", "%s: certFile and keyFile go together", s.key)
		return nil
	}
	cert, certOK := s.read("certFile", certPath, false)
	key, keyOK := s.read("keyFile", keyPath, true)
	if !certOK || !keyOK {
		return nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		s.add("certFile", "give both in PEM, the key unencrypted", "does not go with keyFile")
		return nil
	}
	return &pair
}

// read returns what a file holds; false if there is none or it cannot be used.
func (s secretFiles) read(field, path string, secret bool) ([]byte, bool) {
	if path == "" {
		return nil, false
	}
	data, mode, err := readRegular(path, maxSecretFile)
	switch {
	case err != nil:
		s.add(field, "", "%v", withoutPath(err))
	case secret && runtime.GOOS != "windows" && mode&0o077 != 0:
		s.add(field, "chmod 600, and replace the secret if others could read it",
			"holds a secret, and other users may read or write the file")
	default:
		return data, true
	}
	return nil, false
}

func (s secretFiles) add(field, hint, format string, args ...any) {
	s.found.add(s.key+"."+field, hint, "%s.%s: %s", s.key, field, fmt.Sprintf(format, args...))
}

// readRegular reads a regular file of at most max bytes: it never waits for a
// pipe, and never reads a device.
func readRegular(path string, max int64) ([]byte, fs.FileMode, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, errors.New("not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, 0, err
	}
	data, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(data)) > max {
		err = fmt.Errorf("larger than %d bytes", max)
	}
	return data, info.Mode(), err
}

// withoutPath leaves the path out of an error about a file.
func withoutPath(err error) error {
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}

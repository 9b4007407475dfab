package repository

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

// rsaBits is the size of new keys, and the least that is accepted.
const rsaBits = 2048

// maxKeyFile bounds a key file in bytes.
const maxKeyFile = 64 << 10

func keyPath(dir, role string) string {
	return filepath.Join(dir, keysName, role+".pem")
}

// newKey makes the private key of a role and stores it for its owner only.
func newKey(dir, role string) (signature.Signer, error) {
	key, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		return nil, &Error{Code: protocol.CodeInternal, Role: role, Msg: "cannot make a key", Err: err}
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, &Error{Code: protocol.CodeInternal, Role: role, Msg: "cannot encode a key", Err: err}
	}
	data := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := writeFile(keyPath(dir, role), data, 0o600); err != nil {
		return nil, err
	}
	return signer(key)
}

// loadKey loads the private key of a role. A file or directory that others can
// read or write is refused: the key may be known already.
func loadKey(dir, role string) (signature.Signer, error) {
	path := keyPath(dir, role)
	if info, err := os.Stat(filepath.Dir(path)); err != nil {
		return nil, ioError(filepath.Dir(path), err)
	} else if err := private(filepath.Dir(path), info, "700"); err != nil {
		return nil, err
	}
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, ioError(path, err)
	}
	if err := private(path, info, "600"); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, ioError(path, err)
	}
	return parseKey(path, data)
}

func private(path string, info fs.FileInfo, mode string) error {
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	return &Error{Code: protocol.CodePermissions, Path: path,
		Msg:  "refusing a private key that other users can reach",
		Hint: "chmod " + mode + " " + path + "; if others could read it, replace the key"}
}

// parseKey never repeats anything of the file in its errors.
func parseKey(path string, data []byte) (signature.Signer, error) {
	bad := func(msg string) error {
		return &Error{Code: protocol.CodeLocalIO, Path: path, Msg: msg, Hint: "restore the key file from a backup"}
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, bad("the key file holds no PEM block PRIVATE KEY")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, bad("the key file is damaged")
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok || key.N.BitLen() < rsaBits {
		return nil, bad("the key is no RSA key of at least 2048 bits")
	}
	return signer(key)
}

// signer signs with RSA-PSS-SHA256. The salt is as long as the hash: some
// clients accept no other length.
func signer(key *rsa.PrivateKey) (signature.Signer, error) {
	return signature.LoadRSAPSSSigner(key, crypto.SHA256, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
}

package audit

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/ragnos-labs/vault-tuf/internal/diskfile"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

const (
	// KeyName is the file of the key that signs checkpoints, PublicName that of the
	// keys that verify them, one a line: the present one, and those before it.
	KeyName    = "audit.key"
	PublicName = "audit.pub"

	keyTemp     = "audit.tmp" // only who has the lock touches it
	maxKeyFile  = 64 << 10    // bytes
	publicMode  = 0o644
	ed25519Note = 1 // the algorithm in a note's keys
)

// openKey reads the key, or makes it where there is none. It needs the lock.
func openKey(dir, name string, before func(op, path string) error) (note.Signer, []note.Verifier, error) {
	path := filepath.Join(dir, KeyName)
	raw, info, err := diskfile.Read(path, maxKeyFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(filepath.Join(dir, PublicName)); err == nil {
			return nil, nil, badKey(path, "it is missing, and "+PublicName+" is there")
		}
		if raw, err = makeKey(dir, name, before); err != nil {
			return nil, nil, err
		}
	case err != nil:
		return nil, nil, err
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		e := tuferr.New(protocol.CodePermissions, "%s signs the audit log, and other users may read or write it", path)
		e.Path, e.Hint = path, "chmod 600, and replace the key if others could read it"
		return nil, nil, e
	}
	text := strings.TrimSuffix(string(raw), "\n")
	signer, err := note.NewSigner(text)
	var public string
	if err == nil {
		public, err = publicOf(text)
	}
	if err != nil {
		return nil, nil, badKey(path, "it is not the signing key of a note")
	}
	if name != "" && signer.Name() != name {
		return nil, nil, badKey(path, "it is the key of "+signer.Name())
	}
	verifiers, err := keepPublic(dir, public, before)
	return signer, verifiers, err
}

// makeKey makes a key with this name, or one of its own.
func makeKey(dir, name string, before func(op, path string) error) ([]byte, error) {
	if name == "" {
		host, err := os.Hostname()
		if err != nil || host == "" || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r > '~' || r == '+' }) {
			host = "localhost"
		}
		b := make([]byte, 4)
		_, _ = rand.Read(b) // never fails
		name = host + "/audit/" + hex.EncodeToString(b)
	}
	private, _, err := note.GenerateKey(rand.Reader, name)
	if err == nil {
		_, err = note.NewSigner(private)
	}
	if err != nil {
		return nil, tuferr.New(protocol.CodeUsage, "no key can be made with the name %q: %w", name, err)
	}
	raw := []byte(private + "\n")
	return raw, diskfile.Replacement{
		Path: filepath.Join(dir, KeyName), Temp: filepath.Join(dir, keyTemp), Mode: fileMode, Exact: true, Before: before,
	}.Write(raw)
}

// publicOf returns the key that verifies what the key in text signs.
func publicOf(text string) (string, error) {
	fields := strings.SplitN(text, "+", 5) // PRIVATE+KEY+name+hash+key
	if len(fields) != 5 {
		return "", errors.New("malformed")
	}
	key, err := base64.StdEncoding.DecodeString(fields[4])
	if err != nil || len(key) != 1+ed25519.SeedSize || key[0] != ed25519Note {
		return "", errors.New("not an Ed25519 key")
	}
	return note.NewEd25519VerifierKey(fields[2], ed25519.NewKeyFromSeed(key[1:]).Public().(ed25519.PublicKey))
}

// keepPublic makes the file of the public key where there is none, and sees that
// public stands in it.
func keepPublic(dir, public string, before func(op, path string) error) ([]note.Verifier, error) {
	path := filepath.Join(dir, PublicName)
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = diskfile.Replacement{
			Path: path, Temp: filepath.Join(dir, keyTemp), Mode: publicMode, Before: before,
		}.Write([]byte(public + "\n"))
	}
	if err != nil {
		return nil, diskfile.Error("open", path, err)
	}
	all, err := ReadKeys(path)
	if err != nil {
		return nil, err
	}
	own, err := note.NewVerifier(public)
	if err != nil {
		return nil, badKey(path, err.Error())
	}
	if !slices.ContainsFunc(all, func(v note.Verifier) bool { return v.Name() == own.Name() && v.KeyHash() == own.KeyHash() }) {
		e := badKey(path, "it does not hold the key that verifies what "+KeyName+" signs")
		e.Hint = "if you have replaced the key, add this line: " + public
		return nil, e
	}
	return all, nil
}

// ReadKeys reads files of keys that verify checkpoints, such as [PublicName]: one a
// line, as package note writes them. A file that holds none is local_io. A key that
// is there more than once is one.
func ReadKeys(paths ...string) ([]note.Verifier, error) {
	var all []note.Verifier
	have := map[string]bool{} // Package note lets a key that it has twice verify nothing.
	for _, path := range paths {
		raw, _, err := diskfile.Read(path, maxKeyFile)
		if err != nil {
			return nil, err
		}
		keys := 0
		for text := range strings.Lines(string(raw)) {
			if text = strings.TrimSpace(text); text == "" {
				continue
			}
			v, err := note.NewVerifier(text)
			if err != nil {
				return nil, badKey(path, err.Error())
			}
			if keys++; !have[text] {
				have[text], all = true, append(all, v)
			}
		}
		if keys == 0 {
			return nil, badKey(path, "it holds no key")
		}
	}
	return all, nil
}

func badKey(path, why string) *tuferr.Error {
	e := tuferr.New(protocol.CodeLocalIO, "%s cannot be used: %s", path, why)
	e.Path, e.Hint = path, "restore it from a backup; the checkpoints of this log can be checked with no other key"
	return e
}

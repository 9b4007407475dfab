package webserver

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// Bounds of a token file.
const (
	minToken  = 16 // characters
	maxToken  = 512
	maxTokens = 100
)

// tokenPattern is RFC 6750's form of a bearer token.
var tokenPattern = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)

// tokens are the hashes of what is accepted: a comparison takes the same time
// whatever it is compared with, and no token lies in memory for long.
type tokens [][sha256.Size]byte

// loadTokens reads a file with one token on each line. Empty lines and lines that
// begin with # are skipped.
func loadTokens(path string) (tokens, error) {
	data, err := readFile(path, 0o077)
	if err != nil {
		return nil, err
	}
	var all tokens
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if len(line) < minToken || len(line) > maxToken || !tokenPattern.MatchString(line) {
			return nil, unusable(path, fmt.Sprintf("has no token on line %d: %d to %d letters, digits or ._~+/-", n, minToken, maxToken))
		}
		all = append(all, sha256.Sum256([]byte(line)))
	}
	switch {
	case lines.Err() != nil:
		return nil, unusable(path, "has a line that is too long")
	case len(all) == 0:
		return nil, unusable(path, "holds no token")
	case len(all) > maxTokens:
		return nil, unusable(path, fmt.Sprintf("holds more than %d tokens", maxTokens))
	}
	return all, nil
}

// admit tells whether the request has one of the tokens.
func (t tokens) admit(req *http.Request) bool {
	scheme, token, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	given := sha256.Sum256([]byte(strings.TrimSpace(token)))
	found := 0
	for _, one := range t {
		found |= subtle.ConstantTimeCompare(given[:], one[:])
	}
	return found == 1
}

// guard lets requests with a token through. A token file that cannot be used any
// more admits nobody.
func guard(file *reloaded[tokens], next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		accepted, err := file.get()
		if err != nil || !accepted.admit(req) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="plugins"`)
			refuse(w, http.StatusUnauthorized, "a token is needed")
			return
		}
		next.ServeHTTP(w, req)
	})
}

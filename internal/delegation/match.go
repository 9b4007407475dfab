// Package delegation decides which role may speak for a target path: the
// matching of paths and hash prefixes, and the walk over delegations
// (specification, 4.5 and 5.6.7). The walk of both engines' answers is checked
// with it, so that there is one meaning of a pattern.
package delegation

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode/utf8"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
)

// Trusts says whether the delegation trusts its role with a target path: the
// path matches one of its patterns, or the hex SHA-256 of the path begins with
// one of its prefixes. A delegation with neither trusts its role with nothing.
func Trusts(r *admission.DelegatedRole, path string) bool {
	for _, pattern := range r.Paths {
		if Match(pattern, path) {
			return true
		}
	}
	if len(r.PathHashPrefixes) == 0 {
		return false
	}
	sum := sha256.Sum256([]byte(path))
	digest := hex.EncodeToString(sum[:])
	for _, prefix := range r.PathHashPrefixes {
		if strings.HasPrefix(digest, prefix) {
			return true
		}
	}
	return false
}

// Match says whether a target path matches a PATHPATTERN, the shell's
// convention for path names, glob(7): "*" stands for any characters but "/",
// "?" for one, "[a-z]" for one of a set, "[!a-z]" (also "[^a-z]") for one
// outside it, and a backslash takes the meaning from the character after it,
// but not between brackets, where it stands for itself.
// A "[" that is never closed, and a backslash at the end, stand for themselves.
// A leading dot is nothing special. It takes time linear in the product of the lengths.
func Match(pattern, path string) bool {
	for {
		p, patterns, more := strings.Cut(pattern, "/")
		s, parts, longer := strings.Cut(path, "/")
		if more != longer || !matchSegment(p, s) {
			return false
		}
		if !more {
			return true
		}
		pattern, path = patterns, parts
	}
}

// matchSegment backtracks to the last star only, which is enough: a later star
// can do all that an earlier one could.
func matchSegment(pattern, s string) bool {
	star, rest := -1, 0
	p, i := 0, 0
	for i < len(s) {
		if p < len(pattern) && pattern[p] == '*' {
			star, rest = p, i
			p++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if p < len(pattern) {
			if ok, next := matchOne(pattern, p, r); ok {
				p, i = next, i+size
				continue
			}
		}
		if star < 0 {
			return false
		}
		_, size = utf8.DecodeRuneInString(s[rest:])
		rest += size
		p, i = star+1, rest
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// matchOne matches the element of the pattern at p against one character and
// returns where the next element begins.
func matchOne(pattern string, p int, r rune) (ok bool, next int) {
	c, size := utf8.DecodeRuneInString(pattern[p:])
	switch c {
	case '?':
		return true, p + 1
	case '\\':
		if p+1 < len(pattern) {
			c, size = utf8.DecodeRuneInString(pattern[p+1:])
			return c == r, p + 1 + size
		}
	case '[':
		if ok, next := matchSet(pattern, p+1, r); next > 0 {
			return ok, next
		}
	}
	return c == r, p + size
}

// matchSet matches a bracket expression whose content begins at p; next is 0 if
// it is never closed.
func matchSet(pattern string, p int, r rune) (ok bool, next int) {
	negate := p < len(pattern) && (pattern[p] == '!' || pattern[p] == '^')
	if negate {
		p++
	}
	for first := true; p < len(pattern); first = false {
		if pattern[p] == ']' && !first {
			return ok != negate, p + 1
		}
		low, size := utf8.DecodeRuneInString(pattern[p:])
		high, q := low, p+size
		if q+1 < len(pattern) && pattern[q] == '-' && pattern[q+1] != ']' {
			high, size = utf8.DecodeRuneInString(pattern[q+1:])
			q += 1 + size
		}
		ok = ok || low <= r && r <= high
		p = q
	}
	return false, 0
}

package transport

import (
	"errors"
	"net/url"
	"strconv"
	"strings"

	"github.com/ragnos-labs/vault-tuf/internal/targetpath"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

const upperHex = "0123456789ABCDEF"

// MetadataURL returns where a role's metadata file lies below base:
// VERSION.ROLE.json, or ROLE.json for version 0. Everything in role but letters,
// digits and "_.-~" is percent-encoded, the slash included, so that no role name
// leads out of base. It returns an error of code usage for a base that cannot be.
func MetadataURL(base, role string, version int64) (string, error) {
	prefix, err := below(base)
	if err != nil {
		return "", err
	}
	if version < 0 {
		return "", tuferr.New(protocol.CodeUsage, "metadata version %d is negative", version)
	}
	name := escape(role, "") + ".json"
	if version > 0 {
		name = strconv.FormatInt(version, 10) + "." + name
	}
	return prefix + name, nil
}

// TargetURL returns where a target lies below base. hashPrefix, if not empty,
// goes before the last segment (DIR/HASH.NAME, as in a consistent snapshot).
// Segments are escaped so that the server sees exactly the target path; what a
// URL path may hold as it is (RFC 3986, pchar) stays as other clients send it.
// It returns the errors of [CheckTargetPath], and usage for a base that cannot be.
func TargetURL(base, targetPath, hashPrefix string) (string, error) {
	prefix, err := below(base)
	if err != nil {
		return "", err
	}
	if err := CheckTargetPath(targetPath); err != nil {
		return "", err
	}
	if i := strings.LastIndexByte(targetPath, '/') + 1; hashPrefix != "" {
		targetPath = targetPath[:i] + hashPrefix + "." + targetPath[i:]
	}
	return prefix + escape(targetPath, "/!$&'()*+,;=:@"), nil
}

// CheckTargetPath is [targetpath.Check].
func CheckTargetPath(name string) error { return targetpath.Check(name) }

// escape percent-encodes every byte of s that is neither unreserved (RFC 3986)
// nor in keep.
func escape(s, keep string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			strings.IndexByte("_.-~", c) >= 0, strings.IndexByte(keep, c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(upperHex[c>>4])
			b.WriteByte(upperHex[c&15])
		}
	}
	return b.String()
}

// below checks a base URL and returns it with one slash at its end.
func below(base string) (string, error) {
	u, err := parse(base, func(u *url.URL) string {
		if notInDir(u) == "" {
			return ""
		}
		return unusable(u)
	})
	if err != nil {
		return "", err
	}
	if strings.ContainsAny(base, "?#") {
		e := tuferr.New(protocol.CodeUsage, "a repository URL must not have a query or fragment")
		e.URL = redact(u)
		return "", e
	}
	return strings.TrimRight(base, "/") + "/", nil
}

// parse reads a URL and refuses what is unusable. Its error shows no secret.
func parse(raw string, unusable func(*url.URL) string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		var detail *url.Error
		if errors.As(err, &detail) {
			// The outer error repeats the URL, passwords included.
			err = detail.Err
		}
		e := tuferr.New(protocol.CodeUsage, "the repository URL cannot be understood")
		e.Err, e.Hint = err, "give a URL such as https://example.com/repository"
		return nil, e
	}
	if why := unusable(u); why != "" {
		e := tuferr.New(protocol.CodeUsage, "the repository URL %s", why)
		e.URL, e.Hint = redact(u), "give a URL such as https://example.com/repository"
		return nil, e
	}
	return u, nil
}

// unusable says why a URL cannot be asked over HTTP, or nothing.
func unusable(u *url.URL) string {
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return "is neither http nor https"
	case u.Opaque != "" || u.Hostname() == "":
		return "names no host"
	case u.User != nil:
		return "holds a user name; use a token or a client certificate"
	case u.Fragment != "":
		return "has a fragment"
	}
	return ""
}

// redact writes a URL without the parts that may hold secrets.
func redact(u *url.URL) string {
	c := *u
	c.User, c.Fragment, c.RawFragment = nil, "", ""
	if c.RawQuery != "" {
		c.RawQuery = "redacted"
	}
	return c.String()
}

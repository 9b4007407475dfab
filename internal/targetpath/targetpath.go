// Package targetpath knows which target paths are safe to use, for all who get
// them from a caller, a repository or a file.
package targetpath

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Check refuses, with code invalid_name, target paths that could name
// anything but a file below the repository's targets, or mean different things
// to a server, a file system and a terminal: empty or absolute ones, empty, "."
// and ".." segments, backslashes, control characters, percent escapes and
// invalid UTF-8.
func Check(name string) error {
	why := ""
	switch {
	case name == "":
		why = "is empty"
	case !utf8.ValidString(name):
		why = "is not valid UTF-8"
	case name[0] == '/':
		why = "is absolute"
	case strings.ContainsRune(name, '\\'):
		why = "has a backslash"
	case strings.ContainsFunc(name, unicode.IsControl):
		why = "has a control character"
	case hasEscape(name):
		why = "has a percent escape"
	default:
		for s := range strings.SplitSeq(name, "/") {
			if s == "" || s == "." || s == ".." {
				why = "has an empty, \".\" or \"..\" segment"
			}
		}
	}
	if why == "" {
		return nil
	}
	e := tuferr.New(protocol.CodeInvalidName, "the target name %.200q %s", name, why)
	e.Hint = "give the path as the repository lists it, such as plugins/acme/tool.1.0.tar.gz"
	return e
}

// hasEscape tells whether s holds a percent sign with two hex digits.
func hasEscape(s string) bool {
	isHex := func(c byte) bool { return strings.IndexByte("0123456789abcdefABCDEF", c) >= 0 }
	for i := 0; i+2 < len(s); i++ {
		if s[i] == '%' && isHex(s[i+1]) && isHex(s[i+2]) {
			return true
		}
	}
	return false
}

package store

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
)

// maxFileName is the longest file name, without its ending, that is written as
// it is; file systems end at 255 bytes.
const maxFileName = 200

// FileName returns the name of a role's file in the metadata directory:
// the role name with every byte except ASCII letters, digits, '_', '.', '-' and
// '~' percent-encoded, and ".json". It contains no separator and is never "." or
// "..". A name that would be too long, or for which clash is true because
// another role's name differs from it in case only, is "@" and the hex SHA-256
// of the role name instead: no encoded name contains '@'.
func FileName(role string, clash bool) string {
	q := quote(role)
	if clash || len(q) > maxFileName {
		sum := sha256.Sum256([]byte(role))
		q = "@" + hex.EncodeToString(sum[:])
	}
	return q + ".json"
}

func quote(s string) string {
	const upperHex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			c == '_', c == '.', c == '-', c == '~':
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', upperHex[c>>4], upperHex[c&15]})
		}
	}
	return b.String()
}

// isTopLevel reports whether role has its fixed file name.
func isTopLevel(role string) bool {
	return admission.KindOf(role) != admission.KindTargets || role == string(admission.KindTargets)
}

// fileNames names the files of one set of roles. It is immutable.
type fileNames struct {
	// folded counts the roles by their file name in lower case.
	folded func() map[string]int
}

// newFileNames returns the names for the top-level roles and those that the
// floors list. They are counted when the first delegated role is asked for.
func newFileNames(f Floors) fileNames {
	return fileNames{folded: sync.OnceValue(func() map[string]int {
		folded := make(map[string]int, len(f.Roles)+4)
		for _, role := range []string{"root", "timestamp", "snapshot", "targets"} {
			folded[role]++
		}
		for file := range f.Roles {
			if role := strings.TrimSuffix(file, metaSuffix); !isTopLevel(role) {
				folded[strings.ToLower(quote(role))]++
			}
		}
		return folded
	})}
}

// of returns the file name of a role.
func (n fileNames) of(role string) string {
	return FileName(role, !isTopLevel(role) && n.folded()[strings.ToLower(quote(role))] > 1)
}

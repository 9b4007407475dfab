package plugin

import (
	"crypto/sha256"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// foldKey stands for a folded path.
type foldKey [sha256.Size]byte

// foldKeys returns the keys of all directories that the path leads through,
// from the top, and last its own. Each part is folded once, lest long paths
// take long.
func foldKeys(path string) []foldKey {
	var keys []foldKey
	var key foldKey
	for part := range strings.SplitSeq(path, "/") {
		key = sha256.Sum256(append(key[:], fold(part)...))
		keys = append(keys, key)
	}
	return keys
}

func keyOf(path string) foldKey {
	keys := foldKeys(path)
	return keys[len(keys)-1]
}

// fold returns what all names have in common that some system takes for one:
// it ignores case, as Windows and macOS do, and the ways to write a character,
// as macOS does. This is Unicode's canonical caseless match (definition 145)
// with full case folding.
func fold(name string) string {
	if !strings.ContainsFunc(name, func(r rune) bool { return r >= 0x80 }) {
		return strings.ToLower(name)
	}
	return norm.NFD.String(strings.Map(foldRune, longFoldings.Replace(norm.NFD.String(name))))
}

// longFoldings are the letters that NFD leaves whole and whose folding is
// longer than they are.
var longFoldings = strings.NewReplacer("ß", "ss", "ẞ", "ss", "ŉ", "ʼn", "ẚ", "aʾ", "և", "եւ",
	"ﬀ", "ff", "ﬁ", "fi", "ﬂ", "fl", "ﬃ", "ffi", "ﬄ", "ffl", "ﬅ", "st", "ﬆ", "st",
	"ﬓ", "մն", "ﬔ", "մե", "ﬕ", "մի", "ﬖ", "վն", "ﬗ", "մխ")

// foldRune returns one of the letters that differ only in case: the lower-case
// ASCII letter if there is one, else the least.
func foldRune(r rune) rune {
	least := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		least = min(least, next)
	}
	if 'A' <= least && least <= 'Z' {
		least += 'a' - 'A'
	}
	return least
}

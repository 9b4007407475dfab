package plugin

import (
	"crypto/sha256"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// foldKey stands for a folded name. Names can grow tenfold when folded, so a
// digest bounds what an archive can make us keep.
type foldKey [sha256.Size]byte

func keyOf(name string) foldKey { return sha256.Sum256([]byte(fold(name))) }

// fold returns what all names have in common that some system takes for one:
// it ignores case, as Windows and macOS do, and the ways to write a character,
// as macOS does. It is Unicode's full case folding of the compatibility
// decomposition, which is more than any one system ignores.
func fold(name string) string {
	if !strings.ContainsFunc(name, func(r rune) bool { return r >= 0x80 }) {
		return strings.ToLower(name)
	}
	return norm.NFKD.String(strings.Map(foldRune, longFoldings.Replace(norm.NFKD.String(name))))
}

// longFoldings are the letters whose folding is longer than themselves and that
// NFKD leaves whole.
var longFoldings = strings.NewReplacer("ß", "ss", "ẞ", "ss")

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

package plugin

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// TestFoldIsFullCaseFolding holds every character of Unicode against the
// library that has the whole tables.
func TestFoldIsFullCaseFolding(t *testing.T) {
	full := cases.Fold()
	for r := range rune(0x30000) { // beyond are ideographs and private use
		if 0xd800 <= r && r < 0xe000 {
			continue
		}
		s := "x" + string(r) + "y"
		want := fold(s)
		for _, same := range []string{full.String(s), norm.NFC.String(s), norm.NFD.String(s), want} {
			if got := fold(same); got != want {
				require.Equal(t, want, got, "%#U and %q", r, same)
			}
		}
	}
}

func TestFoldTellsOthersApart(t *testing.T) {
	for _, pair := range [][2]string{{"a", "b"}, {"a", "\u00e4"}, {"o", "0"}, {"a/b", "ab"}, {"\u0430", "a"}, {"i", "\u0131"}, {"a.b", "a_b"}} {
		require.NotEqual(t, fold(pair[0]), fold(pair[1]), "%q", pair)
		require.NotEqual(t, keyOf(pair[0]), keyOf(pair[1]), "%q", pair)
	}
}

package repository

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// say is text from a file in a form that cannot pretend to be anything else on a
// terminal: what is not plain printable ASCII is quoted.
func say(s string) string {
	odd := func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }
	if s == "" || strings.ContainsFunc(s, odd) {
		return strconv.QuoteToASCII(s)
	}
	return s
}

// quote is text that people wrote, such as a reason, with what a terminal would
// obey made visible.
func quote(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || unicode.Is(unicode.Bidi_Control, r) }) {
		return strconv.QuoteToASCII(s)
	}
	return strconv.Quote(s)
}

func sayAll(list []string) string {
	said := make([]string, 0, len(list))
	for _, s := range list {
		said = append(said, say(s))
	}
	return strings.Join(said, ", ")
}

func sayTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// sayQuorum says how many of how many keys must sign.
func sayQuorum(threshold, keys int) string { return fmt.Sprintf("%d of %d keys", threshold, keys) }

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// without returns the elements of a that are not in b.
func without(a, b []string) (list []string) {
	for _, s := range a {
		if !slices.Contains(b, s) {
			list = append(list, s)
		}
	}
	return list
}

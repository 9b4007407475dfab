package vault

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// maxMistakes is how many mistakes are told; nobody reads more.
const maxMistakes = 50

// mistake is one thing that is wrong with the options.
type mistake struct {
	// key is what it is about, such as "repositories[1].url"; at is where that was
	// said, such as "line 3", "" if it is not known.
	key, at string
	// msg says what is wrong, hint what to do.
	msg, hint string
}

// Error says where, what, and what to do.
func (m *mistake) Error() string {
	s := m.msg
	if m.at != "" {
		s = m.at + ": " + s
	}
	if m.hint != "" {
		s += "; " + m.hint
	}
	return s
}

// mistakes gathers what is wrong, so that all of it can be told at once.
type mistakes []error

// add adds one; hint may be "".
func (all *mistakes) add(key, hint, format string, args ...any) {
	*all = append(*all, &mistake{key: key, hint: hint, msg: fmt.Sprintf(format, args...)})
}

// addAt adds one on a line that is known.
func (all *mistakes) addAt(line int, key, hint, format string, args ...any) {
	*all = append(*all, &mistake{key: key, at: lineNumber(line), hint: hint, msg: fmt.Sprintf(format, args...)})
}

// full tells that no more will be told.
func (all *mistakes) full() bool { return len(*all) >= maxMistakes }

// err makes one error of them: nil if there are none. path is the file that the
// options are from, "" if they are from none.
func (all mistakes) err(path string, from origins) error {
	if len(all) == 0 {
		return nil
	}
	e := &tuferr.Error{Code: protocol.CodeUsage, Msg: "the options are wrong", Path: path}
	for i, err := range all {
		if i == maxMistakes {
			e.Causes = append(e.Causes, tuferr.New(protocol.CodeUsage, "and more"))
			break
		}
		m, ok := err.(*mistake)
		if !ok {
			m = &mistake{msg: err.Error()}
		}
		if m.at == "" {
			m.at = from.of(m.key)
		}
		cause := &tuferr.Error{Code: protocol.CodeUsage, Msg: m.msg, Hint: m.hint}
		if m.at != "" {
			cause.Msg = m.at + ": " + m.msg
		}
		e.Causes = append(e.Causes, cause)
	}
	return e
}

// origins says where the value of a key is from: "line 3" of the file, or the name
// of a variable of the environment. What code says is not in it.
type origins map[string]string

// of returns the origin of the key, or of what it is part of, or "".
func (o origins) of(key string) string {
	for key != "" {
		if from := o[key]; from != "" {
			return from
		}
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
	}
	return ""
}

// drop forgets the key and what is below it: its value is code's.
func (o origins) drop(key string) {
	for k := range o {
		if rest, ok := strings.CutPrefix(k, key); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			delete(o, k)
		}
	}
}

func lineNumber(n int) string { return fmt.Sprintf("line %d", n) }

// clip shortens what somebody wrote, to be shown.
func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}

// visible leaves out what a terminal would obey where a text is shown unquoted.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

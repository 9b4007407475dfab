package admission

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// canonicalizer reads JSON values in one pass. It refuses an object that has a
// member twice, and in the signed part it also makes the canonical form: members
// sorted by name, no white space, only quote and backslash escaped, integers
// only. Every object is written in the order it is read, and only if that was
// not the canonical order its members are moved.
//
// What has been written so far costs nothing while it is what was read: most
// publishers write the signed part in canonical form.
type canonicalizer struct {
	// dec must allow duplicate names: it would keep a copy of every name.
	dec *jsontext.Decoder
	// signed is set within the signed part. Elsewhere only names are kept, and
	// only while their object is open.
	signed bool
	// out is what has been written. While shared is set it is a part of the file,
	// and its capacity ends with the file.
	out    []byte
	shared bool

	depth, limit int
	// moves is how many bytes may still be moved: deep objects out of order
	// could otherwise make the work grow with the depth times the size.
	moves int
	// nameLen is how long the latest name was, with quotes, in the file.
	nameLen int
	// sorted says whether the latest object to end was in order.
	sorted bool
	// members and spare are room for sorting.
	members []member
	spare   []byte
}

// member is the extent of one object member in canonicalizer.out.
type member struct{ start, nameEnd, end int }

// value reads the next value.
func (c *canonicalizer) value() error {
	switch c.dec.PeekKind() {
	case '{':
		return c.object(func([]byte) error { return c.value() })
	case '[':
		return c.array()
	}
	v, err := c.dec.ReadValue()
	if err != nil || !c.signed {
		return err
	}
	return c.scalar(v)
}

func (c *canonicalizer) array() error {
	if err := c.enter(); err != nil {
		return err
	}
	c.write('[')
	begin := len(c.out)
	for first := true; c.dec.PeekKind() != ']'; first = false {
		if !first {
			c.write(',')
		}
		if err := c.value(); err != nil {
			return err
		}
		if !c.signed {
			c.out = c.out[:begin]
		}
	}
	c.write(']')
	return c.leave()
}

// object reads the next value, which must be an object, and lets each read the
// values of its members; each gets the name in canonical form, without quotes.
func (c *canonicalizer) object(each func(name []byte) error) error {
	if err := c.enter(); err != nil {
		return err
	}
	c.write('{')
	begin := len(c.out)
	sorted := true
	var before, m member
	n := 0
	for ; c.dec.PeekKind() != '}'; n++ {
		if n > 0 {
			c.write(',')
		}
		m = member{start: len(c.out)}
		name, err := c.dec.ReadValue()
		if err != nil {
			return err
		}
		c.nameLen = len(name)
		if err := c.scalar(name); err != nil {
			return err
		}
		m.nameEnd = len(c.out)
		sorted = sorted && (n == 0 || c.compare(before, m) < 0)
		before = m
		c.write(':')
		if err := each(c.out[m.start+1 : m.nameEnd-1]); err != nil {
			return err
		}
		if !c.signed {
			c.out = c.out[:m.nameEnd+1]
		}
	}
	if !sorted {
		if err := c.sort(begin, n); err != nil {
			return err
		}
	}
	c.sorted = sorted
	c.write('}')
	return c.leave()
}

// enter reads the beginning of an object or array.
func (c *canonicalizer) enter() error {
	if c.depth++; c.signed && c.depth > c.limit {
		return fmt.Errorf("values nest deeper than %d", c.limit)
	}
	_, err := c.dec.ReadToken()
	return err
}

// leave reads the end of an object or array.
func (c *canonicalizer) leave() error {
	c.depth--
	_, err := c.dec.ReadToken()
	return err
}

// sort brings the n members of an object, which begin at begin and end with what
// has been written, into canonical order.
func (c *canonicalizer) sort(begin, n int) error {
	size := len(c.out) - begin
	if c.moves -= size; c.signed && c.moves < 0 {
		return errors.New("members are out of order too deeply")
	}
	c.split(begin, n)
	slices.SortFunc(c.members, c.compare)
	for i := 1; i < len(c.members); i++ {
		if m := c.members[i]; c.compare(c.members[i-1], m) == 0 {
			return fmt.Errorf("duplicate object member name %.64q", c.out[m.start+1:m.nameEnd-1])
		}
	}
	if !c.signed {
		return nil
	}
	c.own()
	c.spare = room(c.spare, size)
	for i, m := range c.members {
		if i > 0 {
			c.spare = append(c.spare, ',')
		}
		c.spare = append(c.spare, c.out[m.start:m.end]...)
	}
	copy(c.out[begin:], c.spare)
	return nil
}

// compare orders members by name. Canonical order is that of the names, not of
// their escaped form.
func (c *canonicalizer) compare(a, b member) int {
	return compareEscaped(c.out[a.start+1:a.nameEnd-1], c.out[b.start+1:b.nameEnd-1])
}

// compareEscaped compares two strings in which quotes and backslashes are
// escaped, and nothing else.
func compareEscaped(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	if n == len(a) || n == len(b) {
		return cmp.Compare(len(a), len(b))
	}
	// Where they part, a backslash begins an escape unless it is escaped itself.
	escaped := false
	for i := n; i > 0 && a[i-1] == '\\'; i-- {
		escaped = !escaped
	}
	at := func(s []byte) byte {
		if s[n] == '\\' && !escaped {
			return s[n+1]
		}
		return s[n]
	}
	return cmp.Compare(at(a), at(b))
}

// room returns s without elements, or a new slice, with room for n.
func room[T any](s []T, n int) []T {
	if cap(s) >= n {
		return s[:0]
	}
	return make([]T, 0, max(n, 2*cap(s)))
}

// split finds the n members of the object that begin at begin and end with what
// has been written.
func (c *canonicalizer) split(begin, n int) {
	c.members = room(c.members, n)
	m := member{start: begin}
	depth := 0
	for i := begin; i < len(c.out); i++ {
		switch c.out[i] {
		case '"':
			i += len(leadingString(c.out[i:])) - 1
			if m.nameEnd == 0 {
				m.nameEnd = i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',':
			if depth == 0 {
				m.end = i
				c.members = append(c.members, m)
				m = member{start: i + 1}
			}
		}
	}
	m.end = len(c.out)
	c.members = append(c.members, m)
}

// unescape undoes the two escapes of canonical JSON.
func unescape(s []byte) []byte {
	if bytes.IndexByte(s, '\\') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			i++
		}
		out = append(out, s[i])
	}
	return out
}

// own makes out a copy that may be changed.
func (c *canonicalizer) own() {
	if !c.shared {
		return
	}
	own := make([]byte, len(c.out), cap(c.out))
	copy(own, c.out)
	c.out, c.shared = own, false
}

// write appends to what has been written.
func (c *canonicalizer) write(v ...byte) {
	if n := len(c.out); c.shared {
		if bytes.HasPrefix(c.out[n:cap(c.out)], v) {
			c.out = c.out[:n+len(v)]
			return
		}
		c.own()
	}
	c.out = append(c.out, v...)
}

// scalar writes a string, number or literal in canonical form.
func (c *canonicalizer) scalar(v jsontext.Value) error {
	switch v.Kind() {
	case '"':
		if bytes.IndexByte(v, '\\') < 0 {
			break
		}
		text, err := jsontext.AppendUnquote(c.spare[:0], v)
		if err != nil {
			return err
		}
		c.spare = text
		c.write('"')
		for _, b := range text {
			if b == '"' || b == '\\' {
				c.write('\\')
			}
			c.write(b)
		}
		c.write('"')
		return nil
	case '0':
		if bytes.ContainsAny(v, ".eE") {
			return errors.New("a number in the signed part is not an integer: it has no canonical form")
		}
		if string(v) == "-0" {
			v = v[1:]
		}
	}
	c.write(v...)
	return nil
}

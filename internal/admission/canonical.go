package admission

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// canonicalizer reads JSON values and writes their canonical form: members
// sorted by name, no white space, only quote and backslash escaped, integers
// only. It works in one pass: every object is written in the order it is read,
// and only if that was not the canonical order its members are moved.
type canonicalizer struct {
	dec   *jsontext.Decoder
	out   []byte
	spare []byte
	depth int
	limit int
	// moves is how many bytes may still be moved: deep objects out of order
	// could otherwise make the work grow with the depth times the size.
	moves int
}

// member is the extent of one object member in canonicalizer.out.
type member struct{ start, nameEnd, end int }

// value canonicalizes the next value of dec.
func (c *canonicalizer) value() error {
	switch kind := c.dec.PeekKind(); kind {
	case '{', '[':
		if c.depth++; c.depth > c.limit {
			return fmt.Errorf("values nest deeper than %d", c.limit)
		}
		if _, err := c.dec.ReadToken(); err != nil {
			return err
		}
		defer func() { c.depth-- }()
		if kind == '{' {
			return c.object()
		}
		return c.array()
	default:
		v, err := c.dec.ReadValue()
		if err != nil {
			return err
		}
		return c.scalar(v)
	}
}

func (c *canonicalizer) array() error {
	c.out = append(c.out, '[')
	for first := true; c.dec.PeekKind() != ']'; first = false {
		if !first {
			c.out = append(c.out, ',')
		}
		if err := c.value(); err != nil {
			return err
		}
	}
	c.out = append(c.out, ']')
	_, err := c.dec.ReadToken()
	return err
}

func (c *canonicalizer) object() error {
	c.out = append(c.out, '{')
	var members []member
	sorted := true
	for c.dec.PeekKind() != '}' {
		if len(members) > 0 {
			c.out = append(c.out, ',')
		}
		m := member{start: len(c.out)}
		name, err := c.dec.ReadValue()
		if err != nil {
			return err
		}
		if err := c.scalar(name); err != nil {
			return err
		}
		m.nameEnd = len(c.out)
		c.out = append(c.out, ':')
		if err := c.value(); err != nil {
			return err
		}
		m.end = len(c.out)
		if n := len(members); n > 0 && c.compare(members[n-1], m) > 0 {
			sorted = false
		}
		members = append(members, m)
	}
	if !sorted {
		if c.moves -= members[len(members)-1].end - members[0].start; c.moves < 0 {
			return errors.New("members are out of order too deeply")
		}
		c.sort(members)
	}
	c.out = append(c.out, '}')
	_, err := c.dec.ReadToken()
	return err
}

// compare orders members by name. Names are compared without their escapes:
// canonical order is that of the strings, not of their encoded form.
func (c *canonicalizer) compare(a, b member) int {
	return bytes.Compare(unescape(c.out[a.start+1:a.nameEnd-1]), unescape(c.out[b.start+1:b.nameEnd-1]))
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

func (c *canonicalizer) sort(members []member) {
	begin := members[0].start
	end := members[len(members)-1].end
	slices.SortFunc(members, c.compare)
	c.spare = c.spare[:0]
	for i, m := range members {
		if i > 0 {
			c.spare = append(c.spare, ',')
		}
		c.spare = append(c.spare, c.out[m.start:m.end]...)
	}
	copy(c.out[begin:end], c.spare)
}

func (c *canonicalizer) scalar(v jsontext.Value) error {
	switch v.Kind() {
	case '"':
		if bytes.IndexByte(v, '\\') < 0 {
			c.out = append(c.out, v...)
			return nil
		}
		s, err := jsontext.AppendUnquote(nil, v)
		if err != nil {
			return err
		}
		c.out = append(c.out, '"')
		for _, b := range s {
			if b == '"' || b == '\\' {
				c.out = append(c.out, '\\')
			}
			c.out = append(c.out, b)
		}
		c.out = append(c.out, '"')
	case '0':
		if bytes.ContainsAny(v, ".eE") {
			return errors.New("a number in the signed part is not an integer: it has no canonical form")
		}
		if string(v) == "-0" {
			v = jsontext.Value("0")
		}
		c.out = append(c.out, v...)
	default:
		c.out = append(c.out, v...)
	}
	return nil
}

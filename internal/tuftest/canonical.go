package tuftest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Map is a JSON object.
type Map = map[string]any

// Verbatim is JSON text that both encoders copy unchanged: numbers and objects
// that no Go value stands for, such as 1.0, NaN or an object with a name twice.
type Verbatim string

// Canonical returns the canonical JSON of v: what signatures sign. Besides
// [Map], lists, strings, booleans, nil and integers it takes json.Number and
// [Verbatim].
func Canonical(v any) []byte {
	var b bytes.Buffer
	encode(&b, v, canonicalString)
	return b.Bytes()
}

// Text returns v as JSON text. It differs from [Canonical] only in strings with
// characters that JSON must escape.
func Text(v any) []byte {
	var b bytes.Buffer
	encode(&b, v, textString)
	return b.Bytes()
}

func encode(b *bytes.Buffer, v any, str func(string) string) {
	switch v := v.(type) {
	case Map:
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		slices.Sort(names)
		b.WriteByte('{')
		for i, name := range names {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(str(name) + ":")
			encode(b, v[name], str)
		}
		b.WriteByte('}')
	case []any:
		encodeList(b, v, str)
	case []Map:
		encodeList(b, v, str)
	case []string:
		encodeList(b, v, str)
	case string:
		b.WriteString(str(v))
	case Verbatim:
		b.WriteString(string(v))
	case json.Number:
		b.WriteString(v.String())
	case bool, int, int64, uint64:
		fmt.Fprint(b, v)
	case nil:
		b.WriteString("null")
	default:
		panic(fmt.Sprintf("tuftest: cannot encode %T", v))
	}
}

func encodeList[T any](b *bytes.Buffer, list []T, str func(string) string) {
	b.WriteByte('[')
	for i, v := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		encode(b, v, str)
	}
	b.WriteByte(']')
}

var canonicalEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

func canonicalString(s string) string { return `"` + canonicalEscapes.Replace(s) + `"` }

func textString(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// Clone copies a JSON tree.
func Clone[T any](v T) T { return clone(v).(T) }

func clone(v any) any {
	switch v := v.(type) {
	case Map:
		c := make(Map, len(v))
		for name, x := range v {
			c[name] = clone(x)
		}
		return c
	case []any:
		c := make([]any, len(v))
		for i, x := range v {
			c[i] = clone(x)
		}
		return c
	case []string:
		return slices.Clone(v)
	default:
		return v
	}
}

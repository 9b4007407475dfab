package vault

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxValues bounds the values of a file, those that aliases repeat included.
const maxValues = 1 << 16

// decoder reads YAML into Go values as their yaml tags say, and goes on after a
// mistake: the YAML library stops at the first unknown key, and names no other.
type decoder struct {
	found mistakes
	from  origins
	// left is how many values may still be read.
	left int
}

// decode reads n, found at key, into v. A null leaves v as it is.
func (d *decoder) decode(n *yaml.Node, key string, v reflect.Value) {
	if d.left--; d.left < 0 || d.found.full() {
		if d.left == -1 {
			d.found.addAt(n.Line, key, "", "the file has more than %d values", maxValues)
		}
		return
	}
	line := n.Line
	if d.from[key] == "" {
		d.from[key] = lineNumber(line)
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return
	}
	if text, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if d.expect(n, line, key, yaml.ScalarNode) {
			if err := text.UnmarshalText([]byte(n.Value)); err != nil {
				d.found.addAt(line, key, "", "%s: %v", key, err)
			}
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		if d.expect(n, line, key, yaml.MappingNode) {
			d.structure(n, key, v)
		}
	case reflect.Map:
		if d.expect(n, line, key, yaml.MappingNode) {
			d.mapping(n, key, v)
		}
	case reflect.Slice:
		if d.expect(n, line, key, yaml.SequenceNode) {
			d.sequence(n, key, v)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.decode(n, key, v.Elem())
	default:
		if d.expect(n, line, key, yaml.ScalarNode) {
			d.scalar(n.Value, line, key, v)
		}
	}
}

// expect adds a mistake if n is of another kind.
func (d *decoder) expect(n *yaml.Node, line int, key string, kind yaml.Kind) bool {
	if n.Kind == kind {
		return true
	}
	wanted := "one value"
	switch kind {
	case yaml.SequenceNode:
		wanted = "a list"
	case yaml.MappingNode:
		wanted = "a mapping of keys to values"
	}
	if key == "" {
		key = "the file"
	}
	d.found.addAt(line, key, "", "%s must be %s", key, wanted)
	return false
}

// structure reads a mapping whose keys are the fields of v.
func (d *decoder) structure(n *yaml.Node, key string, v reflect.Value) {
	fields := fieldsOf(v.Type())
	d.pairs(n, key, func(name, value *yaml.Node) {
		i := slices.Index(fields, name.Value)
		if i < 0 || name.Value == "" {
			d.unknown(name, key, fields)
			return
		}
		at := name.Value
		if key != "" {
			at = key + "." + name.Value
		}
		d.from[at] = lineNumber(name.Line)
		d.decode(value, at, v.Field(i))
	})
}

// mapping reads a mapping with keys of any name.
func (d *decoder) mapping(n *yaml.Node, key string, v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	d.pairs(n, key, func(name, value *yaml.Node) {
		at := key + "[" + visible(clip(name.Value)) + "]"
		d.from[at] = lineNumber(name.Line)
		elem := reflect.New(v.Type().Elem()).Elem()
		d.decode(value, at, elem)
		v.SetMapIndex(reflect.ValueOf(name.Value), elem)
	})
}

// pairs calls f for every key of n that is a plain one and the first of its name.
func (d *decoder) pairs(n *yaml.Node, key string, f func(name, value *yaml.Node)) {
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content) && d.left >= 0 && !d.found.full(); i += 2 {
		name := n.Content[i]
		switch {
		case name.Kind != yaml.ScalarNode:
			d.found.addAt(name.Line, key, "", "a key must be plain text")
		case seen[name.Value]:
			d.found.addAt(name.Line, key, "", "the key %q is there twice", clip(name.Value))
		default:
			seen[name.Value] = true
			f(name, n.Content[i+1])
		}
	}
}

// sequence reads a list.
func (d *decoder) sequence(n *yaml.Node, key string, v reflect.Value) {
	list := reflect.MakeSlice(v.Type(), 0, min(len(n.Content), d.left+1))
	for i, value := range n.Content {
		if d.left < 0 || d.found.full() {
			break
		}
		elem := reflect.New(v.Type().Elem()).Elem()
		d.decode(value, fmt.Sprintf("%s[%d]", key, i), elem)
		list = reflect.Append(list, elem)
	}
	v.Set(list)
}

// scalar reads one value as it was written: 1.10 stays "1.10" where text is asked for.
func (d *decoder) scalar(s string, line int, key string, v reflect.Value) {
	var err error
	wanted := "a whole number"
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Bool:
		wanted = "true or false"
		if s != "true" && s != "false" {
			err = strconv.ErrSyntax
		}
		v.SetBool(s == "true")
	case reflect.Int, reflect.Int64:
		var n int64
		n, err = strconv.ParseInt(s, 10, v.Type().Bits())
		v.SetInt(n)
	case reflect.Uint32:
		var n uint64
		n, err = strconv.ParseUint(s, 10, v.Type().Bits())
		v.SetUint(n)
	case reflect.Float64:
		wanted = "a number"
		var f float64
		if f, err = strconv.ParseFloat(s, 64); f != f || f-f != 0 {
			err = strconv.ErrRange
		}
		v.SetFloat(f)
	default:
		panic("no YAML is read into " + v.Type().String())
	}
	if err != nil {
		d.found.addAt(line, key, "", "%s: %q is not %s", key, clip(s), wanted)
	}
}

// unknown adds the mistake that no field is called name.
func (d *decoder) unknown(name *yaml.Node, key string, fields []string) {
	in := ""
	if key != "" {
		in = " in " + key
	}
	hint := ""
	if near := nearest(name.Value, fields); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	d.found.addAt(name.Line, key, hint, "unknown key %q%s", clip(name.Value), in)
}

// fieldsOf returns the keys of the fields of a struct, "" for one without.
func fieldsOf(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		names[i], _, _ = strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if names[i] == "-" {
			names[i] = ""
		}
	}
	return names
}

// nearest returns the name that was probably meant, or "".
func nearest(s string, names []string) string {
	plain := func(s string) string {
		return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(clip(s)))
	}
	s = plain(s)
	limit := 1 + len(s)/3
	best, found := limit, ""
	for _, name := range names {
		n := distance(s, plain(name))
		if len(s) > 1 && strings.HasPrefix(plain(name), s) {
			n = min(n, limit) // ca, cert and key are called caFile, certFile and keyFile
		}
		if name != "" && n <= best && (n < best || found == "") {
			best, found = n, name
		}
	}
	return found
}

// distance is the number of bytes to insert, drop or replace that makes b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// object returns the members of a JSON object that every TUF client reads
// alike.
func object(data []byte) (map[string]json.RawMessage, error) {
	if err := portable(data); err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, notJSON(err)
	}
	return members, nil
}

func notJSON(err error) error {
	return &ManifestError{"", "is not JSON: " + strings.TrimPrefix(err.Error(), "jsontext: ")}
}

// portable refuses JSON that two TUF clients could read differently, or one of
// them not at all.
func portable(data []byte) error {
	if problem := badEncoding(data); problem != "" {
		return &ManifestError{"", problem}
	}
	d := jsontext.NewDecoder(bytes.NewReader(data))
	for first, done := true, false; ; first, done = false, d.StackDepth() == 0 {
		token, err := d.ReadToken()
		switch {
		case done && errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return notJSON(err)
		case first && token.Kind() != '{':
			return &ManifestError{"", "is not a JSON object"}
		case done:
			return &ManifestError{"", "is followed by something else"}
		}
		if problem := badToken(d, token); problem != "" {
			field, _, _ := strings.Cut(strings.TrimPrefix(string(d.StackPointer()), "/"), "/")
			return &ManifestError{field, problem}
		}
	}
}

// badEncoding says what editors write that looks right and is not UTF-8.
func badEncoding(data []byte) string {
	switch {
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		return "begins with a byte order mark: save it without"
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")),
		bytes.HasPrefix(data, []byte("{\x00")), bytes.HasPrefix(data, []byte("\x00{")):
		return "is UTF-16: save it as UTF-8"
	}
	return ""
}

func badToken(d *jsontext.Decoder, t jsontext.Token) string {
	depth := d.StackDepth()
	if depth > maxDepth {
		return fmt.Sprintf("is nested more than %d deep", maxDepth)
	}
	switch t.Kind() {
	case '0':
		n, err := strconv.ParseInt(t.String(), 10, 64)
		if err != nil || strconv.FormatInt(n, 10) != t.String() || n > maxSafeInteger || n < -maxSafeInteger {
			return "holds a number that is not whole or too large; write it as a string"
		}
	case '"':
		kind, length := d.StackIndex(depth)
		isMemberName := kind == '{' && length%2 == 1
		if isMemberName && strings.ContainsFunc(t.String(), func(r rune) bool { return r < ' ' || r > '~' }) {
			return "has a field name that is not printable ASCII"
		}
	}
	return ""
}

// canonical returns the one spelling of an object that RFC 8785 gives it.
func canonical(members map[string]json.RawMessage) (json.RawMessage, error) {
	data, err := json.Marshal(members)
	if err != nil {
		return nil, notJSON(err)
	}
	v := jsontext.Value(data)
	if err := v.Canonicalize(); err != nil {
		return nil, notJSON(err)
	}
	return json.RawMessage(v), nil
}

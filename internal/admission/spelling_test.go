package admission

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// speller writes JSON in any way that JSON allows, and now and then puts another
// value where one belongs.
type speller struct {
	*rand.Rand
	strings.Builder
	wrong int
}

var strays = []any{nil, true, json.Number("0"), json.Number("-0"), json.Number("-1"), json.Number("1.5"), json.Number("1e3"),
	json.Number("9223372036854775808"), "", "x", []any{}, []any{"a", "a"}, []any{nil}, tree{}, tree{"a": nil}, tree{"b": "", "a": tree{}}}

func (s *speller) space() {
	if s.IntN(8) == 0 {
		s.WriteString([]string{" ", "\n", "\t\r"}[s.IntN(3)])
	}
}

func (s *speller) value(v any) {
	if s.IntN(150) < s.wrong {
		v = strays[s.IntN(len(strays))]
	}
	s.space()
	switch v := v.(type) {
	case tree:
		names := slices.Sorted(maps.Keys(v))
		if s.IntN(3) > 0 {
			s.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		}
		if s.IntN(2000) < s.wrong && len(names) > 0 {
			names = append(names, names[0])
		}
		s.list('{', len(names), func(i int) {
			s.space()
			s.text(names[i])
			s.space()
			s.WriteByte(':')
			s.value(v[names[i]])
		}, '}')
	case []any:
		s.list('[', len(v), func(i int) { s.value(v[i]) }, ']')
	case string:
		s.text(v)
	case nil:
		s.WriteString("null")
	default:
		fmt.Fprint(s, v)
	}
	s.space()
}

func (s *speller) list(open byte, n int, each func(i int), end byte) {
	s.WriteByte(open)
	for i := range n {
		if i > 0 {
			s.WriteByte(',')
		}
		each(i)
	}
	s.space()
	s.WriteByte(end)
}

func (s *speller) text(v string) {
	s.WriteByte('"')
	for _, r := range v {
		switch short, escaped := map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '/': `\/`}[r]; {
		case s.IntN(20) == 0 && r < 0x10000:
			fmt.Fprintf(s, `\u%04x`, r)
		case escaped && (r != '/' || s.IntN(2) == 0):
			s.WriteString(short)
		case r < ' ':
			fmt.Fprintf(s, `\u%04X`, r)
		default:
			s.WriteRune(r)
		}
	}
	s.WriteByte('"')
}

// name is a short name, so that names share prefixes and parts.
func (s *speller) name() string {
	alphabet := []rune("aab\"\\/\n\x01é😀")
	var name []rune
	for range s.IntN(4) {
		name = append(name, alphabet[s.IntN(len(alphabet))])
	}
	return string(name)
}

func (s *speller) file(kind Kind) tree {
	signed := tree{"_type": string(kind), "spec_version": "1.0.31", "version": 7, "expires": "2030-01-01T00:00:00Z",
		s.name(): tree{s.name(): []any{s.name(), 1, tree{}}, s.name(): tree{s.name(): nil, s.name(): true}}}
	key := tree{"keytype": "ed25519", "scheme": "ed25519", "keyval": tree{"public": s.name(), s.name(): 1}}
	role := tree{"keyids": []any{"a", s.name()}, "threshold": 1}
	switch kind {
	case KindRoot:
		signed["consistent_snapshot"] = true
		signed["keys"] = tree{s.name(): key}
		signed["roles"] = tree{"root": role, "timestamp": role, "snapshot": role, "targets": role}
	case KindTargets:
		signed["targets"] = s.entries()
		delegated := tree{"name": s.name(), "keyids": []any{}, "threshold": 2, "terminating": false, "paths": []any{s.name()}}
		other := tree{"name": "other", "keyids": []any{}, "threshold": 2, "terminating": true, "path_hash_prefixes": []any{"00"}}
		switch s.IntN(3) {
		case 0:
			signed["delegations"] = tree{"keys": tree{s.name(): key}, "roles": []any{delegated, other}}
		case 1:
			succinct := tree{"keyids": []any{"a"}, "threshold": 1, "bit_length": 4, "name_prefix": "b"}
			signed["delegations"] = tree{"keys": tree{}, "succinct_roles": succinct}
		}
	case KindTimestamp:
		signed["meta"] = tree{"snapshot.json": tree{"version": 1, "length": 5, "hashes": tree{"sha256": "AB", s.name(): "x"}}}
	default:
		signed["meta"] = s.entries()
	}
	signatures := []any{tree{"keyid": s.name(), "sig": "0A"}, tree{"keyid": "k", "sig": s.name(), "x": []any{}}}
	return tree{"signed": signed, "signatures": signatures, "x" + s.name(): tree{s.name(): 1.5, s.name(): []any{tree{"b": 1, "a": 2}}}}
}

func (s *speller) entries() tree {
	list := tree{}
	for range s.IntN(8) {
		e := tree{"version": 1 + s.IntN(3), "length": s.IntN(3), "hashes": tree{"sha256": "Ab", s.name(): s.name()}, s.name(): s.name()}
		switch s.IntN(4) {
		case 0:
			e["custom"] = nil
		case 1, 2:
			e["custom"] = tree{s.name(): s.name(), s.name(): []any{1, nil}}
		}
		list[s.name()] = e
	}
	return list
}

// TestEverySpelling holds Parse against the reference over files that are spelled
// in any way, half of them with something wrong in them.
func TestEverySpelling(t *testing.T) {
	admitted := 0
	for seed := range uint64(500) {
		for _, kind := range []Kind{KindRoot, KindTimestamp, KindSnapshot, KindTargets} {
			s := &speller{Rand: rand.New(rand.NewPCG(seed, 1)), wrong: int(seed % 4)}
			s.value(s.file(kind))
			agree(t, kind, []byte(s.String()))
			if _, _, ok := reference(kind, []byte(s.String())); ok {
				admitted++
			}
		}
	}
	require.Greater(t, admitted, 500, "most files must reach the comparison of their content")
}

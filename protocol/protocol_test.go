package protocol_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

const vectors = "../testdata/protocol/"

func load(t testing.TB, name string, into any) {
	t.Helper()
	raw, err := os.ReadFile(vectors + name)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, into))
}

// codeRow is one row of codes.json.
type codeRow struct {
	Code    protocol.Code  `json:"code"`
	Class   protocol.Class `json:"class"`
	Exit    int            `json:"exit"`
	Meaning string         `json:"meaning"`
}

// TestCodesFile holds codes.json equal to the table. With UPDATE_VECTORS=1 in
// the environment it writes the file instead.
func TestCodesFile(t *testing.T) {
	var want bytes.Buffer
	want.WriteString("[\n")
	for i, c := range protocol.Codes {
		row, err := json.Marshal(codeRow(c))
		require.NoError(t, err)
		sep := ",\n"
		if i == len(protocol.Codes)-1 {
			sep = "\n"
		}
		fmt.Fprintf(&want, "  %s%s", row, sep)
	}
	want.WriteString("]\n")
	if os.Getenv("UPDATE_VECTORS") != "" {
		require.NoError(t, os.WriteFile(vectors+"codes.json", want.Bytes(), 0o644))
	}
	got, err := os.ReadFile(vectors + "codes.json")
	require.NoError(t, err)
	require.Equal(t, want.String(), string(got))
}

func TestCodesAreDistinctAndOrdered(t *testing.T) {
	codes, exits, last := map[protocol.Code]bool{}, map[int]bool{}, protocol.ExitOK
	for _, c := range protocol.Codes {
		require.False(t, codes[c.Code], c.Code)
		require.False(t, exits[c.Exit], c.Code)
		require.Greater(t, c.Exit, last, c.Code)
		require.LessOrEqual(t, c.Exit, 255)
		require.NotEmpty(t, c.Meaning)
		codes[c.Code], exits[c.Exit], last = true, true, c.Exit

		info, ok := c.Code.Lookup()
		require.True(t, ok)
		require.Equal(t, c, info)
		require.Equal(t, c.Class, c.Code.Class())
		require.Equal(t, c.Exit, c.Code.Exit())
	}
}

func TestUnknownCodeIsAFault(t *testing.T) {
	info, ok := protocol.Code("from_the_future").Lookup()
	require.False(t, ok)
	require.Equal(t, protocol.ClassFault, info.Class)
	require.Equal(t, protocol.ClassFault, protocol.Code("from_the_future").Class())
	require.Equal(t, 1, protocol.Code("from_the_future").Exit())
}

// frame is one row of frames.json.
type frame struct {
	Name    string          `json:"name"`
	From    string          `json:"from"`
	Valid   bool            `json:"valid"`
	Line    string          `json:"line"`
	Meaning json.RawMessage `json:"meaning"`
}

func frames(t testing.TB, from string) []frame {
	t.Helper()
	var all, some []frame
	load(t, "frames.json", &all)
	for _, f := range all {
		if f.From == from {
			some = append(some, f)
		}
	}
	require.NotEmpty(t, some)
	return some
}

// meaning tells in one flat object what a worker's frame says.
func meaning(m protocol.Message) map[string]any {
	switch {
	case m.Hello != nil:
		return map[string]any{"kind": "hello", "protocol": m.Hello.Protocol, "pid": m.Hello.PID}
	case m.Fatal != nil:
		return map[string]any{"kind": "fatal", "code": m.Fatal.Code}
	case m.Event == protocol.EventFetch:
		all := map[string]any{"kind": "fetch", "id": m.ID, "seq": m.Fetch.Seq, "role": m.Fetch.Role}
		if m.Fetch.Version != 0 {
			all["version"] = m.Fetch.Version
		}
		if m.Fetch.Length != 0 {
			all["length"] = m.Fetch.Length
		}
		if m.Fetch.Local {
			all["local"] = true
		}
		if m.Fetch.Have != "" {
			all["have"] = m.Fetch.Have
		}
		return all
	case m.OK != nil:
		all := map[string]any{"kind": "reply", "id": m.ID, "ok": *m.OK}
		if m.Error != nil {
			all["code"] = m.Error.Code
		}
		return all
	}
	return nil
}

func TestWorkerFrames(t *testing.T) {
	for _, f := range frames(t, "worker") {
		t.Run(f.Name, func(t *testing.T) {
			var m protocol.Message
			err := json.Unmarshal([]byte(f.Line), &m)
			if !f.Valid {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			got, err := json.Marshal(meaning(m))
			require.NoError(t, err)
			require.JSONEq(t, string(f.Meaning), string(got))
		})
	}
}

// What a host writes has the meaning that the vectors give it, and nothing else.
func TestHostFrames(t *testing.T) {
	for _, f := range frames(t, "host") {
		if !f.Valid {
			continue
		}
		t.Run(f.Name, func(t *testing.T) {
			var kind struct {
				Fetched *protocol.Fetched `json:"fetched"`
			}
			require.NoError(t, json.Unmarshal([]byte(f.Line), &kind))
			var written any = kind.Fetched
			if kind.Fetched != nil {
				require.Positive(t, kind.Fetched.ID)
				kind.Fetched.Error = nil
			} else {
				var r protocol.Request
				require.NoError(t, json.Unmarshal([]byte(f.Line), &r))
				if string(r.Params) == "null" {
					r.Params = nil
				}
				written = r
			}
			got, err := json.Marshal(written)
			require.NoError(t, err)
			require.JSONEq(t, string(f.Meaning), string(got))
		})
	}
}

func TestPathVectorsAreUnambiguous(t *testing.T) {
	var rows []struct {
		Pattern *string `json:"pattern"`
		Prefix  *string `json:"prefix"`
		Path    string  `json:"path"`
		Match   bool    `json:"match"`
	}
	load(t, "paths.json", &rows)
	seen := map[string]bool{}
	for _, r := range rows {
		require.NotEqual(t, r.Pattern == nil, r.Prefix == nil)
		key, err := json.Marshal([]any{r.Pattern, r.Prefix, r.Path})
		require.NoError(t, err)
		require.False(t, seen[string(key)], string(key))
		seen[string(key)] = true
	}
}

// FuzzMessage: whatever a worker writes, decoding neither panics nor changes
// its meaning when it is written again.
func FuzzMessage(f *testing.F) {
	for _, v := range frames(f, "worker") {
		f.Add([]byte(v.Line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var m protocol.Message
		if json.Unmarshal(line, &m) != nil {
			return
		}
		again, err := json.Marshal(m)
		require.NoError(t, err)
		var back protocol.Message
		require.NoError(t, json.Unmarshal(again, &back))
		third, err := json.Marshal(back)
		require.NoError(t, err)
		require.Equal(t, string(again), string(third))
	})
}

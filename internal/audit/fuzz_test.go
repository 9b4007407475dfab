package audit

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

// FuzzVerify: whatever stands in the files of a log, there is a report of bounded
// size, and one without problems only where every line is one of ours.
func FuzzVerify(f *testing.F) {
	s := newSample(f, 6, 100)
	raw, stored := s.files[fileName(1)], s.files[CheckpointsName]
	f.Add(raw, stored, s.anchor, 300)
	f.Add(raw, []byte{}, []byte{}, 0)
	f.Add(append(bytes.Clone(raw), "torn"...), stored[:50], s.anchor, len(raw))
	f.Add(bytes.ReplaceAll(raw, []byte("\n"), []byte("\n\n")), append(bytes.Clone(stored), stored...), stored, 10)
	f.Add([]byte("\x00\n{}\n"), []byte("\n\n— \n\n"), []byte("— \n— \n\n"), 1)
	f.Fuzz(func(t *testing.T, raw, stored, given []byte, cut int) {
		dir := t.TempDir()
		put(t, filepath.Join(dir, PublicName), string(s.files[PublicName]))
		put(t, filepath.Join(dir, CheckpointsName), string(stored))
		cut = max(0, min(cut, len(raw)))
		put(t, filepath.Join(dir, fileName(1)), string(raw[:cut]))
		put(t, filepath.Join(dir, fileName(2)), string(raw[cut:]))
		rep, err := Verify(background, dir, VerifyOptions{Checkpoints: given})
		require.NoError(t, err)
		require.LessOrEqual(t, len(rep.Problems), maxProblems)
		require.LessOrEqual(t, rep.Covered, rep.Lines)
		n := int64(0)
		for _, err := range Entries(background, dir) {
			if err == nil {
				n++
			} else if rep.Torn == nil {
				require.False(t, rep.OK(), "%v", err)
			}
		}
		require.LessOrEqual(t, rep.Lines, n)
		_, err = VerifyExport(background, bytes.NewReader(raw), VerifyOptions{Verifiers: s.keys, Checkpoints: given})
		require.NoError(t, err)
		_ = os.RemoveAll(dir)
	})
}

// FuzzEvent: what may be written can be read.
func FuzzEvent(f *testing.F) {
	for _, raw := range []string{`{"b":1e400,"a":-0}`, `{"a":1.50,"b":-0.0,"c":123456789012345678901234567890}`, `{"\u00e9":"\ud83d\ude00\/"}`, `[]`} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		event, err := encodeEvent(json.RawMessage(raw))
		if err != nil {
			requireCode(t, err, protocol.CodeUsage)
			return
		}
		l := line{seq: 1, at: noon, event: event}
		written := l.append(nil)
		got, err := parseLine(written[:len(written)-1])
		require.NoError(t, err)
		require.Equal(t, string(event), string(got.event))
	})
}

// FuzzLine: a line is only what append writes.
func FuzzLine(f *testing.F) {
	f.Add([]byte(`{"event":{},"prev":"0000000000000000000000000000000000000000000000000000000000000000","seq":1,"time":"2026-01-02T12:00:00.000000Z"}`))
	f.Add([]byte(`{"event":{"a":-0},"kind":"recovered","prev":"0000000000000000000000000000000000000000000000000000000000000000","seq":1,"time":"2026-01-02T12:00:00.000000Z"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		l, err := parseLine(raw)
		require.Equal(t, before, raw)
		if err == nil {
			require.Equal(t, string(raw)+"\n", string(l.append(nil)))
		}
	})
}

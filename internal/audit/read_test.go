package audit

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestEntries(t *testing.T) {
	dir := newDir(t)
	_, err := entries(background, dir)
	requireCode(t, err, protocol.CodeLocalIO)
	opts := quiet()
	opts.MaxFile = 400
	l := open(t, dir, opts)
	all, err := entries(background, dir)
	require.NoError(t, err)
	require.Empty(t, all)
	add(t, l, 4)
	tear(t, dir, 2, "torn")
	add(t, l, 1)
	tear(t, dir, 3, "torn")
	all, err = entries(background, dir)
	require.NoError(t, err)
	require.Len(t, all, 6)
	raw := ""
	for i, e := range all {
		require.EqualValues(t, i+1, e.Seq)
		require.Equal(t, noon, e.Time)
		require.Equal(t, i == 4, e.Kind == KindRecovered)
		raw += string(e.Raw) + "\n"
	}
	require.Equal(t, read(t, dir, 1)+read(t, dir, 2)+strings.TrimSuffix(read(t, dir, 3), "torn"), raw)
	require.JSONEq(t, `{"name":"3"}`, string(all[3].Event))
	require.Equal(t, Place{fileName(2), 1, 0}, all[2].Place)

	ctx, cancel := context.WithCancel(background)
	cancel()
	_, err = entries(ctx, dir)
	requireCode(t, err, protocol.CodeCancelled)
	for range Entries(background, dir) {
		break
	}
	replace(t, dir, `"seq":1`, `"seq":x`)
	n, bad := 0, 0
	for _, err := range Entries(background, dir) {
		if err != nil {
			requireCode(t, err, protocol.CodeLocalIO)
			require.ErrorIs(t, err, ErrNoLine)
			bad++
			continue
		}
		n++
	}
	require.Equal(t, []int{5, 1}, []int{n, bad})
}

func entries(ctx context.Context, dir string) (all []*Entry, err error) {
	for e, err := range Entries(ctx, dir) {
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

func TestExport(t *testing.T) {
	dir := newDir(t)
	opts := quiet()
	opts.MaxFile = 400
	l := open(t, dir, opts)
	var out bytes.Buffer
	requireCode(t, Export(background, dir, &out, nil), protocol.CodeLocalIO)
	add(t, l, 6)
	cp, err := l.Checkpoint(background)
	require.NoError(t, err)
	add(t, l, 1) // It is not covered, and not exported.
	tear(t, dir, 4, "torn")
	require.NoError(t, Export(background, dir, &out, nil))
	lines := slices.Collect(strings.Lines(out.String()))
	require.Len(t, lines, 7)
	require.Equal(t, read(t, dir, 1), strings.Join(lines[:2], ""))
	require.Equal(t, `{"checkpoint":"`+strings.ReplaceAll(string(cp), "\n", `\n`)+`"}`+"\n", lines[6])

	keys := l.known
	verify := func(text string) *Report {
		rep, err := VerifyExport(background, strings.NewReader(text), VerifyOptions{Verifiers: keys})
		require.NoError(t, err)
		return rep
	}
	rep := verify(out.String())
	require.Empty(t, rep.Problems)
	require.EqualValues(t, 6, rep.Covered)
	require.EqualValues(t, 6, rep.Lines)
	rep, err = VerifyExport(background, &out, VerifyOptions{Verifiers: keys, Checkpoints: cp})
	require.NoError(t, err)
	require.Empty(t, rep.Problems)
	for i := range lines {
		rep := verify(strings.Join(slices.Delete(slices.Clone(lines), i, i+1), ""))
		require.False(t, rep.OK(), "without line %d", i+1)
		edited := slices.Clone(lines)
		edited[i] = strings.Replace(edited[i], "e", "E", 1)
		require.False(t, verify(strings.Join(edited, "")).OK(), "line %d", i+1)
		edited[i] = strings.Replace(lines[i], `"name":"`, `"name":"x`, 1)
		require.Equal(t, edited[i] == lines[i], verify(strings.Join(edited, "")).OK(), "line %d", i+1)
	}
	more := (&line{seq: 7, at: noon, prev: hashLine([]byte(lines[5])), event: []byte("{}")}).append(nil)
	require.False(t, verify(strings.Join(slices.Insert(slices.Clone(lines), 6, string(more)), "")).OK())
	require.False(t, verify(strings.Join(append(slices.Clone(lines), lines[0]), "")).OK())
	require.False(t, verify("").OK())

	// A copy that was not finished is no edit, wherever it ends.
	whole := strings.Join(lines, "")
	for i := range len(whole) {
		for _, p := range verify(whole[:i]).Problems {
			require.Equal(t, KindCheckpointMissing, p.Kind, "cut at %d", i)
		}
	}
	foreign := newDir(t)
	other := open(t, foreign, quiet())
	add(t, other, 1)
	cp, err = other.Checkpoint(background)
	require.NoError(t, err)
	rep, err = VerifyExport(background, strings.NewReader(whole), VerifyOptions{Verifiers: keys, Checkpoints: cp})
	require.NoError(t, err)
	require.Len(t, rep.Problems, 1)
	require.Equal(t, Place{GivenName, 1, 0}, rep.Problems[0].Place)

	full := errors.New("full")
	require.ErrorIs(t, Export(background, dir, failing{full}, nil), full)
	replace(t, dir, `"seq":2`, `"seq":x`)
	requireCode(t, Export(background, dir, &out, nil), protocol.CodeLocalIO)
	_, err = VerifyExport(background, failing{full}, VerifyOptions{Verifiers: keys})
	require.ErrorIs(t, err, full)
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
func (f failing) Read([]byte) (int, error)  { return 0, f.err }

package audit

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestLines(t *testing.T) {
	dir := newDir(t)
	l := open(t, dir, quiet())
	require.NoError(t, l.Append(background, event("a\u2028<é"), struct {
		B int    `json:"b"`
		A uint64 `json:"a"`
	}{1, 1<<63 + 1}))
	first := `{"event":{"name":"a` + "\u2028" + `<é"},"prev":"` + strings.Repeat("0", 64) + `","seq":1,"time":"2026-01-02T12:00:00.000000Z"}` + "\n"
	require.Equal(t, first+`{"event":{"a":9223372036854775809,"b":1},"prev":"`+fmt.Sprintf("%x", sha256.Sum256([]byte(first)))+`","seq":2,"time":"2026-01-02T12:00:00.000000Z"}
`, read(t, dir, 1))
	for name := range filesOf(t, dir) {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		if name != PublicName {
			require.EqualValues(t, 0o600, info.Mode().Perm(), name)
		}
	}
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.EqualValues(t, 0o700, info.Mode().Perm())
}

func TestEventsThatAreNone(t *testing.T) {
	dir := newDir(t)
	l := open(t, dir, quiet())
	for _, e := range []any{
		nil, 1, "text", []int{1}, make(chan int), json.RawMessage(`{`), json.RawMessage(`{"a":1,"a":2}`),
		json.RawMessage("{\"a\":\"\xff\"}"), map[string]string{"a": strings.Repeat("x", MaxEvent)},
	} {
		requireCode(t, l.Append(background, event("good"), e), protocol.CodeUsage)
	}
	require.NoError(t, l.Append(background))
	require.NoFileExists(t, filepath.Join(dir, fileName(1)))
	longest := map[string]string{"a": strings.Repeat("x", MaxEvent-len(`{"a":""}`))}
	require.NoError(t, l.Append(background, longest, longest))
	require.NoError(t, l.Close(background))
	rep, err := Verify(background, dir, VerifyOptions{})
	require.NoError(t, err)
	require.Empty(t, rep.Problems)
	require.EqualValues(t, 2, rep.Covered)
	require.LessOrEqual(t, rep.Bytes, int64(2*MaxLine))
	_ = open(t, dir, quiet())
}

// TestTree compares the tree with that of package tlog.
func TestTree(t *testing.T) {
	var tr tree
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) (all []tlog.Hash, err error) {
		for _, i := range indexes {
			all = append(all, stored[i])
		}
		return all, nil
	})
	for n := range int64(200) {
		want, err := tlog.TreeHash(n, reader)
		require.NoError(t, err)
		require.Equal(t, want, tr.root())
		data := fmt.Appendf(nil, "line %d", n)
		hashes, err := tlog.StoredHashes(n, data, reader)
		require.NoError(t, err)
		stored = append(stored, hashes...)
		tr.add(tlog.RecordHash(data))
		require.True(t, tr.sound())
	}
}

// TestCheckpoint holds a checkpoint against its specification: the root is that over
// the lines without their newlines, and the note can be opened.
func TestCheckpoint(t *testing.T) {
	dir := newDir(t)
	l := open(t, dir, quiet())
	add(t, l, 5)
	raw, err := l.Checkpoint(background)
	require.NoError(t, err)
	again, err := l.Checkpoint(background)
	require.NoError(t, err)
	require.Equal(t, raw, again)
	keys, err := ReadKeys(filepath.Join(dir, PublicName))
	require.NoError(t, err)
	n, err := note.Open(raw, note.VerifierList(keys...))
	require.NoError(t, err)
	var tr tree
	for line := range strings.Lines(read(t, dir, 1)) {
		tr.add(tlog.RecordHash([]byte(strings.TrimSuffix(line, "\n"))))
	}
	require.Equal(t, fmt.Sprintf("test/log\n5\n%s\n", tr.root()), n.Text)
	require.Equal(t, string(raw)+"\n", string(filesOf(t, dir)[CheckpointsName]))
}

func TestRotation(t *testing.T) {
	dir := newDir(t)
	opts := quiet()
	opts.MaxFile = 1000
	l, other := open(t, dir, opts), open(t, dir, opts)
	for i := range 40 {
		require.NoError(t, []*Log{l, other}[i%2].Append(background, event(i), event(i)))
	}
	require.NoError(t, l.Append(background, map[string]string{"long": strings.Repeat("x", 5000)}))
	require.NoError(t, l.Close(background))
	files := 0
	for name, raw := range filesOf(t, dir) {
		if fileNumber(name) > 0 {
			files++
			require.True(t, len(raw) <= 1000 || strings.Count(string(raw), "\n") == 1, name)
		}
	}
	require.Greater(t, files, 10)
	rep, err := Verify(background, dir, VerifyOptions{})
	require.NoError(t, err)
	require.Empty(t, rep.Problems)
	require.EqualValues(t, 81, rep.Covered)
	require.Equal(t, files, rep.Files)
}

// TestSharedSync holds up the first sync until all others wait: they share the next.
func TestSharedSync(t *testing.T) {
	dir := newDir(t)
	var syncs atomic.Int64
	first, hold := make(chan struct{}), make(chan struct{})
	l, err := openWith(background, dir, quiet(), func(op, path string) error {
		if op == "sync" && filepath.Base(path) == fileName(1) && syncs.Add(1) == 1 {
			close(first)
			<-hold
		}
		return nil
	})
	require.NoError(t, err)
	var g errgroup.Group
	g.Go(func() error { return l.Append(background, event("first")) })
	<-first
	for i := range 50 {
		g.Go(func() error { return l.Append(background, event(i)) })
	}
	require.Eventually(t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.queue) == 50
	}, time.Minute, time.Millisecond)
	close(hold)
	require.NoError(t, g.Wait())
	require.EqualValues(t, 2, syncs.Load())
	require.NoError(t, l.Close(background))
	rep, err := Verify(background, dir, VerifyOptions{})
	require.NoError(t, err)
	require.Empty(t, rep.Problems)
	require.EqualValues(t, 51, rep.Covered)
}

func TestManyGoroutines(t *testing.T) {
	dir := newDir(t)
	opts := Options{MaxFile: 10_000, Every: 10, Interval: time.Millisecond}
	logs := []*Log{open(t, dir, opts), open(t, dir, opts)}
	var g errgroup.Group
	for i := range 16 {
		g.Go(func() error {
			for j := range 20 {
				if err := logs[i%2].Append(background, event(i), event(j)); err != nil {
					return err
				}
				if j%7 == 0 {
					if _, err := logs[i%2].Checkpoint(background); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	g.Go(func() error { // Whoever looks meanwhile sees a log that is right.
		for range 20 {
			rep, err := Verify(background, dir, VerifyOptions{})
			if err != nil || !rep.OK() || rep.Torn != nil {
				return fmt.Errorf("%+v %w", rep, err)
			}
		}
		return nil
	})
	require.NoError(t, g.Wait())
	for _, l := range logs {
		require.NoError(t, l.Close(background))
	}
	rep, err := Verify(background, dir, VerifyOptions{})
	require.NoError(t, err)
	require.Empty(t, rep.Problems)
	require.EqualValues(t, 640, rep.Covered)
}

// TestInterval: lines get a checkpoint also when nothing more is written.
func TestInterval(t *testing.T) {
	dir := newDir(t)
	opts := quiet()
	opts.Interval = time.Millisecond
	l := open(t, dir, opts)
	add(t, l, 3)
	require.Eventually(t, func() bool {
		rep, err := Verify(background, dir, VerifyOptions{})
		return err == nil && rep.Covered == 3
	}, time.Minute, time.Millisecond)
	require.NoError(t, l.Close(background))
	require.NoError(t, l.Close(background))
	requireCode(t, l.Append(background, event(1)), protocol.CodeUsage)
	_, err := l.Checkpoint(background)
	requireCode(t, err, protocol.CodeUsage)
}

// TestState: a new process reads no more than it must, and believes the state only
// with a signature.
func TestState(t *testing.T) {
	dir := newDir(t)
	opts := quiet()
	opts.MaxFile = 500
	l := open(t, dir, opts)
	add(t, l, 10)
	require.NoError(t, l.Close(background))
	first := filepath.Join(dir, fileName(1))
	require.NoError(t, os.Rename(first, first+".away"))
	l = open(t, dir, opts) // It has not been missed.
	add(t, l, 1)
	require.NoError(t, l.Close(background))
	require.NoError(t, os.Rename(first+".away", first))

	raw := filesOf(t, dir)[stateName]
	for i := 0; i < len(raw); i += 7 {
		edited := append([]byte{}, raw...)
		edited[i] ^= 1
		require.NoError(t, os.WriteFile(filepath.Join(dir, stateName), edited, 0o600))
		l := open(t, dir, opts)
		cp, err := l.Checkpoint(background)
		require.NoError(t, err)
		require.Contains(t, string(cp), "\n11\n")
		add(t, l, 0)
		require.NoError(t, l.Close(background))
	}
	rep, err := Verify(background, dir, VerifyOptions{})
	require.NoError(t, err)
	require.Empty(t, rep.Problems)
}

func TestContext(t *testing.T) {
	dir := newDir(t)
	l := open(t, dir, quiet())
	add(t, l, 1)
	lock := flock.New(filepath.Join(dir, lockName))
	require.NoError(t, lock.Lock())
	ctx, cancel := context.WithCancel(background)
	var g errgroup.Group
	for range 4 {
		g.Go(func() error { return l.Append(ctx, event("never")) })
	}
	g.Go(func() error { return l.Append(background, event("patient")) })
	require.Eventually(t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.queue) == 5
	}, time.Minute, time.Millisecond)
	cancel()
	late, cancelLate := context.WithTimeout(background, time.Millisecond)
	defer cancelLate()
	<-late.Done()
	requireCode(t, l.Append(late, event("late")), protocol.CodeTimeout)
	_, err := l.Checkpoint(ctx)
	requireCode(t, err, protocol.CodeCancelled)
	require.Eventually(t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.queue) == 1
	}, time.Minute, time.Millisecond)
	soon, cancelSoon := context.WithTimeout(background, 5*time.Millisecond)
	defer cancelSoon()
	requireCode(t, l.Append(soon, event("soon")), protocol.CodeLocked)
	require.NoError(t, lock.Unlock())
	requireCode(t, g.Wait(), protocol.CodeCancelled)
	require.Equal(t, 2, strings.Count(read(t, dir, 1), "\n"))
	require.Contains(t, read(t, dir, 1), "patient")
	_, err = Verify(ctx, dir, VerifyOptions{})
	requireCode(t, err, protocol.CodeCancelled)
}

// TestLinesOfOthersAreOnTheDiskFirst: who wrote them may have died before they were, and
// a checkpoint says that they are.
func TestLinesOfOthersAreOnTheDiskFirst(t *testing.T) {
	dir := newDir(t)
	add(t, open(t, dir, quiet()), 2)
	var done []string
	broken := true
	l, err := openWith(background, dir, quiet(), func(op, path string) error {
		done = append(done, op+" "+filepath.Base(path))
		if op == "sync" && broken {
			return errors.New("the disk is away")
		}
		return nil
	})
	require.NoError(t, err)
	_, err = l.Checkpoint(background)
	requireCode(t, err, protocol.CodeLocalIO)
	require.NoFileExists(t, filepath.Join(dir, CheckpointsName))
	broken, done = false, nil
	_, err = l.Checkpoint(background)
	require.NoError(t, err)
	require.Equal(t, []string{"sync " + fileName(1), "syncdir audit", "create " + CheckpointsName, "write " + CheckpointsName}, done[:4])
	require.NoError(t, l.Close(background))
}

// refusing is a signer that does not sign.
type refusing struct{ note.Signer }

func (refusing) Sign([]byte) ([]byte, error) { return nil, errors.New("the key is away") }

// TestSignerFails: lines that are on the disk are no failure.
func TestSignerFails(t *testing.T) {
	private, public, err := note.GenerateKey(rand.Reader, "elsewhere")
	require.NoError(t, err)
	signer, err := note.NewSigner(private)
	require.NoError(t, err)
	verifier, err := note.NewVerifier(public)
	require.NoError(t, err)
	dir := newDir(t)
	opts := quiet()
	opts.Signer, opts.Every = refusing{signer}, 1
	var failed atomic.Int64
	opts.OnCheckpointError = func(error) { failed.Add(1) }
	l := open(t, dir, opts)
	add(t, l, 2)
	require.EqualValues(t, 2, failed.Load())
	requireCode(t, l.Close(background), protocol.CodeLocalIO)
	require.NoFileExists(t, filepath.Join(dir, KeyName))

	opts.Signer = signer
	for range 2 { // without verifiers, all is read again
		l = open(t, dir, opts)
		add(t, l, 2)
		require.NoError(t, l.Close(background))
		opts.Verifiers = []note.Verifier{verifier}
	}
	rep, err := Verify(background, dir, VerifyOptions{Verifiers: opts.Verifiers})
	require.NoError(t, err)
	require.Empty(t, rep.Problems)
	require.EqualValues(t, 6, rep.Covered)
	rep, err = Verify(background, dir, VerifyOptions{})
	require.NoError(t, err)
	find(t, rep, KindKeyMissing)
	for _, p := range rep.Problems {
		require.NotEqual(t, KindCheckpointForeign, p.Kind, "of which log it is, nobody can tell")
	}
}

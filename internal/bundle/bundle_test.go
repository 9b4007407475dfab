package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func doc(t testing.TB, role string, raw []byte) *admission.Doc {
	d, err := admission.Parse(admission.KindOf(role), raw, admission.Limits{})
	require.NoError(t, err)
	return d
}

// longName needs a PAX record.
var longName = strings.Repeat("näme/", 60) + "end"

// sample is a bundle with two roots, an odd role and two targets.
func sample(t testing.TB) Content {
	repo := tuftest.NewRepo(tuftest.Config{})
	repo.Delegate("targets", tuftest.Delegation{Name: "../a b%", Paths: []string{"*"}})
	repo.PublishRoot()
	repo.Publish("targets", "../a b%")
	get := func(role string, version int) *admission.Doc {
		raw, ok := repo.Get(repo.MetadataName(role, version))
		require.True(t, ok)
		return doc(t, role, raw)
	}
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, []byte("content"), 0o600))
	return Content{
		Roots:     []*admission.Doc{get("root", 1), get("root", 2)},
		Timestamp: get("timestamp", 2),
		Roles:     []Role{{"snapshot", get("snapshot", 2)}, {"targets", get("targets", 2)}, {"../a b%", get("../a b%", 1)}},
		Targets:   []Target{{"a/b", 7, path}, {longName, 7, path}},
	}
}

func write(t testing.TB, c Content) []byte {
	var b bytes.Buffer
	require.NoError(t, Write(context.Background(), &b, c))
	return b.Bytes()
}

// drain reads a bundle to its end.
func drain(r io.Reader) (*Reader, map[string]string, error) {
	b, err := Open(context.Background(), r, admission.Limits{})
	if err != nil {
		return nil, nil, err
	}
	got := map[string]string{}
	for {
		name, err := b.Next()
		if err == io.EOF {
			return b, got, nil
		}
		if err != nil {
			return nil, nil, err
		}
		raw, err := io.ReadAll(b)
		if err != nil {
			return nil, nil, err
		}
		got[name] = string(raw)
	}
}

func TestRoundTrip(t *testing.T) {
	c := sample(t)
	raw := write(t, c)
	require.Equal(t, raw, write(t, c))
	b, got, err := drain(bytes.NewReader(raw))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a/b": "content", longName: "content"}, got)
	require.Equal(t, []string{"a/b", longName}, b.Targets())
	first, last := b.Roots()
	require.Equal(t, []int64{1, 2}, []int64{first, last})
	for v := int64(1); v <= 2; v++ {
		require.Equal(t, c.Roots[v-1].Raw, b.Root(v).Raw)
	}
	for _, v := range []int64{math.MinInt64, -1, 0, 3, math.MaxInt64} {
		require.Nil(t, b.Root(v))
	}
	require.Equal(t, c.Timestamp.Raw, b.Role("timestamp").Raw)
	for _, r := range c.Roles {
		require.Equal(t, r.Doc.Raw, b.Role(r.Name).Raw)
	}
	require.Nil(t, b.Role("other"))

	// Targets that are not read are passed over.
	b, err = Open(context.Background(), bytes.NewReader(raw), admission.Limits{})
	require.NoError(t, err)
	for _, want := range []string{"a/b", longName} {
		name, err := b.Next()
		require.NoError(t, err)
		require.Equal(t, want, name)
	}
	_, err = b.Next()
	require.ErrorIs(t, err, io.EOF)
}

// entry is a file of an archive. Size replaces the real one if it is not 0.
type entry struct {
	tar.Header
	data string
}

func entries(t testing.TB, raw []byte) []entry {
	var list []entry
	for r := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return list
		}
		require.NoError(t, err)
		data, err := io.ReadAll(r)
		require.NoError(t, err)
		list = append(list, entry{tar.Header{Typeflag: h.Typeflag, Name: h.Name, Mode: h.Mode}, string(data)})
	}
}

// pack writes entries; one whose size is not its data's ends the archive.
func pack(list []entry) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range list {
		if e.Size == 0 && e.Typeflag == tar.TypeReg {
			e.Size = int64(len(e.data))
		}
		if err := w.WriteHeader(&e.Header); err != nil {
			panic(err)
		}
		_, _ = io.WriteString(w, e.data)
		if e.Size != int64(len(e.data)) {
			return b.Bytes()
		}
	}
	_ = w.Close()
	return b.Bytes()
}

func file(name, data string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, data}
}

func TestForeignForms(t *testing.T) {
	good := entries(t, write(t, sample(t)))
	at := func(name string) int {
		i := slices.IndexFunc(good, func(e entry) bool { return strings.HasPrefix(e.Name, name) })
		require.NotEqual(t, -1, i, name)
		return i
	}
	first, snapshot, target := at("metadata/1.root"), at("metadata/2.snapshot"), at("targets/")
	insert := func(i int, e entry) []entry { return slices.Insert(slices.Clone(good), i, e) }
	without := func(i int) []entry { return slices.Delete(slices.Clone(good), i, i+1) }
	edit := func(i int, f func(*entry)) []entry {
		list := slices.Clone(good)
		f(&list[i])
		return list
	}
	rename := func(i int, name string) []entry { return edit(i, func(e *entry) { e.Name = name }) }
	indexed := func(text string) []entry { return edit(0, func(e *entry) { e.data = text }) }
	kind := func(flag byte) []entry {
		return insert(first, entry{tar.Header{Typeflag: flag, Name: "metadata/1.evil.json", Linkname: "/etc/passwd", Mode: 0o644}, ""})
	}
	swap := func(i, j int) []entry {
		list := slices.Clone(good)
		list[i], list[j] = list[j], list[i]
		return list
	}
	for name, list := range map[string][]entry{
		"nothing":             {},
		"no index":            without(0),
		"index twice":         insert(1, good[0]),
		"not JSON":            indexed("{"),
		"other format":        indexed(`{"format":"zip","version":1,"targets":[]}`),
		"other version":       indexed(`{"format":"ragnos-tuf-bundle","version":2,"targets":[]}`),
		"unknown member":      indexed(`{"format":"ragnos-tuf-bundle","version":1,"targets":[],"x":1}`),
		"target listed twice": indexed(`{"format":"ragnos-tuf-bundle","version":1,"targets":["a/b","a/b"]}`),
		"target not listed":   indexed(`{"format":"ragnos-tuf-bundle","version":1,"targets":[]}`),
		"targets in another order": indexed(fmt.Sprintf(
			`{"format":"ragnos-tuf-bundle","version":1,"targets":[%q,"a/b"]}`, longName)),
		"no root":            without(first)[:first:first],
		"gap in the roots":   insert(first, file("metadata/9.root.json", good[first].data)),
		"roots descending":   swap(first, first+1),
		"root twice":         insert(first, good[first]),
		"no timestamp":       without(at("metadata/timestamp")),
		"no snapshot":        without(snapshot),
		"no targets":         without(at("metadata/2.targets")),
		"role twice":         insert(snapshot, good[snapshot]),
		"timestamp twice":    insert(snapshot, good[at("metadata/timestamp")]),
		"timestamp numbered": rename(at("metadata/timestamp"), "metadata/2.timestamp.json"),
		"other number":       rename(snapshot, "metadata/3.snapshot.json"),
		"zero":               rename(snapshot, "metadata/02.snapshot.json"),
		"no number":          rename(snapshot, "metadata/snapshot.json"),
		"not escaped":        rename(at("metadata/1..."), "metadata/1.../a b%25.json"),
		"traversal":          insert(first, file("metadata/../../../etc/cron.d/evil", "x")),
		"absolute":           insert(first, file("/etc/cron.d/evil", "x")),
		"elsewhere":          insert(len(good), file("evil", "x")),
		"not metadata":       edit(snapshot, func(e *entry) { e.data = "<html>" }),
		"other kind":         edit(snapshot, func(e *entry) { e.data = good[first].data }),
		"target missing":     without(target),
		"target twice":       insert(target, good[target]),
		"target renamed":     rename(target, "targets/../a/b"),
		"metadata too late":  insert(len(good), good[snapshot]),
		"symbolic link":      kind(tar.TypeSymlink),
		"hard link":          kind(tar.TypeLink),
		"directory":          kind(tar.TypeDir),
		"pipe":               kind(tar.TypeFifo),
		"device":             kind(tar.TypeChar),
		"attribute": edit(first, func(e *entry) {
			e.PAXRecords = map[string]string{"RAGNOS.x": "y"}
			e.Format = tar.FormatPAX
		}),
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := drain(bytes.NewReader(pack(list)))
			require.Equal(t, protocol.CodeMalformed, tuferr.CodeOf(err), "%v", err)
		})
	}
	raw := pack(good)
	_, _, err := drain(bytes.NewReader(raw))
	require.NoError(t, err)
	for name, raw := range map[string][]byte{
		"something behind":  append(slices.Clone(raw), 'x'),
		"zeros behind":      append(slices.Clone(raw), make([]byte, 512)...),
		"another behind":    append(slices.Clone(raw), raw...),
		"not an archive":    []byte(strings.Repeat("no tar ", 1000)),
		"empty":             nil,
		"a damaged header":  append([]byte("X"), raw[1:]...),
		"cut in the header": raw[:100],
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := drain(bytes.NewReader(raw))
			require.Equal(t, protocol.CodeMalformed, tuferr.CodeOf(err), "%v", err)
			require.NotEmpty(t, tuferr.As(err).Hint)
		})
	}
}

// TestSparse: a few bytes that claim to be many are no file of a bundle.
func TestSparse(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	records := "GNU.sparse.major=1\nGNU.sparse.minor=0\nGNU.sparse.name=bundle.json\nGNU.sparse.realsize=1099511627776\n"
	var body strings.Builder
	for line := range strings.Lines(records) {
		n := len(line) + 1
		for len(fmt.Sprint(n))+len(line)+1 != n {
			n = len(fmt.Sprint(n)) + len(line) + 1
		}
		fmt.Fprintf(&body, "%d %s", n, line)
	}
	blocks := "1\n1099511627775\n1\n"
	blocks += strings.Repeat("\x00", 512-len(blocks)) + "x"
	// The writer makes no such thing: take its headers and patch the type.
	require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "PaxHeaders/x", Size: int64(body.Len())}))
	_, _ = io.WriteString(w, body.String())
	require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "x", Size: int64(len(blocks))}))
	_, _ = io.WriteString(w, blocks)
	require.NoError(t, w.Close())
	raw := b.Bytes()
	raw[156] = tar.TypeXHeader
	copy(raw[148:156], "        ")
	sum := 0
	for _, c := range raw[:512] {
		sum += int(c)
	}
	copy(raw[148:156], fmt.Sprintf("%06o\x00 ", sum))

	h, err := tar.NewReader(bytes.NewReader(raw)).Next()
	require.NoError(t, err)
	require.Equal(t, int64(1)<<40, h.Size, "this is a sparse file")
	_, _, err = drain(bytes.NewReader(raw))
	require.ErrorContains(t, err, "GNU.sparse")
}

func TestBounds(t *testing.T) {
	good := entries(t, write(t, sample(t)))
	index := func(n int) entry {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"%d"`, i)
		}
		return file(indexName, `{"format":"ragnos-tuf-bundle","version":1,"targets":[`+strings.TrimPrefix(b.String(), ",")+`]}`)
	}
	sized := func(name string, size int64) entry {
		return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size}, "x"}
	}
	for name, list := range map[string][]entry{
		"index":         {sized(indexName, maxIndex+1)},
		"exabytes":      {good[0], sized("metadata/1.root.json", math.MaxInt64)},
		"targets":       {index(maxFiles + 1)},
		"root":          {good[0], sized("metadata/1.root.json", admission.DefaultRootBytes+1)},
		"timestamp":     {good[0], sized("metadata/timestamp.json", admission.DefaultTimestampBytes+1)},
		"delegated":     {good[0], sized("metadata/1.x.json", admission.DefaultTargetsBytes+1)},
		"many metadata": append([]entry{good[0]}, many(t, maxFiles+1, "")...),
		"much metadata": append([]entry{good[0]}, many(t, 5, strings.Repeat(" ", 30<<20))...),
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := drain(bytes.NewReader(pack(list)))
			require.Equal(t, protocol.CodeEndlessData, tuferr.CodeOf(err), "%v", err)
		})
	}
	_, _, err := drain(bytes.NewReader(pack(append([]entry{index(maxFiles)}, good[1:]...))))
	require.Equal(t, protocol.CodeMalformed, tuferr.CodeOf(err), "as many targets as that may be listed")

	c := sample(t)
	c.Targets = make([]Target, maxFiles+1)
	require.Equal(t, protocol.CodeUsage, tuferr.CodeOf(Write(context.Background(), io.Discard, c)))
}

// many makes n targets files with something behind each.
func many(t *testing.T, n int, tail string) []entry {
	raw := sample(t).Roles[1].Doc.Raw
	var list []entry
	for i := range n {
		list = append(list, file(fmt.Sprintf("metadata/2.r%d.json", i), string(raw)+tail))
	}
	return list
}

type failing struct{}

func (failing) Read([]byte) (int, error)  { return 0, errors.New("the stick was pulled out") }
func (failing) Write([]byte) (int, error) { return 0, errors.New("the stick is full") }

func TestFailures(t *testing.T) {
	c := sample(t)
	raw := write(t, c)
	for n := 0; n < len(raw); n += 300 {
		_, _, err := drain(io.MultiReader(bytes.NewReader(raw[:n]), failing{}))
		require.Equal(t, protocol.CodeLocalIO, tuferr.CodeOf(err), "at %d: %v", n, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Open(ctx, bytes.NewReader(raw), admission.Limits{})
	require.Equal(t, protocol.CodeCancelled, tuferr.CodeOf(err))
	require.ErrorIs(t, err, context.Canceled)
	ctx, cancel = context.WithTimeout(context.Background(), 0)
	defer cancel()
	require.Equal(t, protocol.CodeTimeout, tuferr.CodeOf(Write(ctx, io.Discard, c)))

	require.Equal(t, protocol.CodeLocalIO, tuferr.CodeOf(Write(context.Background(), failing{}, c)))
	for _, change := range []func(*Target){
		func(x *Target) { x.Path += "-missing" }, func(x *Target) { x.Length++ }, func(x *Target) { x.Length-- },
	} {
		c.Targets = slices.Clone(sample(t).Targets)
		change(&c.Targets[0])
		require.Equal(t, protocol.CodeLocalIO, tuferr.CodeOf(Write(context.Background(), io.Discard, c)))
	}
}

// FuzzOpen: whatever is read, it ends in a typed error or in what a writer
// would have written.
func FuzzOpen(f *testing.F) {
	raw := write(f, sample(f))
	f.Add(raw)
	f.Add(raw[:len(raw)/2])
	f.Add(pack(entries(f, raw)[:3]))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, got, err := drain(bytes.NewReader(raw))
		if err != nil {
			require.NotNil(t, tuferr.As(err))
			return
		}
		require.Len(t, got, len(b.Targets()))
		first, last := b.Roots()
		for v := first; v <= last; v++ {
			require.Equal(t, v, b.Root(v).Version)
		}
	})
}

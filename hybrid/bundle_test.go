package hybrid

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

const deep = "deep/tool.bin"

var deepContent = bytes.Repeat([]byte("deep "), 100_000)

// newGap is a world whose repository has three root versions and a delegated
// role with an odd name.
func newGap(t *testing.T) *world {
	w := newWorld(t)
	w.repo.Delegate("targets", tuftest.Delegation{Name: "decoy", Paths: []string{"deep/*"}})
	w.repo.Delegate("targets", tuftest.Delegation{Name: "../1.root", Paths: []string{"deep/*"}})
	w.repo.Delegate("targets", tuftest.Delegation{Name: "elsewhere", Paths: []string{"other/*"}})
	w.repo.AddTarget("../1.root", deep, deepContent, nil)
	w.repo.PublishRoot()
	w.repo.SetKeys("timestamp", 1, tuftest.Keys(70, 1)...)
	w.repo.PublishRoot()
	w.repo.Publish("targets", "decoy", "../1.root", "elsewhere")
	return w
}

// far is a client on the other side of the gap, with directories of its own.
func (w *world) far(mode Mode, edit ...func(*Options)) *Client {
	return w.client(mode, append([]func(*Options){func(o *Options) {
		o.RepositoryURL = "http://127.0.0.1:1"
		o.MetadataDir, o.CacheDir = filepath.Join(w.dir, "far"), filepath.Join(w.dir, "far-cache")
	}}, edit...)...)
}

func (w *world) export(c *Client, names ...string) []byte {
	w.t.Helper()
	var b bytes.Buffer
	_, err := c.ExportBundle(context.Background(), &b, names...)
	require.NoError(w.t, err)
	return b.Bytes()
}

func take(c *Client, raw []byte) (*BundleResult, error) {
	return c.ImportBundle(context.Background(), bytes.NewReader(raw), ImportOptions{})
}

func at(at time.Time) func(*Options) {
	return func(o *Options) { o.Now = func() time.Time { return at } }
}

// entry is a file of an archive.
type entry struct {
	tar.Header
	data []byte
}

func unpack(t *testing.T, raw []byte) []entry {
	var list []entry
	for r := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return list
		}
		require.NoError(t, err)
		data, err := io.ReadAll(r)
		require.NoError(t, err)
		list = append(list, entry{*h, data})
	}
}

func pack(t *testing.T, list []entry) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range list {
		e.Size = int64(len(e.data))
		require.NoError(t, w.WriteHeader(&e.Header))
		_, err := w.Write(e.data)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

func names(list []entry) []string {
	var out []string
	for _, e := range list {
		out = append(out, e.Name)
	}
	return out
}

// tree is every file below dir with its content.
func tree(t *testing.T, dir string) map[string]string {
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		files[path] = string(raw)
		return err
	})
	if !errors.Is(err, fs.ErrNotExist) {
		require.NoError(t, err)
	}
	return files
}

// onlyVerified checks that the far cache holds nothing but the two targets.
func (w *world) onlyVerified() {
	w.t.Helper()
	for path, got := range tree(w.t, filepath.Join(w.dir, "far-cache")) {
		require.Contains(w.t, []string{tuftest.SHA256(content), tuftest.SHA256(deepContent)}, filepath.Base(path))
		require.Equal(w.t, tuftest.SHA256([]byte(got)), filepath.Base(path))
	}
}

func TestBundleCrossesTheGap(t *testing.T) {
	for mode, engine := range map[Mode]string{ModeAuto: "go", ModeGo: "go", ModePython: "python", ModeDual: "go+python"} {
		t.Run(string(mode), func(t *testing.T) {
			w := newGap(t)
			raw := w.export(w.client(mode), plugin, deep)
			require.Equal(t, raw, w.export(w.client(mode), deep, plugin, deep), "the same state, the same bytes")
			require.NotContains(t, string(raw), w.server.URL)
			require.NotContains(t, string(raw), w.dir)
			require.Equal(t, []string{
				"bundle.json", "metadata/1.root.json", "metadata/2.root.json", "metadata/3.root.json",
				"metadata/timestamp.json", "metadata/3.snapshot.json", "metadata/3.targets.json",
				"metadata/1.decoy.json", "metadata/1...%2F1.root.json",
				"targets/" + deep, "targets/" + plugin,
			}, names(unpack(t, raw)))
			w.server.Close()

			before := time.Now()
			r, err := take(w.far(mode), raw)
			require.NoError(t, err)
			require.Equal(t, engine, r.Engine)
			require.Equal(t, Versions{Root: 3, Timestamp: 3, Snapshot: 3, Targets: 3}, r.Versions)
			require.Equal(t, tuftest.Expires, r.Expires.Format(time.RFC3339))
			require.WithinRange(t, r.Start, before, time.Now())
			require.Len(t, r.Targets, 2)
			require.Equal(t, deep, r.Targets[0].Name)
			require.Equal(t, "../1.root", r.Targets[0].Role)

			c := w.far(mode)
			got := w.get(c)
			require.True(t, got.Offline)
			require.True(t, got.FromCache)
			require.Equal(t, r.Targets[1].Path, got.Path)
			require.WithinRange(t, status(t, c).LastRefresh, before, time.Now())
			_, err = take(c, raw)
			require.NoError(t, err, "the same once more")
			w.onlyVerified()
		})
	}
}

// TestBundleFallsBack: what only python can read crosses the gap too.
func TestBundleFallsBack(t *testing.T) {
	w := newGap(t)
	w.repo.Timestamp.EditSignatures = oddSignature
	w.repo.PublishTimestamp()
	raw := w.export(w.client(ModeAuto), plugin)
	r, err := take(w.far(ModeAuto), raw)
	require.NoError(t, err)
	require.Equal(t, "python", r.Engine)
	require.NotEmpty(t, r.Fallback)
	_, err = take(w.far(ModeGo), raw)
	require.ErrorIs(t, err, ErrFault)
}

// TestBundleOfAnyRepository: file names without versions, nothing but metadata,
// and an export without the repository.
func TestBundleOfAnyRepository(t *testing.T) {
	w := newWorld(t)
	w.repo = tuftest.NewRepo(tuftest.Config{Inconsistent: true, NoHashes: true})
	w.repo.AddTarget("targets", plugin, content, nil)
	w.repo.Publish("targets")
	w.server = tuftest.NewServer(w.repo)
	defer w.server.Close()
	w.get(w.client(ModeGo))
	w.server.Close()
	near := w.client(ModeGo)
	var b bytes.Buffer
	r, err := near.ExportBundle(context.Background(), &b, plugin)
	require.NoError(t, err)
	require.True(t, r.Targets[0].Offline)
	_, err = take(w.far(ModeDual), b.Bytes())
	require.NoError(t, err)
	w.get(w.far(ModeGo))

	empty, err := take(w.far(ModeGo), w.export(near))
	require.NoError(t, err)
	require.Empty(t, empty.Targets)
}

func TestExportRefuses(t *testing.T) {
	w := newGap(t)
	for name, c := range map[string]struct {
		mode   Mode
		names  []string
		attack func()
		family error
	}{
		"unknown":  {ModeGo, []string{plugin, "no/such"}, nil, ErrNotFound},
		"bad name": {ModeGo, []string{"../x"}, nil, tuferr.OfCode("invalid_name")},
		"off":      {ModeOff, []string{plugin}, nil, tuferr.OfCode("disabled")},
		"tampered": {ModeGo, []string{plugin}, func() { w.server.On(targetFile, tuftest.Body([]byte("the bytes the publisher forged"))) }, ErrMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			defer w.server.Heal()
			if c.attack != nil {
				c.attack()
			}
			var b bytes.Buffer
			r, err := w.client(c.mode).ExportBundle(context.Background(), &b, c.names...)
			require.ErrorIs(t, err, c.family)
			require.Nil(t, r)
			require.Empty(t, b.Bytes(), "nothing is written before everything is there")
		})
	}
	w.server.Close()
	_, err := w.client(ModeGo).ExportBundle(context.Background(), io.Discard, plugin)
	require.ErrorIs(t, err, ErrTransport)
	require.ErrorContains(t, err, "the cache does not hold this target")
}

// TestTamperedBundle flips bytes of every file, in the modes whose engines differ.
func TestTamperedBundle(t *testing.T) {
	w := newGap(t)
	raw := w.export(w.client(ModeGo), plugin, deep)
	for mode, places := range map[Mode]int{ModeGo: 8, ModeDual: 1} {
		for i, e := range unpack(t, raw) {
			if e.Name == "metadata/1.root.json" {
				continue // Trusted already, so nobody looks at it.
			}
			for p := range places {
				list := unpack(t, raw)
				data := list[i].data
				flipped := len(data) * (p + 1) / (places + 1)
				data[flipped] ^= 1
				// An imported state is trusted, so every trial begins with a new one.
				far := w.far(mode, func(o *Options) { o.MetadataDir = filepath.Join(w.dir, fmt.Sprint(mode, i, p)) })
				r, err := take(far, pack(t, list))
				require.Error(t, err, "%s byte %d", e.Name, flipped)
				require.Nil(t, r)
				w.onlyVerified()
				require.NoError(t, far.Shutdown(context.Background()))
			}
		}
	}
}

// TestCutBundle: cut off anywhere, unreadable, or cancelled in the middle of it.
// Whatever came before, the store works and the whole bundle is taken then.
func TestCutBundle(t *testing.T) {
	w := newGap(t)
	raw := w.export(w.client(ModeGo), plugin, deep)
	const trailer = 1024 // Empty blocks that hold nothing.
	for n := 0; n <= len(raw)-trailer-1; n += min(256+n/8, len(raw)) {
		_, err := take(w.far(ModeGo), raw[:n])
		require.ErrorIs(t, err, ErrMalformed, "cut at %d", n)

		broken := io.MultiReader(bytes.NewReader(raw[:n]), failing{})
		_, err = w.far(ModeGo).ImportBundle(context.Background(), broken, ImportOptions{})
		require.ErrorIs(t, err, ErrLocal)

		ctx, cancel := context.WithCancel(context.Background())
		stopped := io.MultiReader(bytes.NewReader(raw[:n]), stop(cancel), bytes.NewReader(raw[n:]))
		_, err = w.far(ModeGo).ImportBundle(ctx, stopped, ImportOptions{})
		require.ErrorIs(t, err, ErrCancelled)
		w.onlyVerified()
	}
	_, err := take(w.far(ModeGo), raw)
	require.NoError(t, err)
	w.get(w.far(ModeGo))
	w.onlyVerified()
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the stick was pulled out") }

// stop is a reader that calls itself and reads nothing.
type stop func()

func (s stop) Read([]byte) (int, error) {
	s()
	return 0, io.EOF
}

func TestImportRefusesTheWrongBundle(t *testing.T) {
	for _, mode := range []Mode{ModeAuto, ModeDual} {
		t.Run(string(mode), func(t *testing.T) {
			w := newGap(t)
			raw := w.export(w.client(ModeGo), plugin)

			other := tuftest.NewRepo(tuftest.Config{})
			for _, role := range []string{"root", "timestamp", "snapshot", "targets"} {
				other.SetKeys(role, 1, tuftest.Keys(80, 1)...)
			}
			other.PublishRoot()
			far := w.far(mode, func(o *Options) { o.Root = other.RootBytes(2) })
			_, err := take(far, raw)
			require.ErrorIs(t, err, ErrUnsigned)
			require.NoError(t, os.RemoveAll(filepath.Join(w.dir, "far")))

			list := slices.DeleteFunc(unpack(t, raw), func(e entry) bool {
				return e.Name == "metadata/1.root.json" || e.Name == "metadata/2.root.json"
			})
			_, err = take(w.far(mode), pack(t, list))
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, "bad_version", string(e.Code))
			require.Equal(t, []int64{1, 3}, []int64{e.Trusted, e.Received})
			require.Contains(t, e.Hint, "newer trusted root")

			list = slices.DeleteFunc(unpack(t, raw), func(e entry) bool { return strings.HasPrefix(e.Name, "targets/") })
			_, err = take(w.far(mode), pack(t, list))
			require.ErrorIs(t, err, ErrMalformed)

			w.repo.Publish("targets")
			_, err = take(w.far(mode), w.export(w.client(ModeGo), plugin))
			require.NoError(t, err)
			before := tree(t, filepath.Join(w.dir, "far"))
			_, err = take(w.far(mode), raw)
			require.ErrorIs(t, err, ErrRollback)
			require.ErrorContains(t, err, "export it again")
			require.Equal(t, before, tree(t, filepath.Join(w.dir, "far")))
			require.Contains(t, w.codes(), "refused")
			w.get(w.far(mode))
		})
	}
}

// TestImportOfAnUnlistedTarget: the list of a bundle is not signed, and what it
// adds to the signed one does not get in; nor does metadata that is missing.
func TestImportOfAnUnlistedTarget(t *testing.T) {
	w := newGap(t)
	list := unpack(t, w.export(w.client(ModeGo), plugin))
	list[0].data = bytes.Replace(list[0].data, []byte(plugin), []byte(plugin+`","plugins/evil`), 1)
	list = append(list, entry{tar.Header{Typeflag: tar.TypeReg, Name: "targets/plugins/evil"}, []byte("evil")})
	_, err := take(w.far(ModeGo), pack(t, list))
	require.ErrorIs(t, err, ErrNotFound)
	require.Empty(t, tree(t, filepath.Join(w.dir, "far-cache")))

	list = unpack(t, w.export(w.client(ModeGo), plugin))
	list[0].data = bytes.Replace(list[0].data, []byte(plugin), []byte("../../escaped"), 1)
	list[len(list)-1].Name = "targets/../../escaped"
	_, err = take(w.far(ModeGo), pack(t, list))
	require.ErrorIs(t, err, tuferr.OfCode("invalid_name"))
	w.onlyVerified()

	list = slices.DeleteFunc(unpack(t, w.export(w.client(ModeGo), deep)), func(e entry) bool { return strings.Contains(e.Name, "decoy") })
	for _, mode := range []Mode{ModeGo, ModePython} {
		_, err = take(w.far(mode), pack(t, list))
		require.ErrorIs(t, err, ErrMalformed)
		require.ErrorContains(t, err, "decoy")
	}
}

func TestReferenceTime(t *testing.T) {
	made := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	day := 24 * time.Hour
	for _, mode := range []Mode{ModeGo, ModeDual} {
		t.Run(string(mode), func(t *testing.T) {
			w := newGap(t)
			w.repo.Timestamp.Signed["expires"] = made.Add(7 * day).Format(time.RFC3339)
			w.repo.PublishTimestamp()
			raw := w.export(w.client(ModeGo, at(made)), plugin)
			clockFile := filepath.Join(w.dir, "far", ".ragnos", "clock")
			as := func(now, reference time.Time) (*BundleResult, error) {
				return w.far(mode, at(now)).ImportBundle(context.Background(), bytes.NewReader(raw), ImportOptions{ReferenceTime: reference})
			}

			_, err := as(made.Add(30*day), time.Time{})
			require.ErrorIs(t, err, ErrExpired, "by the clock")
			require.NoFileExists(t, clockFile)

			r, err := as(made.Add(30*day), made.Add(day))
			require.NoError(t, err)
			require.Equal(t, made.Add(day), r.Start)
			got, err := os.ReadFile(r.Targets[0].Path)
			require.NoError(t, err)
			require.Equal(t, content, got)
			require.NoFileExists(t, clockFile, "neither floor nor refresh")
			require.Zero(t, status(t, w.far(mode)).LastRefresh)
			w.refused(w.far(mode, at(made.Add(30*day))), ErrTransport)
			w.refused(w.far(mode, at(made.Add(day))), ErrTransport)

			// With a floor: a lower reference time is raised, a higher one moves nothing.
			_, err = as(made.Add(2*day), time.Time{})
			require.NoError(t, err)
			floor := tree(t, filepath.Dir(clockFile))[clockFile]
			require.NotEmpty(t, floor)
			for reference, want := range map[time.Time]time.Time{
				made:              made.Add(2 * day),
				made.Add(3 * day): made.Add(3 * day),
			} {
				r, err = as(made.Add(-90*day), reference)
				require.NoError(t, err)
				require.Equal(t, want, r.Start)
			}
			_, err = as(made.Add(2*day), made.Add(8*day))
			require.ErrorIs(t, err, ErrExpired)
			require.Equal(t, floor, tree(t, filepath.Dir(clockFile))[clockFile])

			w.get(w.far(mode, at(made.Add(2*day+time.Hour))))
			w.refused(w.far(mode, at(made.Add(4*day))), ErrStale)
			long := func(o *Options) { o.MaxMetadataAge = 365 * day }
			w.get(w.far(mode, at(made.Add(4*day)), long))
			w.refused(w.far(mode, at(made.Add(8*day)), long), ErrExpired)
		})
	}
}

// TestReferenceTimeLeavesAWrongFloor: a floor that metadata disproves is lowered
// by an import by the clock, and by nothing else.
func TestReferenceTimeLeavesAWrongFloor(t *testing.T) {
	w := newGap(t)
	future := time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC)
	_, err := take(w.far(ModeGo, at(future)), w.export(w.client(ModeGo), plugin))
	require.NoError(t, err)
	w.repo.Timestamp.Signed["expires"] = "2050-01-01T00:00:00Z"
	w.repo.PublishTimestamp()
	raw := w.export(w.client(ModeGo), plugin)
	before := tree(t, filepath.Join(w.dir, "far"))
	_, err = w.far(ModeGo).ImportBundle(context.Background(), bytes.NewReader(raw), ImportOptions{ReferenceTime: time.Now()})
	require.ErrorIs(t, err, ErrExpired)
	clock := filepath.Join(w.dir, "far", ".ragnos", "clock")
	require.Equal(t, before[clock], tree(t, filepath.Join(w.dir, "far"))[clock])
	_, err = take(w.far(ModeGo), raw)
	require.NoError(t, err)
	require.Contains(t, w.codes(), "clock_lowered")
}

// TestImportBesideTheNetwork: an import takes part in one store with everybody
// else, and what was answered before it is not what is answered after it.
func TestImportBesideTheNetwork(t *testing.T) {
	w := newGap(t)
	c := w.client(ModeGo, func(o *Options) { o.RefreshInterval = time.Hour })
	w.get(c)
	w.repo.Publish("targets")
	raw := w.export(w.client(ModeGo, func(o *Options) { o.MetadataDir += "-other" }), plugin)
	_, err := take(c, raw)
	require.NoError(t, err)
	require.Equal(t, int64(4), w.get(c).Versions.Targets)
	require.NoError(t, c.Shutdown(context.Background()))
	_, err = take(c, raw)
	require.ErrorIs(t, err, ErrUsage)
	_, err = c.ExportBundle(context.Background(), io.Discard)
	require.ErrorIs(t, err, ErrUsage)
	_, err = take(w.far(ModeOff), raw)
	require.ErrorIs(t, err, tuferr.OfCode("disabled"))
	for path := range tree(t, w.dir) {
		require.NotContains(t, path, ".part-")
	}
}

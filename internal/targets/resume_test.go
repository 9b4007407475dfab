package targets

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/transport"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

var _ transport.Resumer = Sink(nil)

func TestBrokenDownloadIsGoneOnWith(t *testing.T) {
	c := open(t)
	o := newOrigin(t, breaks("ETag", `"a"`), serves(plugin, `"a"`))
	require.Equal(t, protocol.CodeUnreachable, tuferr.CodeOf(fetch(t, c, o)))
	left, err := os.ReadFile(partialOf(c))
	require.NoError(t, err)
	require.True(t, bytes.Equal(plugin[:breakOff], left))
	for _, path := range []string{partialOf(c), noteOf(c)} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode())
	}

	c, err = Open(c.dir, 0, 0)
	require.NoError(t, err)
	var seen []int64
	_, err = c.Fetch(background, wantOf(plugin), from(newClient(), o.URL), func(done, total int64) {
		require.EqualValues(t, len(plugin), total)
		seen = append(seen, done)
	})
	require.NoError(t, err)
	asked, sent := o.asked()
	require.Equal(t, []string{"", fmt.Sprintf(`bytes=%d- if "a"`, breakOff)}, asked)
	require.EqualValues(t, len(plugin), sent, "each byte was sent once")
	require.EqualValues(t, breakOff, seen[0])
	require.IsNonDecreasing(t, seen)
	require.EqualValues(t, len(plugin), seen[len(seen)-1])
	require.Equal(t, []string{"sha256/" + sum256(plugin)}, files(t, c.dir))
}

// Also within one call, and for files of which nothing would be left.
func TestSecondAttemptGoesOn(t *testing.T) {
	for _, cut := range []int{len(plugin), breakOff - 1} {
		client, err := transport.New(transport.Options{BackoffMin: time.Millisecond})
		require.NoError(t, err)
		b := plugin[:cut]
		half := func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", `"a"`)
			w.Header().Set("Content-Length", strconv.Itoa(len(b)))
			_, _ = w.Write(b[:cut/2])
			panic(http.ErrAbortHandler)
		}
		o := newOrigin(t, half, serves(b, `"a"`))
		c := open(t)
		_, err = c.Fetch(background, wantOf(b), func(ctx context.Context, s Sink) error {
			defer client.Close()
			_, err := client.Stream(ctx, transport.Request{URL: o.URL, Limit: int64(len(b))}, s)
			return err
		}, nil)
		require.NoError(t, err)
		asked, _ := o.asked()
		require.Len(t, asked, 2)
		require.NotEmpty(t, asked[1])
		require.Len(t, files(t, c.dir), 1)
	}
}

func TestCallerThatGivesUpMayComeBack(t *testing.T) {
	c := open(t)
	o := newOrigin(t, stalls("ETag", `"a"`), serves(plugin, `"a"`))
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	_, err := c.Fetch(ctx, wantOf(plugin), from(newClient(), o.URL), func(done, _ int64) {
		if done == breakOff {
			cancel()
		}
	})
	require.Equal(t, protocol.CodeCancelled, tuferr.CodeOf(err))
	require.Len(t, files(t, c.dir), 2)

	_, err = c.Fetch(ctx, wantOf(plugin), from(newClient(), o.URL), nil)
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, files(t, c.dir), 2)
	gone, cancel := context.WithCancel(background)
	_, err = c.Fetch(gone, wantOf(plugin), from(newClient(), o.URL), func(int64, int64) { cancel() })
	require.ErrorIs(t, err, context.Canceled, "while what is there is gone on with")
	require.Len(t, files(t, c.dir), 2)

	require.NoError(t, fetch(t, c, o))
	asked, _ := o.asked()
	require.Contains(t, asked[len(asked)-1], "bytes=")
}

// What is at fault itself, or cannot be gone on with, is not left behind.
func TestNothingElseIsLeft(t *testing.T) {
	wrong := append([]byte{}, plugin...)
	wrong[len(wrong)-1]++
	const old = "Mon, 02 Jan 2006 15:04:05 GMT"
	for name, answer := range map[string]http.HandlerFunc{
		"mismatch":              serves(wrong, `"a"`),
		"too short":             serves(plugin[:breakOff], `"a"`),
		"too long":              serves(append(wrong, 'x'), `"a"`),
		"not found":             says(404, nil, "ETag", `"a"`),
		"no validator":          breaks(),
		"a weak validator":      breaks("ETag", `W/"a"`),
		"changed this moment":   breaks("Last-Modified", old, "Date", old),
		"ranges are not served": breaks("ETag", `"a"`, "Accept-Ranges", "none"),
		"an encoded body":       breaks("ETag", `"a"`, "Content-Encoding", "gzip"),
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t)
			require.Error(t, fetch(t, c, newOrigin(t, answer)))
			require.Empty(t, files(t, c.dir))
		})
	}
	t.Run("a date will do", func(t *testing.T) {
		c := open(t)
		o := newOrigin(t, breaks("Last-Modified", old), func(w http.ResponseWriter, r *http.Request) {
			at, err := http.ParseTime(old)
			if err == nil {
				http.ServeContent(w, r, "", at, bytes.NewReader(plugin))
			}
		})
		require.Error(t, fetch(t, c, o))
		require.NoError(t, fetch(t, c, o))
		asked, _ := o.asked()
		require.Equal(t, []string{"", fmt.Sprintf("bytes=%d- if %s", breakOff, old)}, asked)
	})
	t.Run("a panic", func(t *testing.T) {
		c := open(t)
		require.Panics(t, func() {
			_, _ = c.Fetch(background, wantOf(plugin), func(_ context.Context, s Sink) error {
				require.NoError(t, s.Begin(`"a"`))
				_, _ = io.Copy(s, io.MultiReader(bytes.NewReader(plugin[:breakOff]), panicking{}))
				return nil
			}, nil)
		})
		require.Empty(t, files(t, c.dir))
	})
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("boom") }

// Whatever a server makes of the request for the rest, what comes out is what
// was signed.
func TestLyingServers(t *testing.T) {
	rest, after := plugin[breakOff:], fmt.Sprintf("bytes %d-%d/%d", breakOff, len(plugin)-1, len(plugin))
	zipped := func() []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write(rest)
		_ = w.Close()
		return b.Bytes()
	}()
	other := bytes.Repeat([]byte("other"), 1<<20)[:len(plugin)]
	for name, answer := range map[string]http.HandlerFunc{
		"whole to a range":          says(200, plugin, "ETag", `"b"`),
		"not satisfiable":           says(416, nil, "Content-Range", fmt.Sprintf("bytes */%d", len(plugin))),
		"another range":             says(206, rest[1:], "Content-Range", fmt.Sprintf("bytes %d-%d/%d", breakOff+1, len(plugin)-1, len(plugin))),
		"no range":                  says(206, rest),
		"another tag":               says(206, rest, "Content-Range", after, "ETag", `"b"`),
		"ignores If-Range":          says(206, other[breakOff:], "Content-Range", after),
		"gzip":                      says(206, zipped, "Content-Range", after, "Content-Encoding", "gzip"),
		"says gzip":                 says(206, rest, "Content-Range", after, "Content-Encoding", "gzip"),
		"fewer bytes":               says(206, rest[:9], "Content-Range", after, "Transfer-Encoding", "chunked"),
		"more bytes, and says so":   says(206, append(rest[:len(rest):len(rest)], 'x'), "Content-Range", after),
		"more bytes":                says(206, append(rest[:len(rest):len(rest)], other...), "Content-Range", after, "Transfer-Encoding", "chunked"),
		"another file of this name": serves(other, `"a"`),
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t)
			leave(t, c, plugin[:breakOff], `"a"`)
			o := newOrigin(t, answer, serves(plugin, `"b"`))
			require.NoError(t, fetch(t, c, o))
			asked, _ := o.asked()
			require.LessOrEqual(t, len(asked), 2)
			require.Equal(t, fmt.Sprintf(`bytes=%d- if "a"`, breakOff), asked[0])
			if len(asked) == 2 {
				require.Empty(t, asked[1])
			}
		})
	}
}

// A file that is wrong as a whole is fetched once more and no more than once.
func TestDamagedPartialIsFetchedOnceMore(t *testing.T) {
	for _, at := range []int{0, 1, chunk - 1, chunk, breakOff / 2, breakOff - 1} {
		c := open(t)
		b := append([]byte{}, plugin[:breakOff]...)
		b[at] ^= 1
		leave(t, c, b, `"a"`)
		o := newOrigin(t, serves(plugin, `"a"`))
		require.NoError(t, fetch(t, c, o))
		asked, _ := o.asked()
		require.Equal(t, []string{fmt.Sprintf(`bytes=%d- if "a"`, breakOff), ""}, asked)
	}
	wrong := append([]byte{}, plugin...)
	wrong[7]++
	c := open(t)
	leave(t, c, plugin[:breakOff], `"a"`)
	o := newOrigin(t, serves(wrong, `"a"`), serves(wrong, `"a"`), serves(plugin, `"a"`))
	require.NoError(t, fetch(t, c, newOrigin(t, serves(wrong, `"a"`))), "the rest was right")
	require.NoError(t, os.Remove(filepath.Join(c.dir, "sha256", sum256(plugin))))
	leave(t, c, wrong[:breakOff], `"a"`)
	require.Equal(t, protocol.CodeMismatch, tuferr.CodeOf(fetch(t, c, o)))
	asked, _ := o.asked()
	require.Len(t, asked, 2)
	require.Empty(t, files(t, c.dir))
}

// The download that follows a mismatch is whole in all its attempts.
func TestFetchedOnceMoreIsWhole(t *testing.T) {
	c := open(t)
	leave(t, c, make([]byte, breakOff), `"a"`)
	o := newOrigin(t, serves(plugin, `"a"`), breaks("ETag", `"a"`), serves(plugin, `"a"`))
	client, err := transport.New(transport.Options{BackoffMin: time.Millisecond})
	require.NoError(t, err)
	_, err = c.Fetch(background, wantOf(plugin), from(client, o.URL), nil)
	require.NoError(t, err)
	asked, _ := o.asked()
	require.Equal(t, []string{fmt.Sprintf(`bytes=%d- if "a"`, breakOff), "", ""}, asked)
}

// A process that was killed before the rename has nothing left to fetch.
func TestCompletePartialNeedsNoServer(t *testing.T) {
	c := open(t)
	leave(t, c, plugin, "")
	var done int64
	_, err := c.Fetch(background, wantOf(plugin), nil, func(n, _ int64) { done = n })
	require.NoError(t, err)
	require.EqualValues(t, len(plugin), done)
	require.Equal(t, []string{"sha256/" + sum256(plugin)}, files(t, c.dir))

	require.NoError(t, os.Remove(filepath.Join(c.dir, "sha256", sum256(plugin))))
	leave(t, c, make([]byte, len(plugin)), `"a"`)
	o := newOrigin(t, serves(plugin, `"a"`))
	require.NoError(t, fetch(t, c, o))
	asked, _ := o.asked()
	require.Equal(t, []string{""}, asked)
}

// Who gives up while what is there is hashed finds it again.
func TestGivingUpWhileHashing(t *testing.T) {
	c := open(t)
	leave(t, c, plugin[:breakOff], `"a"`)
	gone, cancel := context.WithCancel(background)
	cancel()
	want := signedOf(plugin)
	p, err := goOn(gone, c.path(&want), download{want: want})
	require.ErrorIs(t, err, context.Canceled)
	require.Nil(t, p)
	require.NoError(t, fetch(t, c, newOrigin(t, serves(plugin, `"a"`))))
}

// Every signed hash goes on, not only the one that names the file.
func TestEveryHashGoesOn(t *testing.T) {
	for hash, code := range map[string]protocol.Code{sum512(plugin): "", sum512(plugin[1:]): protocol.CodeMismatch} {
		c := open(t)
		leave(t, c, plugin[:breakOff], `"a"`)
		o := newOrigin(t, serves(plugin, `"a"`))
		want := Want{Length: int64(len(plugin)), Hashes: map[string]string{"sha256": sum256(plugin), "sha512": hash}}
		_, err := c.Fetch(background, want, from(newClient(), o.URL), nil)
		require.Equal(t, code, tuferr.CodeOf(err))
	}
}

// A download that does not ask what is there starts from nothing.
func TestPlainDownloadStartsFromNothing(t *testing.T) {
	for name, get := range map[string]func(context.Context, Sink) error{
		"write": func(_ context.Context, s Sink) error {
			_, err := s.Write(plugin)
			return err
		},
		"copy": func(_ context.Context, s Sink) error {
			_, err := io.Copy(s, bytes.NewReader(plugin))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t)
			leave(t, c, plugin[:breakOff], `"a"`)
			_, err := c.Fetch(background, wantOf(plugin), get, nil)
			require.NoError(t, err)
			require.Len(t, files(t, c.dir), 1)
		})
	}
}

// startChild starts a process that downloads plugin from o and waits until it
// has all that o sends.
func startChild(t *testing.T, dir string, o *origin) *exec.Cmd {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childDir+"="+dir, childURL+"="+o.URL)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	t.Cleanup(func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.TrimSpace(lines.Text()) == strconv.Itoa(breakOff) {
			return child
		}
	}
	require.Fail(t, "the child has gone")
	return nil
}

func TestKilledDownloadIsGoneOnWith(t *testing.T) {
	c := open(t)
	o := newOrigin(t, stalls("ETag", `"a"`), serves(plugin, `"a"`))
	child := startChild(t, c.dir, o)
	require.NoError(t, child.Process.Kill())
	_ = child.Wait()
	require.Len(t, files(t, c.dir), 2)
	_, sent := o.asked()
	require.EqualValues(t, breakOff, sent)

	c, err := Open(c.dir, 0, 0)
	require.NoError(t, err)
	require.NoError(t, fetch(t, c, o))
	asked, sent := o.asked()
	require.Equal(t, []string{"", fmt.Sprintf(`bytes=%d- if "a"`, breakOff)}, asked)
	require.EqualValues(t, len(plugin), sent)
}

// Who finds another process at work takes a file of its own.
func TestTwoProcesses(t *testing.T) {
	c := open(t)
	o := newOrigin(t, stalls("ETag", `"a"`), serves(plugin, `"a"`))
	startChild(t, c.dir, o)
	old := time.Now().Add(-2 * partialAge)
	require.NoError(t, os.Chtimes(partialOf(c), old, old))
	c, err := Open(c.dir, 0, 0)
	require.NoError(t, err)
	path, err := c.Fetch(background, wantOf(plugin), from(newClient(), o.URL), nil)
	require.NoError(t, err)
	require.FileExists(t, path)
	asked, _ := o.asked()
	require.Equal(t, []string{"", ""}, asked)
	require.Len(t, files(t, c.dir), 3, "the other one's are left alone")
}

package sealed

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ragnos-labs/vault-tuf/internal/targets"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Nobody writes: not by the descriptor, not by another one, not by a mapping.
func TestSealed(t *testing.T) {
	for _, executable := range []bool{false, true} {
		b := []byte("whole")
		f, err := Copy(background, cached(t, b), wantOf(b), Options{Name: "whole", Exec: executable})
		require.NoError(t, err)
		require.True(t, f.Sealed())
		again, err := os.OpenFile(f.Path(), os.O_RDWR, 0)
		require.NoError(t, err)
		for _, w := range []*os.File{f.OSFile(), again} {
			_, err = w.WriteAt([]byte("EVIL!"), 0)
			require.ErrorIs(t, err, syscall.EPERM)
			for _, size := range []int64{0, 4, 100} {
				require.ErrorIs(t, w.Truncate(size), syscall.EPERM)
			}
			_, err = unix.Mmap(int(w.Fd()), 0, 5, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			require.ErrorIs(t, err, syscall.EPERM)
			_, err = unix.FcntlInt(w.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_FUTURE_WRITE)
			require.ErrorIs(t, err, syscall.EPERM)
			require.ErrorIs(t, unix.Fallocate(int(w.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 5), syscall.EPERM)
		}
		require.NoError(t, again.Close())
		_, err = os.OpenFile(f.Path(), os.O_RDWR|os.O_TRUNC, 0)
		require.ErrorIs(t, err, syscall.EPERM)
		got, err := os.ReadFile(f.Path())
		require.NoError(t, err)
		require.Equal(t, "whole", string(got))
		flags, err := unix.FcntlInt(f.OSFile().Fd(), unix.F_GETFD, 0)
		require.NoError(t, err)
		require.NotZero(t, flags&unix.FD_CLOEXEC)
		closing(t, f)
	}
}

// A writer that mapped the file before the seals is a reason to refuse.
func TestMappedBeforeTheSeals(t *testing.T) {
	var mapped []byte
	m := maker{func(name string, exec bool) (*os.File, error) {
		f, err := memfd(name, exec)
		if err == nil {
			mapped, err = unix.Mmap(int(f.Fd()), 0, 1, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		}
		return f, err
	}}
	before := descriptors(t)
	_, err := m.from(background, strings.NewReader("whole"), 5, Options{})
	requireCode(t, err, protocol.CodeLocalIO)
	require.ErrorIs(t, err, syscall.EBUSY)
	require.NoError(t, unix.Munmap(mapped))
	require.Equal(t, before, descriptors(t))
}

// What got into the file on another way than through this package is found.
func TestWrittenBeforeTheSeals(t *testing.T) {
	b := bytes.Repeat([]byte("p"), 300<<10)
	var file *os.File
	m := maker{func(name string, exec bool) (f *os.File, err error) {
		file, err = memfd(name, exec)
		return file, err
	}}
	_, err := m.copy(interfering{background, func() { _, _ = file.WriteAt([]byte("EVIL!"), 0) }}, cached(t, b), wantOf(b), Options{})
	requireCode(t, err, protocol.CodeMismatch)
}

func TestPrivateCopy(t *testing.T) {
	m := makers["private"]
	for mode, o := range map[os.FileMode]Options{0o400: {}, 0o500: {Exec: true}} {
		f, err := m.from(background, strings.NewReader("whole"), 5, o)
		require.NoError(t, err)
		require.False(t, f.Sealed())
		info, err := os.Stat(f.Path())
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode())
		dir, err := os.Stat(filepath.Dir(f.Path()))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o700), dir.Mode().Perm())
		_, err = f.OSFile().WriteAt([]byte("x"), 0)
		require.Error(t, err)
		flags, err := unix.FcntlInt(f.OSFile().Fd(), unix.F_GETFL, 0)
		require.NoError(t, err)
		require.Zero(t, flags&unix.O_ACCMODE, "open for reading only")
		closing(t, f)
		require.NoDirExists(t, filepath.Dir(f.Path()))
	}
}

// Systems that refuse files in memory, each in its way.
func TestFallback(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSYS, syscall.EPERM, syscall.EACCES, syscall.EINVAL} {
		m := maker{func(string, bool) (*os.File, error) { return nil, errno }}
		f, err := m.from(background, strings.NewReader("whole"), 5, Options{})
		require.NoError(t, err)
		require.False(t, f.Sealed())
		closing(t, f)
	}
	m := maker{func(string, bool) (*os.File, error) { return nil, syscall.EMFILE }}
	_, err := m.from(background, strings.NewReader("whole"), 5, Options{})
	requireCode(t, err, protocol.CodeLocalIO)
	require.ErrorIs(t, err, syscall.EMFILE)
	require.Empty(t, tuferr.As(err).Path)
	require.Contains(t, tuferr.As(err).Hint, "open more files")
}

func TestFullMemory(t *testing.T) {
	m := maker{func(string, bool) (*os.File, error) { return os.OpenFile("/dev/full", os.O_RDWR, 0) }}
	before := descriptors(t)
	_, err := m.from(background, strings.NewReader("whole"), 5, Options{})
	requireCode(t, err, protocol.CodeDiskFull)
	require.Equal(t, before, descriptors(t))
}

func TestLinksAndPipesAreRefused(t *testing.T) {
	each(t, func(t *testing.T, m maker) {
		b := []byte("whole")
		dir := t.TempDir()
		link, pipe := filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
		require.NoError(t, os.Symlink(cached(t, b), link))
		require.NoError(t, syscall.Mkfifo(pipe, 0o600))
		for _, path := range []string{link, pipe, "/dev/zero"} {
			_, err := m.copy(background, path, wantOf(b), Options{})
			requireCode(t, err, protocol.CodeLocalIO)
			require.Equal(t, path, tuferr.As(err).Path)
		}
	})
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(all)
}

func TestErrorsLeakNothing(t *testing.T) {
	each(t, func(t *testing.T, m maker) {
		b := []byte("whole")
		good, bad := cached(t, b), cached(t, []byte("WHOLE"))
		before := descriptors(t)
		for range 20 {
			_, err := m.copy(background, bad, wantOf(b), Options{})
			require.Error(t, err)
			_, err = m.copy(background, good, targets.Want{}, Options{})
			require.Error(t, err)
			_, err = m.copy(background, t.TempDir(), wantOf(b), Options{})
			require.Error(t, err)
			_, err = m.from(background, strings.NewReader("whole"), 4, Options{})
			require.Error(t, err)
			_, err = m.from(background, iotest.ErrReader(errBroken), 4, Options{})
			require.Error(t, err)
			require.Panics(t, func() { _, _ = m.from(background, panicking{}, 5, Options{}) })
			for calls := range 4 { // ctx ends at every look at it
				_, err = m.copy(ending(background, calls), good, wantOf(b), Options{})
				requireCode(t, err, protocol.CodeCancelled)
			}
		}
		require.Equal(t, before, descriptors(t))
	})
}

// The Go heap does not grow with the file.
func TestLargeFile(t *testing.T) {
	b := bytes.Repeat([]byte("plugin!\n"), 8<<20)
	path, want := cached(t, b), wantOf(b)
	each(t, func(t *testing.T, m maker) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f, err := m.copy(background, path, want, Options{})
		runtime.ReadMemStats(&after)
		require.NoError(t, err)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(2<<20))
		require.Equal(t, int64(64<<20), f.Size())
		closing(t, f)
	})
}

// While somebody writes to the cached file, what comes out is what was signed or
// an error.
func TestChangedDuringTheCopy(t *testing.T) {
	each(t, func(t *testing.T, m maker) {
		b := bytes.Repeat([]byte("p"), 256<<10)
		path, want := cached(t, b), wantOf(b)
		w, err := os.OpenFile(path, os.O_WRONLY, 0)
		require.NoError(t, err)
		defer w.Close()
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for i := int64(0); ; i++ {
				select {
				case <-stop:
					return
				default:
					_, _ = w.WriteAt([]byte{"pE"[i%2]}, i*4099%int64(len(b)))
					_, _ = w.WriteAt([]byte("p"), i*4099%int64(len(b)))
				}
			}
		}()
		good, refused := 0, 0
		for range 30 {
			f, err := m.copy(background, path, want, Options{})
			if err != nil {
				requireCode(t, err, protocol.CodeMismatch)
				refused++
				continue
			}
			good++
			got, err := io.ReadAll(f)
			require.NoError(t, err)
			require.True(t, bytes.Equal(b, got))
			closing(t, f)
		}
		close(stop)
		<-done
		t.Logf("%d good, %d refused", good, refused)
	})
}

// run executes the file as the first of a child's extra files.
func run(t *testing.T, f *File, env ...string) (string, error) {
	t.Helper()
	path := f.Path()
	if f.Sealed() {
		path = "/proc/self/fd/3"
	}
	cmd := exec.CommandContext(t.Context(), path)
	cmd.ExtraFiles = []*os.File{f.OSFile()}
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestRunScript(t *testing.T) {
	each(t, func(t *testing.T, m maker) {
		script := []byte("#!/bin/sh\necho 'the plugin runs'\n")
		f, err := m.copy(background, cached(t, script), wantOf(script), Options{Name: "hello", Exec: true})
		require.NoError(t, err)
		defer closing(t, f)
		for range 2 {
			out, err := run(t, f)
			require.NoError(t, err, out)
			require.Equal(t, "the plugin runs\n", out)
		}
	})
}

func TestRunBinary(t *testing.T) {
	each(t, func(t *testing.T, m maker) {
		self, err := os.Executable()
		require.NoError(t, err)
		src, err := os.Open(self)
		require.NoError(t, err)
		defer src.Close()
		f, err := m.from(background, src, 1<<30, Options{Name: "hello", Exec: true})
		require.NoError(t, err)
		defer closing(t, f)
		for range 2 {
			out, err := run(t, f, envChild+"=1")
			require.NoError(t, err, out)
			require.Equal(t, "the plugin runs\n", out)
		}
	})
}

// Where the system knows the difference, data cannot be executed.
func TestDataDoesNotRun(t *testing.T) {
	each(t, func(t *testing.T, m maker) {
		f, err := m.from(background, strings.NewReader("#!/bin/sh\necho evil\n"), 100, Options{})
		require.NoError(t, err)
		defer closing(t, f)
		info, err := f.OSFile().Stat()
		require.NoError(t, err)
		if info.Mode()&0o111 != 0 {
			t.Skip("a system before Linux 6.3")
		}
		_, err = run(t, f)
		require.ErrorIs(t, err, syscall.EACCES)
	})
}

// A process can look up the file of another by its process and number.
func TestNameInProc(t *testing.T) {
	f, err := From(background, strings.NewReader("whole"), 5, Options{Name: "acme/hello"})
	require.NoError(t, err)
	defer closing(t, f)
	name, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.OSFile().Fd()))
	require.NoError(t, err)
	require.Equal(t, "/memfd:acme_hello (deleted)", name)
}

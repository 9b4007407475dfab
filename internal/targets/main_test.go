package targets

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// childDir tells this test binary to be a process that is killed while it
// downloads into that directory: from childURL, or a small file from nowhere.
const (
	childDir = "TEST_CHILD_CACHE"
	childURL = "TEST_CHILD_URL"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		downloadForEver(dir, os.Getenv(childURL))
	}
	goleak.VerifyTestMain(m)
}

func downloadForEver(dir, url string) {
	c, err := Open(dir, 0, 0)
	if err != nil {
		panic(err)
	}
	if url != "" {
		_, err = c.Fetch(background, wantOf(plugin), from(newClient(), url), func(done, _ int64) { fmt.Println(done) })
		panic(err)
	}
	_, err = c.Fetch(background, wantOf([]byte("whole")), func(_ context.Context, s Sink) error {
		if _, err := s.Write([]byte("who")); err != nil {
			return err
		}
		fmt.Println("half-way")
		time.Sleep(time.Hour)
		return nil
	}, nil)
	panic(err)
}

func sum256(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }
func sum512(b []byte) string { s := sha512.Sum512(b); return hex.EncodeToString(s[:]) }

func wantOf(b []byte) Want {
	return Want{Length: int64(len(b)), Hashes: map[string]string{"sha256": sum256(b)}}
}

func signedOf(b []byte) signed {
	s, err := wantOf(b).known()
	if err != nil {
		panic(err)
	}
	return s
}

// bytesOf is a download that goes well, in small pieces.
func bytesOf(b []byte) func(context.Context, Sink) error {
	return func(_ context.Context, s Sink) error {
		for i := 0; i < len(b); i += 7 {
			if _, err := s.Write(b[i:min(i+7, len(b))]); err != nil {
				return err
			}
		}
		return nil
	}
}

func open(t *testing.T) *Cache {
	t.Helper()
	c, err := Open(filepath.Join(t.TempDir(), "a [*] cache"), 0, 0)
	require.NoError(t, err)
	return c
}

// files lists every file below dir.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			all = append(all, rel)
		}
		return nil
	}))
	return all
}

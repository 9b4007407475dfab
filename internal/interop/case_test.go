package interop

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Case is a case.json.
type Case struct {
	// About says what is special about the repository, Tool who wrote it, Spec
	// which sections of the specification decide.
	About string `json:"about"`
	Tool  string `json:"tool"`
	Spec  string `json:"spec"`
	// Now is the time of the update: long past, so that whoever asks the clock
	// instead finds everything expired.
	Now time.Time `json:"now"`
	// Expect holds what is expected of every mode.
	Expect map[string]Expect `json:"expect"`
	// Targets are looked up one after the other.
	Targets []Target `json:"targets"`
	// Plain records what a library's own client made of each target.
	Plain map[string]map[string]string `json:"plain"`

	name, dir string
}

// Expect is what is expected of a mode: an engine that answers, or a code.
type Expect struct {
	Engine string `json:"engine,omitempty"`
	Code   string `json:"code,omitempty"`
	// Spec is the section that the error names.
	Spec string `json:"spec,omitempty"`
}

// Target is a target that a repository lists, or one that it does not.
type Target struct {
	Name   string          `json:"name"`
	Absent bool            `json:"absent,omitempty"`
	Role   string          `json:"role,omitempty"`
	Length int64           `json:"length,omitempty"`
	SHA256 string          `json:"sha256,omitempty"`
	Custom json.RawMessage `json:"custom,omitempty"`
}

const fixtures = "../../testdata/interop"

// load returns all cases.
func load(t *testing.T) []*Case {
	files, err := filepath.Glob(filepath.Join(fixtures, "*", "case.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	cases := make([]*Case, 0, len(files))
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		c := &Case{dir: filepath.Dir(file)}
		require.NoError(t, json.Unmarshal(raw, c), file)
		c.name = filepath.Base(c.dir)
		cases = append(cases, c)
	}
	return cases
}

// save writes the case.json.
func (c *Case) save(t *testing.T) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	require.NoError(t, e.Encode(c))
	require.NoError(t, os.WriteFile(filepath.Join(c.dir, "case.json"), b.Bytes(), 0o644))
}

// root is the root metadata that an application ships.
func (c *Case) root(t *testing.T) []byte {
	raw, err := os.ReadFile(filepath.Join(c.dir, "1.root.json"))
	require.NoError(t, err)
	return raw
}

// serve serves the repository as a static web server does: the decoded path of
// the URL names the file.
func (c *Case) serve(t *testing.T) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := os.ReadFile(filepath.Join(c.dir, diskName(strings.TrimPrefix(r.URL.Path, "/"))))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(raw)
	}))
	t.Cleanup(s.Close)
	return s
}

// diskName returns where a path of the repository lies on disk. Names are
// escaped there, so that every file system, and a Go module, can hold them.
func diskName(path string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		var b strings.Builder
		for j := range len(s) {
			c := s[j]
			plain := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("._-", c) >= 0
			if plain && (c != '.' || j < len(s)-1) {
				b.WriteByte(c)
			} else {
				fmt.Fprintf(&b, "%%%02X", c)
			}
		}
		segments[i] = b.String()
		if b.Len() > 120 {
			segments[i] = "long-" + digest([]byte(s))
		}
	}
	return filepath.FromSlash(strings.Join(segments, "/"))
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// exact decodes JSON without losing digits of a number.
func exact(t *testing.T, raw []byte) any {
	if len(raw) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	require.NoError(t, d.Decode(&v))
	return v
}

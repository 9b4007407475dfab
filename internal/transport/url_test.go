package transport

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestMetadataURL(t *testing.T) {
	for _, c := range []struct {
		base, role string
		version    int64
		want       string
	}{
		{"http://h/metadata", "root", 2, "http://h/metadata/2.root.json"},
		{"http://h/metadata/", "timestamp", 0, "http://h/metadata/timestamp.json"},
		{"https://h", "a/b", 1, "https://h/1.a%2Fb.json"},
		{"http://h/x%5By%5D/", "../é @:&=+$~", 7, "http://h/x%5By%5D/7...%2F%C3%A9%20%40%3A%26%3D%2B%24~.json"},
		{"http://h/", "..", 1, "http://h/1....json"},
		{"http://h/", "1.targets", 3, "http://h/3.1.targets.json"},
	} {
		got, err := MetadataURL(c.base, c.role, c.version)
		require.NoError(t, err)
		require.Equal(t, c.want, got)
		u, err := url.Parse(got)
		require.NoError(t, err)
		require.Equal(t, c.want, u.Scheme+"://"+u.Host+u.RequestURI(), "as it goes over the wire")
	}
	_, err := MetadataURL("http://h", "root", -1)
	require.Equal(t, protocol.CodeUsage, tuferr.CodeOf(err))
}

func TestBadBase(t *testing.T) {
	for _, base := range []string{
		"", "h/metadata", "ftp://h/", "http://", "http:h", "http://u@h/", "http://u:p@h/",
		"http://h/?a=b", "http://h/#f", "http://h/#", "http://h/?", "http://h/%zz", "http://h/\n", "/tmp/x", "file://host/x",
	} {
		_, err := MetadataURL(base, "root", 1)
		require.Equal(t, protocol.CodeUsage, tuferr.CodeOf(err), base)
		_, err = TargetURL(base, "a", "")
		require.Equal(t, protocol.CodeUsage, tuferr.CodeOf(err), base)
	}
}

func TestTargetURL(t *testing.T) {
	for _, c := range []struct{ path, prefix, want string }{
		{"file.txt", "", "file.txt"},
		{"file.txt", "ab", "ab.file.txt"},
		{"dir/sub/file.txt", "ab", "dir/sub/ab.file.txt"},
		{"p/a@1.0+b:c;d,e=f&g$h!i'j(k)*~_-.tgz", "", "p/a@1.0+b:c;d,e=f&g$h!i'j(k)*~_-.tgz"},
		{"a b/c?d#e%f", "", "a%20b/c%3Fd%23e%25f"},
		{"100%", "", "100%25"},
		{"[x]\"<>^`{|}", "", "%5Bx%5D%22%3C%3E%5E%60%7B%7C%7D"},
		{"é/日本", "", "%C3%A9/%E6%97%A5%E6%9C%AC"},
		{"...", "", "..."},
	} {
		got, err := TargetURL("http://h/targets", c.path, c.prefix)
		require.NoError(t, err)
		require.Equal(t, "http://h/targets/"+c.want, got)
		u, err := url.Parse(got)
		require.NoError(t, err)
		require.Equal(t, "/targets/"+c.want, u.RequestURI(), "as it goes over the wire")
	}
}

func TestCheckTargetPath(t *testing.T) {
	for _, name := range []string{
		"", "/", "/etc/passwd", "..", ".", "a/..", "../a", "a/../b", "a/./b", "./a", "a//b", "a/", "a\\b", "..\\a",
		"a\x00b", "a\nb", "a\x7f", "a\u0085b", "a%2fb", "%2e%2e/a", "a%2F", "%00", "a\xffb",
	} {
		err := CheckTargetPath(name)
		require.Equal(t, protocol.CodeInvalidName, tuferr.CodeOf(err), "%q", name)
		_, err = TargetURL("http://h", name, "ab")
		require.Equal(t, protocol.CodeInvalidName, tuferr.CodeOf(err), "%q", name)
	}
	for _, name := range []string{"a", "a..b", "..a", "a%", "a%zz", "50%/x", "a%2", "plugins/acme/tool.1.0.tar.gz", "é", ".hidden"} {
		require.NoError(t, CheckTargetPath(name), "%q", name)
	}
}

// Whatever the name, the URL leads below the base and the server sees the name.
func FuzzURLs(f *testing.F) {
	for _, s := range []string{"a", "a/b", "../x", "a b?c#d", "%41", "é", "a%zz", "[", "a\x00", "@:+;", "..", "a//b"} {
		f.Add(s, "ab12")
	}
	f.Fuzz(func(t *testing.T, name, prefix string) {
		raw, err := MetadataURL("http://h/m", name, 1)
		require.NoError(t, err)
		u, err := url.Parse(raw)
		require.NoError(t, err)
		require.Equal(t, "/m/1."+name+".json", u.Path)
		require.Equal(t, raw, "http://h"+u.RequestURI())
		require.Equal(t, 2, strings.Count(u.EscapedPath(), "/"))

		raw, err = TargetURL("http://h/t", name, "")
		require.Equal(t, CheckTargetPath(name) == nil, err == nil)
		if err != nil {
			return
		}
		u, err = url.Parse(raw)
		require.NoError(t, err)
		require.Equal(t, "/t/"+name, u.Path)
		require.Equal(t, raw, "http://h"+u.RequestURI())
		require.Equal(t, u.Path, u.JoinPath("").Path, "nothing to normalise")
	})
}

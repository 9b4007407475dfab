package webserver

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

const (
	oldToken = "the-old-token.0123456789"
	newToken = "bmV3LXRva2VuLTAxMjM0NTY3ODk="
)

func TestTokens(t *testing.T) {
	path := file(t, "tokens", "# for rotation\n\n"+oldToken+"\n  "+newToken+"  \r\n", 0o600)
	s := start(t, Config{TokenFile: path}, hello, nil)
	client := newClient(t, &http.Transport{})
	status := func(authorization string) int {
		t.Helper()
		header := []string{"Authorization", authorization}
		if authorization == "" {
			header = nil
		}
		resp, body := get(t, client, s.url+"/health/tuf", header...)
		if resp.StatusCode == http.StatusOK {
			require.Equal(t, "private, max-age=1, immutable", resp.Header.Get("Cache-Control"))
			return http.StatusOK
		}
		require.Equal(t, `Bearer realm="plugins"`, resp.Header.Get("WWW-Authenticate"))
		require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
		require.Equal(t, "a token is needed\n", body)
		return resp.StatusCode
	}
	for _, good := range []string{"Bearer " + oldToken, "bearer " + newToken, "Bearer  " + oldToken + " "} {
		require.Equal(t, http.StatusOK, status(good), good)
	}
	for _, bad := range []string{"", "Bearer", "Bearer ", oldToken, "Basic " + oldToken, "Bearer # for rotation", "Bearer " + oldToken[1:],
		"Bearer " + oldToken + "x", "Bearer " + strings.ToUpper(oldToken), "Bearer " + oldToken + "\n" + newToken, "Bearer " + oldToken + " " + newToken} {
		if strings.Contains(bad, "\n") {
			bad = strings.ReplaceAll(bad, "\n", "\t")
		}
		require.Equal(t, http.StatusUnauthorized, status(bad), bad)
	}

	write(t, path, []byte(newToken+"\n"), 0o600)
	require.Equal(t, http.StatusUnauthorized, status("Bearer "+oldToken))
	require.Equal(t, http.StatusOK, status("Bearer "+newToken))

	// A file that cannot be used admits nobody, and is complained of once.
	for range 2 {
		require.NoError(t, os.Chmod(write(t, path, []byte(newToken+"\n"), 0o600), 0o644))
		require.Equal(t, http.StatusUnauthorized, status("Bearer "+newToken))
	}
	require.NoError(t, os.Remove(path))
	require.Equal(t, http.StatusUnauthorized, status("Bearer "+newToken))
	write(t, path, []byte(newToken+"\n"), 0o600)
	require.Equal(t, http.StatusOK, status("Bearer "+newToken))

	require.NoError(t, s.stop())
	require.Eventually(t, func() bool {
		complaints := 0
		for _, o := range s.log.objects(t) {
			if o["msg"] == "a file that was changed cannot be used" {
				complaints++
			}
		}
		return complaints == 2
	}, time.Minute, time.Millisecond, "once for each reason")
	for _, secret := range []string{oldToken, newToken, "Authorization", "Bearer"} {
		require.NotContains(t, s.log.String(), secret)
	}
}

func TestTokenFilesAreChecked(t *testing.T) {
	for says, c := range map[string]struct {
		content string
		perm    os.FileMode
		code    protocol.Code
	}{
		"holds no token":             {"# nothing\n", 0o600, protocol.CodeLocalIO},
		"no token on line 2":         {oldToken + "\nshort\n", 0o600, protocol.CodeLocalIO},
		"has no token on line 1":     {"a token with spaces in it\n", 0o600, protocol.CodeLocalIO},
		"line that is too long":      {strings.Repeat("x", 100_000), 0o600, protocol.CodeLocalIO},
		"more than 100 tokens":       {strings.Repeat(oldToken+"\n", 101), 0o600, protocol.CodeLocalIO},
		"is too large":               {strings.Repeat("#\n", maxFile), 0o600, protocol.CodeLocalIO},
		"chmod 600":                  {oldToken, 0o644, protocol.CodePermissions},
		"that other users can reach": {oldToken, 0o640, protocol.CodePermissions},
	} {
		_, err := New(Config{MaxConnections: 8, TokenFile: file(t, "tokens", c.content, c.perm)}, hello)
		requireCode(t, err, c.code, says)
		require.NotContains(t, err.Error(), oldToken)
		require.NotContains(t, err.Error(), "spaces")
	}
	_, err := New(Config{MaxConnections: 8, TokenFile: t.TempDir() + "/none"}, hello)
	requireCode(t, err, protocol.CodeLocalIO, "no such file")
}

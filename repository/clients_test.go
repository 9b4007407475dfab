package repository

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	tufconfig "github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/ragnos-labs/vault-tuf/internal/pyenv/pyenvtest"
)

// oddManifest holds what canonical JSON encoders are known to differ in.
const oddManifest = `{"name":"odd","version":"1.0.0-rc.1","publisher":"acme","description":"<b>&\"\\ é 😀\nend",
	"entryPoint":"bin/hello.sh","z":{"":null,"~":9007199254740991,"B":-1,"a":[[],{}],"</":"\u0000\u007f\u2028"},"A":true}`

// servedRepository publishes two plugins in three versions of the metadata and
// serves them.
func servedRepository(t *testing.T) (url, root string) {
	t.Helper()
	r, err := Init(t.Context(), filepath.Join(t.TempDir(), "repo"), InitOptions{Options: Options{Keys: plainKeys}})
	require.NoError(t, err)
	_, _, err = r.Publish(t.Context(), helloArchive, helloManifest, PublishOptions{})
	require.NoError(t, err)
	odd := filepath.Join(t.TempDir(), "odd.json")
	require.NoError(t, os.WriteFile(odd, []byte(oddManifest), 0o600))
	_, _, err = r.Publish(t.Context(), helloArchive, odd, PublishOptions{})
	require.NoError(t, err)
	return startServer(t, r).URL, filepath.Join(r.Dir(), "root.json")
}

// withRelease is the custom field that a manifest is published as.
func withRelease(t *testing.T, manifest, release string) string {
	t.Helper()
	var all map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(manifest), &all))
	all["release"] = json.RawMessage(release)
	custom, err := json.Marshal(all)
	require.NoError(t, err)
	return string(custom)
}

func TestGoTUFsPlainClientReadsTheRepository(t *testing.T) {
	url, root := servedRepository(t)
	trusted, err := os.ReadFile(root)
	require.NoError(t, err)
	cfg, err := tufconfig.New(url+"/metadata", trusted)
	require.NoError(t, err)
	cfg.LocalMetadataDir, cfg.LocalTargetsDir = t.TempDir(), t.TempDir()
	cfg.RemoteTargetsURL = url + "/targets"
	client, err := updater.New(cfg)
	require.NoError(t, err)
	require.NoError(t, client.Refresh())
	want, err := os.ReadFile(helloArchive)
	require.NoError(t, err)
	for path, custom := range map[string]string{
		helloPath:                            withRelease(t, readText(t, helloManifest), `{"channel":"stable","latest":["stable","beta"]}`),
		"plugins/acme/odd.1.0.0-rc.1.tar.gz": withRelease(t, oddManifest, `{"channel":"beta","latest":["beta"]}`),
	} {
		info, err := client.GetTargetInfo(path)
		require.NoError(t, err)
		require.JSONEq(t, custom, string(*info.Custom))
		_, data, err := client.DownloadTarget(info, "", "")
		require.NoError(t, err)
		require.Equal(t, want, data)
	}
}

func TestPythonTUFsPlainClientReadsTheRepository(t *testing.T) {
	url, root := servedRepository(t)
	want, err := os.ReadFile(helloArchive)
	require.NoError(t, err)
	for path, custom := range map[string]string{
		helloPath:                            withRelease(t, readText(t, helloManifest), `{"channel":"stable","latest":["stable","beta"]}`),
		"plugins/acme/odd.1.0.0-rc.1.tar.gz": withRelease(t, oddManifest, `{"channel":"beta","latest":["beta"]}`),
	} {
		cmd := exec.CommandContext(t.Context(), pyenvtest.Python(t), "testdata/ngclient.py", url, root, t.TempDir(), path)
		out, err := cmd.Output()
		var exit *exec.ExitError
		if err != nil {
			require.ErrorAs(t, err, &exit)
			require.NoError(t, err, "%s", exit.Stderr)
		}
		var got struct {
			Path   string
			Length int
			Hashes map[string]string
			Custom json.RawMessage
		}
		require.NoError(t, json.Unmarshal(out, &got))
		require.JSONEq(t, custom, string(got.Custom))
		require.Equal(t, len(want), got.Length)
		require.Equal(t, string(want), readText(t, got.Path))
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

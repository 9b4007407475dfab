package vaulttuf_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/ragnos-labs/vault-tuf"

// deps returns the packages that pkg needs, its own included.
func deps(t *testing.T, pkg string) []string {
	cmd := exec.Command("go", "list", "-deps", pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return strings.Fields(string(out))
}

// cheap are the modules that package hybrid links. Of OpenTelemetry that is the API:
// the parts are named one by one, so that neither the SDK, nor an exporter, nor the
// global providers of the module's own package slip in.
var cheap = []string{
	"go.opentelemetry.io/otel/attribute", "go.opentelemetry.io/otel/codes", "go.opentelemetry.io/otel/metric",
	"go.opentelemetry.io/otel/semconv", "go.opentelemetry.io/otel/trace", "github.com/cespare/xxhash",
	"github.com/go-json-experiment/json", "github.com/gofrs/flock", "github.com/google/go-containerregistry",
	"github.com/opencontainers/go-digest", "github.com/secure-systems-lab/go-securesystemslib",
	"github.com/sigstore/protobuf-specs", "github.com/sigstore/sigstore", "github.com/sony/gobreaker",
	"github.com/theupdateframework/go-tuf", "golang.org/x/crypto", "golang.org/x/sync", "golang.org/x/sys",
	"golang.org/x/term", "golang.org/x/time", "google.golang.org/genproto/googleapis", "google.golang.org/protobuf",
	module,
}

// TestHybridStaysCheapToEmbed: an application that embeds the client must not
// be made to link a command line framework, a cloud SDK or a web server
// framework. The list names every module that it does link; go-tuf brings
// sigstore, and sigstore the rest.
func TestHybridStaysCheapToEmbed(t *testing.T) {
	linksOnly(t, "./hybrid", cheap)
}

// TestVaultStaysCheapToEmbed: the same, besides the configuration file, ranges of
// versions, the schema of manifests, and the checkpoints of the audit log.
func TestVaultStaysCheapToEmbed(t *testing.T) {
	linksOnly(t, "./vault", append([]string{
		"go.yaml.in/yaml", "github.com/Masterminds/semver", "github.com/santhosh-tekuri/jsonschema", "golang.org/x/mod", "golang.org/x/text",
	}, cheap...))
}

// linksOnly requires that pkg links nothing but the standard library without cgo,
// and these modules.
func linksOnly(t *testing.T, pkg string, allowed []string) {
	root := pkg
	for _, pkg := range deps(t, root) {
		if first, _, _ := strings.Cut(pkg, "/"); !strings.Contains(first, ".") || strings.HasPrefix(pkg, "vendor/") {
			require.NotEqual(t, "runtime/cgo", pkg)
			continue
		}
		require.True(t, slices.ContainsFunc(allowed, func(a string) bool {
			return pkg == a || strings.HasPrefix(pkg, a+"/")
		}), "%s links %s", root, pkg)
	}
}

// TestArrowsPointDown: lower packages know nothing of upper ones.
func TestArrowsPointDown(t *testing.T) {
	for pkg, forbidden := range map[string][]string{
		"./protocol":            {"."},
		"./pywrapper":           {"vault-tuf/internal/", "/hybrid", "/repository", "opentelemetry"},
		"./internal/telemetry":  {"/internal/engine", "/internal/store", "/internal/transport", "/hybrid", "go-tuf", "net/http", "otel/sdk"},
		"./internal/debuglog":   {"vault-tuf/", "net/http"},
		"./internal/otelsetup":  {"vault-tuf/internal/", "/hybrid", "/repository", "vault-tuf/vault", "go-tuf"},
		"./internal/admission":  {"/internal/engine", "/internal/store", "/internal/transport", "/hybrid", "go-tuf"},
		"./internal/verify":     {"/internal/store", "/internal/transport", "/hybrid", "go-tuf"},
		"./internal/store":      {"/internal/transport", "/internal/source", "/engine/", "/hybrid", "go-tuf"},
		"./internal/engine":     {"/internal/store", "/internal/transport", "/engine/", "/hybrid", "go-tuf"},
		"./internal/transport":  {"/internal/engine", "/internal/store", "/internal/admission", "/hybrid"},
		"./internal/keys":       {"/internal/engine", "/internal/store", "/internal/transport", "/hybrid", "go-tuf"},
		"./internal/keyfile":    {"/internal/engine", "/internal/store", "/internal/transport", "/hybrid", "/repository", "go-tuf"},
		"./internal/delegation": {"/internal/engine", "/internal/store", "/internal/transport", "/hybrid", "go-tuf"},
		"./internal/source":     {"/internal/store", "/engine/", "/hybrid", "go-tuf"},
		"./internal/targets":    {"/internal/engine", "/internal/store", "/internal/transport", "/hybrid", "go-tuf"},
		"./internal/diskfile":   {"/internal/engine", "/internal/store", "/internal/transport", "/hybrid", "go-tuf", "net/http"},
		"./internal/targetpath": {"/internal/engine", "/internal/store", "/internal/transport", "/hybrid", "go-tuf", "net/http"},
		"./internal/sealed":     {"/internal/engine", "/internal/store", "/internal/transport", "/hybrid", "vault-tuf/vault", "go-tuf", "net/http"},
		"./internal/audit":      {"/internal/engine", "/internal/store", "/internal/transport", "/hybrid", "vault-tuf/vault", "go-tuf", "net/http"},
		"./internal/records":    {"/internal/engine", "/internal/store", "/internal/transport", "/hybrid", "vault-tuf/vault", "go-tuf", "net/http"},
		"./internal/bundle":     {"/internal/store", "/internal/transport", "/engine/", "/hybrid", "go-tuf"},
		"./internal/pyenv":      {"/internal/engine", "/internal/store", "/internal/transport", "/hybrid", "go-tuf"},
		"./internal/plugin":     {"vault-tuf/", "go-tuf", "jsonschema"},
		"./internal/draft":      {"/repository", "/hybrid", "/internal/store", "/internal/transport", "/internal/keys", "go-tuf"},
		"./internal/webserver":  {"/repository", "/hybrid", "/internal/engine", "/internal/store", "/internal/transport", "go-tuf"},
		"./vault":               {"vault-tuf/repository", "/cmd/", "/internal/tuftest", "/internal/webserver", "/internal/keyfile", "/internal/otelsetup", "otel/sdk", "prometheus"},
		"./vault/lockfile":      {"/internal/engine", "/internal/store", "/internal/transport", "/hybrid", "go-tuf", "net/http"},
		"./repository":          {"/hybrid", "/cmd/", "/internal/store", "/internal/transport", "/pywrapper", "/internal/otelsetup", "otel/sdk", "prometheus"},
		"./hybrid":              {"/repository", "/cmd/", "/internal/tuftest", "/internal/otelsetup", "otel/sdk", "prometheus"},
		"./vault/policy":        {"/hybrid", "/repository", "/cmd/", "/internal/engine", "/internal/store", "/internal/transport", "go-tuf", "jsonschema"},
	} {
		for _, dep := range deps(t, pkg) {
			for _, f := range forbidden {
				if f == "." { // the standard library only
					first, _, _ := strings.Cut(dep, "/")
					require.False(t, strings.Contains(first, ".") && dep != module+strings.TrimPrefix(pkg, "."), "%s imports %s", pkg, dep)
					continue
				}
				require.False(t, strings.Contains(dep, f) && dep != module+strings.TrimPrefix(pkg, "."), "%s imports %s", pkg, dep)
			}
		}
	}
}

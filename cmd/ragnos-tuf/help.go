package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

const longHelp = `ragnos-tuf installs plugins that you can trust. Every plugin is a target in a
TUF repository; go-tuf verifies it, and python-tuf when go-tuf cannot do its
work. You get the bytes the publisher signed, or an error; never anything else.

The first --root FILE pins the trust store, so a first download needs nothing
before it. Get the root.json of your publisher over a channel you trust.

With --config FILE plugins come from several repositories, and nothing is installed
that the policy in FILE does not allow. No such file is looked for: one that lies in
some directory must not set a policy.

Modes (--client):
  auto    go-tuf verifies; python-tuf does when go-tuf cannot (default)
  go, js  go-tuf alone
  python  python-tuf alone
  dual    both must agree
  off     every request is refused

Environment, for what no flag says:
  RAGNOS_TUF_REPO_URL      --repo-url (default http://localhost:8080)
  RAGNOS_TUF_METADATA_DIR  --metadata-dir (default ./tuf-metadata)
  RAGNOS_TUF_CACHE_DIR     --cache-dir (default ./tuf-cache)
  RAGNOS_TUF_ROOT          --root
  RAGNOS_TUF_CLIENT        --client (default auto)
  RAGNOS_PYTHON_BIN        --python (default: what "python install" made, then
                           python3 in PATH)
  RAGNOS_TUF_HOME          user data, home of the private Python environment
                           (default $XDG_DATA_HOME/ragnos-tuf or
                           ~/.local/share/ragnos-tuf)
  DEBUG=tuf:*              --debug; or parts: tuf:client, tuf:engine, tuf:worker,
                           tuf:transport, tuf:store, tuf:vault, tuf:telemetry,
                           tuf:frames, as in DEBUG=tuf:*,-tuf:transport
  OTEL_EXPORTER_OTLP_ENDPOINT  spans and metrics go to this collector; further
                           OTEL_* variables as usual (docs/telemetry.md)
  HTTPS_PROXY, HTTP_PROXY, NO_PROXY  as usual

Exit codes: 0 success, 2 wrong use, 3 not found, 10 to 23 refused for good,
30 to 34 the repository, 40 to 46 this machine, 50 to 57 the engines, 124 timeout,
130 interrupted. All of them: ragnos-tuf help exit-codes`

const examples = `  ragnos-tuf --repo-url https://plugins.example.com --root root.json list
  ragnos-tuf download plugins/acme/hello.1.0.0.tar.gz -o hello.tar.gz
  ragnos-tuf search --config plugins.yaml hello
  ragnos-tuf sync --config plugins.yaml --frozen
  ragnos-tuf doctor`

// exitCodesTopic is a topic of help and no command.
func exitCodesTopic() *cobra.Command {
	var b strings.Builder
	b.WriteString("Exit codes, with the code that --json gives as error.code and its class:\n\n")
	fmt.Fprintf(&b, "  %3d  %-20s %-10s %s\n", protocol.ExitOK, "-", "-", "success")
	for _, i := range protocol.Codes {
		fmt.Fprintf(&b, "  %3d  %-20s %-10s %s\n", i.Exit, i.Code, i.Class, i.Meaning)
	}
	b.WriteString(`
verdict    refused for good: do not install, tell the publisher; policy_denied is
           your own policy's word, with the rule as error.rule
transport  the repository could not be asked: try again later
local      a directory, lock or trusted root of this machine is in the way
fault      no engine could do its work: see ragnos-tuf doctor
usage      the call or a flag is wrong
`)
	return &cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: b.String()}
}

# Everything a stranger needs: Go, and Python 3.10 or newer with venv. All else
# is installed below this directory (.venv*, .tools) or in Go's own caches.

GO     ?= go
PYTHON ?= python3

# The tools, pinned. Go fetches and verifies them.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0

# How the Go tests are run; .ci/run puts a runner with a summary here.
GOTEST ?= $(GO) test
# The race detector needs a C compiler. It leaves out scrypt, which has nothing to
# race with and takes seconds a key under it. A process that it watches would sleep
# for a second at its end.
RACE    = $(if $(filter 1,$(shell $(GO) env CGO_ENABLED)),-race -gcflags=golang.org/x/crypto/scrypt=-race=false)
GORACE ?= atexit_sleep_ms=10
export GORACE

# Tests the alert rules where it is there; .ci/run sees to that.
PROMTOOL ?= promtool

FUZZTIME  ?= 10s
BENCHTIME ?= 1s
# What to measure instead of everything: make bench BENCHFLAGS='-only "cold small" -rounds 3'.
BENCHFLAGS ?=

# Where the TUF project's client conformance suite lies.
CONFORMANCE_SUITE ?= ../shared/third_party/tuf-conformance

PIP_INSTALL := -I -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary=:all:
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help build demo test test-go test-python test-alerts lint lint-go lint-python conformance differential interop bench bench-publishing bench-go fuzz-short clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## make bin/ragnos-tuf, bin/local-tuf and bin/conformance-client
	$(GO) build -o bin/ ./cmd/ragnos-tuf ./cmd/local-tuf ./internal/conformance-client

demo: build .venv/ready ## show what this is for, from nothing
	@$(GO) build -o bin/demo ./internal/demo
	@bin/demo -bin bin -python .venv/bin/python -testdata testdata

test: test-python test-alerts test-go ## run all tests

test-go: .venv/ready
	@$(if $(RACE),,echo "no C compiler: the tests run without the race detector")
	$(GOTEST) $(RACE) -timeout 40m ./...

test-alerts: ## let each alert fire and be silent, with promtool (Debian's package prometheus)
	@if command -v $(PROMTOOL) >/dev/null; then \
		$(PROMTOOL) check rules deploy/prometheus/ragnos-tuf.rules.yml && $(PROMTOOL) test rules deploy/prometheus/ragnos-tuf.test.yml; \
	else echo "no $(PROMTOOL): THE ALERT RULES ARE NOT TESTED"; fi

test-python: .venv-dev/ready
	.venv-dev/bin/python -m pytest

lint: lint-go lint-python ## check form, types and known vulnerabilities

lint-go:
	@unformatted=$$("$$($(GO) env GOROOT)/bin/gofmt" -l .) || exit 1; \
	if [ -n "$$unformatted" ]; then echo "not formatted, run gofmt -w:" $$unformatted; exit 1; fi
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	@GO="$(GO)" scripts/govulncheck.sh $(GOVULNCHECK)

lint-python: .venv-dev/ready
	.venv-dev/bin/ruff check
	.venv-dev/bin/ruff format --check
	.venv-dev/bin/mypy --strict

conformance: build .venv/ready ## run the official TUF conformance suite in every mode
	PYTHON="$(PYTHON)" scripts/conformance.sh "$(CONFORMANCE_SUITE)"

differential: .venv/ready ## compare with both libraries on all awkward cases, and write docs/differential.md
	RAGNOS_DIFFERENTIAL=full RAGNOS_WRITE_DOCS=1 $(GO) test -run TestDifferential -timeout 2h -v ./internal/differential

interop: .venv/ready ## read our repositories with go-tuf, python-tuf, tuf-js and tough (needs node, npm and cargo)
	RAGNOS_INTEROP=1 $(GO) test -run 'TestPlainClients|TestAdopt' -timeout 1h -v ./internal/interop

bench: .venv/ready ## compare with go-tuf, python-tuf and curl, and write docs/benchmarks.md (a quarter of an hour)
	@$(GO) build -o .bench/bin/bench ./internal/bench
	@.bench/bin/bench -python .venv/bin/python $(or $(BENCHFLAGS),-docs docs)

bench-publishing: .venv/ready ## measure how the cost of publishing grows, and write docs/publishing.md (half an hour)
	@$(GO) build -o .bench/bin/publishing ./internal/bench/publishing
	@.bench/bin/publishing -python .venv/bin/python -docs docs

bench-go: ## run the Go benchmarks, for benchstat
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./...

fuzz-short: ## run every fuzz target for FUZZTIME
	@GO="$(GO)" scripts/fuzz.sh $(FUZZTIME)

clean: ## remove what make has made
	rm -rf bin .bench .venv .venv-dev .venv-conformance .tools

# A virtual environment is made anew when its requirements have changed. Hashes
# are checked, and nothing is built: only wheels are installed.
.venv/ready: requirements.txt
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python $(PIP_INSTALL) -r requirements.txt
	@touch $@

.venv-dev/ready: requirements.txt requirements-dev.txt
	$(PYTHON) -m venv --clear .venv-dev
	.venv-dev/bin/python $(PIP_INSTALL) -r requirements.txt -r requirements-dev.txt
	@touch $@

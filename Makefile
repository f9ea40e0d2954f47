# Targets are what CI runs too: see .ci/run. "make help" lists them.
SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION    := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS    := -s -w -X main.version=$(VERSION)
# AGENT keeps the agent small, as all of its program is in a node's memory: it speaks no HTTP/2,
# and what is seldom run is not inlined. See docs/adr/0027-a-small-agent.md.
SELDOM     := crypto/tls crypto/x509 encoding/asn1 math/big mime net net/http net/url regexp regexp/syntax \
	github.com/eclipse/paho.mqtt.golang github.com/gorilla/websocket github.com/moby/moby/client
AGENT      := -tags nethttpomithttp2 $(SELDOM:%=-gcflags=%=-l)
PLATFORMS  := linux/amd64 linux/arm64 linux/arm darwin/amd64 darwin/arm64
LINTER     := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
VULNCHECK  := golang.org/x/vuln/cmd/govulncheck@v1.9.0
# UNIT begins with control, which takes longest: the others are tested beside it.
UNIT       = $(shell go list ./control ./... | grep -v -e /e2e -e /bench -e /control/sim)
# SEEDS is the first seed of the random histories: others for each commit.
SEEDS      = $(shell printf %d 0x$$(git rev-parse --short=8 HEAD 2>/dev/null || echo 1))
# FORMER is the commit whose running clusters this one has to take over as they are.
FORMER     := b0120a9
ROOT       := $(filter 0,$(shell id -u))
LAB_READY  := $(if $(ROOT),$(shell command -v apt-get))

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: agents
agents: ## otto-agent for all kinds of nodes, to be embedded in otto
	@scripts/agents "$(VERSION)" $(AGENT)

.PHONY: build
build: agents ## bin/otto and bin/otto-agent
	@mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)" -o bin/otto ./cmd/otto
	CGO_ENABLED=0 go build -trimpath $(AGENT) -ldflags "$(LDFLAGS)" -o bin/otto-agent ./cmd/otto-agent

.PHONY: dist
dist: agents ## otto for all platforms, with checksums, in dist/
	@rm -rf dist && mkdir dist
	@for platform in $(PLATFORMS); do \
		out=dist/otto-$${platform/\//-}; echo "$$out"; \
		CGO_ENABLED=0 GOOS=$${platform%/*} GOARCH=$${platform#*/} GOARM=6 \
			go build -trimpath -ldflags "$(LDFLAGS)" -o "$$out" ./cmd/otto; \
	done
	@cd dist && sha256sum otto-* >SHA256SUMS

.PHONY: setup
setup: ## install the Debian packages that demo and tests need (root)
	@$(if $(LAB_READY),scripts/setup,echo "make: not root, or no Debian: installing nothing")

.PHONY: test
test: setup agents ## everything; as root also the end-to-end tests with real Docker and SSH
	go test $(RACE) -timeout 20m $(UNIT)
	go test ./control/sim -sim.from $(SEEDS)
ifdef ROOT
	scripts/e2e
else
	@echo "############################################################"
	@echo "# NOT TESTED: the end-to-end tests, real Docker and SSH on #"
	@echo "# several hosts. They need root: run  sudo make test       #"
	@echo "############################################################"
	go test ./e2e/...
endif

.PHONY: race
race: ## the unit tests under the race detector
	go test -race -timeout 20m $(UNIT)

.PHONY: e2e
e2e: setup agents ## the end-to-end tests alone (root)
	scripts/e2e

.PHONY: soak
soak: bin/tools/docker-compose setup agents ## what only shows after a long time; SOAK=30m is how long (root for the lab's part)
	OTTO_SOAK=$${SOAK:-30m} go test -timeout 2h ./agent/... ./control
	go test -timeout 12h ./control/sim -sim.for $${SOAK:-30m} -sim.from $$(date +%s)000000
	OTTO_SOAK=$${SOAK:-30m} OTTO_E2E=required OTTO_FORMER=$$(scripts/former $(FORMER)) go test -count=1 -p 1 -timeout 3h \
		-run 'Adopted|Attackers|Cable|CutOff|Former|HostMoves|HungEngine|Killed|Leaves|LossAndLoad|TwoClusters|Unhealthy' ./e2e

.PHONY: properties
properties: ## all property tests, CHECKS=100000 drawn cases each: some hours
	@for file in $$(git grep -l 'rapid\.Check(' -- '*_test.go'); do \
		tests=$$(awk '/^func Test/ {sub(/\(.*/, "", $$2); name = $$2} /rapid\.Check\(/ {print name}' $$file | sort -u | paste -sd '|'); \
		go test ./$$(dirname $$file) -v -timeout 12h -run "^($$tests)$$" -rapid.checks=$${CHECKS:-100000}; \
	done

# What is found is made small in 50 tries: without that most of a minute goes into it, where coverage is never quite the same.
.PHONY: fuzz
fuzz: ## all fuzz tests, one after the other, FUZZ=60s each with one worker: about an hour
	@git grep -oE '^func Fuzz\w+' -- '*_test.go' | sed 's/:func / /' | while read -r file name; do \
		go test ./$$(dirname $$file) -run '^$$' -fuzz "^$$name$$" -fuzztime $${FUZZ:-60s} -fuzzminimizetime 50x -parallel 1 </dev/null; \
	done

.PHONY: mutants
mutants: ## put bugs into the code, and see that control/sim finds each
	go test -timeout 2h -v -run Mutants ./control/sim -sim.mutants

.PHONY: bench
bench: agents ## benchmarks; compare two runs with benchstat
	go test -run '^$$' -bench . -benchmem -count $${COUNT:-1} $(UNIT)
	go test -run '^$$' -bench . -benchtime 3x -count $${COUNT:-1} -timeout 40m ./bench

.PHONY: bench-soak
bench-soak: agents ## an agent with 50 containers for ten minutes (root)
	OTTO_BENCH_SOAK=10m go test -timeout 40m -run '^$$' -bench Agent50 -benchtime 1x ./bench

.PHONY: bench-policies
bench-policies: ## policies of moving services compared in virtual time: 20 seeds, some minutes
	go run ./bench/policies -out bench/results/policies

.PHONY: lint
lint: bin/tools/golangci-lint ## golangci-lint with .golangci.yml, and shellcheck if there
	bin/tools/golangci-lint run ./...
	@if command -v shellcheck >/dev/null; then shellcheck scripts/* e2e/lab/lab e2e/lab/alone .ci/run; else echo "make: no shellcheck here: scripts are not checked"; fi

bin/tools/golangci-lint:
	@echo "make: building golangci-lint, once, about two minutes"
	@mkdir -p bin/tools
	GOFLAGS= GOBIN=$(CURDIR)/bin/tools go install $(LINTER)

.PHONY: compose-recordings
compose-recordings: bin/tools/docker-compose ## record anew what Compose makes of the cases in e2e/compose
	go test -count=1 ./e2e/compose -record $(CURDIR)/bin/tools/docker-compose

bin/tools/docker-compose: e2e/compose/tool/go.mod
	@echo "make: building docker-compose, once, about two minutes"
	@mkdir -p bin/tools
	cd e2e/compose/tool && GOFLAGS= go build -p 1 -o $(CURDIR)/bin/tools/docker-compose \
		-ldflags "-X github.com/docker/compose/v5/internal.Version=$$(go list -m -f '{{.Version}}' github.com/docker/compose/v5)" \
		github.com/docker/compose/v5/cmd

.PHONY: fmt
fmt: bin/tools/golangci-lint ## format the code
	bin/tools/golangci-lint fmt ./...

.PHONY: vuln
vuln: ## known vulnerabilities in what the code calls, if the database can be reached
	@if curl -fsS -m 10 -o /dev/null https://vuln.go.dev/index/modules.json 2>/dev/null; then \
		GOFLAGS= go run $(VULNCHECK) ./...; \
	else \
		echo "### NOT CHECKED: govulncheck, its database vuln.go.dev cannot be reached ###"; \
	fi

.PHONY: docs
docs: ## generate docs/cli and the schema of otto.yaml
	go generate ./...

.PHONY: stale
stale: docs ## fail if generated files are not as committed
	@git diff --exit-code --stat -- docs config api || { echo "make: generated files are stale: run make docs and commit"; exit 1; }

# The linter takes minutes of a core that the tests leave idle while they wait.
.PHONY: check
check: build stale vuln ## what CI runs; needs what it needs
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "make: run make fmt"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	go vet ./...
	@echo "make: linting beside the tests: what it says comes after them"
	@mkdir -p bin
	@nice -n 19 $(MAKE) lint >bin/lint.log 2>&1 & lint=$$!; failed=0; \
	$(MAKE) test RACE=-race || failed=1; \
	wait $$lint || failed=1; cat bin/lint.log; exit $$failed

.PHONY: demo
demo: setup build ## a two-node cluster on this machine, running and answering
	@scripts/demo

.PHONY: clean-demo
clean-demo: ## take the demo away, all of it
	@scripts/demo --clean

.PHONY: clean-packages
clean-packages: ## remove the packages that setup installed
	@scripts/setup --remove

.PHONY: clean
clean: ## remove what was built
	rm -rf bin build dist bootstrap/binaries/*.gz

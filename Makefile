# The verbs of this repository; CI calls the same ones.

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := v1.8.0
FUZZTIME    ?= 10s
SEED        ?= 0
TIME        ?= 5m
TOPOLOGY    ?= all
BENCH_SCALE ?= 1
BENCH_OUT   ?= docs/benchmarks
BENCH_FLAGS ?=
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT      ?= $(shell git describe --always --abbrev=40 --exclude="*" --dirty 2>/dev/null)
COMMIT_DATE ?= $(shell TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null)
IMAGE       ?= realtime-gateway

# What the linker is told, because the Dockerfile builds without git.
LDFLAGS = -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.date=$(COMMIT_DATE)

NPM_CI = npm ci --no-audit --no-fund

# npm packages may bring Go files along, which are not ours.
GO_FILES     = $(shell find . -name '*.go' -not -path '*/node_modules/*')
PACKAGES     = $(shell go list ./... | grep -v /node_modules/)
UNIT         = $(filter-out %/test/interop %/test/integration %/test/integration/harness %/test/integration/chaos,$(PACKAGES))
# Integration tests wait more than they compute.
INTEGRATION  = go test -race -count=1 -parallel 8 -timeout 15m ./test/integration/...
# go test keeps to itself what tests say that pass: what they measured is here.
FIGURES      = $(CURDIR)/dist/figures

.DEFAULT_GOAL := help

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/gateway; the same commit and Go version make the same file, bit by bit
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "$(LDFLAGS)" -o bin/gateway ./cmd/gateway

.PHONY: image
image: ## build the container image IMAGE:VERSION with Docker
	docker build --build-arg VERSION="$(VERSION)" --build-arg COMMIT="$(COMMIT)" --build-arg COMMIT_DATE="$(COMMIT_DATE)" -t "$(IMAGE):$(VERSION)" .

.PHONY: dev
dev: ## run the gateway with an embedded Redis and the demo page
	go run ./cmd/gateway --dev

.PHONY: test
test: deps check unit integration chart deploy vuln ## check format, vet, lint, run all tests, check chart and image, and look for vulnerabilities

.PHONY: test-web
test-web: web web-e2e interop examples ## run all tests that need Node.js or a browser

.PHONY: check
check: ## format, vet and staticcheck, no tests
	@bad="$$(gofmt -l $(GO_FILES))"; test -z "$$bad" || { echo "not formatted, run make fmt:"; echo "$$bad"; exit 1; }
	go vet $(PACKAGES)
	go run $(STATICCHECK) $(PACKAGES)
	cd test/deploy && go vet ./... && go run $(STATICCHECK) ./...
	cd test/interop/goclients && go vet . && go run $(STATICCHECK) .

# Last in the run, so that nobody overlooks what could not be checked.
.PHONY: vuln
vuln: ## look for known vulnerabilities with govulncheck; says NOT CHECKED where it cannot
	@test/vuln.sh $(GOVULNCHECK) $(PACKAGES)

.PHONY: unit
unit: ## unit tests only
	go test -race $(UNIT)

.PHONY: integration
integration: deps ## tests of the built gateway against a real Redis only
	@mkdir -p dist && rm -f $(FIGURES)
	FIGURES=$(FIGURES) $(INTEGRATION)
	@cat $(FIGURES)

# A module of its own. The second run has the types of the oldest Kubernetes.
.PHONY: chart
chart: deps ## render and check the chart in helm/ with the real Helm only; builds Helm the first time
	cd test/helm && go vet . && go run $(STATICCHECK) . && go test -count=1 . \
		&& go test -count=1 -modfile=oldest.mod -run '^(TestManifestsAreOfTheAPI|TestLongNames)$$' .

.PHONY: helm-golden
helm-golden: ## write what the chart's tests compare with, and the table of helm/README.md, anew
	cd test/helm && go test -count=1 -run '^(TestGolden|TestValuesTable)$$' . -update

.PHONY: docs
docs: helm-golden ## write what is generated in docs/ and helm/README.md anew
	go test -count=1 ./internal/telemetry -run '^TestTheDocumentIsCurrent$$' -update
	go test -count=1 ./internal/config -run '^TestTheReferenceIsCurrent$$' -update

.PHONY: deploy
deploy: deps ## carry out the Dockerfile, without Docker, and check deploy/compose, alerts, dashboard and runbook
	@mkdir -p dist && rm -f $(FIGURES)
	cd test/deploy && FIGURES=$(FIGURES) go test -count=1 ./...
	@cat $(FIGURES)

# Apart from make test: these need a browser and npm packages.
.PHONY: interop
interop: deps web-deps ## let public clients in Go and JavaScript and a real browser consume the gateway
	cd test/interop/web && $(NPM_CI)
	go test -race -count=1 -parallel 8 -timeout 15m ./test/interop

.PHONY: chaos
chaos: deps ## play faults for TIME (5m) by SEED (random) on TOPOLOGY (all) and prove that nothing was lost
	go test -race -count=1 -timeout 0 -v ./test/integration/chaos -run '^TestChaos$$' \
		-args -chaos.seed=$(SEED) -chaos.time=$(TIME) -chaos.topology=$(TOPOLOGY)

.PHONY: bench
bench: deps build ## measure the gateway beside a plain server, in about 5 minutes, with BENCH_SCALE (1) times the streams
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/baseline ./test/load/baseline
	go run ./test/load/bench -scale $(BENCH_SCALE) -out $(BENCH_OUT) -packages ./pkg/channels,./pkg/sse $(BENCH_FLAGS)

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (10s)
	@set -e; for pkg in $(UNIT); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

.PHONY: fmt
fmt: ## format the Go code
	gofmt -w $(GO_FILES)

# $(call install,TOOL[:PACKAGE] …) installs what is missing where that is possible.
define install
@missing=""; for tool in $(1); do command -v "$${tool%%:*}" >/dev/null || missing="$$missing $${tool##*:}"; done; \
if [ -n "$$missing" ]; then \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	else \
		echo "missing, install them: sudo apt-get install$$missing" >&2; exit 1; \
	fi; \
fi
endef

.PHONY: deps
deps: ## install redis-server, haproxy, nginx and prometheus for the tests where that is possible
	$(call install,redis-server haproxy nginx prometheus)

.PHONY: node-deps
node-deps: ## install Node.js where that is possible
	$(call install,node:nodejs npm)
	@node -e 'process.exit(parseInt(process.version.slice(1)) < 20 ? 1 : 0)' || { echo "node is $$(node --version), wanted is 20 or later" >&2; exit 1; }

# Apart from deps: a browser is large, and most work needs none.
.PHONY: web-deps
web-deps: node-deps ## install Chromium and Node.js where that is possible
	$(call install,chromium curl)

# The scripts in dist/ are committed, so that they can be embedded and the gateway builds with Go alone.
.PHONY: web
web: node-deps ## check and test the TypeScript client in web/client, and that its dist/ is current
	cd web/client && $(NPM_CI) && npm run check
	cd web/dev && npm test

.PHONY: web-e2e
web-e2e: deps web-deps ## test the client and the demo page against real gateways, from Node and from Chromium
	cd web/client && $(NPM_CI) && npm run test:gateway && npm run test:browser
	cd web/dev && $(NPM_CI) && npm run test:browser

# Python, PHP and Ruby are installed where that is possible; else their programs are skipped, and that is said.
.PHONY: examples
examples: deps web-deps examples-deps ## run each of examples/ and the programs of docs/publishing.md
	cd examples && $(NPM_CI) && npm test

.PHONY: examples-deps
examples-deps:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! dpkg -s python3-redis php-cli php-redis ruby-redis >/dev/null 2>&1; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-redis php-cli php-redis ruby-redis \
			|| echo "not installed: their programs are skipped" >&2; \
	fi

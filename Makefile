.DEFAULT_GOAL := help
SHELL := /bin/bash

# The address of Go on machines where it is installed but not in PATH.
export PATH := $(PATH):/usr/local/go/bin

FUZZTIME ?= 10s
PKG ?= ./jobs
COUNT ?= 20

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-10s %s\n", $$1, $$2}'

.PHONY: build
build: ## build the programs into bin/, as the container image does
	CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o bin/ ./cmd/...

.PHONY: test
test: ## everything: set-up, format, vet, staticcheck, known holes, all tests with race detector on real servers
	@scripts/test.sh

.PHONY: check
check: ## the quick round while writing: format, vet, staticcheck, the tests that a change touches
	@test -z "$$(gofmt -l .)" || { echo "gofmt would change:"; gofmt -l .; exit 1; }
	go vet ./...
	go tool staticcheck ./...
	go test ./...

.PHONY: fmt
fmt: ## format all Go files
	gofmt -w .

.PHONY: vuln
vuln: ## look for known vulnerabilities in what the programs call (needs the network)
	go tool govulncheck ./...

.PHONY: bench
bench: ## measure throughput end to end (ARGS="…" go to the program)
	go run ./cmd/bench $(ARGS)

.PHONY: profile
profile: ## run the Go benchmarks of PKG=./jobs and show where the time goes
	@mkdir -p bin
	go test -run '^$$' -bench . -cpuprofile bin/cpu.pprof -memprofile bin/mem.pprof -o bin/profile.test $(PKG)
	go tool pprof -top -nodecount 30 bin/profile.test bin/cpu.pprof

.PHONY: demo
demo: ## everything in one process with stand-ins for the providers
	go run ./cmd/demo $(ARGS)

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME=10s
	@scripts/fuzz.sh $(FUZZTIME)

.PHONY: chaos
chaos: ## repeat the tests named Chaos, which kill and flush, COUNT=20 times
	go test -race -run Chaos -count $(COUNT) -timeout 1h ./...

.PHONY: secrets
secrets: ## make the secrets that docker-compose.yml needs
	@scripts/secrets.sh

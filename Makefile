# alfred. `make` alone prints this help.

GO     ?= go
PYTHON ?= python3
VENV   ?= build/venv

.DEFAULT_GOAL := help

help: ## this text
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 14

build: ## bin/alfred
	$(GO) build -trimpath -o bin/alfred ./cmd/alfred

demo: ## supervised fine-tuning, reward model and PPO on embedded data, in two minutes
	$(GO) run ./cmd/alfred demo

test: ## all tests that need neither GPU nor Python
	$(GO) test ./...

race: race-packages race-cpu ## tests of the concurrent packages under the race detector

race-packages:
	$(GO) test -race -short $(addprefix ./internal/,collective/... telemetry checkpoint rollout pipeline dataset/... reward rundir rlhf)

race-cpu:
	$(GO) test -race -short -run 'Share|Packed|Pool|Steady|Determinism' ./internal/backend/cpu

# Checks are calls, which gcc compiles several times as fast as checks in place. What the kernels are compared with is Go on memory of Go,
# and runs without checks.
asan: ## the C kernels under AddressSanitizer, on every instruction set (SHORT=-short: on the best one)
	CGO_CFLAGS='-O2 -g1 --param=asan-instrumentation-with-call-threshold=0' $(GO) test -asan $(SHORT) -timeout 30m -run 'Conformance|Pack' \
		$(foreach p,reference backendtest,-gcflags=alfred/internal/backend/$(p)=-asan=false) ./internal/backend/cpu

fuzz: ## every fuzz target for FUZZTIME (10s)
	scripts/fuzz.sh $(FUZZTIME)

golden: $(VENV)/golden.ok ## rewrite the goldens with PyTorch and transformers (needs Python)
	$(VENV)/bin/python scripts/golden/falcon.py
	$(VENV)/bin/python scripts/golden/ppo.py
	$(VENV)/bin/python scripts/golden/optim.py
	$(VENV)/bin/python scripts/golden/falcon_check.py
	$(VENV)/bin/python scripts/golden/ppo_check.py

parity: build $(VENV)/golden.ok ## compare with transformers, live, in both directions (needs Python)
	$(VENV)/bin/python scripts/parity/parity.py --alfred bin/alfred

bench: ## every operation and whole steps, as shares of what this machine can do (5 minutes)
	@$(GO) test -run '^$$' -bench . -benchtime 0.5s -timeout 60m ./internal/backend/cpu ./internal/rlhf ./internal/tokenizer | scripts/bench/table.awk

bench-peers: build $(VENV)/golden.ok ## alfred beside PyTorch and the official tokenizers library on the same work (needs Python)
	$(VENV)/bin/python scripts/bench/bench.py --alfred bin/alfred --encoding

lint: ## formatting, go vet, staticcheck
	@test -z "$$(gofmt -l cmd internal)" || { gofmt -l cmd internal; echo 'run: make fmt'; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

fmt: ## format the Go code
	gofmt -w cmd internal

clean: ## remove what was built
	rm -rf bin build

$(VENV)/golden.ok: scripts/golden/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet -r $<
	touch $@

.PHONY: help build demo test race race-packages race-cpu asan fuzz golden parity bench bench-peers lint fmt clean

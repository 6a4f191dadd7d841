# Every command a contributor or a machine needs. `make` alone explains them.

GO       ?= go
FUZZTIME ?= 10s
BENCH    ?= .
PKG      ?= ./...

.DEFAULT_GOAL := help
.PHONY: help setup build demo test check fuzz chaos bench gpu gpu-test gpu-vet gpu-emulate gpu-abi gpu-check ptx ptx-check onednn-check onnx-check kube-check clean

help: ## explain the targets
	@echo "metrix: train embedding networks with Metrix mixup on many workers"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile
	@echo
	@echo "  PKG=./metrix/ limits test, fuzz and bench to one package; FUZZTIME=1m, BENCH=Loss1024."

setup: ## install what is missing (C compiler, oneDNN, OpenBLAS), as root or through sudo
	@scripts/setup.sh

build: bin/libmetrix_onednn.so ## build bin/metrix, bin/coordinator, bin/worker and the oneDNN shim
	$(GO) build -trimpath -o bin/ ./cmd/metrix ./cmd/coordinator ./cmd/worker

# Where it cannot be built the portable engine trains.
bin/libmetrix_onednn.so: $(wildcard engine/onednn/shim/*)
	@mkdir -p bin
	@sh engine/onednn/shim/build.sh $@ >bin/shim.log 2>&1 || echo "build: no oneDNN engine ($$(tail -n 1 bin/shim.log)); run 'make setup'"

demo: setup build ## train on images made here: Recall@K before, without and with mixing
	@bin/metrix train recipes/demo.yaml

test: setup check ## formatting, vet, staticcheck, then every test under the race detector
	@GO="$(GO)" scripts/test.sh $(PKG)

check: ## formatting, vet and staticcheck alone
	@scripts/check.sh

fuzz: ## fuzz every parser of outside input for FUZZTIME each (default 10s)
	@FUZZTIME=$(FUZZTIME) scripts/fuzz.sh $(PKG)

chaos: ## RUNS runs (default 100) whose workers come, leave and are lost at random: each must be the same run
	@METRIX_CHAOS_RUNS=$(or $(RUNS),100) $(GO) test -race -count=1 -timeout 0 -run TestAnyFateIsTheSameRun -v ./worker

bench: ## run the benchmarks, with memory
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem $(PKG)

gpu: ## build bin/metrix-gpu, bin/worker-gpu and bin/gpu-tests for NVIDIA GPUs; needs no card
	@scripts/gpu-build.sh

gpu-test: ## what the tag gpu adds, without a card: gpu-vet, ptx-check, gpu-emulate
	@scripts/gpu-test.sh

gpu-vet: ## vet what the tag gpu adds
	@scripts/gpu-go.sh vet $(PKG)

gpu-emulate: ## test the CUDA engine and runs on it on the CPU, with NVIDIA's libraries emulated
	@scripts/gpu-emulate.sh

gpu-abi: ## compare with NVIDIA's headers and libraries of CUDA 12 and 13 (fetches 2.5 GB); needs no card
	@scripts/gpu-abi.sh

gpu-check: ## on a machine with a card: test and measure the CUDA engine, figures in one folder
	@scripts/gpu-check.sh

ptx: ## compile the CUDA kernels to the PTX that is committed
	@scripts/gpu-ptx.sh

ptx-check: ## compare the committed PTX with what the sources give
	@scripts/gpu-ptx.sh --check

onednn-check: ## test the oneDNN engine on a oneDNN 3 from a Python package
	@scripts/onednn-check.sh

onnx-check: ## run exported networks with onnxruntime from a Python package
	@bin/onnx/bin/python -c 'import onnxruntime, onnx' 2>/dev/null || \
		{ python3 -m venv bin/onnx && bin/onnx/bin/pip install -q onnxruntime onnx numpy; }
	METRIX_ONNXRUNTIME_PYTHON=$(CURDIR)/bin/onnx/bin/python $(GO) test -count=1 -v -run TestONNXRuntime ./weights/

kube-check: ## show the manifests to a real Kubernetes API server, built from its Go modules
	@scripts/kube-check.sh

clean: ## remove what was built
	rm -rf bin bench/out .gpu/lib .gpu/emulator

# The worker for NVIDIA GPUs, and metrix beside it, on a public CUDA runtime image, which brings cuDNN and
# cuBLAS; the driver comes from the node. Neither stage needs a card to build. From the repository's root:
#   docker build -f deploy/docker/worker-gpu.Dockerfile -t metrix-worker-gpu:dev .
FROM golang:1.26-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends python3-pip
WORKDIR /src
COPY scripts/gpu-toolchain.sh scripts/gpu-toolchain.txt scripts/
RUN scripts/gpu-toolchain.sh
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN scripts/gpu-go.sh build -trimpath -buildvcs=false -ldflags=-s -o /out/ ./cmd/worker ./cmd/metrix

FROM nvidia/cuda:12.9.1-cudnn-runtime-ubuntu24.04
COPY --from=build /out/worker /out/metrix /usr/local/bin/
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/worker"]

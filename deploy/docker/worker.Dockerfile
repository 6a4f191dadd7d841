# The worker, and the command for people beside it (metrix data, metrix eval). Built without cgo, but
# not on an empty image: oneDNN, through its shim, and OpenBLAS are loaded at run time, and they need
# the C library. From the repository's root:
#   docker build -f deploy/docker/worker.Dockerfile -t metrix-worker:dev .
FROM golang:1.26-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends libdnnl-dev
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags=-s -o /out/ ./cmd/worker ./cmd/metrix \
 && sh engine/onednn/shim/build.sh /out/libmetrix_onednn.so

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends libdnnl2 libgomp1 libopenblas0-pthread ca-certificates \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/worker /out/metrix /out/libmetrix_onednn.so /usr/local/bin/
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/worker"]

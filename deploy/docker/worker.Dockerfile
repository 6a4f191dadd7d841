# The worker, and the command for people beside it (metrix data, metrix eval). Built without cgo, but
# not on an empty image: OpenBLAS is loaded at run time, and it needs the C library. From the root:
#   docker build -f deploy/docker/worker.Dockerfile -t metrix-worker:dev .
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags=-s -o /out/ ./cmd/worker ./cmd/metrix

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends libopenblas0-pthread ca-certificates \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/worker /out/metrix /usr/local/bin/
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/worker"]

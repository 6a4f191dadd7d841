# The coordinator: one binary and the C library, no shell. Build from the repository's root:
#   docker build -f deploy/docker/coordinator.Dockerfile -t metrix-coordinator:dev .
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags=-s -o /out/coordinator ./cmd/coordinator \
 && mkdir -p /out/data

FROM gcr.io/distroless/base-debian12:nonroot
COPY --from=build /out/coordinator /usr/local/bin/coordinator
COPY --from=build --chown=65532:65532 /out/data /var/lib/metrix
USER 65532:65532
EXPOSE 7400 8080
ENTRYPOINT ["/usr/local/bin/coordinator"]

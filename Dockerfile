# One image with every program of cmd/ and nothing else: no shell, no package manager, not root.
#   docker build -t dunlin .
#   docker run --rm dunlin /enqueue --help

FROM golang:1.26 AS build
WORKDIR /src
# The modules are a layer of their own, so that a change of ours does not fetch them again.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN mkdir -p /out/data && CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /out/ ./cmd/...

# Certificate authorities come with the base; time zones are compiled in.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build --chown=65532:65532 /out/ /
USER 65532:65532
# The ledger's file lives here when there is no PostgreSQL.
WORKDIR /data
VOLUME /data
ENTRYPOINT []
CMD ["/worker"]

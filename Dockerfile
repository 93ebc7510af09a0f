# The image of the gateway: one static binary and the authorities that it
# trusts, and nothing else. `make image` builds it for this machine,
#
#   docker buildx build --platform linux/amd64,linux/arm64 .
#
# for others too: Go compiles for them by itself, nothing is emulated.

FROM --platform=$BUILDPLATFORM golang:1.26.8-bookworm AS build
WORKDIR /src
# A layer of its own: dependencies change more seldom than code.
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG TARGETOS TARGETARCH
ARG VERSION=unknown COMMIT COMMIT_DATE
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS="$TARGETOS" GOARCH="$TARGETARCH" make build VERSION="$VERSION" COMMIT="$COMMIT" COMMIT_DATE="$COMMIT_DATE"

FROM scratch
ARG VERSION=unknown COMMIT COMMIT_DATE
LABEL org.opencontainers.image.title="Realtime Gateway" \
      org.opencontainers.image.description="Fans events out from Redis to browsers over Server-Sent Events" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$COMMIT" \
      org.opencontainers.image.created="$COMMIT_DATE"
# For key sets, webhooks and a Redis behind TLS. SSL_CERT_FILE names another file.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/bin/gateway /gateway
# A number, so that Kubernetes can tell that it is not root.
USER 65532:65532
EXPOSE 8080 9090
# Alive, not ready: a restart helps nobody while Redis is away.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["/gateway", "healthcheck"]
ENTRYPOINT ["/gateway"]

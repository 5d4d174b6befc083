# The worker's image. `compose/image` builds it with version and commit in its labels; by hand, with one broker alone:
#   docker build --build-arg FEATURES=kafka -t xray-processor-worker .
#
# Debian's slim image and not a distroless one: librdkafka wants OpenSSL and zlib, which then come from a distribution that
# mends them, and a shell is there for the one on call. The same Debian is under the tests.
ARG DEBIAN=bookworm

FROM rust:1.95.0-${DEBIAN} AS build
WORKDIR /build
ARG FEATURES=full
ARG PROFILE=release
# Lines in backtraces are three quarters of the binary.
ENV CARGO_PROFILE_RELEASE_STRIP=debuginfo
# The dependencies, a layer of their own: it lasts until Cargo.lock changes. Tests and benchmarks are not in the context,
# so the manifest that is built must not name them.
COPY Cargo.toml Cargo.lock ./
RUN sed -i '/^\[\[\(test\|bench\)\]\]/,/^$/d' Cargo.toml \
    && mkdir src && touch src/lib.rs && echo 'fn main() {}' > src/main.rs \
    && cargo build --locked --profile "$PROFILE" --no-default-features --features "$FEATURES"
COPY build.rs ./
COPY schema schema
COPY src src
ARG REVISION=unknown
# Cargo goes by times, and these files may be older than what was made in their place.
RUN touch build.rs src/lib.rs src/main.rs \
    && XRAY_REVISION="$REVISION" cargo build --locked --profile "$PROFILE" --no-default-features --features "$FEATURES" \
    && mkdir /out && cp target/*/xray-processor-worker /out/

FROM debian:${DEBIAN}-slim
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3 zlib1g \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o 65532 -g 65532 /data
COPY --from=build /out/xray-processor-worker /usr/local/bin/
# Nobody's number, which no file has: nothing but /data can be written, and that only in embedded mode.
USER 65532:65532
# Inside a container the loopback address is nobody's way in.
ENV HTTP_ADDR=0.0.0.0:8080
EXPOSE 8080
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="xray-processor-worker" \
      org.opencontainers.image.description="Takes X-Ray pipeline events off a broker, stores each raw payload and keeps the metrics of runs, steps and decisions" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["xray-processor-worker", "health"]
# The worker is process 1 itself: SIGTERM reaches it, and what it holds is finished within SHUTDOWN_TIMEOUT_MS.
ENTRYPOINT ["xray-processor-worker"]

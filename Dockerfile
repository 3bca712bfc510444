# The relay:   docker build -t ggrok-relay .
# The client:  docker build -t ggrok-client --target client .

# Base images are pinned by the digest of their index; .github/dependabot.yml keeps them current.
FROM docker.io/library/rust:1.97.0-slim-bookworm@sha256:6d220bf85c74e842a79da63997af8d2e74455c0b8847d8bb3a5888572334991d AS rust
WORKDIR /src
# jemalloc is built by it, and for kernels with pages of up to 64 KiB.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends make \
 && rm -rf /var/lib/apt/lists/*
ENV JEMALLOC_SYS_WITH_LG_PAGE=16

# The manifests and the lock file, with an empty program in place of every source file. The layers
# that compile the dependencies stand on this, so a change in the code does not compile them again.
FROM rust AS manifests
COPY . .
RUN find . -type f ! -name '*.rs' ! -name 'Cargo.*' ! -path './.cargo/*' -delete \
 && echo 'fn main() {}' | tee $(find . -name '*.rs') > /dev/null

# `touch`: cargo compares times, and a source file may be older than the empty one it replaces.
FROM rust AS relay-build
COPY --from=manifests /src .
RUN cargo build --locked --release --package ggrok-server
COPY . .
RUN find crates -name '*.rs' -exec touch {} + \
 && cargo build --locked --release --package ggrok-server

FROM rust AS client-build
COPY --from=manifests /src .
RUN cargo build --locked --release --package ggrok-client
COPY . .
RUN find crates -name '*.rs' -exec touch {} + \
 && cargo build --locked --release --package ggrok-client

# The client checks the relay's certificate against the authorities Debian trusts.
FROM docker.io/library/debian:bookworm-slim@sha256:88200866dfff7ea7f5cbcb6ec7c8a701889efe6fe859fe64d6990e4b07ea4171 AS client
COPY --from=rust /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=client-build /src/target/release/ggrok-client /usr/local/bin/ggrok-client
USER 65532:65532
STOPSIGNAL SIGTERM
ENTRYPOINT ["ggrok-client"]

# The last stage is the default one. It listens on $PORT, which most platforms set.
FROM docker.io/library/debian:bookworm-slim@sha256:88200866dfff7ea7f5cbcb6ec7c8a701889efe6fe859fe64d6990e4b07ea4171 AS relay
COPY --from=relay-build /src/target/release/ggrok-server /usr/local/bin/ggrok-server
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["ggrok-server"]

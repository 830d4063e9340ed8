# The image of Tidemill: the program, the libraries it needs, certificates, and nothing else: no shell,
# no package manager. docs/operations.md says how to run it.
#   docker build -t tidemill .
ARG DEBIAN=debian:trixie-slim

FROM ${DEBIAN} AS builder
WORKDIR /src
COPY scripts/setup scripts/
RUN scripts/setup image
COPY Makefile ./
COPY src src
RUN make -j"$(nproc)" build/tidemill
COPY LICENSE tidemill.lua ./
COPY scripts/image-root scripts/
RUN scripts/image-root build/tidemill /image

# What the compose file's profile "demo" feeds readings with. It has the builder's shell.
FROM builder AS demo
COPY scripts/demo-readings scripts/demo-feeder scripts/
USER 65532:65532
ENTRYPOINT ["scripts/demo-feeder"]

FROM scratch AS tidemill
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="Tidemill" \
      org.opencontainers.image.description="Lua rules over NATS JetStream" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=builder /image /
# 0.0.0.0: in a container loopback would be out of Prometheus' reach. Nothing can be changed there.
ENV TIDEMILL_CONFIG=/etc/tidemill/tidemill.lua \
    TIDEMILL_RULES=/rules \
    TIDEMILL_HTTP=0.0.0.0:9180
USER 65532:65532
EXPOSE 9180
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=10s --retries=3 \
  CMD ["/usr/bin/tidemill", "health"]
ENTRYPOINT ["/usr/bin/tidemill"]
CMD ["run"]

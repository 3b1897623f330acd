# Small image with the redis-server of this machine, for environments where no image can be pulled.
# `scripts/redis-image` assembles the root file system and builds the image.
FROM scratch

COPY rootfs/ /
# User and directory are the same as in the official image, so that compose.yaml works with both.
COPY --chown=999:999 data/ /data/

WORKDIR /data
USER 999:999
EXPOSE 6379
STOPSIGNAL SIGTERM
# No password and no persistence: this image is meant for tests on a private network. Options that
# are passed to `docker run` follow these options and override them, as with the official image.
ENTRYPOINT ["/usr/local/bin/redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", ""]

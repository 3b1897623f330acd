# A small Redis out of the machine's own redis-server, where no image can be pulled.
# `scripts/redis-image` assembles the root file system and builds this.
FROM scratch

COPY rootfs/ /
# The user and the folder of the official image, so that the same compose.yaml runs both.
COPY --chown=999:999 data/ /data/

WORKDIR /data
USER 999:999
EXPOSE 6379
STOPSIGNAL SIGTERM
# Open to whoever reaches it, and nothing saved: made for tests and trials on a private
# network. Options given to `docker run` follow these and win, as with the official image.
ENTRYPOINT ["/usr/local/bin/redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", ""]

# A small nginx out of the machine's own, where no image can be pulled; with curl for its health
# check, as in the official image. `scripts/nginx-image` assembles the root file system and builds
# this.
FROM scratch

COPY rootfs/ /

USER 65532:65532
STOPSIGNAL SIGQUIT
ENTRYPOINT ["/usr/local/bin/nginx", "-e", "stderr"]

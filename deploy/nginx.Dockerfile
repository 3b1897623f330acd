# Small image with the nginx of this machine, for environments where no image can be pulled.
# Contains curl for the health check, as the official image does. `scripts/nginx-image` assembles
# the root file system and builds the image.
FROM scratch

COPY rootfs/ /

USER 65532:65532
STOPSIGNAL SIGQUIT
ENTRYPOINT ["/usr/local/bin/nginx", "-e", "stderr"]

# NVIDIA's Triton with the `swinunet` command in it, for a GPU: `make triton-image`.
#
#   docker run --rm --gpus all --network host --volume "$PWD/model_repository:/models:ro" \
#     --volume swinunet-engines:/var/tmp swinunet-triton
#
# `swinunet serve` refuses a plan that cannot load here, waits for the canary, and listens on loopback only.
# TensorRT's engines are built at the first start and kept in the volume.
ARG TRITON_IMAGE
FROM ${TRITON_IMAGE}
WORKDIR /opt/swinunet
COPY . .
# Into the image's own Python, because that is the one in which Triton's Python backend runs model.py.
RUN python3 -m pip install --no-cache-dir --break-system-packages --constraint constraints.txt '.[client,server]' && \
    useradd --uid 10001 --user-group --no-create-home swinunet
ENV PYTHONDONTWRITEBYTECODE=1 HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib
USER 10001:10001
ENTRYPOINT ["swinunet"]
CMD ["serve", "--repository", "/models", "--port", "8001", "--config", "default"]

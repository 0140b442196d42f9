# Triton with what our models and the `swinunet` command need beside it: `make triton-image`.
#
#   docker run --rm --gpus all --network host --volume "$PWD/model_repository:/models:ro" swinunet-triton
#
# `swinunet serve` refuses a plan that cannot load here, waits for the canary, and listens on loopback only.
ARG TRITON_IMAGE
FROM ${TRITON_IMAGE}
WORKDIR /opt/swinunet
# ONNX Runtime reports its use to its maker unless it is told not to.
ENV ORT_DISABLE_TELEMETRY=1
COPY . .
# Into the image's own Python, because that is the one in which Triton's Python backend runs model.py.
RUN python3 -m pip install --no-cache-dir --break-system-packages --constraint constraints.txt '.[client,server]'
ENTRYPOINT ["swinunet", "serve", "--repository", "/models", "--port", "8001"]
CMD ["--config", "gpu"]

# Builds TensorRT plans: `make engine`. The image and its TensorRT are pinned in versions.env.
ARG TENSORRT_IMAGE
FROM ${TENSORRT_IMAGE}
ARG TENSORRT_VERSION
RUN python3 -c "import sys, tensorrt; found = tensorrt.__version__; \
    sys.exit(None if '${TENSORRT_VERSION}'.startswith(found) else f'TensorRT is {found}, versions.env says ${TENSORRT_VERSION}')"
WORKDIR /opt/swinunet
ENV ORT_DISABLE_TELEMETRY=1
COPY . .
# An environment of its own, which sees the image's tensorrt: constraints.txt must not change the image's packages.
RUN python3 -m venv --system-site-packages /opt/venv && \
    /opt/venv/bin/pip install --no-cache-dir --constraint constraints.txt '.[demo,export,server]' polygraphy
WORKDIR /work
ENTRYPOINT ["/opt/venv/bin/swinunet", "export"]

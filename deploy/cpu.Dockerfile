# The client, the gateway and the bundled Triton on a CPU, without torch: `make cpu-image`.
#
#   docker run --rm --network host --read-only --tmpfs /tmp swinunet-cpu serve --port 8001
#
# Built from Debian, whose own Python it uses; the packages come from PyPI in the versions of constraints.txt.
ARG BASE_IMAGE=docker.io/library/debian:bookworm-slim
FROM ${BASE_IMAGE} AS build
RUN apt-get update && apt-get install --yes --no-install-recommends python3 python3-venv
WORKDIR /opt/swinunet
COPY . .
ARG EXTRAS=client,gateway,postgres,server
RUN python3 -m venv /opt/venv && \
    /opt/venv/bin/pip install --no-cache-dir --constraint constraints.txt ".[${EXTRAS}]" && \
    /opt/venv/bin/pip install --no-cache-dir --constraint constraints.txt --no-deps nvidia-pytriton

FROM ${BASE_IMAGE}
# libpython: Triton's Python backend loads it.
RUN apt-get update && apt-get install --yes --no-install-recommends python3 libpython3.11 && \
    rm -rf /var/lib/apt/lists/* && useradd --uid 10001 --user-group --no-create-home swinunet && \
    install -d -o swinunet -g swinunet /spool
COPY --from=build /opt/venv /opt/venv
# Nothing is written but in /tmp and in what is mounted, so the root may be read-only. The two of malloc make large
# requests faster: memory that was freed is kept for the next.
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib \
    MALLOC_MMAP_THRESHOLD_=268435456 MALLOC_TRIM_THRESHOLD_=536870912
USER 10001:10001
ENTRYPOINT ["swinunet"]
CMD ["serve", "--port", "8001"]

# Neuraxis. The default image carries a CUDA build of torch (the driver comes with --gpus all or --nv).
#   docker build -t neuraxis .
# A slim image for machines without a GPU (name PyTorch's index of CPU builds):
#   docker build -t neuraxis:cpu --build-arg TORCH=torch==2.13.0+cpu --build-arg PIP_EXTRA_INDEX_URL=... .
FROM debian:bookworm-slim

ARG TORCH=torch==2.13.0
ARG PIP_EXTRA_INDEX_URL=
# Models and templates of others, by name or "all" (`neuraxis fetch --list`); none is needed.
ARG RESOURCES=
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*
COPY pyproject.toml constraints.txt README.md LICENSE /opt/neuraxis/src/
COPY neuraxis /opt/neuraxis/src/neuraxis
# One layer: the project with all that it needs, pinned; then its compiled code, so that nothing is compiled at run time.
RUN python3 -m venv /opt/neuraxis/venv \
 && grep -v '^torch' /opt/neuraxis/src/constraints.txt > /tmp/constraints.txt \
 && PIP_EXTRA_INDEX_URL="${PIP_EXTRA_INDEX_URL}" /opt/neuraxis/venv/bin/pip install --no-cache-dir --constraint /tmp/constraints.txt "${TORCH}" /opt/neuraxis/src \
 && NUMBA_CACHE_DIR=/opt/neuraxis/numba /opt/neuraxis/venv/bin/python -m neuraxis.compiled \
 && /opt/neuraxis/venv/bin/python -c "import neuraxis; print(neuraxis.__version__)" > /version \
 && { [ -z "${RESOURCES}" ] || /opt/neuraxis/venv/bin/neuraxis fetch ${RESOURCES} --to /opt/neuraxis/resources; } \
 && chmod -R a+rX /opt/neuraxis /version && rm -rf /tmp/constraints.txt
ENV PATH=/opt/neuraxis/venv/bin:$PATH \
    NUMBA_CACHE_DIR=/opt/neuraxis/numba \
    NEURAXIS_RESOURCES=/opt/neuraxis/resources \
    PYTHONNOUSERSITE=1 ORT_DISABLE_TELEMETRY=1 \
    LANG=C.UTF-8
ENTRYPOINT ["neuraxis"]

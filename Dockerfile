# Two stages: the first builds a virtual environment, the second holds that and nothing to build with.
# CPU-only: docker build --build-arg PIP_ARGS="--extra-index-url <address of PyTorch's CPU wheels>" .
FROM python:3.12-slim AS build
ARG PIP_ARGS=""
WORKDIR /src
RUN python3 -m venv /opt/venv
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY app app
COPY cli cli
COPY imaging imaging
COPY model model
COPY training training
COPY weights/voc-fcn8s-mobilenet-v2.safetensors weights/voc-fcn8s-mobilenet-v2.md weights/
RUN /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check $PIP_ARGS -c constraints.txt . \
    && /opt/venv/bin/pip uninstall --yes pip \
    && find /opt/venv -name __pycache__ -prune -exec rm -rf {} +

FROM python:3.12-slim
LABEL org.opencontainers.image.title="fcn-segment" org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --system --uid 10001 --no-create-home segment
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=4 \
    SEGMENT_HOST=0.0.0.0 \
    SEGMENT_PORT=8000
USER 10001
WORKDIR /tmp
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python3", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"SEGMENT_PORT\"]}/health/ready', timeout=2)"]
CMD ["fcn-serve"]

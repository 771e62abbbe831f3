# docker build .                  -> the CPU image: OpenVINO, no PyTorch
# docker build --target gpu .     -> the image for NVIDIA GPUs: PyTorch with CUDA
FROM python:3.12-slim AS dependencies
ARG PIP_ARGS=""
WORKDIR /src
RUN python3 -m venv /opt/venv
COPY pyproject.toml constraints.txt ./
# dependencies alone, so that a change of the sources does not install them again
RUN /opt/venv/bin/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" > base.txt \
    && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check $PIP_ARGS -c constraints.txt -r base.txt

FROM dependencies AS gpu-dependencies
RUN /opt/venv/bin/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['torch'], sep='\n')" > gpu.txt \
    && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check $PIP_ARGS -c constraints.txt -r gpu.txt

FROM dependencies AS wheel
COPY README.md LICENSE ./
COPY app app
COPY cli cli
COPY imaging imaging
COPY model model
COPY training training
COPY weights weights
RUN /opt/venv/bin/pip wheel --no-deps --disable-pip-version-check $PIP_ARGS --wheel-dir /wheel .

FROM dependencies AS cpu-environment
COPY --from=wheel /wheel /wheel
RUN /opt/venv/bin/pip install --no-deps --disable-pip-version-check /wheel/*.whl && /opt/venv/bin/pip uninstall --yes pip

FROM gpu-dependencies AS gpu-environment
COPY --from=wheel /wheel /wheel
RUN /opt/venv/bin/pip install --no-deps --disable-pip-version-check /wheel/*.whl && /opt/venv/bin/pip uninstall --yes pip

FROM python:3.12-slim AS base
LABEL org.opencontainers.image.title="fcn-segment" org.opencontainers.image.licenses="Apache-2.0" \
    com.amazonaws.sagemaker.capabilities.accept-bind-to-port="true"
# SageMaker starts a container with the one word `serve`
RUN useradd --system --uid 10001 --no-create-home segment \
    && printf '#!/bin/sh\nexec fcn-serve serve\n' > /usr/local/bin/serve && chmod 755 /usr/local/bin/serve
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=2 \
    MALLOC_MMAP_THRESHOLD_=4194304 \
    MALLOC_TRIM_THRESHOLD_=16777216 \
    SEGMENT_HOST=0.0.0.0 \
    PORT=8000 \
    SEGMENT_LAME_DUCK_S=5
USER 10001
WORKDIR /tmp
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python3", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open(f'http://127.0.0.1:{os.environ.get(\"SEGMENT_PORT\") or os.environ[\"PORT\"]}/health/ready', timeout=2)"]
CMD ["fcn-serve"]

FROM base AS gpu
COPY --from=gpu-environment /opt/venv /opt/venv

FROM base AS cpu
COPY --from=cpu-environment /opt/venv /opt/venv

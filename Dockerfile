# docker build .                  -> the CPU image: OpenVINO, no PyTorch
# docker build --target gpu .     -> the image for NVIDIA GPUs: PyTorch with CUDA
# python:3.12-slim of September 2026, Python 3.12.14 on Debian 13, for all its platforms. To refresh the digest:
#   docker buildx imagetools inspect python:3.12-slim
ARG PYTHON_IMAGE=python:3.12-slim@sha256:78387bc3881b8273120a12ebe6c1ab22b018ccc2c9adf565ae1ac9b536e184ea

FROM ${PYTHON_IMAGE} AS dependencies
ARG PIP_ARGS=""
# object stores for bulk jobs; "cloud table" for their tables in Parquet too; "ray" for all that a Ray cluster needs;
# "cloud geo" for scenes, on the command line and in jobs
ARG EXTRAS="cloud"
WORKDIR /src
RUN python3 -m venv /opt/venv
COPY pyproject.toml constraints.txt ./
# dependencies alone, so that a change of the sources does not install them again
RUN /opt/venv/bin/python -c "import os, tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*p['dependencies'], *(each for extra in os.environ['EXTRAS'].split() for each in p['optional-dependencies'][extra]), sep='\n')" > base.txt \
    && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check $PIP_ARGS -c constraints.txt -r base.txt

FROM dependencies AS gpu-dependencies
RUN /opt/venv/bin/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['torch'], sep='\n')" > gpu.txt \
    && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check $PIP_ARGS -c constraints.txt -r gpu.txt

FROM dependencies AS wheel
COPY README.md LICENSE ./
COPY app app
COPY cli cli
COPY cluster cluster
COPY common common
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

# the bill of materials: what is in the environment, in CycloneDX
FROM ${PYTHON_IMAGE} AS bill
ARG PIP_ARGS=""
COPY pyproject.toml constraints.txt /src/
RUN python3 -m venv /opt/bill \
    && /opt/bill/bin/pip install --no-cache-dir --disable-pip-version-check $PIP_ARGS -c /src/constraints.txt cyclonedx-bom

FROM bill AS cpu-bill
COPY --from=cpu-environment /opt/venv /opt/venv
RUN /opt/bill/bin/cyclonedx-py environment --pyproject /src/pyproject.toml --output-reproducible -o /fcn-segment.cdx.json /opt/venv/bin/python

FROM bill AS gpu-bill
COPY --from=gpu-environment /opt/venv /opt/venv
RUN /opt/bill/bin/cyclonedx-py environment --pyproject /src/pyproject.toml --output-reproducible -o /fcn-segment.cdx.json /opt/venv/bin/python

FROM ${PYTHON_IMAGE} AS base
ARG PYTHON_IMAGE
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="fcn-segment" \
    org.opencontainers.image.description="HTTP microservice for semantic segmentation" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.base.name="${PYTHON_IMAGE}" \
    com.amazonaws.sagemaker.capabilities.accept-bind-to-port="true"
# A volume for jobs takes the owner of /var/lib/segment. SageMaker starts a container with the one word `serve`
RUN useradd --system --uid 10001 --no-create-home segment \
    && install -d -o segment -m 700 /var/lib/segment \
    && printf '#!/bin/sh\nexec fcn-serve serve\n' > /usr/local/bin/serve && chmod 755 /usr/local/bin/serve
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=2 \
    SEGMENT_HOST=:: \
    PORT=8000 \
    SEGMENT_LAME_DUCK_S=5
USER 10001
WORKDIR /tmp
EXPOSE 8000
STOPSIGNAL SIGTERM
# a network may take minutes to compile; the first success ends the start period, and a service that cannot load ends by itself
HEALTHCHECK --interval=10s --timeout=3s --start-period=24h --retries=3 \
    CMD ["python3", "-P", "-m", "app.health_check"]
CMD ["fcn-serve"]

FROM base AS gpu
COPY --from=gpu-environment /opt/venv /opt/venv
COPY --from=gpu-bill /fcn-segment.cdx.json /usr/share/sbom/

FROM base AS cpu
COPY --from=cpu-environment /opt/venv /opt/venv
COPY --from=cpu-bill /fcn-segment.cdx.json /usr/share/sbom/

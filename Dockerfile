# One image for ingest, aggregator, api and the command line: `docker build -t visit-counter .`
#
# Every package is checked against the hashes of uv.lock, wherever it comes from: behind a mirror pass
# --build-arg PIP_INDEX_URL=… (or have pip configured in the base image). With traces: --build-arg EXTRAS=otel.

FROM python:3.12-slim AS build
# The uv that scripts/environment.sh uses.
ARG UV_VERSION=0.13.9
# Taken by pip from the environment; unset unless given.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
# One of the package's extras that the image is to hold too.
ARG EXTRAS=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv /uv && /uv/bin/pip install --quiet "uv==${UV_VERSION}"
COPY pyproject.toml uv.lock ./
RUN /uv/bin/uv export --frozen --quiet --no-dev --no-emit-project ${EXTRAS:+--extra "$EXTRAS"} \
      --output-file /requirements.txt \
 && /uv/bin/uv export --frozen --quiet --only-group build --output-file /build-requirements.txt \
 && python -m venv --without-pip /opt/visit-counter \
 && pip --python /opt/visit-counter install --quiet --require-hashes --only-binary :all: --no-compile \
      --requirement /requirements.txt \
 && pip install --quiet --require-hashes --only-binary :all: --requirement /build-requirements.txt
COPY README.md LICENSE ./
COPY visits visits
COPY services services
COPY widget widget
RUN pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels . \
 && pip --python /opt/visit-counter install --quiet --no-deps --no-index --no-compile /wheels/*.whl \
 && python -m compileall -q -j 0 /opt/visit-counter/lib

FROM python:3.12-slim
LABEL org.opencontainers.image.title="visit-counter" \
      org.opencontainers.image.licenses="Apache-2.0"
# The folder of the secrets belongs to the user: a new volume that is mounted there takes its owner over.
RUN useradd --system --uid 10001 --user-group --home-dir /nonexistent --shell /usr/sbin/nologin visit-counter \
 && install -d -o 10001 -g 10001 /secrets /backup
COPY --from=build /opt/visit-counter /opt/visit-counter
COPY deploy/healthcheck.py /opt/visit-counter/healthcheck.py
ENV PATH=/opt/visit-counter/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /etc/visit-counter
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["visit-counter"]
CMD ["--help"]

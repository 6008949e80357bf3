# Serving only: no torch, no compiler, no shell needed at run time.
#
#   docker build -t shopwindow .
#   docker run --rm -p 5000:5000 shopwindow
#   docker run --rm -p 5000:5000 -v "$PWD/runs/photos:/models:ro" shopwindow serve --model /models/model.onnx

FROM python:3.13-slim AS build
RUN python -m venv /opt/shopwindow
WORKDIR /build
# The lock file alone first: this layer stays as it is until a version changes.
COPY requirements/serve.txt requirements/serve.txt
RUN /opt/shopwindow/bin/pip install --no-cache-dir --require-hashes --only-binary :all: \
        --requirement requirements/serve.txt
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY licences licences
COPY src src
RUN /opt/shopwindow/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.13-slim
COPY --from=build /opt/shopwindow /opt/shopwindow
# A volume that is mounted on /feedback for the first time gets its owner from here.
RUN useradd --system --no-create-home --shell /usr/sbin/nologin shopwindow \
    && install --directory --owner shopwindow --mode 700 /feedback
USER shopwindow
ENV PATH=/opt/shopwindow/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SHOPWINDOW_HOST=0.0.0.0 \
    SHOPWINDOW_PORT=5000 \
    SHOPWINDOW_FEEDBACK=/feedback/feedback.sqlite3
EXPOSE 5000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"SHOPWINDOW_PORT\"]}/health/ready', timeout=4)"]
ENTRYPOINT ["shopwindow"]
CMD ["serve"]

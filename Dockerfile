# For a Hugging Face Docker Space, and for any other place that runs containers.
# Both stages have the same base: a virtual environment holds the path of its interpreter.
FROM python:3.13.9-slim-bookworm AS build
WORKDIR /app
COPY requirements.txt ./
RUN python -m venv --without-pip .venv \
    && pip --python .venv/bin/python install --no-cache-dir --no-deps --require-hashes -r requirements.txt \
    && pip --python .venv/bin/python freeze > /tmp/pinned.txt
# The packages of your own server come last, and cannot change a pinned one.
COPY server server
RUN test ! -f server/requirements.txt \
    || pip --python .venv/bin/python install --no-cache-dir --constraint /tmp/pinned.txt -r server/requirements.txt \
    || { echo "server/requirements.txt cannot be installed beside the gate's pinned packages: server/README.md"; exit 1; }

FROM python:3.13.9-slim-bookworm
# A Space runs its container as UID 1000. The program belongs to root, so it cannot change itself.
RUN useradd --create-home --uid 1000 user
WORKDIR /app
COPY --from=build /app/.venv .venv
COPY gate.py mcp_app.py run.py tokens.tom[l] ./
COPY gatehouse gatehouse
COPY pantry pantry
COPY server server
# pip has compiled the packages. Nobody can write byte code here later.
RUN python -m compileall -q gate.py mcp_app.py run.py gatehouse pantry && { python -m compileall -q server || true; }
# GRACE_SECONDS: `docker stop` waits for 10 s, then it kills.
ENV PATH=/app/.venv/bin:$PATH \
    HOME=/home/user \
    HOST=0.0.0.0 \
    PORT=7860 \
    SQLITE_PATH=/home/user/foodwise.sqlite3 \
    STATE_DB=/home/user/gate-state.sqlite3 \
    GRACE_SECONDS=8 \
    PYTHONUNBUFFERED=1
USER 1000
EXPOSE 7860
HEALTHCHECK --start-period=30s --timeout=5s CMD ["python", "-m", "gatehouse.commands.health"]
# The exec form: Python is PID 1, and run.py handles SIGTERM itself.
CMD ["python", "run.py"]

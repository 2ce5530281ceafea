# For a Hugging Face Docker Space, and for any other place that runs containers.
# Both stages have the same base: a virtual environment holds the path of its interpreter.
FROM python:3.13.9-slim-bookworm AS build
WORKDIR /app
COPY requirements.txt ./
RUN python -m venv .venv && .venv/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements.txt

FROM python:3.13.9-slim-bookworm
# A Space runs its container as UID 1000. The program belongs to root, so it cannot change itself.
RUN useradd --create-home --uid 1000 user
WORKDIR /app
COPY --from=build /app/.venv .venv
COPY gate.py mcp_app.py run.py tokens.tom[l] ./
COPY gatehouse gatehouse
COPY pantry pantry
ENV PATH=/app/.venv/bin:$PATH \
    HOME=/home/user \
    HOST=0.0.0.0 \
    PORT=7860 \
    SQLITE_PATH=/home/user/foodwise.sqlite3 \
    STATE_DB=/home/user/gate-state.sqlite3 \
    PYTHONUNBUFFERED=1
USER 1000
EXPOSE 7860
HEALTHCHECK CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:7860/health', timeout=3)"]
# The exec form: Python is PID 1, and run.py handles SIGTERM itself.
CMD ["python", "run.py"]

# The console in one image: web (default), worker, listener and migrations differ only in their command.

FROM python:3.11-slim-bookworm AS packages
WORKDIR /app
COPY bin/uv.txt bin/uv.txt
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes -r bin/uv.txt
COPY requirements.txt .
# --compile-bytecode: the image's user may not write it later, and every start would compile anew.
RUN python -m venv /venv \
    && uv pip sync --no-cache --python /venv/bin/python --require-hashes --compile-bytecode requirements.txt

FROM python:3.11-slim-bookworm
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN useradd --system --uid 10001 --no-create-home --home-dir /app botconsole
WORKDIR /app
COPY --from=packages /venv /venv
COPY . .
RUN python -m compileall -q botconsole events incidents templates \
    && mkdir /state && chown botconsole /state
USER botconsole
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 CMD ["python", "-c", \
    "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
CMD ["python", "manage.py", "serve", "--host", "0.0.0.0"]

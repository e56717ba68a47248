# `docker build -t qformers . && docker run --rm -v "$PWD/runs:/qformers/runs" qformers` does what `make demo` does.
FROM python:3.11-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ make git yosys iverilog \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /qformers
COPY requirements.txt pyproject.toml Makefile README.md LICENSE ./
COPY qformers qformers
COPY hls hls
RUN make venv PYTHON=python3.11
COPY . .
CMD ["make", "demo"]

# pytest-provenance on a CPU, for gates that run in containers:
#   docker build -t provenance .
#   docker run --rm -v "$PWD:/gate" -v lineage:/cache provenance pytest suites/
FROM python:3.12-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY constraints.txt pyproject.toml README.md LICENSE /source/
COPY provenance /source/provenance
# torch comes first, from the index of builds without CUDA, which are a fifth as large
RUN pip install --index-url https://download.pytorch.org/whl/cpu \
        "$(grep '^torch==' /source/constraints.txt)" \
    && pip install -c /source/constraints.txt '/source[audit,attest,gguf,peft]' \
    && rm -r /source \
    && useradd --create-home --uid 1000 gate \
    && mkdir /cache /gate \
    && chown gate /cache /gate

ENV PROVENANCE_STORE=/cache/store HF_HOME=/cache/hub
VOLUME /cache
WORKDIR /gate
USER 1000
CMD ["provenance", "doctor"]

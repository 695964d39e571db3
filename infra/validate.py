"""`make validate`: the SAM templates, the Kubernetes manifests and the compose file, checked without a network.

Each check runs in the environment whose packages it needs; see requirements/README.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from infra import venvs
from infra.rie import ROOT

TEMPLATES = ("template.yaml", "template-managed.yaml")
KNATIVE = "infra/knative/service.yaml"
KSERVE = "infra/kserve/inference_service.yaml"
COMPOSE = "infra/compose.yaml"


def checks(kserve_python: str) -> list[tuple[str, list[str]]]:
    """What is checked -> the command that does it; exit code 0 says that it is in order."""
    ops = venvs.ensure("ops")
    sam, manifests = str(ops.with_name("sam")), [str(ops), "-m", "infra.manifests"]
    return [
        *((f"sam validate --lint {name}", [sam, "validate", "--lint", "-t", name]) for name in TEMPLATES),
        *((f"cfn-lint {name}", [str(ops.with_name("cfn-lint")), name]) for name in TEMPLATES),
        (f"{KNATIVE}: pod against Kubernetes' schema", [*manifests, "knative", KNATIVE]),
        (f"{KSERVE}: pod against Kubernetes' schema", [*manifests, "kserve-pod", KSERVE]),
        (f"{KSERVE}: KServe's own models", [kserve_python, "-m", "infra.manifests", "kserve", KSERVE]),
        (f"{COMPOSE}: services", [*manifests, "compose", COMPOSE]),
    ]


def main() -> int:
    """0 when all is in order; 1 and what the tools say when not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kserve-python", required=True, help="an interpreter that can import kserve")
    arguments = parser.parse_args()
    # A relative path would be looked up by subprocess after the change of folder.
    kserve_python = str(Path(arguments.kserve_python).absolute())
    environ = {**os.environ, "SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": "us-east-1"}
    failed = 0
    for name, command in checks(kserve_python):
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
        print(f"{'ok  ' if done.returncode == 0 else 'FAIL'}  {name}")
        if done.returncode:
            failed = 1
            print(done.stdout + done.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main())

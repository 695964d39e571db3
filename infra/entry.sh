#!/bin/sh
# What the container runs: on Lambda the runtime client, elsewhere the emulator around it, or `serve`: the HTTP server.
set -eu

case "${1:-}" in
serve)
  exec python3 -m function.server --host 0.0.0.0 --port "${PORT:-8080}"
  ;;
health)
  # The emulator has no health route and answers 404, which is life enough.
  exec python3 -c 'import http.client, os, sys
connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("PORT") or 8080), timeout=2)
connection.request("GET", "/v2/health/ready")
sys.exit(connection.getresponse().status >= 500)'
  ;;
esac

# Without `site` and `runpy` (-S, -c) the interpreter is ready 5 ms sooner.
run='from function.bootstrap import main; main()'
if [ -n "${AWS_LAMBDA_RUNTIME_API:-}" ]; then
  exec python3 -S -c "$run" "$@"
fi
exec aws-lambda-rie --runtime-interface-emulator-address "0.0.0.0:${PORT:-8080}" python3 -S -c "$run" "$@"

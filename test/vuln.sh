#!/usr/bin/env bash
# Looks for known vulnerabilities that the given packages can reach:
#
#   test/vuln.sh VERSION PACKAGE…
#
# VERSION is that of golang.org/x/vuln. Ends with 0 where there are none, with 1
# where there are some or the check went wrong, and with 0 and a line that says
# NOT CHECKED where the tool or the database of https://vuln.go.dev cannot be
# reached: a machine without that network must be able to build, and nobody may
# take it for a pass. The verdict is the last line.
set -uo pipefail

version="$1"
shift

dir="$(mktemp -d)"
trap 'rm -rf "$dir"' EXIT

# limited runs a command for five minutes at most; then the status is 124.
limited() {
  if command -v timeout >/dev/null; then timeout 300 "$@"; else "$@"; fi
}

not_checked() {
  echo "VULNERABILITIES: NOT CHECKED: $1. This is not a pass: run make vuln where proxy.golang.org and vuln.go.dev can be reached."
  exit 0
}

# last_line is the last thing said, but for the proxy's indented explanations.
last_line() { grep -v '^[[:space:]]' "$dir/said" | tail -n 1 | cut -c 1-300; }

# The tool is installed, because go run turns every exit status into 1.
GOBIN="$dir" limited go install "golang.org/x/vuln/cmd/govulncheck@$version" >"$dir/said" 2>&1
status=$?
if [ "$status" -ne 0 ] || [ ! -x "$dir/govulncheck" ]; then
  cat "$dir/said"
  not_checked "govulncheck $version cannot be had (status $status): $(last_line)"
fi

limited "$dir/govulncheck" "$@" >"$dir/said" 2>&1
status=$?
cat "$dir/said"
case "$status" in
0) echo "VULNERABILITIES: none known" ;;
3) # errVulnerabilitiesFound of govulncheck; no other error has this status
  echo "VULNERABILITIES: FOUND, see above"
  exit 1
  ;;
124) not_checked "govulncheck was not done within 5 minutes" ;;
*)
  if grep -q '^govulncheck: fetching vulnerabilities: ' "$dir/said"; then
    not_checked "$(last_line)"
  fi
  echo "VULNERABILITIES: the check went wrong (status $status), see above"
  exit 1
  ;;
esac

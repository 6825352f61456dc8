#!/usr/bin/env bash
# step.sh LOG WHAT COMMAND...: runs a command of the set-up, shows at once what it does and then for how long, and keeps
# what it writes in LOG: on the screen stand our own lines, not those of every package that pip meets. A command that
# fails is explained: what was wrong, and what to do.
set -uo pipefail
log=$1 what=$2
shift 2
mkdir -p "$(dirname "$log")"

elapsed() { printf '%d:%02d' $((SECONDS / 60)) $((SECONDS % 60)); }

# The last line of the log, short enough for the rest of a line of the screen.
doing() {
  local room=60
  [[ ! -t 1 ]] || room=$((${COLUMNS:-$(tput cols 2> /dev/null || echo 80)} - ${#what} - 12))
  ((room < 10)) || tail -c 2000 "$log" 2> /dev/null | tr '\r' '\n' | tr -cd '\n -~' | sed '/^ *$/d; /^WARNING: /d; s/^ *//' |
    tail -n 1 | cut -c "1-$room"
}

show() {
  if [[ -t 1 ]]; then
    printf '\r\033[K%s  %s %s' "$what" "$(elapsed)" "$(doing)"
  elif ((SECONDS % 15 == 0 && SECONDS > 0)); then
    printf '%s  %s %s\n' "$what" "$(elapsed)" "$(doing)"
  fi
}

explain() {
  local status=$1
  if grep -aqiE 'No space left on device|Errno 28|Disk quota exceeded' "$log"; then
    echo "The disk is full ($(df -Pm . | awk 'NR == 2 {print $4}') MiB are free here, $(df -Pm "${TMPDIR:-/tmp}" |
      awk 'NR == 2 {print $4}') MiB in ${TMPDIR:-/tmp}). Free some room, or let TMPDIR name a larger folder."
  elif grep -aqE 'NewConnectionError|NameResolutionError|ConnectTimeoutError|ReadTimeoutError|ProxyError|SSLError|MaxRetryError|Network is unreachable|Could not fetch URL' "$log"; then
    echo "pip does not reach its package index. Check the network, the proxy (https_proxy) and pip's index" \
      "(PIP_INDEX_URL, python3 -m pip config list)."
  elif grep -aq 'No matching distribution found' "$log"; then
    echo "pip's index has no such package for this Python: $(grep -aom 1 'No matching distribution found for .*' "$log" |
      cut -d ' ' -f 6-). The pins are for 64-bit Linux and Python ${PYTHONS:-3.11 to 3.14}."
  elif grep -aqE 'cc1plus.*(Killed|signal)|Killed signal terminated program' "$log" || ((status == 137)); then
    echo "It was killed; most often the memory was short. Each compiler takes up to 1 GiB: close something."
  else
    echo "Its last lines are above; all of them are in $log."
  fi
  echo "What is done is kept: the same make goes on from here."
}

# One set-up at a time in a folder: a second one would write over the first, and so would what an earlier make that was
# killed has left running.
mkdir -p build
exec 9> build/.lock
if ! flock -n 9; then
  echo "$what: waiting for another make that is at work in this folder"
  flock 9
fi

[[ -t 1 ]] || printf '%s\n' "$what"
"$@" > "$log" 2>&1 < /dev/null &
child=$!
# A command of its own process group would not hear Ctrl-C; one in the background of a script does not, either.
trap 'kill -TERM "$child" 2> /dev/null; wait "$child"; echo; echo "$what: stopped; the same make goes on from here" >&2; exit 130' INT TERM
while kill -0 "$child" 2> /dev/null; do
  show
  sleep 1
done
status=0
wait "$child" || status=$?
[[ -t 1 ]] && printf '\r\033[K'
if ((status == 0)); then
  printf '%s  %s, done\n' "$what" "$(elapsed)"
  exit 0
fi
{
  # What a compiler says stands far above what pip says of it.
  grep -aE '[0-9]: (fatal )?error: |CMake Error' -A 2 "$log" | head -n 12
  grep -av '^WARNING: ' "$log" | tail -n 12
  printf '\n%s: this failed after %s.\n' "$what" "$(elapsed)"
  explain "$status"
} >&2
exit 1

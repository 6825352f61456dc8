#!/usr/bin/env bash
# moved.sh: a .venv and the folders of CMake hold the path that they were made at. Where this folder was moved or copied,
# they would run, or write to, the old one; they are removed, and the next steps make them anew.
set -euo pipefail
here=$(pwd -P)
away() { [[ -n $1 && $(realpath -m "$1") != "$here" ]]; }
if [[ -e .venv/.place ]] && away "$(< .venv/.place)"; then
  echo "make: this folder was $(< .venv/.place); .venv is made anew" >&2
  rm -rf .venv
fi
for cache in build/*/CMakeCache.txt; do
  # rtsan-in-root sees this folder under another path.
  if [[ -e $cache && $cache != *-in-root/* ]] && away "$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p' "$cache")"; then
    echo "make: ${cache%/*} was made at another place; it is made anew" >&2
    rm -rf "${cache%/*}"
  fi
done

#!/usr/bin/env bash
# packages.sh PIP-OPTIONS...: pip install into .venv, which is made first. Goes on where an earlier one was killed.
set -euo pipefail
python=.venv/bin/python
readonly place=.venv/.place unfinished=.venv/.unfinished

# What `python -m venv` had not finished is made anew.
if [[ ! -e $place && ! -e .venv/.requirements ]]; then
  "${PYTHON:-python3}" -m venv --clear .venv
fi
pwd -P > "$place"

# A package that was being unpacked when pip died can look installed. INSTALLER is the last thing that pip writes of one;
# what it was about to replace begins with ~.
if [[ -e $unfinished ]]; then
  for packages in .venv/lib/python3*/site-packages; do
    for found in "$packages"/*.dist-info; do
      [[ -e $found/INSTALLER ]] || rm -rf "$found"
    done
    rm -rf "$packages"/~*
  done
fi
touch "$unfinished"
# Python files are compiled as they are imported, but for a developer: below.
"$python" -m pip install --disable-pip-version-check --no-compile --no-input "$@"
rm "$unfinished"

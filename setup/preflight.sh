#!/usr/bin/env bash
# preflight.sh MIB: what make needs of this machine, looked at before anything is installed: a Python that the pins have
# wheels for, a C++20 compiler, MIB of room on the disk (less what .venv and build hold already). PYTHON names the Python.
set -uo pipefail
need_mib=$1
python=${PYTHON:-python3}
readonly oldest=${PYTHONS%% *} newest=${PYTHONS##* }

fail() {
  echo "make: $*" >&2
  exit 1
}

# ---- Python ----

[[ -x .venv/bin/python ]] && python=.venv/bin/python
command -v "$python" > /dev/null ||
  fail "there is no $python on the PATH. Install Python $oldest to $newest, or name one: make PYTHON=/path/to/python3 ..."
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') ||
  fail "$python does not run. Name another Python: make PYTHON=/path/to/python3 ... (after rm -r .venv, where it is that one)"
minor=${version#3.}
if [[ $version != 3.* ]] || ((minor < ${oldest#3.})); then
  how="too old"
elif ((minor > ${newest#3.})); then
  how="too new"
fi
[[ -z ${how:-} ]] || fail "$python is Python $version, which is $how: the pinned packages are there for Python $oldest to" \
  "$newest. Name one: make PYTHON=python$newest ...$([[ $python == .venv/* ]] && echo ' (after rm -r .venv)')"
"$python" -c 'import venv, ensurepip' 2> /dev/null ||
  fail "$python has no venv (or no ensurepip). Install it (Debian: python3-venv), or name another Python:" \
    "make PYTHON=/path/to/python3 ..."
headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
[[ -e $headers/Python.h ]] ||
  fail "$python comes without its C headers ($headers/Python.h). Install them (Debian: python3-dev), or name another" \
    "Python: make PYTHON=/path/to/python3 ..."

# ---- compiler ----

compiler=${CXX:-}
for name in c++ g++ clang++; do
  [[ -n $compiler ]] || compiler=$(command -v "$name" || true)
done
[[ -n $compiler ]] && command -v "${compiler%% *}" > /dev/null ||
  fail "there is no C++ compiler (looked for ${CXX:-c++, g++, clang++}). Install one that knows C++20 (Debian: g++; GCC 11," \
    "Clang 14 or newer), or name it: make CXX=/path/to/g++ ..."
# Unquoted: CXX may carry options.
# shellcheck disable=SC2086
said=$(echo '#include <bit>
#include <concepts>
#include <span>
int main() { return std::popcount(0u); }' | $compiler -std=c++20 -x c++ -o /dev/null - 2>&1) ||
  fail "$compiler does not compile C++20: $(head -n 1 <<< "$said"). Install a newer one (GCC 11, Clang 14 or newer)" \
    "with its standard library, or name it: make CXX=/path/to/g++ ..."

# ---- room ----

mib() { df -Pm "$1" | awk 'NR == 2 {print $4}'; }
held=$(du -sm .venv build 2> /dev/null | awk '{sum += $1} END {print sum + 0}')
free=$(mib .)
((free + held >= need_mib)) ||
  fail "this takes about $need_mib MiB of disk, of which $held are there already, and $free MiB are free in $PWD. Free" \
    "some room, or move the folder to another disk"
temporary=${TMPDIR:-/tmp}
[[ -d $temporary && -w $temporary ]] || fail "TMPDIR is '$temporary', where nothing can be written; name another folder"
# pip downloads there before it unpacks.
((held > need_mib / 2 || $(mib "$temporary") >= need_mib / 3)) ||
  fail "pip downloads up to $((need_mib / 3)) MiB to $temporary, where $(mib "$temporary") MiB are free. Free some room," \
    "or let TMPDIR name another folder: TMPDIR=/path make ..."
echo "Python $version, $($compiler -dumpfullversion -dumpversion | sed "s|^|${compiler##*/} |"), $free MiB free"

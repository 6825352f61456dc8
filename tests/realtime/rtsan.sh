#!/usr/bin/env bash
# The control loop under RealtimeSanitizer and -Wfunction-effects, and proof that both see a planted violation.
#
#   rtsan.sh           with the first clang >= 20 on the PATH that has the sanitizer, else in a Debian root of our own
#   rtsan.sh --root    in that root
#
# The root (Debian forky with clang 21, about 1 GB) is made once, in build/rtsan-root, from the mirror that this machine's
# own apt uses. That needs debootstrap and the rights of root. It is used in a mount namespace of its own, so nothing stays
# mounted, however the script ends.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
readonly sanitizer_status=43

fail() {
  echo "rtsan: $*" >&2
  exit 1
}

# ---- inside: a clang with the sanitizer, wherever it is ----

build() {
  local build=$1 compiler=$2
  CC=${compiler/clang++/clang} CXX=$compiler cmake --preset rtsan -B "$build" > "$build.log" || {
    cat "$build.log"
    exit 1
  }
  cmake --build "$build" --target rtsan_loop
  # The planted violation is a warning in its build, and must be one: compile it whatever is there.
  find "$build/tests/realtime/rtsan" -path '*rtsan_planted*' -name '*.o' -delete
  cmake --build "$build" --target rtsan_planted > "$build.planted.log" 2>&1 || {
    cat "$build.planted.log"
    exit 1
  }
  echo "rtsan: the compiler saw the planted violation:"
  grep -m 1 "loop.cpp.*-Wfunction-effects" "$build.planted.log" ||
    fail "it did not: -Wfunction-effects proves nothing"
}

check() {
  local build=$1 files=(tests/golden/artifacts/*.ganglion tests/golden/fuzz_corpus/good_*.ganglion)
  local programs=$build/tests/realtime/rtsan status=0
  export RTSAN_OPTIONS=allow_addr2line=1  # names in reports where there is no llvm-symbolizer
  "$programs/rtsan_planted" "${files[0]}" > "$build.planted.log" 2>&1 || status=$?
  if [[ $status != "$sanitizer_status" ]] || ! grep -q "RealtimeSanitizer" "$build.planted.log"; then
    cat "$build.planted.log"
    fail "the planted violation ended with status $status, not $sanitizer_status: the sanitizer proves nothing"
  fi
  echo "rtsan: the sanitizer caught the planted violation, status $status:"
  grep -m 1 "real-time unsafe function" "$build.planted.log"
  "$programs/rtsan_loop" "${files[@]}" || fail "the control loop violated its promise, status $?"
  echo "rtsan: ${#files[@]} policies kept their promise"
}

# ---- the root ----

make_root() {
  local root=$1 mirror
  [[ $EUID == 0 ]] || fail "no clang >= 20 with the sanitizer is on the PATH, and making a Debian root takes root's rights"
  command -v debootstrap > /dev/null || fail "no clang >= 20 is on the PATH; install one, or debootstrap"
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
  [[ -n $mirror ]] || fail "this machine's apt knows no mirror"
  rm -rf "$root.new"
  # The script is named because an older debootstrap does not know the release.
  unshare --mount debootstrap --variant=minbase \
    --include=clang-21,libclang-rt-21-dev,libstdc++-15-dev,cmake,ninja-build,nlohmann-json3-dev \
    forky "$root.new" "$mirror" /usr/share/debootstrap/scripts/sid > "$root.log" 2>&1 || {
    tail -n 20 "$root.log"
    fail "the Debian root could not be made"
  }
  rm -rf "$root.new"/var/cache/apt/archives/*.deb
  mv "$root.new" "$root"
}

in_root() {
  local root=$PWD/build/rtsan-root
  [[ -x $root/usr/bin/clang++-21 ]] || make_root "$root"
  mkdir -p "$root/src"
  # The sanitizer reads /proc.
  ROOT=$root SOURCE=$PWD unshare --mount bash -euc '
    mount -t proc proc "$ROOT/proc"
    mount --bind "$SOURCE" "$ROOT/src"
    exec chroot "$ROOT" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root /src/tests/realtime/rtsan.sh --inside'
}

mkdir -p build
case ${1:-} in
  --inside)
    build build/rtsan-in-root clang++-21
    check build/rtsan-in-root
    ;;
  --root) in_root ;;
  *)
    if compiler=$(tests/newest_clang.sh realtime 20); then
      build build/rtsan "$compiler"
      check build/rtsan
    else
      in_root
    fi
    ;;
esac

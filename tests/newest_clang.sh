#!/usr/bin/env bash
# newest_clang.sh SANITIZER OLDEST: prints the newest clang++ on the PATH, OLDEST or newer, that can link a program with
# -fsanitize=SANITIZER. Prints nothing and fails where there is none.
set -euo pipefail
sanitizer=$1 oldest=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# libFuzzer brings its own main.
echo 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }' > "$work/try.cpp"
[[ $sanitizer == *fuzzer* ]] || echo 'int main() {}' >> "$work/try.cpp"

while read -r version compiler; do
  if ((version >= oldest)) && "$compiler" -std=c++20 "-fsanitize=$sanitizer" "$work/try.cpp" -o "$work/try" 2> "$work/log"
  then
    echo "$compiler"
    exit 0
  fi
done < <(compgen -c clang++ | sort -u | grep -E '^clang\+\+(-[0-9]+)?$' |
  while read -r name; do echo "$("$name" -dumpversion | cut -d. -f1) $(command -v "$name")"; done | sort -rn)
exit 1

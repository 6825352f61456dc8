#include "machine.hpp"

#if defined(__linux__)
#include <malloc.h>
#include <sched.h>
#endif
#include <unistd.h>

#include <fstream>
#include <stdexcept>

namespace ganglion::tools {

void pin_to(int cpu) {
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  if (cpu < CPU_SETSIZE) CPU_SET(cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set) == 0) return;
#endif
  throw std::runtime_error("the program cannot be kept on CPU " + std::to_string(cpu));
}

const char* ask_for_fifo() noexcept {
#if defined(__linux__)
  sched_param parameters{};
  parameters.sched_priority = 50;
  if (sched_setscheduler(0, SCHED_FIFO, &parameters) == 0) return "SCHED_FIFO";
#endif
  return "SCHED_OTHER";
}

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

std::size_t resident_bytes() {
#if defined(__GLIBC__)
  malloc_trim(0);  // what was given back counts for nothing
#endif
  std::ifstream file("/proc/self/statm");
  std::size_t all = 0;
  std::size_t resident = 0;
  file >> all >> resident;
  return file ? resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE)) : 0;
}

}  // namespace ganglion::tools

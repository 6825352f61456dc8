#include "machine.hpp"

#if defined(__linux__)
#include <malloc.h>
#include <sched.h>
#endif
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
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

bool ask_for_fifo([[maybe_unused]] int priority) noexcept {
#if defined(__linux__)
  sched_param parameters{};
  parameters.sched_priority = priority;
  return sched_setscheduler(0, SCHED_FIFO, &parameters) == 0;
#else
  errno = ENOSYS;
  return false;
#endif
}

bool lock_all_memory() noexcept { return mlockall(MCL_CURRENT | MCL_FUTURE) == 0; }

std::int64_t now_ns() noexcept {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

void wait_until(std::int64_t time_ns) noexcept {
#if defined(__linux__)
  const timespec time{time_ns / 1'000'000'000, time_ns % 1'000'000'000};
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nullptr);
#else
  const std::int64_t left = time_ns - now_ns();
  const timespec time{left / 1'000'000'000, left % 1'000'000'000};
  if (left > 0) nanosleep(&time, nullptr);
#endif
}

ThreadUsage usage_of_thread() noexcept {
  rusage usage{};
#if defined(__linux__)
  getrusage(RUSAGE_THREAD, &usage);
#else
  getrusage(RUSAGE_SELF, &usage);
#endif
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-union-access): so glibc declares them
  return {usage.ru_minflt + usage.ru_majflt, usage.ru_majflt, usage.ru_nvcsw, usage.ru_nivcsw};
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

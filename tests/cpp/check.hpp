#pragma once

// The little that our tests need of a test framework: named cases, checks that go on, and an exit status.

#include <exception>
#include <functional>
#include <iostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace check {

inline int failures = 0;

struct Case {
  const char* name;
  std::function<void()> run;
};

inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

struct Registration {
  Registration(const char* name, std::function<void()> run) { cases().push_back({name, std::move(run)}); }
};

inline void report(bool good, const char* expression, const char* file, int line, const std::string& detail = {}) {
  if (good) return;
  ++failures;
  std::cerr << file << ':' << line << ": failed: " << expression << (detail.empty() ? "" : "  (" + detail + ")")
            << '\n';
}

/// The exception of type E that `action` throws, or none.
template <typename E, typename Action>
[[nodiscard]] std::vector<E> caught(Action&& action) {
  try {
    action();
  } catch (const E& error) {
    return {error};
  }
  return {};
}

inline bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

inline int run_all() {
  for (const Case& test : cases()) {
    const int before = failures;
    try {
      test.run();
    } catch (const std::exception& error) {
      report(false, test.name, "unexpected exception", 0, error.what());
    }
    std::cout << (failures == before ? "ok      " : "FAILED  ") << test.name << '\n';
  }
  std::cout << cases().size() << " cases, " << failures << " failed checks\n";
  return failures == 0 && !cases().empty() ? 0 : 1;
}

}  // namespace check

#define CHECK(expression) ::check::report(static_cast<bool>(expression), #expression, __FILE__, __LINE__)
#define CHECK_EQUAL(found, expected) ::check::report((found) == (expected), #found " == " #expected, __FILE__, __LINE__)
/// Checks that `action` throws a ganglion::Error with this code whose sentence contains `part`.
#define CHECK_ERROR(action, error_code, part)                                                                 \
  do {                                                                                                        \
    const auto errors_ = ::check::caught<ganglion::Error>([&] { static_cast<void>(action); });                \
    ::check::report(!errors_.empty(), #action " throws", __FILE__, __LINE__);                                 \
    if (!errors_.empty()) {                                                                                   \
      ::check::report(errors_[0].code() == (error_code), #action " throws " #error_code, __FILE__, __LINE__,  \
                      errors_[0].what());                                                                     \
      ::check::report(::check::contains(errors_[0].what(), part), #action " says " #part, __FILE__, __LINE__, \
                      errors_[0].what());                                                                     \
    }                                                                                                         \
  } while (false)
#define CHECK_JOIN_(a, b) a##b
#define CHECK_JOIN(a, b) CHECK_JOIN_(a, b)
#define TEST_CASE(name)                                                                                           \
  static void CHECK_JOIN(test_case_, __LINE__)();                                                                 \
  static const ::check::Registration CHECK_JOIN(registration_, __LINE__)(name, CHECK_JOIN(test_case_, __LINE__)); \
  static void CHECK_JOIN(test_case_, __LINE__)()

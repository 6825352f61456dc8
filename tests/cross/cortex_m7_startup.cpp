// What runs before main() on a bare Cortex-M7: vector table, floating-point unit, memory, then newlib with semihosting.
#include <cstdint>
#include <cstdlib>

extern "C" {
// From mps2_an500.ld.
extern std::uint32_t stack_top;
extern std::uint32_t bss_begin;
extern std::uint32_t bss_end;

// From newlib (librdimon).
void initialise_monitor_handles();
void __libc_init_array();
void _init() {}
void _fini() {}

// C++ does not let a program call main() by its name.
int run_main() __asm("main");

[[noreturn]] void reset_handler() {
  // Coprocessor access control register: full access to the floating-point unit.
  volatile std::uint32_t* const access = reinterpret_cast<std::uint32_t*>(0xE000ED88U);
  *access = *access | (0xFU << 20U);
  __asm volatile("dsb\n isb" ::: "memory");
  for (std::uint32_t* word = &bss_begin; word != &bss_end; ++word) *word = 0;
  initialise_monitor_handles();
  __libc_init_array();
  std::exit(run_main());
}

[[noreturn]] void fault_handler() { std::_Exit(3); }

struct Vectors {
  const void* stack;
  void (*handlers[15])();
};

__attribute__((section(".vectors"), used)) const Vectors vectors = {
    &stack_top,
    {reset_handler, fault_handler, fault_handler, fault_handler, fault_handler, fault_handler},
};
}

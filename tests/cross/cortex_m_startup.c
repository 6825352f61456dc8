// What runs before main() on a bare Cortex-M with a floating-point unit, in C and in C++: vector table, unit, memory,
// then newlib with semihosting.
#include <stdint.h>
#include <stdlib.h>

#ifdef __cplusplus
extern "C" {
#endif

// From the linker script.
extern uint32_t stack_top;
extern uint32_t bss_begin;
extern uint32_t bss_end;

// From newlib (librdimon), which wants the last two.
void initialise_monitor_handles(void);
void __libc_init_array(void);
void _init(void);
void _fini(void);
void _init(void) {}
void _fini(void) {}

// C++ does not let a program call main() by its name.
int run_main(void) __asm("main");

__attribute__((noreturn)) void reset_handler(void);
__attribute__((noreturn)) void reset_handler(void) {
  // Coprocessor access control register: full access to the floating-point unit.
  volatile uint32_t* const access = (volatile uint32_t*)0xE000ED88U;
  *access = *access | (0xFU << 20U);
  __asm volatile("dsb\n isb" ::: "memory");
  for (uint32_t* word = &bss_begin; word != &bss_end; ++word) *word = 0;
  initialise_monitor_handles();
  __libc_init_array();
  exit(run_main());
}

__attribute__((noreturn)) static void fault_handler(void) { _Exit(3); }

struct Vectors {
  const void* stack;
  void (*handlers[15])(void);
};

extern const struct Vectors vectors;
__attribute__((section(".vectors"), used)) const struct Vectors vectors = {
    &stack_top,
    {reset_handler, fault_handler, fault_handler, fault_handler, fault_handler, fault_handler},
};

#ifdef __cplusplus
}
#endif

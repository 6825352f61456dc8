# The real-time room: sources of their own flags. Kernels are built once for each instruction set and chosen at load.

function(ganglion_add_native_room target)
  set(room "${PROJECT_SOURCE_DIR}/cpp/src/native")
  set(realtime "${PROJECT_SOURCE_DIR}/cpp/src/realtime")
  set(kernels "${room}/kernels/portable.cpp")
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$" AND CMAKE_SIZEOF_VOID_P EQUAL 8)
    list(APPEND kernels "${room}/kernels/avx2.cpp" "${room}/kernels/avx512.cpp"
      "${room}/kernels/avx512_vnni.cpp")
  endif()
  set(sources
    ${kernels}
    "${realtime}/cpu.cpp"
    "${realtime}/loop.cpp"
    "${realtime}/memory.cpp"
    "${realtime}/sampling.cpp"
    "${room}/model.cpp"
    "${room}/pack.cpp"
    "${room}/plan.cpp"
    "${room}/kernels/scalar.cpp")
  target_sources(${target} PRIVATE ${sources})

  # errno of a square root would be a write per step; nothing here reads it.
  set(flags -fno-exceptions -fno-rtti -fno-math-errno)
  set(kernel_flags ${flags})
  if(GANGLION_SANITIZE)
    # Sanitized and optimised, one file of kernels takes the compiler minutes, and half of what is left is the check
    # for use after scope, where kernels keep registers and nothing else.
    list(APPEND kernel_flags -O0 -g1)
    if(GANGLION_SANITIZE MATCHES "address")
      list(APPEND kernel_flags -fno-sanitize-address-use-after-scope)
    endif()
  elseif(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
    list(APPEND flags -O3)
    list(APPEND kernel_flags -O3)
  endif()
  set(avx2 -mavx2 -mfma -mf16c)
  set(avx512 ${avx2} -mavx512f -mavx512bw -mavx512vl -mavx512dq -mprefer-vector-width=512)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC's own AVX-512 header reads uninitialised registers on purpose (GCC bug 105593).
    list(APPEND avx512 -Wno-maybe-uninitialized -Wno-uninitialized)
  endif()
  set_source_files_properties(${sources} PROPERTIES COMPILE_OPTIONS "${flags}")
  # Its numbers are the same on every machine: no product and sum in one rounding.
  set_source_files_properties("${realtime}/sampling.cpp" PROPERTIES COMPILE_OPTIONS "${flags};-ffp-contract=off")
  set_source_files_properties("${room}/kernels/portable.cpp" PROPERTIES COMPILE_OPTIONS "${kernel_flags}")
  set_source_files_properties("${room}/kernels/avx2.cpp" PROPERTIES COMPILE_OPTIONS "${kernel_flags};${avx2}")
  set_source_files_properties("${room}/kernels/avx512.cpp" PROPERTIES COMPILE_OPTIONS "${kernel_flags};${avx512}")
  set_source_files_properties("${room}/kernels/avx512_vnni.cpp" PROPERTIES COMPILE_OPTIONS
    "${kernel_flags};${avx512};-mavx512vnni")
endfunction()

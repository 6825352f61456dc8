# What every target of ours gets, where the third-party headers are, and nothing that a consumer would inherit.

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES AND PROJECT_IS_TOP_LEVEL)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

if(GANGLION_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  include(CheckLinkerFlag)
  check_linker_flag(CXX -fuse-ld=gold GANGLION_LINKS_WITH_GOLD)  # half the time for programs of that many checks
endif()

# Warnings, and the sanitizers asked for; all PRIVATE.
function(ganglion_own_target target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor)
  if(CMAKE_UNITY_BUILD AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Every source file is an included one there, and GCC takes its own types for those of a header.
    target_compile_options(${target} PRIVATE -Wno-subobject-linkage)
  endif()
  # A linker that is asked to (ours are) leaves out what a program does not call.
  target_compile_options(${target} PRIVATE -ffunction-sections -fdata-sections)
  target_link_options(${target} PRIVATE -Wl,--gc-sections)
  if(GANGLION_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${GANGLION_SANITIZE} -fno-omit-frame-pointer)
    if(NOT GANGLION_SANITIZE MATCHES "fuzzer")
      # Tests wait for the compiler; reports name the same lines.
      target_compile_options(${target} PRIVATE -O0 -g1)
    endif()
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      # GCC takes what the sanitizers put between a variable and its use for a path without a value: false in every case
      # that it named here. The other builds keep the warning.
      target_compile_options(${target} PRIVATE -Wno-maybe-uninitialized)
    endif()
    target_link_options(${target} PRIVATE -fsanitize=${GANGLION_SANITIZE}
      $<$<BOOL:${GANGLION_LINKS_WITH_GOLD}>:-fuse-ld=gold>)
    if(GANGLION_SANITIZE MATCHES "undefined")
      # The real-time room has no type information; the check takes its shared_ptr control blocks for foreign objects.
      target_compile_options(${target} PRIVATE -fno-sanitize=vptr)
    endif()
  endif()
endfunction()

# The folder that a Python package (one that carries C++ headers) is installed in, or an empty string.
function(ganglion_python_package package variable)
  find_package(Python3 COMPONENTS Interpreter QUIET)
  if(NOT Python3_Interpreter_FOUND)
    set(${variable} "" PARENT_SCOPE)
    return()
  endif()
  execute_process(
    COMMAND "${Python3_EXECUTABLE}" -c
      "import importlib.util as u; s = u.find_spec('${package}'); print(s.submodule_search_locations[0] if s else '')"
    OUTPUT_VARIABLE folder OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  set(${variable} "${folder}" PARENT_SCOPE)
endfunction()

# nlohmann-json: a header-only library, used inside cpp/src/io only.
if(NOT GANGLION_NLOHMANN_JSON_INCLUDE_DIR)
  ganglion_python_package(nlohmann_json nlohmann_json_package)
  find_path(GANGLION_NLOHMANN_JSON_INCLUDE_DIR nlohmann/json.hpp HINTS "${nlohmann_json_package}/include")
endif()
if(NOT GANGLION_NLOHMANN_JSON_INCLUDE_DIR)
  message(FATAL_ERROR "ganglion: nlohmann/json.hpp was not found. Install it (Debian: nlohmann-json3-dev; "
    "pip install nlohmann-json) or set GANGLION_NLOHMANN_JSON_INCLUDE_DIR.")
endif()

# LibTorch: optional. Looked for on CMAKE_PREFIX_PATH and inside the Python interpreter's torch package. Its package
# config sets global flags and demands tools that a header and three libraries do not need, so we look for those.
# The Python package builds it on the user's machine, against the torch that is there.
if(GANGLION_BUILD_PYTHON)
  option(GANGLION_LIBTORCH "Build ganglion::libtorch where Torch is found" OFF)
else()
  option(GANGLION_LIBTORCH "Build ganglion::libtorch where Torch is found" ON)
endif()
set(TORCH_FOUND OFF)
if(GANGLION_LIBTORCH)
  if(NOT GANGLION_TORCH_ROOT)
    ganglion_python_package(torch torch_package)
  endif()
  set(torch_hints "${GANGLION_TORCH_ROOT}" "${torch_package}")
  find_path(GANGLION_TORCH_INCLUDE_DIR torch/script.h HINTS ${torch_hints} PATH_SUFFIXES include)
  find_library(GANGLION_TORCH_LIBRARY torch HINTS ${torch_hints} PATH_SUFFIXES lib)
  find_library(GANGLION_TORCH_CPU_LIBRARY torch_cpu HINTS ${torch_hints} PATH_SUFFIXES lib)
  find_library(GANGLION_C10_LIBRARY c10 HINTS ${torch_hints} PATH_SUFFIXES lib)
  if(GANGLION_TORCH_INCLUDE_DIR AND GANGLION_TORCH_LIBRARY AND GANGLION_TORCH_CPU_LIBRARY AND GANGLION_C10_LIBRARY)
    set(TORCH_FOUND ON)
    set(TORCH_INCLUDE_DIRS "${GANGLION_TORCH_INCLUDE_DIR}"
      "${GANGLION_TORCH_INCLUDE_DIR}/torch/csrc/api/include")
    set(GANGLION_TORCH_LIBRARIES "${GANGLION_TORCH_LIBRARY}" "${GANGLION_TORCH_CPU_LIBRARY}" "${GANGLION_C10_LIBRARY}")
    # Torch builds before 2.7 may use the old ABI of std::string and say so in their package config.
    file(GLOB torch_config "${GANGLION_TORCH_INCLUDE_DIR}/../share/cmake/Torch/TorchConfig.cmake")
    if(torch_config)
      file(STRINGS "${torch_config}" torch_abi REGEX "_GLIBCXX_USE_CXX11_ABI=[01]")
      string(REGEX MATCH "-D_GLIBCXX_USE_CXX11_ABI=[01]" GANGLION_TORCH_FLAGS "${torch_abi}")
    endif()
  endif()
endif()

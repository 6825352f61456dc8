#pragma once

// The interface of libFuzzer, https://llvm.org/docs/LibFuzzer.html

#include <cstddef>
#include <cstdint>

extern "C" {
/// Ours: uses the input; whatever is wrong ends the program.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
/// Ours: changes the input in place, up to `most` bytes, and answers its new size.
std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t most, unsigned seed);
/// The engine's own mutations.
std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);
}

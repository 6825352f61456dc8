#include "io/ganglion_file.hpp"

#include <array>
#include <utility>

#include "ganglion/error.hpp"
#include "io/bytes.hpp"
#include "io/json.hpp"
#include "io/program/program.hpp"
#include "io/safetensors.hpp"
#include "io/sha256.hpp"
#include "io/stored_contract.hpp"

namespace ganglion::detail {

namespace {

const std::string& entry(const Safetensors& file, const char* key) {
  const auto found = file.metadata.find(key);
  if (found == file.metadata.end()) {
    throw Error(ErrorCode::bad_artifact, std::string("a safetensors file without '") + key +
                                             "' in its __metadata__ is no .ganglion file; write it with "
                                             "ganglion.export");
  }
  return found->second;
}

/// Over the program, then name, length and bytes of every tensor, in ascending order of the names.
std::string digest(const Safetensors& file, const std::string& program) {
  Sha256 sha;
  sha.update(as_bytes(program));
  for (const auto& [name, tensor] : file.tensors) {
    sha.update(as_bytes(name));
    std::array<std::byte, 8> length{};
    for (std::size_t i = 0; i < length.size(); ++i) {
      length[i] = static_cast<std::byte>(std::uint64_t{tensor.bytes.size()} >> (8 * i));
    }
    sha.update(length);
    sha.update(tensor.bytes);
  }
  return sha.hex_digest();
}

}  // namespace

GanglionFile read_ganglion(std::span<const std::byte> bytes) {
  const Safetensors container = read_safetensors(bytes);
  StoredContract stored = read_contract(entry(container, "ganglion"));
  GanglionFile file{std::move(stored.contract), stored.is_sealed, std::move(stored.signer), {}};
  const std::string& program = entry(container, "ganglion_program");
  const std::string found = digest(container, program);
  if (file.contract.sha256 != found) {
    throw Error(ErrorCode::digest_mismatch,
                "program or weights do not match the digest in the contract (SHA-256 " + found + " found, " +
                    in_quotes(file.contract.sha256) +
                    " expected): the file was damaged or edited after export; export the policy again");
  }
  file.program = read_program(program, container.tensors);
  check_fit(file.program, file.contract);
  return file;
}

}  // namespace ganglion::detail

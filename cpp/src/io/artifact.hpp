#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ganglion/contract.hpp"
#include "native/program.hpp"

namespace ganglion::detail {

enum class ArtifactKind : std::uint8_t { onnx, torchscript, ganglion };

/// ".onnx", ".pt" or ".ganglion".
[[nodiscard]] const char* suffix_of(ArtifactKind kind);
/// What a file is, by its suffix; where that is of no kind, by its first bytes (16 do). Throws `Error` (bad_artifact).
[[nodiscard]] ArtifactKind kind_of(std::span<const std::byte> bytes, const std::filesystem::path& path);

/// What a file says of itself, before any engine has seen it.
struct Artifact {
  ArtifactKind kind = ArtifactKind::onnx;
  std::optional<Contract> contract{};        ///< none in a file of another exporter
  bool is_sealed = false;                    ///< a digest covers the contract, too
  std::string signer{};                      ///< public key that it is signed with, in hexadecimal; empty for none
  std::optional<native::Program> program{};  ///< of a .ganglion file; points into `bytes`
  std::vector<std::byte> bytes{};            ///< the file: what was checked is what an engine opens
};

/// Reads kind and contract of a file and checks its digest. Throws `Error` with a sentence that names the path.
[[nodiscard]] Artifact read_artifact(const std::filesystem::path& path);
/// The same of a file in memory; `name` stands for its path. Its kind is told, or its suffix says it.
[[nodiscard]] Artifact read_artifact(std::vector<std::byte> bytes, const std::filesystem::path& name,
                                     std::optional<ArtifactKind> told = std::nullopt);

/// The contract record of one container format and the digest of everything else in the file.
struct ContractRecord {
  std::optional<std::string> json;
  std::string sha256;
};

[[nodiscard]] ContractRecord read_onnx(std::span<const std::byte> bytes);
[[nodiscard]] ContractRecord read_torchscript(std::span<const std::byte> bytes);
/// Reads the program of a TorchScript file without running it. Throws `Error` (bad_artifact) where it uses anything
/// that a policy does not need; names `name`, what it is, and where it stands.
void check_torchscript_program(std::span<const std::byte> bytes, const std::string& name);

}  // namespace ganglion::detail

#include "io/artifact.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include "ganglion/error.hpp"
#include "io/bytes.hpp"

namespace ganglion::detail {

namespace {

bool is_zip(std::span<const std::byte> bytes) {
  constexpr std::array<std::byte, 4> magic{std::byte{'P'}, std::byte{'K'}, std::byte{3}, std::byte{4}};
  return bytes.size() >= magic.size() && std::equal(magic.begin(), magic.end(), bytes.begin());
}

ArtifactKind kind_of(const std::filesystem::path& path) {
  const auto suffix = path.extension();
  if (suffix == ".onnx") return ArtifactKind::onnx;
  if (suffix == ".pt") return ArtifactKind::torchscript;
  if (suffix == ".ganglion" || suffix == ".hpp") {
    throw Error(ErrorCode::bad_artifact, "this version of ganglion has no engine for '" + suffix.string() +
                                             "' files yet; export the policy to .onnx or .pt");
  }
  throw Error(ErrorCode::bad_artifact,
              "suffix '" + suffix.string() + "' is not known; an artifact ends in .onnx or .pt");
}

ContractRecord read_record(ArtifactKind kind, std::span<const std::byte> bytes) {
  if (kind == ArtifactKind::onnx) {
    if (is_zip(bytes)) {
      throw Error(ErrorCode::bad_artifact,
                  "the content is a ZIP archive, not an ONNX model; a TorchScript file must end in .pt");
    }
    return read_onnx(bytes);
  }
  if (!is_zip(bytes)) {
    throw Error(ErrorCode::bad_artifact,
                "the content is not a TorchScript archive (no ZIP header); write it with torch.jit.save or "
                "ganglion.export");
  }
  return read_torchscript(bytes);
}

}  // namespace

Artifact read_artifact(const std::filesystem::path& path) {
  const std::vector<std::byte> bytes = read_file(path);
  try {
    Artifact artifact{kind_of(path), std::nullopt};
    const ContractRecord record = read_record(artifact.kind, bytes);
    if (record.json) {
      artifact.contract = Contract::from_json(*record.json);
      if (artifact.contract->sha256 != record.sha256) {
        throw Error(ErrorCode::digest_mismatch,
                    "program or weights do not match the digest in the contract (SHA-256 " + record.sha256 +
                        " found, " + artifact.contract->sha256 +
                        " expected): the file was damaged or edited after export; export the policy again");
      }
    }
    return artifact;
  } catch (const Error& error) {
    throw Error(error.code(), "'" + path.string() + "': " + error.what());
  }
}

}  // namespace ganglion::detail

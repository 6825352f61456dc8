#include "io/artifact.hpp"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "ganglion/error.hpp"
#include "io/bytes.hpp"
#include "io/checkpoint.hpp"
#include "io/first_bytes.hpp"
#include "io/ganglion_file.hpp"
#include "io/stored_contract.hpp"
#include "io/words.hpp"

namespace ganglion::detail {

namespace {

constexpr std::array kinds{ArtifactKind::ganglion, ArtifactKind::onnx, ArtifactKind::torchscript};

/// What begins with the number of an IR version, as every model does: field 1 of a message, a small number; and then
/// another field.
bool is_model(std::span<const std::byte> bytes) {
  constexpr std::byte first{0x08};
  constexpr std::byte most_versions{0x40};
  return bytes.size() >= 3 && bytes[0] == first && bytes[1] < most_versions && bytes[2] > first;
}

}  // namespace

ArtifactKind kind_of(std::span<const std::byte> bytes, const std::filesystem::path& path) {
  const auto suffix = path.extension();
  for (const ArtifactKind kind : kinds) {
    if (suffix == suffix_of(kind)) return kind;
  }
  if (is_zip(bytes)) return ArtifactKind::torchscript;
  if (is_safetensors(bytes)) return ArtifactKind::ganglion;
  if (is_model(bytes)) return ArtifactKind::onnx;
  if (suffix == ".hpp" || suffix == ".h") {
    throw Error(
        ErrorCode::bad_artifact,
        "a '" + suffix.string() + "' artifact is compiled into a program, not loaded; export the policy to .ganglion");
  }
  throw Error(ErrorCode::bad_artifact, "suffix '" + suffix.string() +
                                           "' is not known, and its first bytes are of no kind of file that is; an "
                                           "artifact ends in .ganglion, .onnx or .pt");
}

namespace {

ContractRecord read_record(ArtifactKind kind, std::span<const std::byte> bytes) {
  if (kind == ArtifactKind::onnx) {
    if (is_zip(bytes)) {
      throw Error(ErrorCode::bad_artifact,
                  "the content is a ZIP archive, not an ONNX model; a TorchScript file must not end in .onnx");
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

// The commonest first mistake: the file that the trainer saved, in place of the one that was exported from it.
void refuse_checkpoint(std::span<const std::byte> bytes) {
  if (const char* kind = checkpoint_kind(bytes)) {
    throw Error(
        ErrorCode::bad_artifact,
        std::string("this is ") + kind +
            ": weights of a trainer, not a policy that runs; export it first, with the command 'ganglion export "
            "FILE --from TRAINER -o policy.ganglion'");
  }
}

Artifact read_native(std::vector<std::byte> bytes) {
  Artifact artifact;
  artifact.kind = ArtifactKind::ganglion;
  artifact.bytes = std::move(bytes);
  GanglionFile file = read_ganglion(artifact.bytes);
  artifact.contract = std::move(file.contract);
  artifact.is_sealed = file.is_sealed;
  artifact.signer = std::move(file.signer);
  artifact.program = std::move(file.program);
  return artifact;
}

Artifact read_foreign(ArtifactKind kind, std::vector<std::byte> bytes) {
  Artifact artifact;
  artifact.kind = kind;
  const ContractRecord record = read_record(kind, bytes);
  if (!record.json) {
    // One changed bit in the name of the entry, and the file would seem to be another exporter's.
    if (holds_seal(bytes)) {
      throw Error(ErrorCode::bad_artifact,
                  "there is a contract of ganglion in the file, but not where it belongs: the file was damaged or "
                  "edited after export; export the policy again");
    }
    artifact.bytes = std::move(bytes);
    return artifact;
  }
  StoredContract stored = read_contract(*record.json);
  artifact.contract = std::move(stored.contract);
  artifact.is_sealed = stored.is_sealed;
  artifact.signer = std::move(stored.signer);
  if (artifact.contract->sha256 != record.sha256) {
    throw Error(ErrorCode::digest_mismatch,
                "program or weights do not match the digest in the contract (SHA-256 " + record.sha256 + " found, " +
                    artifact.contract->sha256 +
                    " expected): the file was damaged or edited after export; export the policy again");
  }
  artifact.bytes = std::move(bytes);
  return artifact;
}

}  // namespace

const char* suffix_of(ArtifactKind kind) {
  switch (kind) {
    case ArtifactKind::onnx:
      return ".onnx";
    case ArtifactKind::torchscript:
      return ".pt";
    case ArtifactKind::ganglion:
      break;
  }
  return ".ganglion";
}

Artifact read_artifact(const std::filesystem::path& path) { return read_artifact(read_file(path), path); }

Artifact read_artifact(std::vector<std::byte> bytes, const std::filesystem::path& name,
                       std::optional<ArtifactKind> told) {
  return naming(name.string(), [&] {
    refuse_checkpoint(bytes);
    const ArtifactKind kind = told ? *told : kind_of(bytes, name);
    return kind == ArtifactKind::ganglion ? read_native(std::move(bytes)) : read_foreign(kind, std::move(bytes));
  });
}

}  // namespace ganglion::detail

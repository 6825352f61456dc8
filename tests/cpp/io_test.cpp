#include <sys/stat.h>

#include <array>
#include <cstring>
#include <fstream>
#include <ganglion/policy.hpp>
#include <random>

#include "check.hpp"
#include "io/artifact.hpp"
#include "io/bytes.hpp"
#include "io/ed25519.hpp"
#include "io/sha256.hpp"

namespace {

namespace fs = std::filesystem;
using ganglion::ErrorCode;
using ganglion::detail::as_bytes;
using ganglion::detail::is_signed_by;
using ganglion::detail::PublicKey;
using ganglion::detail::read_artifact;
using ganglion::detail::read_file;
using ganglion::detail::Signature;

const fs::path artifacts = GANGLION_ARTIFACTS;

std::string hash(std::string_view text, std::size_t piece) {
  std::array<std::string, 2> found;  // without and with the instructions of the CPU
  for (const bool with_instructions : {false, true}) {
    ganglion::detail::Sha256 digest(with_instructions);
    for (std::size_t at = 0; at < text.size(); at += piece) digest.update(as_bytes(text.substr(at, piece)));
    found[with_instructions ? 1 : 0] = digest.hex_digest();
  }
  CHECK(found[0] == found[1]);
  return found[0];
}

/// A file that is removed at the end of the test.
class TemporaryFile {
 public:
  TemporaryFile(const std::string& name, std::span<const std::byte> bytes)
      : path_(fs::temp_directory_path() / ("ganglion_io_test_" + std::to_string(std::random_device{}()) + name)) {
    std::ofstream file(path_, std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  ~TemporaryFile() { fs::remove(path_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

void check_refused(const std::string& suffix, std::string_view content, const char* says) {
  const TemporaryFile file(suffix, as_bytes(content));
  CHECK_ERROR(read_artifact(file.path()), ErrorCode::bad_artifact, says);
  // The sentence names the file.
  CHECK_ERROR(read_artifact(file.path()), ErrorCode::bad_artifact, file.path().string());
}

}  // namespace

TEST_CASE("SHA-256 gives the known answers of FIPS 180-4, in pieces of any size") {
  const std::string two_blocks = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
  const std::string million(1'000'000, 'a');
  for (const std::size_t piece : {1U, 7U, 64U, 65U, 1000000U}) {
    CHECK_EQUAL(hash("", piece), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK_EQUAL(hash("abc", piece), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK_EQUAL(hash(two_blocks, piece), "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    CHECK_EQUAL(hash(million, piece), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  }
}

TEST_CASE("Ed25519 gives the known answers of RFC 8032, and takes no signature that arithmetic alone would") {
  struct Known {
    std::string key;
    std::string message;
    std::string signature;
  };
  const std::array<Known, 3> all{
      Known{"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f059"
            "5bbe24655141438e7a100b"},
      Known{"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "r",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4"
            "302aeeb00d291612bb0c00"},
      Known{"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "\xaf\x82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e971"
            "6ed28dc027beceea1ec40a"}};
  const auto unhex = [](const std::string& digits, auto bytes) {
    for (std::size_t i = 0; i < bytes.size(); ++i)
      bytes[i] = static_cast<std::uint8_t>(std::stoi(digits.substr(2 * i, 2), nullptr, 16));
    return bytes;
  };
  // The order of the group, little-endian: a signature with it added to the second half fulfils the same equation.
  const auto order = unhex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010", PublicKey{});
  for (const Known& known : all) {
    const auto key = unhex(known.key, PublicKey{});
    auto signature = unhex(known.signature, Signature{});
    const auto message = as_bytes(known.message);
    CHECK(is_signed_by(key, signature, message));
    CHECK(!is_signed_by(key, signature, as_bytes(known.message + "x")));
    auto other = key;
    other[3] ^= 1;
    CHECK(!is_signed_by(other, signature, message));
    for (const std::size_t place : {0U, 31U, 32U, 63U}) {
      signature[place] ^= 4;
      CHECK(!is_signed_by(key, signature, message));
      signature[place] ^= 4;
    }
    unsigned carry = 0;
    for (std::size_t i = 0; i < order.size(); ++i) {
      carry += static_cast<unsigned>(signature[32 + i]) + order[i];
      signature[32 + i] = static_cast<std::uint8_t>(carry);
      carry >>= 8U;
    }
    CHECK(!is_signed_by(key, signature, message));
  }
}

TEST_CASE("contracts are read and digests hold for files that Python wrote") {
  for (const char* name : {"lstm.onnx", "lstm.pt", "gru_batch4.onnx", "gru_batch4.pt", "rnn_any.onnx"}) {
    const auto artifact = read_artifact(artifacts / name);
    CHECK(artifact.contract.has_value());
    CHECK(artifact.contract && artifact.contract->golden && artifact.contract->golden->steps >= 64);
  }
  CHECK(!read_artifact(artifacts / "rnn_any.onnx").contract->batch.has_value());
  CHECK(!read_artifact(artifacts / "rsl_rl_lstm.onnx").contract.has_value());
  CHECK(!read_artifact(artifacts / "rsl_rl_lstm.pt").contract.has_value());  // a ZIP64 archive as torch writes it
}

TEST_CASE("what is no artifact is refused with a sentence") {
  CHECK_ERROR(read_artifact(artifacts / "missing.onnx"), ErrorCode::file_not_found, "no such file");
  CHECK_ERROR(read_artifact(artifacts), ErrorCode::file_not_found, "is a directory");
  check_refused(".onnx", "", "is empty");
  check_refused(".pt", "", "is empty");
  check_refused(".txt", "hello", "suffix '.txt'");
  check_refused(".hpp", "hello", "compiled into a program");
  check_refused(".ganglion", "hello", "truncated or damaged");
  check_refused(".ganglion", "hello, this is text", "not a .ganglion file");
  check_refused(".pt", "hello", "no ZIP header");
  check_refused(".onnx", "PK\x03\x04rest", "ZIP archive");
  check_refused(".onnx", "hello, this is text", "ONNX model");
  check_refused(".onnx", std::string_view("\x08\x07", 2), "no graph");  // a protobuf, but not a model
  // The smallest ZIP: an end record and no member.
  check_refused(".pt", "PK\x03\x04" + std::string("PK\x05\x06") + std::string(18, '\0'), "not a TorchScript one");
}

TEST_CASE("what is no regular file, or too large, is refused before a byte is read") {
  CHECK_ERROR(read_file("/dev/zero"), ErrorCode::file_not_found, "a device, a pipe or a socket");
  const fs::path pipe = fs::temp_directory_path() / ("ganglion_io_test_" + std::to_string(std::random_device{}()));
  CHECK_EQUAL(::mkfifo(pipe.c_str(), 0600), 0);
  CHECK_ERROR(read_file(pipe), ErrorCode::file_not_found, "a device, a pipe or a socket");
  CHECK_ERROR(read_artifact(pipe), ErrorCode::file_not_found, pipe.string());
  fs::remove(pipe);
  const TemporaryFile large(".onnx", as_bytes("x"));
  fs::resize_file(large.path(), ganglion::detail::largest_file + 1);  // sparse: it takes no space
  CHECK_ERROR(read_artifact(large.path()), ErrorCode::bad_artifact, "files of up to 2147483648 are read");
  CHECK_ERROR(read_file(artifacts / "lstm.onnx", 1000), ErrorCode::bad_artifact, "files of up to 1000 are read");
}

TEST_CASE("a file cut at any length is refused or read as it was, and never crashes") {
  for (const char* name : {"lstm.onnx", "lstm.pt", "rsl_rl_lstm.pt"}) {
    const auto bytes = read_file(artifacts / name);
    const bool is_onnx = std::string_view(name).ends_with(".onnx");
    std::size_t accepted = 0;
    for (std::size_t length = 0; length < bytes.size();
         length += length < 300 || length + 300 > bytes.size() ? 1 : 97) {
      const auto part = std::span(bytes).first(length);
      try {
        // A model cut exactly between two top-level fields is still a model; its digest then gives it away.
        accepted +=
            (is_onnx ? ganglion::detail::read_onnx(part) : ganglion::detail::read_torchscript(part)).json.has_value();
      } catch (const ganglion::Error&) {
      }
    }
    CHECK_EQUAL(accepted, 0U);
  }
}

TEST_CASE("every changed byte outside of the contract changes the digest or is refused") {
  for (const char* name : {"lstm.onnx", "lstm.pt"}) {
    const auto bytes = read_file(artifacts / name);
    const bool is_onnx = std::string_view(name).ends_with(".onnx");
    const auto read = [&](std::span<const std::byte> from) {
      return is_onnx ? ganglion::detail::read_onnx(from) : ganglion::detail::read_torchscript(from);
    };
    const auto original = read(bytes);
    std::mt19937 generator(5);
    std::uniform_int_distribution<std::size_t> position(0, bytes.size() - 1);
    int changed = 0;
    for (int trial = 0; trial < 3000; ++trial) {
      auto copy = bytes;
      copy[position(generator)] ^= std::byte{0x10};
      try {
        const auto record = read(copy);
        changed += record.sha256 != original.sha256 || record.json != original.json;
      } catch (const ganglion::Error&) {
        ++changed;
      }
    }
    // ZIP headers hold fields that nobody reads (dates, checksums, padding); an ONNX file has none.
    CHECK(changed > (is_onnx ? 2999 : 1500));
  }
}

TEST_CASE("every flipped bit of a file is refused or changes nothing that is read") {
  // Every bit of the contract but for the golden trajectory, one in 7 of everything else (all of them take minutes);
  // under a sanitizer, which is slow, one in 61.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr std::array<std::size_t, 2> strides{61, 61};
#else
  constexpr std::array<std::size_t, 2> strides{7, 1};
#endif
  for (const char* name : {"faulty.ganglion", "faulty.onnx", "faulty.pt"}) {
    const auto bytes = read_file(artifacts / name);
    const std::string contract = read_artifact(bytes, name).contract->to_json();
    const std::string_view text = ganglion::detail::as_text(bytes);
    const std::size_t begin = text.find("format");
    const std::size_t end = text.find("golden", begin);
    std::size_t accepted = 0;
    std::size_t changed = 0;
    for (std::size_t bit = 0; bit < 8 * bytes.size(); bit += strides[bit / 8 + 16 >= begin && bit / 8 < end ? 1 : 0]) {
      auto copy = bytes;
      copy[bit / 8] ^= std::byte{1} << bit % 8;
      try {
        const auto artifact = read_artifact(std::move(copy), name);
        ++accepted;
        // The digest holds, so program and weights are what they were.
        if (!artifact.contract || !artifact.is_sealed || artifact.contract->to_json() != contract) ++changed;
      } catch (const ganglion::Error&) {
      }
    }
    check::report(changed == 0, "no flipped bit changes what is read", __FILE__, __LINE__,
                  name + (": " + std::to_string(changed)));
    // ZIP headers hold dates, checksums and padding that nobody reads; a .ganglion file has padding, ONNX nothing.
    CHECK(accepted == 0 || !std::string_view(name).ends_with(".onnx"));
  }
}

TEST_CASE("a contract whose name was damaged does not make the file another exporter's") {
  for (const char* name : {"lstm.onnx", "lstm.pt"}) {
    const auto bytes = read_file(artifacts / name);
    std::string text(ganglion::detail::as_text(bytes));
    for (std::size_t at = text.find("ganglion"); at != std::string::npos; at = text.find("ganglion", at + 1)) {
      text.replace(at, 8, "gangliom");
    }
    const auto damaged = as_bytes(text);
    CHECK_ERROR(read_artifact({damaged.begin(), damaged.end()}, name), ErrorCode::bad_artifact, "not where it belongs");
  }
}

TEST_CASE("changed weights are refused by the digest, and the sentence says so") {
  auto bytes = read_file(artifacts / "lstm.onnx");
  const auto record = ganglion::detail::read_onnx(bytes);
  // Any byte of the graph: it comes before the metadata.
  bytes[bytes.size() / 4] ^= std::byte{1};
  const TemporaryFile file(".onnx", bytes);
  CHECK_ERROR(read_artifact(file.path()), ErrorCode::digest_mismatch, "export the policy again");
  CHECK(record.json.has_value());
}

int main() { return check::run_all(); }

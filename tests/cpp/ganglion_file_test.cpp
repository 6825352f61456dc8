// Bad .ganglion files: every kind of damage is refused with a sentence that says what and where.

#include "io/ganglion_file.hpp"

#include <cstring>
#include <filesystem>
#include <limits>
#include <string>

#include "check.hpp"
#include "ganglion/error.hpp"
#include "ganglion/native_policy.hpp"
#include "io/bytes.hpp"
#include "io/program/program.hpp"
#include "io/safetensors.hpp"

namespace {

namespace fs = std::filesystem;
using ganglion::ErrorCode;
using ganglion::detail::as_bytes;
using ganglion::detail::as_text;
using ganglion::detail::read_file;
using ganglion::detail::read_ganglion;
using ganglion::detail::read_program;
using ganglion::detail::read_safetensors;

const fs::path artifacts = GANGLION_ARTIFACTS;

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  CHECK(at != std::string::npos);
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

/// A container with this header and `data` bytes of zeros.
std::string container(const std::string& header, std::size_t data) {
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(header.size() >> (8 * i) & 0xFF);
  return bytes + header + std::string(data, '\0');
}

void refuse_container(const std::string& header, std::size_t data, const char* says) {
  const std::string bytes = container(header, data);
  CHECK_ERROR(read_safetensors(as_bytes(bytes)), ErrorCode::bad_artifact, says);
}

/// The program of an artifact with one piece of its JSON replaced.
void refuse_program(const std::string& name, const std::string& from, const std::string& to, const char* says,
                    ErrorCode code = ErrorCode::bad_artifact) {
  const auto bytes = read_file(artifacts / (name + ".ganglion"));
  const auto file = read_safetensors(bytes);
  const std::string json = replaced(file.metadata.at("ganglion_program"), from, to);
  CHECK_ERROR(read_program(json, file.tensors), code, says);
}

}  // namespace

TEST_CASE("containers: tensors must fill the data without holes and overlaps") {
  const std::string one = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  const std::string good = container(one, 8);
  CHECK_EQUAL(read_safetensors(as_bytes(good)).tensors.size(), 1U);
  refuse_container(one, 7, "does not fit");
  refuse_container(one, 9, "end at byte 8");
  refuse_container(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8, "starts at byte 4");
  refuse_container(
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
      8, "without hole and overlap");
  refuse_container(R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})", 8, "F32, F16, I8 or I32");
  refuse_container(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8, "-2");
  refuse_container(R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})", 0, "does not fit");
  refuse_container(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}})", 8, "does not fit");
  refuse_container(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8, "is said to lie");
  refuse_container(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551615]}})", 8, "is said to lie");
  refuse_container(R"({"a":{"dtype":"F32","shape":[2]}})", 8, "data_offsets");
  refuse_container(R"({"a":1,"a":2})", 0, "twice");
  refuse_container("[]", 0, "not a JSON object");
  refuse_container("{", 0, "not valid JSON");
  refuse_container(std::string(5000, '[') + std::string(5000, ']'), 0, "nested too deeply");
  refuse_container(R"({"__metadata__":{"x":1}})", 0, "not a string");
  const std::string huge = std::string("\xff\xff\xff\xff\xff\xff\xff\xff", 8) + "{}";
  CHECK_ERROR(read_safetensors(as_bytes(huge)), ErrorCode::bad_artifact, "not a .ganglion file");
}

TEST_CASE("programs: every key, name, number and index is checked") {
  refuse_program("lstm", R"("format":1)", R"("format":2)", "newer", ErrorCode::newer_format);
  refuse_program("lstm", R"("format":1)", R"("format":0)", "format number");
  refuse_program("lstm", R"("scheme":"float32")", R"("scheme":"int4")", "'int4'");
  refuse_program("lstm", R"("op":"lstm")", R"("op":"hopfield")", "'hopfield'");
  refuse_program("lstm", R"({"size":3})", R"({"size":0})", "'size'");
  refuse_program("lstm", R"({"size":3})", R"({"size":99999999})", "'size'");
  refuse_program("lstm", R"({"size":3})", R"({"size":3,"unit":"m"})", "'unit'");
  refuse_program("lstm", R"("outputs":[11])", R"("outputs":[14])", "not the number of a value");
  refuse_program("lstm", R"("outputs":[11])", R"("outputs":[-1])", "not the number of a value");
  refuse_program("lstm", R"("outputs":[11])", R"("outputs":[])", "at least one");
  refuse_program("lstm", R"("in":[0,3,4],"out":[5,6])", R"("in":[0,3,10],"out":[5,6])", "before it is written");
  refuse_program("lstm", R"("in":[9],"out":[11])", R"("in":[9],"out":[5])", "written before");
  refuse_program("lstm", R"("in":[0,3,4])", R"("in":[0,3])", "inputs");
  refuse_program("lstm", R"("in":[0,3,4])", R"("in":[3,3,4])", "is needed");
  refuse_program("lstm", R"("lstm0.weight")", R"("lstm9.weight")", "not in the file");
  refuse_program("lstm", R"("weight":"lstm0.weight")", R"("weight":"lstm1.weight")", "nothing uses it");
  refuse_program("lstm", R"("bias":"lstm0.bias")", R"("bias":"lstm1.bias")", "nothing uses it");
  refuse_program("lstm", R"("bias":"lstm0.bias"})", R"("bias":"lstm0.bias"},"peephole":true)", "'peephole'");
  refuse_program("lstm", R"({"in":1,"out":12})", R"({"in":1,"out":11})", "a slot enters");
  refuse_program("lstm", R"({"in":1,"out":12})", R"({"in":2,"out":12})", "written before");
  refuse_program("rnn_any", R"("name":"tanh")", R"("name":"sigmoid")", "tanh or relu");
  refuse_program("rnn_any", R"("name":"tanh")", R"("name":"tanhh")", "'tanhh'");
  refuse_program("faulty", R"("rows":4)", R"("rows":5)", "fit");
  refuse_program("faulty", R"("low":0.0)", R"("low":1e39)", "float32");
  refuse_program("faulty", R"("low":0.0)", R"("low":"0")", "float32");
  refuse_program("faulty", R"("function":"floor")", R"("function":"floor","alpha":1.0)", "'alpha'");
}

TEST_CASE("weights: NaN, infinity and indices outside are refused") {
  const auto bytes = read_file(artifacts / "rnn_any.ganglion");
  const auto damaged = [&](const char* tensor, const void* element, std::size_t size) {
    auto copy = bytes;
    const auto file = read_safetensors(copy);
    const std::size_t at = static_cast<std::size_t>(file.tensors.at(tensor).bytes.data() - copy.data());
    std::memcpy(copy.data() + at, element, size);
    return copy;
  };
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const char* tensor : {"rnn0.weight", "affine0.bias"}) {
      const auto copy = damaged(tensor, &bad, sizeof bad);
      const auto file = read_safetensors(copy);
      CHECK_ERROR(read_program(file.metadata.at("ganglion_program"), file.tensors), ErrorCode::bad_artifact,
                  "NaN or infinite");
      CHECK_ERROR(read_ganglion(copy), ErrorCode::digest_mismatch, "export the policy again");
    }
  }
}

TEST_CASE("a cut file is refused at any length, a changed one by its digest") {
  const auto bytes = read_file(artifacts / "faulty.ganglion");
  for (std::size_t length = 0; length < bytes.size(); length += length < 200 ? 1 : 13) {
    CHECK(!check::caught<ganglion::Error>([&] {
             static_cast<void>(read_ganglion(std::span(bytes).first(length)));
           }).empty());
  }
  std::size_t accepted = 0;
  for (std::size_t at = 0; at < bytes.size(); at += 7) {
    auto copy = bytes;
    copy[at] ^= std::byte{0x04};
    accepted += check::caught<ganglion::Error>([&] { static_cast<void>(read_ganglion(copy)); }).empty() ? 1U : 0U;
  }
  CHECK_EQUAL(accepted, 0U);
}

TEST_CASE("the corpus of the fuzzer: the bad files are refused, the good ones load") {
  std::size_t files = 0;
  for (const auto& entry : fs::directory_iterator(GANGLION_FUZZ_CORPUS)) {
    const std::string name = entry.path().filename().string();
    if (entry.path().extension() != ".ganglion") continue;
    const auto errors =
        check::caught<ganglion::Error>([&] { static_cast<void>(ganglion::NativePolicy::load(entry.path())); });
    const bool is_good = name.rfind("good_", 0) == 0;
    check::report(errors.empty() == is_good, "refused or accepted, as its name says", __FILE__, __LINE__,
                  name + (errors.empty() ? ": accepted" : std::string(": ") + errors[0].what()));
    ++files;
  }
  CHECK(files > 20);
}

int main() { return check::run_all(); }

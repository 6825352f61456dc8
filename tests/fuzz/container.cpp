#include "container.hpp"

#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <utility>

#include "ganglion/error.hpp"
#include "io/bytes.hpp"
#include "io/safetensors.hpp"
#include "io/sha256.hpp"
#include "io/stored_contract.hpp"

namespace fuzz {

namespace {

using ganglion::detail::as_bytes;
using Json = nlohmann::ordered_json;

std::string little_endian(std::uint64_t number) {
  std::string bytes(8, '\0');
  for (char& byte : bytes) {
    byte = static_cast<char>(number & 0xFF);
    number >>= 8;
  }
  return bytes;
}

std::string assemble(const Container& container) {
  const Json metadata = {{"ganglion", container.contract}, {"ganglion_program", container.program}};
  std::string header = R"({"__metadata__":)" + metadata.dump(-1, ' ', false, Json::error_handler_t::replace);
  const std::size_t first = container.tensors.find_first_not_of(" \n", 1);
  const bool has_more = first != std::string::npos && container.tensors[first] != '}';
  header += (has_more ? "," : "") + container.tensors.substr(container.tensors.empty() ? 0 : 1);
  header.append((8 - header.size() % 8) % 8, ' ');
  return little_endian(header.size()) + header + container.data;
}

/// The digest of cpp/FORMAT.md, or none where the container is not readable.
std::optional<std::string> digest_of(const Container& container) {
  const std::string file = assemble(container);
  try {
    const auto read = ganglion::detail::read_safetensors(as_bytes(file));
    ganglion::detail::Sha256 sha;
    sha.update(as_bytes(read.metadata.at("ganglion_program")));
    for (const auto& [name, tensor] : read.tensors) {
      sha.update(as_bytes(name));
      sha.update(as_bytes(little_endian(tensor.bytes.size())));
      sha.update(tensor.bytes);
    }
    return sha.hex_digest();
  } catch (const ganglion::Error&) {
    return std::nullopt;
  }
}

}  // namespace

std::optional<Container> open_container(std::span<const std::byte> file) {
  const std::string_view text = ganglion::detail::as_text(file);
  if (text.size() < 8) return std::nullopt;
  std::uint64_t length = 0;
  for (std::size_t i = 8; i-- > 0;) length = length << 8 | static_cast<unsigned char>(text[i]);
  if (length > text.size() - 8) return std::nullopt;
  Json header = Json::parse(text.substr(8, length), nullptr, false);
  if (!header.is_object() || !header.contains("__metadata__")) return std::nullopt;
  const Json metadata = header["__metadata__"];
  header.erase("__metadata__");
  Container container{
      header.dump(-1, ' ', false, Json::error_handler_t::replace), {}, {}, std::string(text.substr(8 + length))};
  for (const auto& [key, to] :
       {std::pair("ganglion", &container.contract), std::pair("ganglion_program", &container.program)}) {
    if (!metadata.is_object() || !metadata.contains(key) || !metadata[key].is_string()) return std::nullopt;
    *to = metadata[key].get<std::string>();
  }
  return container;
}

std::string close_container(Container container) {
  constexpr std::string_view key = R"("sha256")";
  constexpr std::size_t digits = 64;
  const std::size_t at = container.contract.find(key);
  const std::size_t from = at == std::string::npos ? at : container.contract.find('"', at + key.size());
  if (from != std::string::npos && container.contract.size() > from + digits + 1 &&
      container.contract[from + digits + 1] == '"') {
    if (const auto digest = digest_of(container)) container.contract.replace(from + 1, digits, *digest);
  }
  container.contract = ganglion::detail::sealed(std::move(container.contract));
  return assemble(container);
}

}  // namespace fuzz

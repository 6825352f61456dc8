#include "ganglion/contract.hpp"

namespace ganglion {

namespace {

std::size_t total_size(const std::vector<TensorSpec>& specs) noexcept GANGLION_NONBLOCKING {
  std::size_t total = 0;
  for (const TensorSpec& spec : specs) total += spec.size;
  return total;
}

}  // namespace

std::size_t StateSlot::size() const noexcept GANGLION_NONBLOCKING {
  std::size_t product = 1;
  for (const std::size_t axis : shape) product *= axis;
  return product;
}

std::size_t Contract::observation_size() const noexcept GANGLION_NONBLOCKING { return total_size(inputs); }

std::size_t Contract::action_size() const noexcept GANGLION_NONBLOCKING {
  return outputs.empty() ? 0 : outputs.front().size;
}

std::size_t Contract::output_size() const noexcept GANGLION_NONBLOCKING { return total_size(outputs); }

std::size_t Contract::hidden_size() const noexcept GANGLION_NONBLOCKING {
  std::size_t total = 0;
  for (const StateSlot& slot : state) total += slot.size();
  return total;
}

}  // namespace ganglion

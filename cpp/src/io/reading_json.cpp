#include <nlohmann/json.hpp>

#include "ganglion/reading.hpp"

namespace ganglion {

std::string Reading::to_json() const {
  using Json = nlohmann::json;
  Json pairs = Json::array();
  for (std::size_t i = 0; i < state.size(); ++i) {
    pairs.push_back({{"slot", contract.state[i].name}, {"input", state[i].input}, {"output", state[i].output}});
  }
  Json defects = Json::array();
  for (const Finding& finding : findings) defects.push_back({{"code", finding.code}, {"sentence", finding.sentence}});
  // Names come out of files and may hold any bytes.
  return Json{{"dialect", dialect}, {"contract", contract.to_json()},
              {"state", pairs},     {"constants", constants},
              {"notes", notes},     {"findings", defects}}
      .dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace ganglion

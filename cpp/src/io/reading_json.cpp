#include "ganglion/reading.hpp"
#include "io/boundary.hpp"
#include "io/json.hpp"

namespace ganglion {

namespace {

using detail::Json;

Json write_state(const Reading& reading) {
  Json pairs = Json::array();
  for (std::size_t i = 0; i < reading.state.size(); ++i) {
    const StateNames& names = reading.state[i];
    pairs.push_back(Json{{"slot", reading.contract.state[i].name}, {"input", names.input}, {"output", names.output}});
  }
  return pairs;
}

Json write_findings(const std::vector<Finding>& findings) {
  Json list = Json::array();
  for (const Finding& one : findings) list.push_back(Json{{"code", one.code}, {"sentence", one.sentence}});
  return list;
}

}  // namespace

std::string Reading::to_json(bool with_golden) const {
  return detail::at_boundary("reading", [&] {
    Contract written = contract;
    if (!with_golden) written.golden.reset();
    return Json{{"dialect", dialect},
                {"contract", written.to_json()},
                {"state", write_state(*this)},
                {"constants", constants},
                {"signer", signer},
                {"notes", notes},
                {"findings", write_findings(findings)}}
        .dump();
  });
}

}  // namespace ganglion

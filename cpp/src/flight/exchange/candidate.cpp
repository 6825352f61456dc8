#include "flight/exchange/candidate.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "flight/options.hpp"
#include "ganglion/error.hpp"

namespace ganglion::flight {

namespace {

[[noreturn]] void refuse_seat(const std::string& difference) {
  flight::refuse_option("the candidate cannot take over, for " + difference +
                        "; export it as the policy that flies was, or load it into a loop of its own");
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text.append(text.empty() ? "" : ", ").append(name);
  return text.empty() ? "none" : text;
}

/// Inputs or outputs, one by one: what a controller fills and reads by its place.
void check_same(const std::vector<TensorSpec>& seat, const std::vector<TensorSpec>& own, const std::string& kind) {
  if (seat.size() != own.size()) {
    std::string sentence = "it has " + std::to_string(own.size());
    sentence.append(" ").append(kind).append("s and the policy that flies has ").append(std::to_string(seat.size()));
    refuse_seat(sentence);
  }
  for (std::size_t i = 0; i < own.size(); ++i) {
    const std::string what = kind + ' ' + std::to_string(i);
    const auto differs = [&](const std::string& its, const std::string& theirs) {
      std::string sentence = "its ";
      sentence.append(what)
          .append(" has ")
          .append(its)
          .append(" and that of the policy that flies has ")
          .append(theirs);
      refuse_seat(sentence);
    };
    if (own[i].name != seat[i].name) differs("the name " + own[i].name, "the name " + seat[i].name);
    if (own[i].size != seat[i].size) differs(std::to_string(own[i].size) + " elements", std::to_string(seat[i].size));
    if (own[i].element_names != seat[i].element_names) {
      differs("the elements " + listed(own[i].element_names), listed(seat[i].element_names));
    }
    if (own[i].units != seat[i].units) differs("the units " + listed(own[i].units), listed(seat[i].units));
  }
}

std::string in_seconds(const std::optional<double>& period_s) {
  return period_s ? std::to_string(*period_s) + " s" : "unknown";
}

bool same_period(const std::optional<double>& a, const std::optional<double>& b) {
  if (!a || !b) return a.has_value() == b.has_value();
  return std::abs(*a - *b) <= 1e-6 * std::abs(*a);
}

std::vector<float> gate_of(const SwitchOptions& options, std::size_t size) {
  std::vector<float> gate;
  if (options.gate.empty()) return gate;
  if (options.gate.size() != 1 && options.gate.size() != size) {
    flight::refuse_option("SwitchOptions::gate has " + std::to_string(options.gate.size()) +
                          " numbers and the action has " + std::to_string(size) +
                          " elements; give one for each, or one for all");
  }
  for (std::size_t i = 0; i < size; ++i) {
    const double most = options.gate[options.gate.size() == 1 ? 0 : i];
    // A comparison with NaN is false.
    if (!(most >= 0.0)) {
      flight::refuse_option("SwitchOptions::gate of element " + std::to_string(i) + " is " + std::to_string(most) +
                            "; give the most that the action may differ, 0 or more");
    }
    gate.push_back(static_cast<float>(most));
  }
  return gate;
}

std::size_t blend_steps_of(const Contract& contract, const SwitchOptions& options) {
  if (!options.blend_s) return options.blend_steps;
  if (!(*options.blend_s >= 0.0) || !std::isfinite(*options.blend_s)) {
    flight::refuse_option("SwitchOptions::blend_s is " + std::to_string(*options.blend_s) +
                          "; give a number of seconds, 0 or more");
  }
  const double steps = std::round(*options.blend_s / trained_period(contract, "SwitchOptions::blend_steps"));
  constexpr double most = 1e9;
  return static_cast<std::size_t>(std::min(steps, most));
}

}  // namespace

Exchange exchange_of(const Contract& candidate, const SwitchOptions& options) {
  Exchange exchange{gate_of(options, candidate.action_size()), options.agreeing_steps, options.patience,
                    blend_steps_of(candidate, options),        options.keep_steps,     options.state};
  if (exchange.gate.empty()) return exchange;
  if (options.agreeing_steps == 0)
    flight::refuse_option("SwitchOptions::agreeing_steps is 0; give 1 or more, or no gate");
  if (options.patience < options.agreeing_steps) {
    flight::refuse_option("SwitchOptions::patience is " + std::to_string(options.patience) + " steps, and " +
                          std::to_string(options.agreeing_steps) + " in a row must agree: it would always be rejected");
  }
  return exchange;
}

void check_same_seat(const Contract& seat, std::size_t rows, const Contract& candidate, std::size_t its_rows) {
  check_same(seat.inputs, candidate.inputs, "input");
  check_same(seat.outputs, candidate.outputs, "output");
  if (rows != its_rows) {
    refuse_seat("it steps " + std::to_string(its_rows) + " rows and the policy that flies " + std::to_string(rows));
  }
  if (!same_period(seat.period_s, candidate.period_s)) {
    refuse_seat("its period is " + in_seconds(candidate.period_s) + " and that of the policy that flies " +
                in_seconds(seat.period_s));
  }
}

void check_same_state(const Contract& flying, const Contract& candidate) {
  if (!flying.sha256.empty() && flying.sha256 == candidate.sha256) return;
  const auto same = [](const StateSlot& a, const StateSlot& b) { return a.name == b.name && a.shape == b.shape; };
  if (std::equal(flying.state.begin(), flying.state.end(), candidate.state.begin(), candidate.state.end(), same))
    return;
  flight::refuse_option(
      "the state of the policy that flies cannot be copied to the candidate: their slots have other names or shapes; "
      "take StateHandOver::burned_in");
}

bool remembers_action(const Contract& contract) {
  return contract.action_map.has_value() &&
         std::any_of(contract.state.begin(), contract.state.end(), [&](const StateSlot& slot) {
           return slot.name == "prev_action" && slot.size() == contract.action_size();
         });
}

}  // namespace ganglion::flight

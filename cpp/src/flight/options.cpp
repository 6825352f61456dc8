#include "flight/options.hpp"

#include <cmath>

#include "ganglion/error.hpp"

namespace ganglion::flight {

void refuse_option(const std::string& sentence) { throw Error(ErrorCode::bad_option, sentence); }

double positive(double value, const std::string& what, const char* of_what) {
  if (std::isfinite(value) && value > 0.0) return value;
  refuse_option(what + " is " + std::to_string(value) + "; give a positive number" + of_what);
}

double trained_period(const Contract& contract, const char* instead) {
  if (contract.period_s) return positive(*contract.period_s, "the period in the contract", " of seconds");
  refuse_option(std::string("the contract does not say at which period the policy was trained; give ") + instead +
                ", or export the policy with its period_s");
}

}  // namespace ganglion::flight

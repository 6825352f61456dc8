#pragma once

// What the options of a flight must be. Set-up only.

#include <string>

#include "ganglion/contract.hpp"

namespace ganglion::flight {

/// Throws `Error` (bad_option) with a sentence.
[[noreturn]] void refuse_option(const std::string& sentence);

/// The number, which is positive; else throws `Error` (bad_option), which asks for a positive number `of_what`, " of
/// seconds" say.
double positive(double value, const std::string& what, const char* of_what = "");

/// The period that the policy was trained at, in seconds, positive. Throws `Error` (bad_option) where the contract has
/// none; `instead` says what else can be given.
double trained_period(const Contract& contract, const char* instead);

}  // namespace ganglion::flight

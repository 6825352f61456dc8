#include "io/profile_json.hpp"

#include <bit>
#include <cmath>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <string>
#include <utility>

#include "ganglion/error.hpp"
#include "io/base64.hpp"

namespace ganglion::detail {

namespace {

// The same numbers stand in python/ganglion/observation_profile.
constexpr std::size_t most_elements = 16'384;
constexpr std::size_t most_paired = 512;
constexpr std::size_t most_actions = 64;
constexpr std::size_t most_segments = 32;
constexpr std::size_t most_listed = 32;
constexpr std::size_t most_values = 8;
constexpr std::size_t most_relations = 2048;
constexpr std::size_t most_terms = 16;
constexpr std::size_t relation_steps = 3;
constexpr std::size_t relation_action_lags = 3;
constexpr std::uint16_t no_column = 65535;
constexpr std::int16_t share_one = 32767;
// Of what is told by a count alone, a lag or how many steps there were: float64 has all whole numbers up to here.
constexpr double largest_count = 9007199254740992.0;

[[noreturn]] void refuse_profile(const std::string& why) {
  throw Error(ErrorCode::bad_artifact,
              "contract: observation_profile: " + why + "; make it anew with ganglion profile");
}

void check(bool is_good, const char* why) {
  if (!is_good) refuse_profile(why);
}

std::size_t read_count(const Json& document, const char* name, std::size_t least, std::size_t most) {
  const Json& value = document.at(name);
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() < least || value.get<std::uint64_t>() > most) {
    refuse_profile(std::string(name) + " must be a whole number from " + std::to_string(least) + " to " +
                   std::to_string(most) + ", not " + shortened(value));
  }
  return value.get<std::size_t>();
}

double read_integer(const Json& value) {
  if (!value.is_number_integer()) refuse_profile("a lag is no whole number: " + shortened(value));
  return value.get<double>();
}

template <class Number>
void check_ascending(const std::vector<Number>& values, const char* name) {
  for (std::size_t i = 1; i < values.size(); ++i) {
    if (!(values[i - 1] < values[i])) refuse_profile(std::string(name) + " must ascend");
  }
}

std::vector<int> read_lags(const Json& document, const char* name, int least) {
  std::vector<int> lags;
  check(document.at(name).items().size() <= most_listed, "a list of lags is too long");
  for (const Json& value : document.at(name)) {
    const double lag = read_integer(value);
    const bool is_lag = lag >= least && lag <= std::numeric_limits<int>::max();
    if (!is_lag) refuse_profile(std::string(name) + " has a wrong lag");
    lags.push_back(static_cast<int>(lag));
  }
  check_ascending(lags, name);
  return lags;
}

std::vector<std::uint8_t> read_bytes(const Json& document, const char* name, std::size_t size) {
  const auto text = document.at(name).get<std::string>();
  std::vector<std::uint8_t> bytes = from_base64(text);
  // What ends early, or has something else inside, is too short; nothing may follow the padding.
  if (bytes.size() != size || text.size() != (size + 2) / 3 * 4) {
    refuse_profile(std::string(name) + " must be " + std::to_string(size) + " bytes of Base64");
  }
  return bytes;
}

std::uint32_t little_endian(const std::uint8_t* bytes, std::size_t width) {
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < width; ++i) bits |= static_cast<std::uint32_t>(bytes[i]) << (8 * i);
  return bits;
}

std::vector<float> decode_floats(const Json& document, const char* name, std::size_t count) {
  const std::vector<std::uint8_t> bytes = read_bytes(document, name, 4 * count);
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    values[i] = std::bit_cast<float>(little_endian(bytes.data() + 4 * i, 4));
    if (!std::isfinite(values[i])) refuse_profile(std::string(name) + " has an element that is not finite");
  }
  return values;
}

std::vector<std::int16_t> read_shares(const Json& document, const char* name, std::size_t count) {
  const std::vector<std::uint8_t> bytes = read_bytes(document, name, 2 * count);
  std::vector<std::int16_t> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    values[i] = static_cast<std::int16_t>(little_endian(bytes.data() + 2 * i, 2));
    if (values[i] < -share_one) refuse_profile(std::string(name) + " has a number below -1");
  }
  return values;
}

std::vector<std::uint16_t> read_places(const Json& document, const char* name, std::size_t count) {
  const std::vector<std::uint8_t> bytes = read_bytes(document, name, 2 * count);
  std::vector<std::uint16_t> values(count);
  for (std::size_t i = 0; i < count; ++i)
    values[i] = static_cast<std::uint16_t>(little_endian(bytes.data() + 2 * i, 2));
  return values;
}

std::string write_floats(const std::vector<float>& values) {
  std::vector<std::uint8_t> bytes;
  bytes.reserve(4 * values.size());
  for (const float value : values) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    for (unsigned shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<std::uint8_t>(bits >> shift));
  }
  return to_base64(bytes);
}

template <class Number>
std::string write_pairs_of_bytes(const std::vector<Number>& values) {
  std::vector<std::uint8_t> bytes;
  bytes.reserve(2 * values.size());
  for (const Number value : values) {
    const auto bits = static_cast<std::uint16_t>(value);
    bytes.push_back(static_cast<std::uint8_t>(bits));
    bytes.push_back(static_cast<std::uint8_t>(bits >> 8U));
  }
  return to_base64(bytes);
}

/// [levels, n]: no column falls.
void check_quantiles(const std::vector<float>& values, std::size_t n) {
  for (std::size_t i = n; i < values.size(); ++i) {
    check(values[i - n] <= values[i], "quantiles and change must not fall from one level to the next");
  }
}

void check_not_negative(const std::vector<float>& values, const char* what) {
  for (const float value : values) check(value >= 0.0F, what);
}

/// What relations may be made of: elements of three steps, actions of three, and products inside of unit-norm groups.
std::size_t count_columns(const ObservationProfile& profile) {
  std::size_t columns = relation_steps * profile.size + relation_action_lags * profile.actions;
  for (const UnitNormGroup& group : profile.unit_norm) {
    if (group.size == 3) columns += 3;
    if (group.size == 4) columns += 6 + 10;
  }
  return columns;
}

ProfileRelations read_relations(const Json& document, const ObservationProfile& profile) {
  ProfileRelations relations;
  const std::size_t count = read_count(document, "count", 0, most_relations);
  relations.terms = read_count(document, "terms", 1, most_terms);
  relations.of = read_places(document, "of", count);
  relations.columns = read_places(document, "columns", count * relations.terms);
  relations.coefficients = decode_floats(document, "coefficients", count * relations.terms);
  relations.intercept = decode_floats(document, "intercept", count);
  relations.residual = decode_floats(document, "residual", count);
  relations.told = decode_floats(document, "told", count);
  relations.mean_deviation = decode_floats(document, "mean_deviation", count);
  relations.slope_deviation = decode_floats(document, "slope_deviation", count);
  relations.residual_deviation = decode_floats(document, "residual_deviation", count);
  const char* const missing = "a relation is of an element, or a column, that is not there";
  const std::size_t columns = count_columns(profile);
  for (const std::uint16_t element : relations.of) check(element < profile.size, missing);
  for (const std::uint16_t column : relations.columns) check(column < columns || column == no_column, missing);
  for (const auto* const values : {&relations.residual, &relations.told, &relations.mean_deviation,
                                   &relations.slope_deviation, &relations.residual_deviation})
    check_not_negative(*values, "what is left of a relation, or what that varies by, must not be negative");
  return relations;
}

Json write_relations(const ProfileRelations& relations) {
  return Json{{"count", relations.of.size()},
              {"terms", relations.terms},
              {"of", write_pairs_of_bytes(relations.of)},
              {"columns", write_pairs_of_bytes(relations.columns)},
              {"coefficients", write_floats(relations.coefficients)},
              {"intercept", write_floats(relations.intercept)},
              {"residual", write_floats(relations.residual)},
              {"told", write_floats(relations.told)},
              {"mean_deviation", write_floats(relations.mean_deviation)},
              {"slope_deviation", write_floats(relations.slope_deviation)},
              {"residual_deviation", write_floats(relations.residual_deviation)}};
}

void read_groups(const Json& document, ObservationProfile& profile) {
  std::size_t stop = 0;
  for (const Json& group : document.at("unit_norm")) {
    check(group.items().size() == 2, "a unit-norm group must be its first element and its size");
    const auto whole = [&](std::size_t i) {
      const Json& value = group.items()[i];
      check(value.is_number_unsigned() && value.get<std::uint64_t>() <= profile.size, "a unit-norm group does not fit");
      return value.get<std::size_t>();
    };
    const std::size_t first = whole(0);
    const std::size_t size = whole(1);
    check(size >= 2 && first >= stop && first + size <= profile.size, "a unit-norm group does not fit");
    profile.unit_norm.push_back({first, size});
    stop = first + size;
  }
  std::size_t free = 0;
  for (const Json& entry : document.at("discrete")) {
    DiscreteElement discrete;
    discrete.element = read_count(entry, "element", free, profile.size - 1);
    discrete.values = entry.at("values").get<std::vector<double>>();
    check(!discrete.values.empty() && discrete.values.size() <= most_values,
          "a discrete element must have 1 to 8 values");
    for (const double value : discrete.values) check(std::isfinite(value), "a discrete value is not finite");
    check_ascending(discrete.values, "the values of a discrete element");
    free = discrete.element + 1;
    profile.discrete.push_back(std::move(discrete));
  }
}

}  // namespace

ObservationProfile read_profile(const Json& document) {
  ObservationProfile profile;
  profile.steps = read_count(document, "steps", 2, static_cast<std::size_t>(largest_count));
  profile.size = read_count(document, "size", 1, most_elements);
  profile.segments = read_count(document, "segments", 1, most_segments);
  profile.actions = read_count(document, "actions", 0, most_actions);
  check(document.at("levels").items().size() <= most_listed, "the list of levels is too long");
  profile.levels = document.at("levels").get<std::vector<double>>();
  check(profile.levels.size() >= 2 && profile.levels.front() == 0.0 && profile.levels.back() == 1.0,
        "levels must ascend from 0 to 1");
  check_ascending(profile.levels, "levels");
  profile.lags = read_lags(document, "lags", 1);
  profile.response_lags = read_lags(document, "response_lags", std::numeric_limits<int>::min());

  const std::size_t n = profile.size;
  profile.quantiles = decode_floats(document, "quantiles", profile.levels.size() * n);
  profile.mean = decode_floats(document, "mean", n);
  profile.spread = decode_floats(document, "spread", n);
  profile.skewness = decode_floats(document, "skewness", n);
  profile.change = decode_floats(document, "change", profile.levels.size() * n);
  profile.autocorrelation = decode_floats(document, "autocorrelation", profile.lags.size() * n);
  profile.segment_means = decode_floats(document, "segment_means", profile.segments * n);
  profile.segment_spreads = decode_floats(document, "segment_spreads", profile.segments * n);
  check_quantiles(profile.quantiles, n);
  check_quantiles(profile.change, n);
  for (const auto* const values : {&profile.spread, &profile.change, &profile.segment_spreads})
    check_not_negative(*values, "spread, change and segment_spreads must not be negative");

  if (document.contains("correlation")) {
    check(n <= most_paired, "it has correlations of too many elements");
    profile.correlation = read_shares(document, "correlation", n * (n - 1) / 2);
    profile.correlation_deviation = read_bytes(document, "correlation_deviation", n * (n - 1) / 2);
  }
  check((profile.actions != 0) == document.contains("response"), "actions and response come together");
  if (profile.actions != 0) {
    check(n <= most_paired, "it has responses of too many elements");
    const std::size_t count = profile.response_lags.size() * n * profile.actions;
    profile.response = read_shares(document, "response", count);
    profile.response_deviation = read_bytes(document, "response_deviation", count);
  }
  if (document.contains("starts")) {
    profile.starts = decode_floats(document, "starts", 3 * n);
    for (std::size_t i = n; i < profile.starts.size(); ++i)
      check(profile.starts[i - n] <= profile.starts[i], "starts must not fall");
  }
  read_groups(document, profile);
  if (document.contains("relations")) {
    check(n <= most_paired, "it has relations of too many elements");
    profile.relations = read_relations(document.at("relations"), profile);
  }
  return profile;
}

Json write_profile(const ObservationProfile& profile) {
  Json document{{"steps", profile.steps},
                {"size", profile.size},
                {"segments", profile.segments},
                {"actions", profile.actions},
                {"levels", profile.levels},
                {"lags", profile.lags},
                {"response_lags", profile.response_lags},
                {"quantiles", write_floats(profile.quantiles)},
                {"mean", write_floats(profile.mean)},
                {"spread", write_floats(profile.spread)},
                {"skewness", write_floats(profile.skewness)},
                {"change", write_floats(profile.change)},
                {"autocorrelation", write_floats(profile.autocorrelation)},
                {"segment_means", write_floats(profile.segment_means)},
                {"segment_spreads", write_floats(profile.segment_spreads)}};
  // Of one element there is no pair, and its correlations are there all the same.
  if (profile.correlation) {
    document["correlation"] = write_pairs_of_bytes(*profile.correlation);
    document["correlation_deviation"] = to_base64(profile.correlation_deviation);
  }
  if (profile.actions != 0) {
    document["response"] = write_pairs_of_bytes(profile.response);
    document["response_deviation"] = to_base64(profile.response_deviation);
  }
  if (!profile.starts.empty()) document["starts"] = write_floats(profile.starts);
  if (profile.relations) document["relations"] = write_relations(*profile.relations);
  Json groups = Json::array();
  for (const UnitNormGroup& group : profile.unit_norm)
    groups.push_back(Json(std::vector<std::size_t>{group.first, group.size}));
  document["unit_norm"] = std::move(groups);
  Json discrete = Json::array();
  for (const DiscreteElement& entry : profile.discrete)
    discrete.push_back(Json{{"element", entry.element}, {"values", entry.values}});
  document["discrete"] = std::move(discrete);
  return document;
}

}  // namespace ganglion::detail
